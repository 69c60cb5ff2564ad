"""switch: exactly one of several ways, the first case whose condition is true.

    state     on         becomes    then
    (new)     start      Running    `choice` says which case was taken; its first step begins
    (new)     no case    Succeeded  no case is true, and there is no default
    Running   done       Succeeded  every step of the case is done
    Running   failed     Failed     a step of it failed, and nobody caught it
    Running   stop       Stopping   what runs of it is stopped

Example:
    - name: route
      switch:
        cases:
        - {name: large, when: "${ params.amount > 1000 }", steps: [{name: review, job: {image: "shop/review:1"}}]}
        default: [{name: accept, set: {accepted: true}}]
"""

from dataclasses import dataclass

from backstay.api.steps import Switch
from backstay.engine.lifecycle import begun, stop_list, succeed
from backstay.engine.model import Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import join
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.steps.block import finish_list, outputs_of
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Body:
    """Conditions in order with the names of their cases, and the steps of each case by name."""

    conditions: tuple[tuple[str, Bound], ...]
    cases: dict[str, tuple[Node, ...]]


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
            cases[DEFAULT] = nesting.steps(action.default, join(path, DEFAULT), scope)
        return Body(tuple(conditions), cases)

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        choice = self._choose(turn, node, path)
        first = begun(turn, node)
        if choice is None:
            succeed(turn, path, **first, choice=None)
            return
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, choice=choice, reason=f"case {choice}", **first)
        self.proceed(turn, node, record)

    def _choose(self, turn: Turn, node: Node, path: str) -> str | None:
        for name, condition in node.body.conditions:
            answer = turn.evaluate(condition, path)
            if not isinstance(answer, bool):
                raise EvaluationError(f"when of case {name}: {answer!r} is neither true nor false")
            if answer:
                return str(name)
        return DEFAULT if DEFAULT in node.body.cases else None

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        choice = record.choice or DEFAULT
        finish_list(turn, node, record, node.body.cases[choice], join(record.path, choice))

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        choice = record.choice or DEFAULT
        return stop_list(turn, node.body.cases[choice], join(record.path, choice))

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        if record.choice is None:
            return {}
        return outputs_of(turn, node.body.cases[record.choice], join(record.path, record.choice))
