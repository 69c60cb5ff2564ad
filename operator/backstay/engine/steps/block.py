"""steps: a block, steps in order with modifiers of their own.

    state     on         becomes    then
    (new)     start      Running    its first step begins
    Running   done       Succeeded  every step of it is done
    Running   failed     Failed     a step of it failed, and nobody caught it
    Running   goto       Stopping   a goto in it leads to a step outside; what else runs of it is stopped
    Stopping  ended      Cancelled  and the run goes on at that step
    Running   stop       Stopping   what runs of it is stopped

Example:
    - name: prepare
      steps:
      - {name: fetch, job: {image: "shop/stock:1"}}
      - {name: check, job: {image: "shop/stock:1"}}
      catch: [{errors: [OutOfStock], steps: [{name: tell, job: {image: "shop/mail:1"}}]}]
"""

from dataclasses import dataclass

from backstay.api.steps import Step
from backstay.engine import lifecycle
from backstay.engine.lifecycle import Outcome, advance_list, begun, stop_list, succeed
from backstay.engine.model import Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import ROOT
from backstay.engine.scopes import Scope
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Body:
    """The steps of a block, in order."""

    nodes: tuple[Node, ...]


def inside(path: str) -> str:
    """Return the path of the list inside a block: the body of the workflow adds nothing to the paths of its steps."""
    return "" if path == ROOT else path


class Block:
    """The machine of `steps`."""

    works = False

    def compile(self, action: tuple[Step, ...], path: str, scope: Scope, nesting: Nesting) -> Body:
        return Body(nesting.steps(action, inside(path), None if path == ROOT else scope))

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, **begun(turn, node))
        self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        finish_list(turn, node, record, node.body.nodes, inside(record.path))

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        return stop_list(turn, node.body.nodes, inside(record.path))

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return outputs_of(turn, node.body.nodes, inside(record.path))


def finish_list(turn: Turn, node: Node, record: StepRecord, nodes: tuple[Node, ...], prefix: str) -> None:
    """Bring the one list inside a structure as far as it goes; the structure ends as the list does."""
    outcome, fault, target = advance_list(turn, nodes, prefix)
    if outcome is Outcome.DONE:
        succeed(turn, record.path)
    elif outcome is Outcome.FAILED and fault:
        lifecycle.fail(turn, node, record.path, fault)
    elif outcome is Outcome.LEFT:
        lifecycle.leave(turn, node, record, target)


def outputs_of(turn: Turn, nodes: tuple[Node, ...], prefix: str) -> dict[str, Json]:
    """Return the outputs of a list of steps by name; a structure's outputs are derived, never stored."""
    found = {node.name: turn.outputs(node, turn.newest(prefix, node.name)) for node in nodes}
    return {name: value for name, value in found.items() if value}
