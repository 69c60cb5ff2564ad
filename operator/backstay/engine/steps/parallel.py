"""parallel: branches that run at the same time, and a join that says how many of them must succeed.

    state     on         becomes    then
    (new)     start      Running    every branch begins
    Running   enough     Stopping   the join is met; with cancelRest the other branches are stopped, without it they are awaited
    Stopping  ended      Succeeded
    Running   too few    Stopping   the join cannot be met any more: the other branches are stopped
    Stopping  ended      Failed     with the error of the branch that made it impossible
    Running   stop       Stopping   what runs of it is stopped

Example:
    - name: quotes
      parallel:
        join: Any
        branches:
        - {name: north, steps: [{name: ask, job: {image: "shop/north:1"}}]}
        - {name: south, steps: [{name: ask, job: {image: "shop/south:1"}}]}
"""

from dataclasses import dataclass

from backstay.api.steps import Parallel
from backstay.engine import lifecycle
from backstay.engine.lifecycle import Outcome, advance_list, begun, stop_list, succeed
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
        body: Body = node.body
        outcomes: dict[str, Outcome] = {}
        faults: list[Fault] = []
        for name, nodes in body.branches.items():
            outcomes[name], fault = advance_list(turn, nodes, join(record.path, name))
            if turn.is_ending:
                return
            if fault:
                faults.append(fault)
        succeeded = sum(outcome is Outcome.DONE for outcome in outcomes.values())
        going = sum(outcome is Outcome.GOING for outcome in outcomes.values())
        if succeeded >= body.needed and going and body.cancel_rest:
            lifecycle.begin_stopping(turn, node, record, Phase.SUCCEEDED)
        elif succeeded >= body.needed and not going:
            succeed(turn, record.path)
        elif succeeded + going < body.needed:
            lifecycle.begin_stopping(turn, node, record, Phase.FAILED, faults[-1] if faults else Fault("JoinFailed"))

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        ended = [stop_list(turn, nodes, join(record.path, name)) for name, nodes in node.body.branches.items()]
        return all(ended)

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        found = {name: outputs_of(turn, nodes, join(record.path, name)) for name, nodes in node.body.branches.items()}
        return {name: value for name, value in found.items() if value}
