"""fail: raise an error, which a catch around it may handle; in a handler also the one that it handles, again.

    state     on         becomes    then
    (new)     start      Failed     with the error; the catches of the step, and of what is around it, are looked at
    (new)     rethrow    Failed     with the error that the innermost catch around handles, as it was: type, words, step and attempt

Example:
    - {name: late, fail: {error: PaymentOverdue, message: "order ${ params.orderId } was not paid in time"}}
    - {name: again, fail: {rethrow: true}}
"""

from dataclasses import dataclass

from backstay.api.steps import FailAction
from backstay.engine import lifecycle
from backstay.engine.model import Fault
from backstay.engine.node import Instant, Nesting, Node
from backstay.engine.paths import handled_by, prefix_of
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Body:
    """The error's type, and its words. Without a type it is the one that is handled."""

    error: str | None
    message: Bound


class Fail(Instant):
    """The machine of `fail`."""

    def compile(self, action: FailAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        return Body(action.error, bind(action.message, scope))

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        lifecycle.fail(turn, node, path, _handled(turn, node, path) if node.body.error is None else self._named(turn, node, path))

    def _named(self, turn: Turn, node: Node, path: str) -> Fault:
        return Fault(node.body.error, "Raised by the workflow", turn.evaluate_text(node.body.message, path))


def _handled(turn: Turn, node: Node, path: str) -> Fault:
    """Return the error that the innermost catch around handles."""
    home = node.scope.handler()
    assert home is not None, f"{path}: a rethrow is in no catch, and the linter let it pass"
    error = turn.steps[handled_by(prefix_of(path, home.segments)) or ""].error
    assert error is not None
    return error
