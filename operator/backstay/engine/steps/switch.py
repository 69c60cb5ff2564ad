"""switch: one of several ways, the first case whose condition is true; or, with mode Every, all whose condition is.

    state     on         becomes    then
    (new)     start      Running    `choice` says which cases were taken; their first steps begin
    (new)     no case    Succeeded  no case is true, and there is no default
    Running   done       Succeeded  every step of the cases that were taken is done (patterns 5 and 7: it is known what to wait for)
    Running   failed     Failed     a step of the only case failed, and nobody caught it
    Running   failed     Stopping   the same, and other cases go on: they are stopped first
    Stopping  ended      Failed     with the error of that step
    Running   goto       Stopping   a goto in a case leads to a step outside
    Stopping  ended      Cancelled  and the run goes on at that step
    Running   stop       Stopping   what runs of it is stopped

All conditions are looked at when it begins, before any step of a case.

Example:
    - name: route
      switch:
        cases:
        - {name: large, when: "${ params.amount > 1000 }", steps: [{name: review, job: {image: "shop/review:1"}}]}
        default: [{name: accept, set: {accepted: true}}]
"""

from dataclasses import dataclass

from backstay.api.actions.structures import DEFAULT_CASE, Switch, SwitchMode
from backstay.engine import lifecycle
from backstay.engine.lifecycle import Outcome, begun, succeed
from backstay.engine.model import Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import join
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.steps.block import outputs_of
from backstay.engine.steps.parallel import advance_branches, branch_outputs, stop_branches
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Body:
    """Conditions in order with the names of their cases, and the steps of each case by name."""

    conditions: tuple[tuple[str, Bound], ...]
    cases: dict[str, tuple[Node, ...]]
    mode: SwitchMode


class SwitchStep:
    """The machine of `switch`."""

    works = False

    def compile(self, action: Switch, path: str, scope: Scope, nesting: Nesting) -> Body:
        conditions, cases = [], {}
        for index, case in enumerate(action.cases):
            name = case.name or str(index)
            conditions.append((name, bind(case.when, scope)))
            cases[name] = nesting.steps(case.steps, join(path, name), scope)
        if action.default is not None:
            cases[DEFAULT_CASE] = nesting.steps(action.default, join(path, DEFAULT_CASE), scope)
        return Body(tuple(conditions), cases, action.mode)

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        chosen = self._choose(turn, node, path)
        first = begun(turn, node)
        if not chosen:
            succeed(turn, path, **first | {"deadline_at": None}, choice=None)
            return
        words = f"case{'s' * (len(chosen) > 1)} {', '.join(chosen)}"
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, choice=",".join(chosen), reason=words, **first)
        self.proceed(turn, node, record)

    def _choose(self, turn: Turn, node: Node, path: str) -> list[str]:
        body: Body = node.body
        chosen: list[str] = []
        for name, condition in body.conditions:
            if turn.holds(condition, path, f"when of case {name}"):
                chosen.append(name)
                if body.mode is SwitchMode.FIRST:
                    break
        return chosen or [DEFAULT_CASE] * (DEFAULT_CASE in body.cases)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        found = advance_branches(turn, _taken(node, record), record.path)
        if turn.is_ending:
            return
        going = any(standing.outcome is Outcome.GOING for standing in found.values())
        fault = next((standing.fault for standing in found.values() if standing.fault), None)
        target = next((standing.target for standing in found.values() if standing.target), "")
        if target:
            lifecycle.leave(turn, node, record, target)
        elif fault and going:
            lifecycle.begin_stopping(turn, node, record, Phase.FAILED, fault)
        elif fault:
            lifecycle.fail(turn, node, record.path, fault)
        elif not going:
            succeed(turn, record.path)

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        return stop_branches(turn, _taken(node, record), record.path)

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        taken = _taken(node, record)
        if node.body.mode is SwitchMode.EVERY:
            return branch_outputs(turn, taken, record.path)
        return next((outputs_of(turn, nodes, join(record.path, name)) for name, nodes in taken.items()), {})


def _taken(node: Node, record: StepRecord) -> dict[str, tuple[Node, ...]]:
    """Return the steps of the cases that were taken, by case."""
    return {name: node.body.cases[name] for name in (record.choice or "").split(",") if name}
