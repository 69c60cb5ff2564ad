"""What people and programs ask of single steps while a run goes on: heard once, in the order of the spec, and answered in the journal.

Cancel     the step, or the iteration of a forEach, is stopped, and the run goes on after it (workflow patterns 19, 25 and 26)
Complete   a forEach, while or wait is ended well before its time (pattern 27)
AddItems   a forEach that goes on gets more items (pattern 15)
Retry      a step that is Paused or Retrying makes another attempt now, with its action edited as the person says
Skip       the run goes on after such a step, with the outputs that the person gives
GiveUp     such a step fails with the error that it has

A request that cannot be met is refused, with the reason in the answer; it is not kept for later.
"""

from collections.abc import Callable
from typing import Final

import orjson

from backstay.engine import lifecycle, transactions
from backstay.engine.iterations import MORE_TO_STOP, progress_of
from backstay.engine.lifecycle import pausing
from backstay.engine.model import Phase, Request, StepRecord
from backstay.engine.node import Node
from backstay.engine.outputs import accepted
from backstay.engine.paths import ROOT, finally_path, finished_by, is_iteration, iteration_of
from backstay.engine.policies import editing
from backstay.engine.steps.for_each import added
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError

DONE: Final = "Done"
COMPLETABLE: Final = ("forEach", "while", "wait")
_FOR_EACH: Final = "forEach"
MAX_GIVEN_BYTES: Final = 16 * 1024
"""What a person may give as the outputs of a step that is skipped."""


def hear(turn: Turn) -> None:
    """Answer every request that has no answer yet."""
    for request in turn.observations.wish.requests:
        if request.id not in turn.run.answers:
            refusal = _meet(turn, request)
            kind, answer = ("RequestRefused", f"Refused: {refusal}") if refusal else ("RequestMet", DONE)
            words = f"{request.action} {request.step}: {refusal or request.reason or 'as asked'}"
            turn.change_run(kind, actor="user", reason=words, answers={request.id: answer})


def _meet(turn: Turn, request: Request) -> str:
    """Do what is asked. Returns why it cannot be done, or nothing."""
    path, index = iteration_of(request.step) if is_iteration(request.step) else (request.step, None)
    record, node = turn.steps.get(path), turn.program.node(path)
    if record is None or node is None or path == ROOT:
        return f'no step "{path}" has begun; the status shows the paths of those that have'
    if record.has_ended:
        return f"{path} has ended: {record.phase}"
    if node.is_phase and (refusal := transactions.refusal(node, record, request.action)):
        return refusal
    if index is None and (steer := _STEERING.get(request.action)):
        return steer(turn, request, record, node)
    if turn.run.phase is not Phase.RUNNING and finished_by(path) is None:
        return f"the run is {turn.run.phase}; of its steps only those that are Paused or Retrying can be asked for something"
    if record.phase is Phase.FINISHING:
        return f"{path} is {record.phase}: it ends as {record.finishing} once {finally_path(path)} has ended, which can be cancelled"
    if index is not None:
        return _cancel_iteration(turn, request, record, index)
    if request.action == "Cancel":
        lifecycle.cancel(turn, node, record, _reason(request), undo=request.compensate)
        return ""
    return _complete(turn, request, record, node) if request.action == "Complete" else _add(turn, request, record, node)


def _reason(request: Request) -> str:
    return f"request {request.id}: {request.reason}" if request.reason else f"request {request.id}"


def _cancel_iteration(turn: Turn, request: Request, record: StepRecord, index: int) -> str:
    if record.kind != _FOR_EACH or request.action != "Cancel":
        return f"an iteration of a forEach can be cancelled, and nothing else be asked of it; {record.path} is a {record.kind}"
    progress = progress_of(record)
    if index not in progress.active:
        return f"iteration {index} of {record.path} does not go on"
    after = progress.to_stop(index, undo=request.compensate)
    turn.change_step(MORE_TO_STOP, record.path, iterations=after.to_json(), reason=f"[{index}] {_reason(request)}")
    return ""


def _complete(turn: Turn, request: Request, record: StepRecord, node: Node) -> str:
    if record.kind not in COMPLETABLE or record.phase is Phase.CATCHING:
        return (
            f"{record.path} is a {record.kind} ({record.phase}); only a {', '.join(COMPLETABLE[:-1])} or {COMPLETABLE[-1]} can be completed"
        )
    if record.phase is Phase.STOPPING:
        return f"{record.path} is ending already"
    lifecycle.begin_stopping(turn, node, record, Phase.SUCCEEDED, reason=_reason(request))
    return ""


def _add(turn: Turn, request: Request, record: StepRecord, node: Node) -> str:
    if record.kind != _FOR_EACH or record.phase is not Phase.RUNNING:
        return f"{record.path} is a {record.kind} ({record.phase}); items can be added to a forEach that goes on"
    progress = progress_of(record)
    try:
        changes = added(record, progress, request.items, node.body.action.max_items)
    except EvaluationError as error:
        return str(error)
    after = progress.with_more(len(request.items))
    turn.change_step("ItemsAdded", record.path, iterations=after.to_json(), reason=_reason(request), **changes)
    return ""


# -------------------------------------------------------------------------------------------- steps that need a person


def _steerable(record: StepRecord) -> str:
    """Return why a step cannot be tried again, skipped or given up, or nothing."""
    if record.phase in (Phase.PAUSED, Phase.RETRYING):
        return ""
    return f"{record.path} is {record.phase}; only a step that is Paused or Retrying can be tried again, skipped or given up"


def _retry(turn: Turn, request: Request, record: StepRecord, node: Node) -> str:
    refusal = _steerable(record) or (editing.refusal(turn, node, record, request.edit) if request.edit is not None else "")
    if not refusal:
        lifecycle.resume(turn, node, record, request.edit, reason=_reason(request))
    return refusal


def _skip(turn: Turn, request: Request, record: StepRecord, node: Node) -> str:
    if refusal := _steerable(record):
        return refusal
    size = 0 if request.outputs is None else len(orjson.dumps(request.outputs))
    if size > MAX_GIVEN_BYTES:
        return f"outputs: they take {size:,} bytes of at most {MAX_GIVEN_BYTES:,}; hand large data over by reference"
    _, fault = (None, None) if request.outputs is None else accepted(node.declared, request.outputs)
    if fault is not None:
        return f"the outputs are not as {record.path} declares them: {fault.detail.partition('; mend the program')[0]}"
    pausing.skip(turn, record, request.outputs, reason=_reason(request))
    return ""


def _give_up(turn: Turn, request: Request, record: StepRecord, _node: Node) -> str:
    if refusal := _steerable(record):
        return refusal
    lifecycle.give_up(turn, record, reason=_reason(request))
    return ""


_STEERING: Final[dict[str, Callable[[Turn, Request, StepRecord, Node], str]]] = {"Retry": _retry, "Skip": _skip, "GiveUp": _give_up}
"""What can be asked of a step that is Paused or Retrying, whatever the run is doing."""
