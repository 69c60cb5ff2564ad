"""boundary: events at the edge of a step. What happens there while the step goes on, and what becomes of the step then.

    the step      event                  becomes
    has begun     –                      each timer and condition is opened: a record `x:boundary0:event`, Waiting
    goes on       does not interrupt     its steps run beside it, a block `x:boundary0`; of an escalation each time: `x:boundary0[0]`, `[1]` …
    goes on       interrupts             Stopping, then Catching: `boundary` says which; its steps run in the place of the step's own; then Caught
    Stopping      was done before        Succeeded: what was done before it could be stopped counts, and the steps for the event never run
    goes on       steps of one failed    Stopping, then Failed with their error, without another attempt and without its own catch
    ends          has not happened       the event is withdrawn: nothing can happen at the edge of what is over
    ends          steps still go on      Finishing: it ends when they have; they are stopped where it failed or is no longer wanted

A step goes on from its beginning to the end of its own work, through all its attempts, the pauses between them, and those that a person
keeps it waiting; not while it waits for its lock, and not once its join is met. Of several events that are found to have happened the one that fell due
earlier is taken first; of those at the same moment, the one written first. An event that interrupts keeps those after it from happening.
What the step's own work has come to by then is looked at before its events are: work that is done counts.
(BPMN 2.0.2, section 10.5.6 and 13.5.4: boundary events; errors are not among these, they are what `catch` is for.)
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from backstay.api.actions.boundary import ANY_CODE
from backstay.engine.lifecycle import advancing, ending, stopping
from backstay.engine.model import DONE, Fault, Json, Phase, StepRecord
from backstay.engine.node import Boundary, Node
from backstay.engine.paths import around, boundary_path, event_path, iteration, static
from backstay.engine.policies import lock
from backstay.engine.turn import Turn

MOST_HEARD: Final = 100
"""How often one boundary event hears escalations, each time that its step begins."""
_GOES_ON: Final = frozenset({Phase.RUNNING, Phase.WAITING, Phase.RETRYING, Phase.PAUSED})


def watch(turn: Turn, node: Node, path: str) -> None:
    """Look at what happens at the edge of a step, once its own work has gone as far as it goes."""
    if not node.boundaries or turn.is_ending:
        return
    if _is_open(turn.steps.get(path)):
        _open(turn, node, path)
        _look(turn, node, path)
    if _may_fail(turn.steps.get(path)):
        _run_beside(turn, node, path)


def _is_open(record: StepRecord | None) -> bool:
    """Tell whether something may happen at the edge of a step: its own work goes on."""
    return record is not None and record.phase in _GOES_ON and not record.is_joined and not lock.is_waiting(record)


def _may_fail(record: StepRecord | None) -> bool:
    """Tell whether what runs beside a step is looked at here: from the step's beginning until it is stopped or about to end."""
    return _is_open(record) or (record is not None and (record.phase is Phase.CATCHING or record.is_joined) and not record.has_ended)


# ---------------------------------------------------------------------------------------------------------------- events


def _open(turn: Turn, node: Node, path: str) -> None:
    for edge in node.boundaries:
        if edge.event is not None:
            advancing.open_event(turn, edge.event, _event(path, edge))


def _look(turn: Turn, node: Node, path: str) -> None:
    """Look at the events in the order in which they happen, up to one that interrupts the step or cannot be awaited."""
    for _, _, edge in sorted((_due(turn, path, edge), index, edge) for index, edge in enumerate(node.boundaries)):
        event = None if edge.event is None else turn.steps.get(_event(path, edge))
        if edge.event is not None and event is not None and not event.has_ended:
            event = advancing.advance(turn, edge.event, event.path)
        if event is not None and event.phase is Phase.FAILED:
            stopping.begin_stopping(turn, node, turn.steps[path], Phase.FAILED, event.error)
            return
        if edge.interrupting and _has_happened(turn, path, edge):
            words = f"boundary event {_words(edge)} interrupts it"
            stopping.begin_stopping(turn, node, turn.steps[path], Phase.CAUGHT, reason=words)
            return


def _due(turn: Turn, path: str, edge: Boundary) -> Any:
    event = turn.steps.get(_event(path, edge))
    return turn.now if event is None else event.due_at or event.finished_at or turn.now


def is_earlier(turn: Turn, node: Node, record: StepRecord) -> bool:
    """Tell whether a timer that interrupts a step fell due before the step's own timeout: then it is what happened first."""
    if not node.boundaries or record.deadline_at is None or not _is_open(record):
        return False
    events = (turn.steps.get(_event(record.path, edge)) for edge in node.boundaries if edge.interrupting)
    return any(event and event.due_at and event.due_at < record.deadline_at and not event.has_ended for event in events)


def _event(path: str, edge: Boundary) -> str:
    return event_path(boundary_path(path, edge.called))


def _has_happened(turn: Turn, path: str, edge: Boundary) -> bool:
    return next(_blocks(turn, path, edge), None) is not None


def _blocks(turn: Turn, path: str, edge: Boundary) -> Iterator[str]:
    """The paths of the blocks of an event's steps: one for each time that it has happened."""
    here = boundary_path(path, edge.called)
    if edge.event is not None:
        event = turn.steps.get(event_path(here))
        if event is not None and event.phase is Phase.SUCCEEDED:
            yield here
        return
    for index in range(MOST_HEARD):
        if iteration(here, index) not in turn.steps:
            return
        yield iteration(here, index)


def _words(edge: Boundary) -> str:
    return edge.called.removeprefix("-")


# ---------------------------------------------------------------------------------------------------------- interrupting


def take_over(turn: Turn, node: Node, path: str) -> StepRecord:
    """What the step had started has ended: the steps of the event that interrupts it run in its place."""
    index = next(index for index, edge in enumerate(node.boundaries) if edge.interrupting and _has_happened(turn, path, edge))
    withdraw(turn, path, but=index)
    over: dict[str, Any] = {**ending.LET_GO, "deadline_at": None, "boundary": index, "phase": Phase.CATCHING}
    return turn.change_step("StepInterrupted", path, reason=f"by boundary event {_words(node.boundaries[index])}", **over)


class Handling(NamedTuple):
    """The steps that run in the place of a step that was interrupted."""

    block: Node
    path: str
    edge: Boundary


def handling(turn: Turn, node: Node, record: StepRecord) -> Handling:
    """Return the steps that run in the place of a step that was interrupted."""
    assert record.boundary is not None
    edge = node.boundaries[record.boundary]
    return Handling(edge.block, next(_blocks(turn, record.path, edge)), edge)


def stop_handling(turn: Turn, node: Node, record: StepRecord) -> bool:
    """Stop the steps that run in the place of a step. Returns whether nothing of them goes on any more."""
    block, path, _ = handling(turn, node, record)
    return _stop_all(turn, [(block, path)])


# ---------------------------------------------------------------------------------------------------------------- beside


def _beside(turn: Turn, node: Node, path: str) -> Iterator[tuple[Node, str]]:
    """The blocks that run beside a step, or are to."""
    for edge in node.boundaries:
        if not edge.interrupting:
            yield from ((edge.block, block) for block in _blocks(turn, path, edge))


def _run_beside(turn: Turn, node: Node, path: str) -> None:
    """Bring what runs beside a step as far as it goes; an error in it is the step's, once it has been stopped."""
    for block, place in _beside(turn, node, path):
        record = advancing.advance(turn, block, place)
        if turn.is_ending:
            return
        if record is not None and record.phase is Phase.FAILED and not turn.steps[path].is_joined:
            stopping.begin_stopping(turn, node, turn.steps[path], Phase.FAILED, record.error)
            return


# ---------------------------------------------------------------------------------------------------------------- ending


def withdraw(turn: Turn, path: str, but: int | None = None) -> None:
    """The step's own work is over: what has not happened at its edge cannot happen any more, and what interrupts cannot begin."""
    node = _bounded(turn, path)
    if node is None:
        return
    for index, edge in enumerate(node.boundaries):
        event = turn.steps.get(_event(path, edge))
        if edge.event is not None and event is not None and not event.has_ended:
            stopping.begin_stopping(turn, edge.event, event, Phase.CANCELLED, reason="what it was waited for at is over")
        if edge.interrupting and index not in (but, turn.steps[path].boundary if path in turn.steps else None):
            for place in _blocks(turn, path, edge):
                if place in turn.steps and not turn.steps[place].has_ended:
                    stopping.begin_stopping(turn, edge.block, turn.steps[place], Phase.CANCELLED, reason="its step has ended otherwise")


def _bounded(turn: Turn, path: str) -> Node | None:
    return turn.program.node(path) if turn.program.bounded and static(path) in turn.program.bounded else None


def goes_on(turn: Turn, path: str) -> bool:
    """Tell whether steps of its boundary events still go on beside a step, or are to begin: then it may not end yet."""
    node = _bounded(turn, path)
    return node is not None and any(not _has_ended(turn, place) for _, place in _beside(turn, node, path))


def _has_ended(turn: Turn, path: str) -> bool:
    record = turn.steps.get(path)
    return record is not None and record.has_ended


def settle(turn: Turn, node: Node, record: StepRecord) -> tuple[bool, Fault | None]:
    """Bring what runs beside a step that is about to end to its own end. Returns whether it has ended, and why it failed where it did.

    It is let to its end where the run goes on after the step, and stopped where the step has failed or is no longer wanted.
    """
    beside = list(_beside(turn, node, record.path))
    if record.finishing not in DONE:
        return _stop_all(turn, beside), None
    if (fault := _failure(turn, beside)) is not None:
        return _stop_all(turn, beside), fault
    for block, place in beside:
        if not _has_ended(turn, place):
            advancing.advance(turn, block, place)
        if turn.is_ending:
            return False, None
    if (fault := _failure(turn, beside)) is not None:
        return _stop_all(turn, beside), fault
    return all(_has_ended(turn, place) for _, place in beside), None


def _failure(turn: Turn, beside: list[tuple[Node, str]]) -> Fault | None:
    records = (turn.steps.get(place) for _, place in beside)
    return next((record.error for record in records if record is not None and record.phase is Phase.FAILED), None)


def has_failed(turn: Turn, node: Node, path: str) -> bool:
    """Tell whether an event at the edge of a step could not be awaited, or its steps have failed: then the step fails, and nothing else."""
    events = (turn.steps.get(_event(path, edge)) for edge in node.boundaries)
    is_broken = any(event is not None and event.phase is Phase.FAILED for event in events)
    return is_broken or _failure(turn, list(_beside(turn, node, path))) is not None


def stop(turn: Turn, node: Node, record: StepRecord) -> bool:
    """Nobody wants a step any more that is about to end: stop what runs beside it. Returns whether nothing of it does."""
    return _stop_all(turn, _beside(turn, node, record.path))


def _stop_all(turn: Turn, blocks: Any) -> bool:
    ended = True
    for block, place in list(blocks):
        record = turn.steps.get(place)
        if record is not None and not record.has_ended:
            stopping.stop(turn, block, record)
            ended = turn.steps[place].has_ended and ended
    return ended


# ----------------------------------------------------------------------------------------------------------- escalations


class Heard(NamedTuple):
    """What became of an escalation: which step heard it by which event, and whether that interrupts it; or why nobody did."""

    owner: str = ""
    by: str = ""
    interrupts: bool = False
    unheard: str = ""


def escalate(turn: Turn, path: str, code: str, message: str) -> Heard:
    """Let the innermost boundary event around the step at `path` that listens to a code hear it."""
    for owner in reversed(list(around(path))):
        record, node = turn.steps.get(owner), turn.program.node(owner)
        if node is None or record is None or path[len(owner)] == ":" or not _is_open(record):
            continue  # what comes after a colon is no part of the step's own work: a handler, a boundary event, a finally
        for edge in node.boundaries:
            if edge.code in (code, ANY_CODE):
                return _heard(turn, owner, edge, {"code": code, "message": message, "step": path})
    return Heard(unheard=f"no step around it that goes on has a boundary event for {code}")


def _heard(turn: Turn, owner: str, edge: Boundary, escalation: dict[str, Json]) -> Heard:
    times = sum(1 for _ in _blocks(turn, owner, edge))
    found = Heard(owner, _words(edge), edge.interrupting)
    if edge.interrupting and times:
        return found
    if times >= MOST_HEARD:
        return Heard(unheard=f"boundary event {found.by} of {owner} has heard {times} escalations, and hears no more")
    place = iteration(boundary_path(owner, edge.called), times)
    over: dict[str, Any] = {"kind": edge.block.kind, "phase": Phase.RUNNING, "started_at": turn.now, "params": escalation}
    words = f"{escalation['code']}{': ' if escalation['message'] else ''}{escalation['message']} (from {escalation['step']})"
    turn.change_step("EscalationHeard", place, reason=words, **over)
    return found


def heard(turn: Turn, event: str, index: int) -> Json:
    """Return what the steps of a boundary event see as `escalation`: code, message, and the step that raised it."""
    record = turn.steps.get(iteration(event, index))
    return dict((record.params if record else None) or {"code": "", "message": "", "step": ""})
