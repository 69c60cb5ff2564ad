"""goto: go on at another step of this list, or of one around it, before this one or after it.

    state     on         becomes    then
    (new)     start      Succeeded  the run goes on at the step; structures that it leads out of are left: they are Cancelled, a handler's step Caught
    (new)     too often  Failed     the step has begun maxVisits times already (LimitExceeded)

A list that is led back is in its next lap: its steps are recorded anew, as `a~2`. What goes on of a list is stopped before it goes on elsewhere.

Example:
    - {name: draft, job: {image: "shop/draft:1"}}
    - {name: review, job: {image: "shop/review:1"}}
    - {name: again, if: "${ !steps.review.outputs.good }", goto: {step: draft, maxVisits: 5}}
"""

from backstay.api.actions.control import GotoAction
from backstay.engine.lifecycle import begun, fail, succeed
from backstay.engine.model import Fault
from backstay.engine.node import Instant, Nesting, Node
from backstay.engine.paths import join, prefix_of
from backstay.engine.scopes import Scope
from backstay.engine.turn import Turn


class Goto(Instant):
    """The machine of `goto`."""

    def compile(self, action: GotoAction, path: str, scope: Scope, nesting: Nesting) -> GotoAction:
        return action

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        action: GotoAction = node.body
        home = node.scope.find(action.step)
        assert home is not None, f"{path}: {action.step} is no step that a goto may lead to, and the linter let it pass"
        prefix = prefix_of(path, home[0].segments)
        visit = turn.visits(prefix, action.step) + 1
        target = join(prefix, action.step)
        if visit > action.max_visits:
            detail = f"{target} has begun {action.max_visits:,} times, which is the most that this goto allows; see its maxVisits"
            fail(turn, node, path, Fault("LimitExceeded", "A step was visited too often", detail))
            return
        words = f"on to {target}" + (f", visit {visit}" if visit > 1 else "")
        succeed(turn, path, **begun(turn, node) | {"deadline_at": None}, goto=target, reason=words)
