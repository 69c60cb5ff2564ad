"""Steps in order: blocks, branches, cases, handlers, iterations and the body of a workflow all run like this."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from backstay.engine.lifecycle import advancing, stopping
from backstay.engine.model import Fault, Phase
from backstay.engine.node import Node
from backstay.engine.paths import in_lap, join
from backstay.engine.turn import Turn


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


def advance_list(turn: Turn, nodes: Sequence[Node], prefix: str) -> Standing:
    """Bring a list as far as it goes now: each step begins when the one before is done, unless a goto leads elsewhere.

    Blocks, branches, cases, handlers, iterations and the body of a workflow all run like this. Where a goto has led back, the list is in
    another lap; only the latest lap is looked at, for whatever goes on is stopped before a list is left backwards, forwards or by an error.
    """
    lap = turn.lap(prefix)
    index = _first_of(turn, nodes, prefix, lap)
    rest_goes_on = False
    while index < len(nodes):
        record = advancing.advance(turn, nodes[index], in_lap(prefix, nodes[index].name, lap))
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
            stopping.stop(turn, node, record)
            ended = turn.steps[record.path].has_ended and ended
    return ended
