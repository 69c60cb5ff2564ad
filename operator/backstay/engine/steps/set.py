"""set: give variables values. All expressions of one `set` see the variables as they were before it.

    state     on         becomes    then
    (new)     start      Succeeded  the variables have their new values, in the order of the journal

Example:
    - {name: total, set: {total: "${ vars.total + params.amount }", checked: true}}
"""

from typing import Final

import orjson

from backstay.engine.lifecycle import begun, fail, succeed
from backstay.engine.model import Fault, Json
from backstay.engine.node import Instant, Nesting, Node
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn

MAX_BYTES: Final = 64 * 1024
"""All variables of a run together, as JSON: they live in its status (DESIGN, promise 8)."""


class Set(Instant):
    """The machine of `set`."""

    def compile(self, action: dict[str, Json], path: str, scope: Scope, nesting: Nesting) -> Bound:
        return bind(action, scope)

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        values = turn.evaluate(node.body, path)
        size = len(orjson.dumps({**turn.run.vars, **values}))
        if size > MAX_BYTES:
            detail = (
                f"the run's variables would take {size:,} bytes of at most {MAX_BYTES:,}; keep large data in a volume or an object store"
            )
            fail(turn, node, path, Fault("LimitExceeded", "Too much data in variables", detail))
            return
        turn.change_run("VariablesSet", reason=", ".join(sorted(values)), vars=values)
        succeed(turn, path, **begun(turn, node) | {"deadline_at": None})
