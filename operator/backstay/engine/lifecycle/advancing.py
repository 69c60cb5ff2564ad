"""advance: bring one step as far as it goes now, from nothing to its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from backstay.engine.compensation.pending import holds_something
from backstay.engine.lifecycle import boundary, catching, ending, failing, stopping
from backstay.engine.model import Fault, Phase, StepRecord, broken_expression
from backstay.engine.node import Event, Node
from backstay.engine.paths import in_lap
from backstay.engine.policies import circuit, lock
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError

KEPT_VISITS: Final = 3
"""How many visits of a step that a goto leads back to are remembered; besides all in which something may have to be undone."""


def advance(turn: Turn, node: Node, path: str) -> StepRecord | None:
    """Bring one step as far as it goes now. Returns None where it may not begin yet."""
    record = turn.steps.get(path)
    if record is None:
        if turn.may_begin and _has_room(turn, node):
            _begin(turn, node, path)
            boundary.watch(turn, node, path)
            _forget_early_visits(turn, node, path)
    elif not record.has_ended and not turn.is_full:
        _proceed(turn, node, record)
        boundary.watch(turn, node, path)
    return turn.steps.get(path)


def _has_room(turn: Turn, node: Node) -> bool:
    return not node.machine.works or turn.has_room


def _begin(turn: Turn, node: Node, path: str) -> None:
    with _failing_on_bad_expressions(turn, node, path):
        if node.condition is not None and not turn.holds(node.condition, path, "if"):
            skip(turn, node, path, "its if is false")
        elif node.lock is None or lock.take(turn, node, path):
            _attempt(turn, node, path)


def _attempt(turn: Turn, node: Node, path: str) -> None:
    """Have the machine make the first attempt, or the next one, unless the step's circuit breaker does not let it through."""
    record = turn.steps.get(path)
    if circuit.is_asked(node, record):
        answer = circuit.ask(turn, node, path)
        if isinstance(answer, Fault):
            failing.fail(turn, node, path, answer)
        if answer is not True:
            return
        record = turn.steps.get(path)
    if record is None or not record.attempt:
        node.machine.begin(turn, node, path)
    else:
        node.machine.proceed(turn, node, record)


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
    elif record.phase == Phase.FINISHING:
        ending.proceed_finishing(turn, node, record)
    elif turn.is_due(record.deadline_at) and not boundary.is_earlier(turn, node, record):
        stopping.time_out(turn, node, record)
    elif record.phase == Phase.CATCHING:
        catching.proceed(turn, node, record)
    elif record.phase == Phase.PAUSED:
        return
    elif lock.is_waiting(record) and _has_room(turn, node):
        _proceed_waiting_for_lock(turn, node, record)
    elif lock.is_waiting(record) or (record.phase == Phase.RETRYING and not (turn.is_due(record.due_at) and turn.has_room)):
        return
    elif record.phase == Phase.RETRYING and not record.attempt:
        _begin_again(turn, node, record)
    elif circuit.is_waiting(record) and not (turn.may_begin and _has_room(turn, node)):
        return
    elif record.phase == Phase.RETRYING or circuit.is_waiting(record):
        with _failing_on_bad_expressions(turn, node, record.path):
            _attempt(turn, node, record.path)
    else:
        with _failing_on_bad_expressions(turn, node, record.path):
            node.machine.proceed(turn, node, record)


def _begin_again(turn: Turn, node: Node, record: StepRecord) -> None:
    """A step that never came to a first attempt is tried again from its beginning; a lock that it has stays its own."""
    if record.locked_at is None:
        _begin(turn, node, record.path)
        return
    with _failing_on_bad_expressions(turn, node, record.path):
        _attempt(turn, node, record.path)


def _proceed_waiting_for_lock(turn: Turn, node: Node, record: StepRecord) -> None:
    if fault := lock.overdue(turn, record):
        failing.fail(turn, node, record.path, fault)
    elif lock.take_at_last(turn, record):
        with _failing_on_bad_expressions(turn, node, record.path):
            _attempt(turn, node, record.path)


def begun(turn: Turn, node: Node, path: str = "") -> dict[str, Any]:
    """Return the fields that a step's first entry has whatever its kind: what it is, since when, until when.

    With the `path` of a step whose time began to run while it waited to be let through (`policies.circuit`), that goes on to run.
    """
    waited = turn.steps.get(path)
    if waited is not None and waited.phase is Phase.WAITING and waited.deadline_at is not None:
        turn.wake(waited.deadline_at)
        return {"kind": node.kind, "started_at": waited.started_at, "deadline_at": waited.deadline_at}
    deadline = None if node.timeout is None else turn.now + node.timeout
    if deadline:
        turn.wake(deadline)
    return {"kind": node.kind, "started_at": turn.now, "deadline_at": deadline}


def _forget_early_visits(turn: Turn, node: Node, path: str) -> None:
    """Keep what is remembered of a step that a goto leads back to within bounds, unless there may be something to undo (DESIGN, promise 8)."""
    prefix, _, name = path.rpartition("/")
    name, _, lap = name.partition("~")
    if not lap.isdigit() or path not in turn.steps:
        return
    earlier = [visit for number in range(int(lap) - 1, 0, -1) if (visit := in_lap(prefix, name, number)) in turn.steps]
    keeps = turn.program.undoes(node.path)
    for visit in earlier[KEPT_VISITS - 1 :]:
        if not (keeps and holds_something(turn.program, turn, visit)):
            turn.forget(visit)
