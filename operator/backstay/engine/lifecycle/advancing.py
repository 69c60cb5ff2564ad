"""advance: bring one step as far as it goes now, from nothing to its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from backstay.engine.lifecycle import ending, failing, stopping
from backstay.engine.model import Phase, StepRecord, broken_expression
from backstay.engine.node import Event, Node
from backstay.engine.paths import in_lap
from backstay.engine.policies import lock
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError

KEPT_VISITS: Final = 3
"""How many visits of a step that a goto leads back to are remembered; all of them where it, or a step in it, says how to undo it."""


def advance(turn: Turn, node: Node, path: str) -> StepRecord | None:
    """Bring one step as far as it goes now. Returns None where it may not begin yet."""
    record = turn.steps.get(path)
    if record is None:
        if turn.may_begin and _has_room(turn, node):
            _begin(turn, node, path)
            _forget_early_visits(turn, node, path)
    elif not record.has_ended and not turn.is_full:
        _proceed(turn, node, record)
    return turn.steps.get(path)


def _has_room(turn: Turn, node: Node) -> bool:
    return not node.machine.works or turn.has_room


def _begin(turn: Turn, node: Node, path: str) -> None:
    with _failing_on_bad_expressions(turn, node, path):
        if node.condition is not None and not turn.holds(node.condition, path, "if"):
            skip(turn, node, path, "its if is false")
        elif node.lock is None or lock.take(turn, node, path):
            node.machine.begin(turn, node, path)


@contextmanager
def _failing_on_bad_expressions(turn: Turn, node: Node, path: str) -> Iterator[None]:
    """An expression that cannot be evaluated is an error of the step."""
    try:
        yield
    except EvaluationError as error:
        failing.fail(turn, node, path, broken_expression(error))


def open_event(turn: Turn, node: Node, path: str) -> StepRecord | None:
    """Begin to wait for something, of which a race decides when to look at it. Returns None where that may not begin yet."""
    machine = cast(Event, node.machine)
    if path not in turn.steps and turn.may_begin:
        with _failing_on_bad_expressions(turn, node, path):
            machine.open(turn, node, path)
    return turn.steps.get(path)


def skip(turn: Turn, node: Node, path: str, reason: str) -> None:
    """A step is not begun at all."""
    ending.end(turn, "StepSkipped", path, Phase.SKIPPED, kind=node.kind, reason=reason)


def _proceed(turn: Turn, node: Node, record: StepRecord) -> None:
    if record.phase == Phase.STOPPING:
        stopping.proceed(turn, node, record)
    elif turn.is_due(record.deadline_at):
        stopping.time_out(turn, node, record)
    elif record.phase == Phase.CATCHING:
        failing.proceed_catching(turn, node, record)
    elif lock.is_waiting(record) and _has_room(turn, node):
        _proceed_waiting_for_lock(turn, node, record)
    elif lock.is_waiting(record) or (record.phase == Phase.RETRYING and not (turn.is_due(record.due_at) and turn.has_room)):
        return
    else:
        with _failing_on_bad_expressions(turn, node, record.path):
            node.machine.proceed(turn, node, record)


def _proceed_waiting_for_lock(turn: Turn, node: Node, record: StepRecord) -> None:
    if fault := lock.overdue(turn, record):
        failing.fail(turn, node, record.path, fault)
    elif lock.take_at_last(turn, record):
        with _failing_on_bad_expressions(turn, node, record.path):
            node.machine.begin(turn, node, record.path)


def begun(turn: Turn, node: Node) -> dict[str, Any]:
    """Return the fields that a step's first entry has whatever its kind: what it is, since when, until when."""
    deadline = None if node.timeout is None else turn.now + node.timeout
    if deadline:
        turn.wake(deadline)
    return {"kind": node.kind, "started_at": turn.now, "deadline_at": deadline}


def _forget_early_visits(turn: Turn, node: Node, path: str) -> None:
    """Keep what is remembered of a step that a goto leads back to within bounds, unless there may be something to undo (DESIGN, promise 8)."""
    prefix, _, name = path.rpartition("/")
    name, _, lap = name.partition("~")
    if not lap.isdigit() or path not in turn.steps or turn.program.undoes(node.path):
        return
    earlier = [visit for number in range(int(lap) - 1, 0, -1) if (visit := in_lap(prefix, name, number)) in turn.steps]
    for visit in earlier[KEPT_VISITS - 1 :]:
        turn.forget(visit)
