"""escalate: tell the innermost boundary event around that listens to a code, and go on. No error: where nobody hears it, nothing happens.

    state     on         becomes    then
    (new)     heard      Succeeded  the steps of that event run beside the step that it is at; each time
    (new)     unheard    Running    that is told; and Succeeded at once
    (new)     interrupts Running    the event interrupts the step that it is at, and this one with it
    Running   stop       Succeeded  what it was for is done

Example:
    - {name: stuck, escalate: {code: STUCK, message: "order ${ params.orderId } is not picked"}}
"""

from dataclasses import dataclass

from backstay.api.actions.boundary import EscalateAction
from backstay.engine.lifecycle import begun, boundary, succeed
from backstay.engine.model import Phase, StepRecord
from backstay.engine.node import Instant, Nesting, Node
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Body:
    """The code, and the words for people."""

    code: str
    message: Bound


class Escalate(Instant):
    """The machine of `escalate`."""

    def compile(self, action: EscalateAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        return Body(action.code, bind(action.message, scope))

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        code, message = node.body.code, turn.evaluate_text(node.body.message, path)
        first = begun(turn, node) | {"deadline_at": None}
        found = boundary.escalate(turn, path, code, message)
        words = f"{code}{': ' if message else ''}{message}"
        if found.unheard:
            turn.change_step("EscalationUnheard", path, phase=Phase.RUNNING, reason=f"{words} ({found.unheard})", **first)
            succeed(turn, path)
        elif found.interrupts:
            turn.change_step("StepStarted", path, phase=Phase.RUNNING, reason=f"{words} (interrupts {found.owner})", **first)
        else:
            succeed(turn, path, **first, reason=f"{words} (heard by boundary event {found.by} of {found.owner})")

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        """The step around it that heard it is being interrupted: what it was for is done."""
        succeed(turn, record.path)
        return True
