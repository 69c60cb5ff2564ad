"""fail: raise an error, which a catch around it may handle.

    state     on         becomes    then
    (new)     start      Failed     with the error; the catches of the step, and of what is around it, are looked at

Example:
    - {name: late, fail: {error: PaymentOverdue, message: "order ${ params.orderId } was not paid in time"}}
"""

from dataclasses import dataclass

from backstay.api.steps import FailAction
from backstay.engine import lifecycle
from backstay.engine.model import Fault
from backstay.engine.node import Instant, Nesting, Node
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Body:
    """The error's type, and its words."""

    error: str
    message: Bound


class Fail(Instant):
    """The machine of `fail`."""

    def compile(self, action: FailAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        return Body(action.error, bind(action.message, scope))

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        lifecycle.fail(turn, node, path, Fault(node.body.error, "Raised by the workflow", turn.evaluate_text(node.body.message, path)))
