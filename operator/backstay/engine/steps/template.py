"""template: run the steps of a template of the workflow in place, with parameters of their own.

    state     on         becomes    then
    (new)     start      Running    its parameters are evaluated, checked and written; its first step begins
    (new)     misfit     Failed     InvalidParameters: they do not fit the template
    Running   done       Succeeded  every step of it is done; its outputs are those that the template declares
    Running   failed     Failed     a step of it failed, and nobody caught it
    Running   too much   Failed     its outputs take too many bytes (LimitExceeded), as its parameters may
    Running   stop       Stopping   what runs of it is stopped

The steps see their own list, the template's parameters, and the run's variables; nothing of what is around the step that uses it. They are
steps of the same run: they are undone with it, and stand in the same status.

Example:
    - name: lamp
      template: {name: pack-box, params: {sku: lamp, weight: "${params.weight}"}}
"""

from dataclasses import dataclass
from typing import Any, Final

from backstay.api.actions.child import TemplateAction
from backstay.api.validate import check_parameters
from backstay.api.workflow import WorkflowSpec
from backstay.engine import lifecycle
from backstay.engine.lifecycle import Outcome, advance_list, begun, stop_list, succeed
from backstay.engine.model import Fault, Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.policies.sizes import exceeding
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn

MAX_BYTES: Final = 16 * 1024
"""The parameters of a template stay in the status, as its outputs do: its steps see them, also when they are undone."""


@dataclass(frozen=True, slots=True)
class Body:
    """The template's steps, compiled for this one place, and what goes in and comes out."""

    nodes: tuple[Node, ...]
    spec: WorkflowSpec
    params: Bound
    outputs: Bound


class TemplateStep:
    """The machine of `template`."""

    works = False

    def compile(self, action: TemplateAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        spec, nodes, inside = nesting.template(action.name, path)
        outputs: dict[str, Json] = {output.name: output.value for output in spec.outputs}
        return Body(nodes, spec, bind(action.params, scope), bind(outputs, inside))

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        given = turn.evaluate(node.body.params, path)
        params, problems = check_parameters(node.body.spec, given)
        if problems:
            detail = "; ".join(map(str, problems[:5]))
            lifecycle.fail(turn, node, path, Fault("InvalidParameters", "The parameters do not fit the template", detail))
        elif fault := _too_much("parameters", params):
            lifecycle.fail(turn, node, path, fault)
        else:
            record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, params=params, **begun(turn, node))
            self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        outcome, fault, _ = advance_list(turn, node.body.nodes, record.path)
        if outcome is Outcome.DONE:
            outputs: Any = turn.evaluate(node.body.outputs, record.path)
            if fault := _too_much("outputs", outputs):
                lifecycle.fail(turn, node, record.path, fault)
            else:
                succeed(turn, record.path, outputs=outputs or None)
        elif outcome is Outcome.FAILED and fault:
            lifecycle.fail(turn, node, record.path, fault)

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        return stop_list(turn, node.body.nodes, record.path)

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return record.outputs or {}


def _too_much(what: str, data: Json) -> Fault | None:
    return exceeding("Too much data for a template", f"the template's {what} take", data, MAX_BYTES)
