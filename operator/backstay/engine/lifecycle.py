"""What every step goes through whatever its kind: skipped or begun, timed out, retried, caught, failed, stopped.

advance   bring a step as far as it goes now
stop      a step is no longer wanted: bring it to an end
cancel    the same, and the run goes on after it
leave     a goto inside it leads out of it
fail      an attempt went wrong: another attempt, a handler, or Failed
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Final, NamedTuple, cast

from backstay.api.base import format_duration
from backstay.api.faults import matches
from backstay.engine.model import Fault, Phase, StepRecord, broken_expression
from backstay.engine.node import Event, Node
from backstay.engine.paths import handler_prefix, in_lap, join
from backstay.engine.policies import lock
from backstay.engine.policies.retry import delay_before
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError

_LET_GO: dict[str, Any] = dict.fromkeys(
    ("inputs", "due_at", "then", "message", "held_since", "starting_since", "lost_pod", "stalled"),
)
"""What a step no longer needs to remember once an attempt is over."""


KEPT_VISITS: Final = 3
"""How many visits of a step that a goto leads back to are remembered; all of them where it, or a step in it, says how to undo it."""


class Outcome(Enum):
    """Where a list of steps stands. Only of one that is GOING does anything go on."""

    GOING = auto()
    DONE = auto()
    FAILED = auto()
    STOPPED = auto()
    LEFT = auto()


class Standing(NamedTuple):
    """Where a list of steps stands; why it has failed; or the step in a list around it at which a goto that has left it goes on."""

    outcome: Outcome
    fault: Fault | None = None
    target: str = ""


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
        fail(turn, node, path, broken_expression(error))


def open_event(turn: Turn, node: Node, path: str) -> StepRecord | None:
    """Begin to wait for something, of which a race decides when to look at it. Returns None where that may not begin yet."""
    machine = cast(Event, node.machine)
    if path not in turn.steps and turn.may_begin:
        with _failing_on_bad_expressions(turn, node, path):
            machine.open(turn, node, path)
    return turn.steps.get(path)


def skip(turn: Turn, node: Node, path: str, reason: str) -> None:
    """A step is not begun at all."""
    turn.change_step("StepSkipped", path, kind=node.kind, phase=Phase.SKIPPED, finished_at=turn.now, reason=reason)


def _proceed(turn: Turn, node: Node, record: StepRecord) -> None:
    if record.phase == Phase.STOPPING:
        _proceed_stopping(turn, node, record)
    elif turn.is_due(record.deadline_at):
        _time_out(turn, node, record)
    elif record.phase == Phase.CATCHING:
        _proceed_catching(turn, node, record)
    elif lock.is_waiting(record) and _has_room(turn, node):
        _proceed_waiting_for_lock(turn, node, record)
    elif lock.is_waiting(record) or (record.phase == Phase.RETRYING and not (turn.is_due(record.due_at) and turn.has_room)):
        return
    else:
        with _failing_on_bad_expressions(turn, node, record.path):
            node.machine.proceed(turn, node, record)


def _proceed_waiting_for_lock(turn: Turn, node: Node, record: StepRecord) -> None:
    if fault := lock.overdue(turn, record):
        fail(turn, node, record.path, fault)
    elif lock.take_at_last(turn, record):
        with _failing_on_bad_expressions(turn, node, record.path):
            node.machine.begin(turn, node, record.path)


# --------------------------------------------------------------------------------------------------------------- failing


def fail(turn: Turn, node: Node, path: str, fault: Fault, after: timedelta | None = None) -> None:
    """An attempt at a step went wrong: make another, hand it to a handler, or let the step fail.

    `after` is how long the other side asked to be left alone: another attempt does not come sooner.
    """
    record = turn.steps.get(path)
    attempt = record.attempt if record else 0
    placed = Fault(fault.type, fault.title, fault.detail, fault.step or path, fault.attempt or attempt)
    retry = node.retry
    timed_out = record is not None and record.deadline_at is not None and record.deadline_at <= turn.now
    if retry and attempt and attempt < retry.max_attempts and matches(fault.type, retry.errors) and not timed_out:
        due = turn.now + max(after or timedelta(), delay_before(retry, turn.identity.uid, path, attempt + 1))
        turn.change_step(
            "StepRetrying", path, reason=_words(placed), **{**_LET_GO, "phase": Phase.RETRYING, "error": placed, "due_at": due}
        )
        turn.wake(due)
        return
    over = {"error": placed, "reason": _words(placed), "deadline_at": None, **_LET_GO}
    if record is None:
        over |= {"kind": node.kind, "started_at": turn.now}
    for index, handler in enumerate(node.handlers):
        if matches(fault.type, handler.errors):
            caught = turn.change_step("StepCatching", path, phase=Phase.CATCHING, handler=index, **over)
            _proceed_catching(turn, node, caught)
            return
    turn.change_step("StepFailed", path, phase=Phase.FAILED, finished_at=turn.now, **over)


def _words(fault: Fault) -> str:
    return f"{fault.type}: {fault.detail or fault.title}".rstrip(": ")


def _proceed_catching(turn: Turn, node: Node, record: StepRecord) -> None:
    index = record.handler or 0
    outcome, fault, target = advance_list(turn, node.handlers[index].nodes, handler_prefix(record.path, index))
    if outcome is Outcome.DONE:
        turn.change_step("StepCaught", record.path, phase=Phase.CAUGHT, finished_at=turn.now)
    elif outcome is Outcome.LEFT:
        words = f"the run goes on at {target}"
        turn.change_step("StepCaught", record.path, phase=Phase.CAUGHT, finished_at=turn.now, goto=target, reason=words)
    elif outcome is Outcome.FAILED and fault:
        turn.change_step("StepFailed", record.path, phase=Phase.FAILED, error=fault, finished_at=turn.now, reason=_words(fault))


# -------------------------------------------------------------------------------------------------------------- stopping


def stop(turn: Turn, node: Node, record: StepRecord) -> None:
    """A step is no longer wanted: bring it to an end, at once or as soon as what it started has ended."""
    if turn.is_full:
        return
    if record.phase is Phase.STOPPING and record.then is not Phase.FAILED:
        _proceed_stopping(turn, node, record)
    elif record.is_joined:
        begin_stopping(turn, node, record, Phase.SUCCEEDED)
    elif not record.has_ended:
        begin_stopping(turn, node, record, Phase.CANCELLED)


def cancel(turn: Turn, node: Node, record: StepRecord, reason: str) -> None:
    """The workflow, or a person, does not want a step any more: stop it, and the run goes on after it.

    To be called before a turn advances the run, never from within a step: what is cancelled may be around that step.
    """
    if record.is_joined:
        begin_stopping(turn, node, record, Phase.SUCCEEDED, reason=reason)
    elif record.phase is not Phase.STOPPING or record.then is Phase.FAILED:
        begin_stopping(turn, node, record, Phase.SKIPPED, reason=reason)


def leave(turn: Turn, node: Node, record: StepRecord, target: str) -> None:
    """A goto inside a structure leads out of it, to `target`: stop what else goes on in it."""
    begin_stopping(turn, node, record, Phase.CANCELLED, reason=f"the run goes on at {target}", goto=target)


def begin_stopping(
    turn: Turn, node: Node, record: StepRecord, then: Phase, fault: Fault | None = None, *, reason: str = "", **changes: Any
) -> None:
    """Stop what a step has started; it becomes `then` once that has ended. `fault` says why, where it is to fail."""
    if record.phase in (Phase.WAITING, Phase.RETRYING):
        _settle(turn, node, record, then, fault, reason)
        return
    if fault:
        changes |= {"error": fault}
    words = _words(fault) if fault else reason
    kept = turn.change_step("StepStopping", record.path, phase=Phase.STOPPING, then=then, reason=words, **changes)
    _proceed_stopping(turn, node, kept)


def _proceed_stopping(turn: Turn, node: Node, record: StepRecord) -> None:
    if record.handler is not None:
        ended = stop_list(turn, node.handlers[record.handler].nodes, handler_prefix(record.path, record.handler))
    else:
        ended = node.machine.stop(turn, node, record)
    after = turn.steps[record.path]
    if ended and not after.has_ended:
        _settle(turn, node, after, after.then or Phase.CANCELLED, after.error)


def _settle(turn: Turn, node: Node, record: StepRecord, then: Phase, fault: Fault | None, reason: str = "") -> None:
    if then is Phase.FAILED:
        fail(turn, node, record.path, fault or Fault("Cancelled"))
    elif then is Phase.SUCCEEDED:
        succeed(turn, record.path)
    else:
        over = _LET_GO | {"deadline_at": None, "finished_at": turn.now, "then": Phase.SKIPPED if then is Phase.SKIPPED else None}
        turn.change_step("StepCancelled", record.path, phase=Phase.CANCELLED, reason=reason, **over)


def _time_out(turn: Turn, node: Node, record: StepRecord) -> None:
    assert record.started_at is not None
    took = (record.deadline_at or turn.now) - record.started_at
    fault = Fault(
        "Timeout",
        "The step took too long",
        f"it has not ended within {format_duration(took)}{waited(record)}; see its timeout",
        record.path,
        record.attempt,
    )
    begin_stopping(turn, node, record, Phase.FAILED, fault)


def waited(record: StepRecord) -> str:
    """Return what a step that took too long was waiting for, if that is known: then its work is not to blame."""
    return f" ({record.message})" if record.message and record.job is not None else ""


# -------------------------------------------------------------------------------------------------------------- beginning


def begun(turn: Turn, node: Node) -> dict[str, Any]:
    """Return the fields that a step's first entry has whatever its kind: what it is, since when, until when."""
    deadline = None if node.timeout is None else turn.now + node.timeout
    if deadline:
        turn.wake(deadline)
    return {"kind": node.kind, "started_at": turn.now, "deadline_at": deadline}


def succeed(turn: Turn, path: str, **changes: Any) -> None:
    """A step did what it was for. Its place in the order of undoing is the number of this entry, or of the one that met its join."""
    record = turn.steps.get(path)
    place = record.sequence if record and record.sequence else turn.sequence + 1
    turn.change_step(
        "StepSucceeded",
        path,
        **{"phase": Phase.SUCCEEDED, "finished_at": turn.now, "sequence": place, "deadline_at": None, **_LET_GO, **changes},
    )


# -------------------------------------------------------------------------------------------------------- steps in order


def advance_list(turn: Turn, nodes: Sequence[Node], prefix: str) -> Standing:
    """Bring a list as far as it goes now: each step begins when the one before is done, unless a goto leads elsewhere.

    Blocks, branches, cases, handlers, iterations and the body of a workflow all run like this. Where a goto has led back, the list is in
    another lap; only the latest lap is looked at, for whatever goes on is stopped before a list is left backwards, forwards or by an error.
    """
    lap = turn.lap(prefix)
    index = _first_of(turn, nodes, prefix, lap)
    rest_goes_on = False
    while index < len(nodes):
        record = advance(turn, nodes[index], in_lap(prefix, nodes[index].name, lap))
        if turn.is_ending or record is None or not (record.has_ended or record.is_joined):
            return Standing(Outcome.GOING)
        if record.phase is Phase.FAILED or record.goto:
            if not stop_list(turn, nodes[: index + 1], prefix):
                return Standing(Outcome.GOING)
            if record.phase is Phase.FAILED:
                return Standing(Outcome.FAILED, record.error)
            place = _index_of(nodes, prefix, record.goto or "")
            if place is None:
                return Standing(Outcome.LEFT, None, record.goto or "")
            lap, index, rest_goes_on = lap + (place <= index), place, False
            continue
        if record.has_ended and not record.is_done:
            return Standing(Outcome.STOPPED)
        rest_goes_on = rest_goes_on or record.is_joined
        index += 1
    return Standing(Outcome.GOING if rest_goes_on else Outcome.DONE)


def _first_of(turn: Turn, nodes: Sequence[Node], prefix: str, lap: int) -> int:
    """Return where a lap of a list began."""
    if lap == 1:
        return 0
    return next(index for index, node in enumerate(nodes) if in_lap(prefix, node.name, lap) in turn.steps)


def _index_of(nodes: Sequence[Node], prefix: str, target: str) -> int | None:
    """Return which step of a list a goto leads to; None where it leads out of it."""
    return next((index for index, node in enumerate(nodes) if join(prefix, node.name) == target), None)


def stop_list(turn: Turn, nodes: Sequence[Node], prefix: str) -> bool:
    """Stop whatever of a list is going on. Returns whether nothing is any more."""
    ended, lap = True, turn.lap(prefix)
    for node in nodes:
        record = turn.steps.get(in_lap(prefix, node.name, lap))
        if record is not None and not record.has_ended:
            stop(turn, node, record)
            ended = turn.steps[record.path].has_ended and ended
    return ended


def _forget_early_visits(turn: Turn, node: Node, path: str) -> None:
    """Keep what is remembered of a step that a goto leads back to within bounds, unless there may be something to undo (DESIGN, promise 8)."""
    prefix, _, name = path.rpartition("/")
    name, _, lap = name.partition("~")
    if not lap.isdigit() or path not in turn.steps or turn.program.undoes(node.path):
        return
    earlier = [visit for number in range(int(lap) - 1, 0, -1) if (visit := in_lap(prefix, name, number)) in turn.steps]
    for visit in earlier[KEPT_VISITS - 1 :]:
        turn.forget(visit)
