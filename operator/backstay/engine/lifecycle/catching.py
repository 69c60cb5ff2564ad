"""catch: a handler deals with the error of a step, and the run goes on after that step.

    the error                             becomes
    matches the errors of a catch         Catching, where its `when` is true, or it has none; the first one in order is taken
    `when` cannot be evaluated            the step fails with ExpressionError, and none of its other catches is looked at
    the handler succeeded                 Caught, with `outputs`; where these cannot be had, the step fails with the reason
    the handler failed                    Failed, with the handler's error: the same one again where it says `fail: {rethrow: true}`
    a goto leads out of the handler       Caught, and the run goes on there

The steps of a boundary event that has interrupted a step run in its place in the same way (`lifecycle/boundary.py`).
"""

from typing import Final

from backstay.api.faults import matches
from backstay.engine.lifecycle import advancing, boundary, ending, failing, lists
from backstay.engine.model import Fault, Json, Phase, StepRecord, broken_expression
from backstay.engine.node import Handler, Node
from backstay.engine.outputs import accepted
from backstay.engine.paths import handler_prefix
from backstay.engine.policies.sizes import exceeding
from backstay.engine.scopes import Bound
from backstay.engine.turn import Turn, shown_fault
from backstay.errors import EvaluationError

MAX_OUTPUT_BYTES: Final = 16 * 1024
"""What a handler may give as the outputs of its step: they stand in the status."""


def handler_of(turn: Turn, node: Node, path: str, fault: Fault) -> int | None:
    """Return which catch of a step takes an error, or None where none does. Raises EvaluationError for a `when` that cannot be evaluated."""
    for index, handler in enumerate(node.handlers):
        if matches(fault.type, handler.errors) and _wants(turn, handler, path, index, fault):
            return index
    return None


def _wants(turn: Turn, handler: Handler, path: str, index: int, fault: Fault) -> bool:
    if handler.when is None:
        return True
    try:
        return turn.holds(handler.when, handler_prefix(path, index), "it", **{handler.name: shown_fault(fault)})
    except EvaluationError as error:
        raise EvaluationError(f"catch[{index}].when: {error}") from error


def proceed(turn: Turn, node: Node, record: StepRecord) -> None:
    """Bring the handler of a step's error as far as it goes; the step ends as its handler does."""
    if record.boundary is not None:
        _proceed_interrupted(turn, node, record)
        return
    index = record.handler or 0
    prefix = handler_prefix(record.path, index)
    outcome, fault, target = lists.advance_list(turn, node.handlers[index].nodes, prefix)
    if outcome is lists.Outcome.DONE:
        _caught(turn, node, record, node.handlers[index].outputs, prefix, f"catch[{index}].outputs")
    elif outcome is lists.Outcome.LEFT:
        _left(turn, record, target)
    elif outcome is lists.Outcome.FAILED and fault:
        _failed(turn, record, fault)


def _proceed_interrupted(turn: Turn, node: Node, record: StepRecord) -> None:
    block, path, edge = boundary.handling(turn, node, record)
    done = advancing.advance(turn, block, path)
    if done is None or turn.is_ending or not done.has_ended:
        return
    if done.goto:
        _left(turn, record, done.goto)
    elif done.phase is Phase.FAILED and done.error:
        _failed(turn, record, done.error)
    else:
        _caught(turn, node, record, edge.outputs, path, f"boundary[{record.boundary}].outputs")


def _caught(turn: Turn, node: Node, record: StepRecord, wanted: Bound | None, place: str, what: str) -> None:
    """The handler has succeeded: what it gives is what the step produced after all."""
    outputs, fault = (None, None) if wanted is None else _outputs(turn, node, wanted, place, what)
    if fault is None:
        ending.end(turn, "StepCaught", record.path, Phase.CAUGHT, outputs=outputs or None)
    else:
        _failed(turn, record, Fault(fault.type, fault.title, fault.detail, record.path, record.attempt))


def _outputs(turn: Turn, node: Node, wanted: Bound, place: str, what: str) -> tuple[Json, Fault | None]:
    try:
        outputs = turn.evaluate(wanted, place)
    except EvaluationError as error:
        return None, broken_expression(f"{what}: {error}")
    if fault := exceeding("The outputs are too large", f"{what} take", outputs, MAX_OUTPUT_BYTES):
        return None, fault
    return accepted(node.declared, outputs)


def _left(turn: Turn, record: StepRecord, target: str) -> None:
    ending.end(turn, "StepCaught", record.path, Phase.CAUGHT, goto=target, reason=f"the run goes on at {target}")


def _failed(turn: Turn, record: StepRecord, fault: Fault) -> None:
    ending.end(turn, "StepFailed", record.path, Phase.FAILED, error=fault, reason=failing.words_of(fault))
