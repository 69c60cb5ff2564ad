"""end: end the whole run here, whatever else is going on (explicit termination, workflow pattern 43).

    state     on         becomes    then
    (new)     start      Succeeded  what else runs is stopped, then the run ends with the result

Example:
    - {name: nothing-to-do, if: "${ size(params.lines) == 0 }", end: {result: Succeeded, message: "the order is empty"}}
"""

from dataclasses import dataclass

from backstay.api.steps import EndAction, EndResult
from backstay.engine.lifecycle import begun, succeed
from backstay.engine.model import Fault, Phase, StepRecord
from backstay.engine.node import Instant, Nesting, Node
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Body:
    """How the run ends, and why in words."""

    result: EndResult
    message: Bound


class End(Instant):
    """The machine of `end`."""

    def compile(self, action: EndAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        return Body(action.result, bind(action.message, scope))

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        words = turn.evaluate_text(node.body.message, path)
        succeed(turn, path, **begun(turn, node) | {"deadline_at": None})
        over = {"phase": Phase.STOPPING, "reason": words, "message": words, "deadline_at": turn.ends_by()}
        if node.body.result is EndResult.SUCCEEDED:
            turn.end("RunStopping", result=Phase.SUCCEEDED, compensate=False, **over)
            return
        fault = Fault("Ended", "Ended by the workflow", words, path)
        undo = turn.program.spec.on_failure.compensate
        turn.end("RunStopping", result=Phase.FAILED, compensate=undo, error=fault, **over)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        """An `end` is done as soon as it has begun."""
