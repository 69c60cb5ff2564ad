"""undo: undo a part of what the run has done, while it goes on (savepoints and partial rollback; Garcia-Molina and Salem, "Sagas", 1987, section 5).

    state     on         becomes    then
    (new)     start      Running    the steps that were completed by now are undone, the last one first
    (new)     unreached  Failed     SavepointMissing: the run never came by the step in `to`
    Running   undone     Succeeded  each of them is undone, or was left as it is, and that is told
    Running   stalled    Running    a compensation is paused: a person has it tried again or skips it, as in the run's own undoing
    Running   timeout    Stopping   no other compensation begins; those that go on are waited for, then it failed
    Running   stop       Stopping   the same; where the run ends, its own undoing goes on with them
    Stopping  ended      Cancelled  what was not undone by then is still to be undone

A step reaches no further than its own line: in a branch of a parallel, an iteration of a forEach, or a step of a dag, it undoes nothing that is
outside of it, for the other lines may rely on that. What is undone stays so: nothing is undone twice, and a `goto` back runs the steps anew.

Example:
    - {name: hotel, job: {image: "trip/hotel:1"}, compensate: {job: {image: "trip/hotel:1", args: [cancel, "${self.outputs.room}"]}}}
    - name: flight
      job: {image: "trip/flight:1"}
      catch: [{errors: [NoSeat], steps: [{name: back, undo: {within: hotel}}, {name: again, goto: {step: hotel, maxVisits: 3}}]}]
"""

from typing import Final

from backstay.api.actions.undo import UndoAction
from backstay.engine import lifecycle
from backstay.engine.compensation import Reach, left, undone
from backstay.engine.compensation.order import line_of
from backstay.engine.lifecycle import advance_undoing, begun, succeed
from backstay.engine.model import Fault, Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import lap_of, prefix_of, undo_path
from backstay.engine.scopes import Scope
from backstay.engine.turn import Turn

SAVEPOINT_MISSING: Final = "SavepointMissing"


class Undo:
    """The machine of `undo`."""

    works = False

    def compile(self, action: UndoAction, path: str, scope: Scope, nesting: Nesting) -> UndoAction:
        return action

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        if node.body.to is not None and not _place_of(turn, node, path):
            detail = f"the run has not come by {node.body.to}, so there is nothing to go back to; something else led here"
            lifecycle.fail(turn, node, path, Fault(SAVEPOINT_MISSING, "The savepoint is missing", detail))
            return
        place = turn.sequence + 1
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, sequence=place, reason=_aim(node.body), **begun(turn, node))
        self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        reach = _reach(turn, node, record)
        if advance_undoing(turn, reach):
            succeed(turn, record.path, reason=_came_to(turn, reach))

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        """A compensation that has begun is carried through, unless it waits: whoever undoes its step next goes on with it."""
        if turn.run.phase is not Phase.RUNNING:
            return True
        reach = _reach(turn, node, record)
        return lifecycle.carry_through_begun(turn, reach)

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return {}


def _reach(turn: Turn, node: Node, record: StepRecord) -> Reach:
    """Return which steps are undone: derived anew each time, so that what is undone already is left out by itself."""
    inside = line_of(turn.program, record.path)
    if node.body.within is not None:
        inside = _path_of(turn, node, record.path, node.body.within)
    if node.body.to is None:
        return Reach(inside, before=record.sequence)
    savepoint = _path_of(turn, node, record.path, node.body.to)
    return Reach(inside, _place_of(turn, node, record.path), record.sequence, savepoint)


def _place_of(turn: Turn, node: Node, path: str) -> int:
    """Return the number of the entry that ended the savepoint last; 0 where the run has not come by it."""
    record = turn.steps.get(_path_of(turn, node, path, node.body.to))
    return record.sequence if record is not None and (record.has_ended or record.is_joined) else 0


def _path_of(turn: Turn, node: Node, path: str, name: str) -> str:
    """Return the path of the latest visit of a step that is seen from here."""
    home = node.scope.find(name)
    assert home is not None, f"{path}: there is no step {name}, and the linter let it pass"
    segments = home[0].segments
    return turn.newest(prefix_of(path, segments), name, lap_of(path, segments))


def _aim(action: UndoAction) -> str:
    if action.to is not None:
        return f"undoes what was completed after {action.to}"
    return f"undoes {action.within} and what is inside it" if action.within is not None else "undoes what was completed so far"


def _came_to(turn: Turn, reach: Reach) -> str:
    if turn.run.pivot:
        return f"nothing is undone: the pivot {turn.run.pivot} has succeeded"
    done = [record.path for record in undone(turn.program, turn) if reach.covers(record) and _is_of(turn, record, reach)]
    lost = [record.path for record in left(turn.program, turn, reach)]
    words = f"undone: {', '.join(done[:20])}{' …' if len(done) > 20 else ''}" if done else "there was nothing to undo"
    return f"{words}; left as it is: {', '.join(lost[:20])}" if lost else words


def _is_of(turn: Turn, record: StepRecord, reach: Reach) -> bool:
    """Tell whether a step was undone by this very step, and not by one before."""
    doing = turn.steps.get(undo_path(record.path))
    return doing is not None and doing.sequence > (reach.before or 0)
