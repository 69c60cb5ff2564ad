"""parallel: branches that run at the same time, and a join that says how many of them must succeed.

    state     on         becomes    then
    (new)     start      Running    every branch begins
    Running   enough     Stopping   the join is met; with cancelRest the other branches are stopped
    Stopping  ended      Succeeded
    Running   joined     Running    the join is met; without cancelRest what follows begins, and the other branches go on
    Running   late       Running    one of those has ended: that is told, and changes nothing
    Running   all ended  Succeeded  the list of steps around it does not end before
    Running   too few    Stopping   the join cannot be met any more: the other branches are stopped
    Stopping  ended      Failed     with the error of the branch that made it impossible
    Running   goto       Stopping   a goto in a branch leads to a step outside: the other branches are stopped
    Stopping  ended      Cancelled  and the run goes on at that step
    Running   stop       Stopping   what runs of it is stopped; it succeeds where its join was met

Example:
    - name: quotes
      parallel:
        join: Any
        branches:
        - {name: north, steps: [{name: ask, job: {image: "shop/north:1"}}]}
        - {name: south, steps: [{name: ask, job: {image: "shop/south:1"}}]}
"""

from dataclasses import dataclass
from datetime import datetime

from backstay.api.actions.structures import Parallel
from backstay.engine import lifecycle
from backstay.engine.lifecycle import Outcome, Standing, advance_list, begun, stop_list, succeed
from backstay.engine.model import Fault, Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import join
from backstay.engine.scopes import Scope
from backstay.engine.steps.block import outputs_of
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Body:
    """Branches by name, and how many of them must succeed."""

    branches: dict[str, tuple[Node, ...]]
    needed: int
    cancel_rest: bool


class ParallelStep:
    """The machine of `parallel`."""

    works = False

    def compile(self, action: Parallel, path: str, scope: Scope, nesting: Nesting) -> Body:
        branches = {branch.name: nesting.steps(branch.steps, join(path, branch.name), scope) for branch in action.branches}
        return Body(branches, action.needed(), action.cancel_rest)

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, **begun(turn, node))
        self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        found = advance_branches(turn, node.body.branches, record.path)
        if turn.is_ending:
            return
        if record.is_joined:
            _hear_the_late(turn, record, found)
        else:
            _judge(turn, node, record, found)

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        return stop_branches(turn, node.body.branches, record.path)

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return branch_outputs(turn, node.body.branches, record.path)


def _judge(turn: Turn, node: Node, record: StepRecord, found: dict[str, Standing]) -> None:
    body: Body = node.body
    succeeded = sum(standing.outcome is Outcome.DONE for standing in found.values())
    going = sum(standing.outcome is Outcome.GOING for standing in found.values())
    left = next((standing.target for standing in found.values() if standing.target), "")
    if succeeded >= body.needed and not going:
        succeed(turn, record.path)
    elif succeeded >= body.needed and body.cancel_rest:
        lifecycle.begin_stopping(turn, node, record, Phase.SUCCEEDED)
    elif succeeded >= body.needed:
        _join(turn, record, found)
    elif left:
        lifecycle.leave(turn, node, record, left)
    elif succeeded + going < body.needed:
        lifecycle.begin_stopping(turn, node, record, Phase.FAILED, _decisive(turn, body, record, found))


def _decisive(turn: Turn, body: Body, record: StepRecord, found: dict[str, Standing]) -> Fault:
    """Return the error that made the join impossible: the first one beyond those that it could do without."""
    failures: list[tuple[datetime, Fault]] = []
    for name, standing in found.items():
        if standing.fault:
            steps = (turn.steps.get(turn.newest(join(record.path, name), node.name)) for node in body.branches[name])
            ended = max(step.finished_at for step in steps if step and step.finished_at)
            failures.append((ended, standing.fault))
    failures.sort(key=lambda failure: failure[0])
    spare = len(found) - body.needed
    return failures[min(spare, len(failures) - 1)][1] if failures else Fault("JoinFailed", "The join cannot be met any more")


def _join(turn: Turn, record: StepRecord, found: dict[str, Standing]) -> None:
    """The join is met: what follows may begin. The step's place in the order of undoing is here, and no timeout fails it any more."""
    ended = _ended(found)
    turn.change_step(
        "StepJoined",
        record.path,
        then=Phase.SUCCEEDED,
        choice=",".join(ended),
        sequence=turn.sequence + 1,
        deadline_at=None,
        message=_words(found),
        reason=_words(found),
    )


def _hear_the_late(turn: Turn, record: StepRecord, found: dict[str, Standing]) -> None:
    known = (record.choice or "").split(",")
    for name in _ended(found):
        if name not in known:
            known.append(name)
            words = f"branch {name} {_how(found[name])} after the join was met; that changes nothing"
            turn.change_step("LateArrival", record.path, choice=",".join(known), message=_words(found), reason=words)
    if len(known) == len(found):
        succeed(turn, record.path)


def _ended(found: dict[str, Standing]) -> list[str]:
    return [name for name, standing in found.items() if standing.outcome is not Outcome.GOING]


def _how(standing: Standing) -> str:
    if standing.fault:
        return f"failed ({standing.fault.type}: {standing.fault.detail or standing.fault.title})"
    return f"was left by a goto to {standing.target}" if standing.target else "has ended"


def _words(found: dict[str, Standing]) -> str:
    going = len(found) - len(_ended(found))
    return f"the join is met; {going} {'branch goes' if going == 1 else 'branches go'} on"


# ------------------------------------------------------------------------------------------------------ lists side by side


def advance_branches(turn: Turn, branches: dict[str, tuple[Node, ...]], path: str) -> dict[str, Standing]:
    """Bring lists that run at the same time as far as they go, in the order in which they are written."""
    found: dict[str, Standing] = {}
    for name, nodes in branches.items():
        found[name] = advance_list(turn, nodes, join(path, name))
        if turn.is_ending:
            break
    return found


def stop_branches(turn: Turn, branches: dict[str, tuple[Node, ...]], path: str) -> bool:
    """Stop whatever goes on of lists that run at the same time. Returns whether nothing does any more."""
    ended = [stop_list(turn, nodes, join(path, name)) for name, nodes in branches.items()]
    return all(ended)


def branch_outputs(turn: Turn, branches: dict[str, tuple[Node, ...]], path: str) -> dict[str, Json]:
    """Return what lists that ran at the same time produced: by branch, then by step."""
    found = {name: outputs_of(turn, nodes, join(path, name)) for name, nodes in branches.items()}
    return {name: value for name, value in found.items() if value}
