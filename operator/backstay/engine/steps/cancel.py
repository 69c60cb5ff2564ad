"""cancel: end a step that goes on, with all that is in it; the run goes on after that step (workflow patterns 19 and 25).

    state     on         becomes    then
    (new)     start      Running    the step is stopped, wherever it goes on: in every iteration and lap
    (new)     idle       Succeeded  it does not go on: nothing happens
    Running   ended      Succeeded  the step has ended
    Running   stop       Cancelled  the step that is cancelled is around this one, or something else ended this one

What was completed inside the step stays done, and is undone with all else should the run fail.

Example:
    - {name: enough, cancel: {step: quotes/north/ask}}
"""

from collections.abc import Iterator

from backstay.api.actions.control import CancelAction
from backstay.engine import lifecycle
from backstay.engine.lifecycle import begun, succeed
from backstay.engine.model import Phase, StepRecord
from backstay.engine.node import Instant, Nesting, Node
from backstay.engine.paths import is_within, join, prefix_of, static
from backstay.engine.scopes import Scope
from backstay.engine.turn import Turn

KIND = "cancel"


class Cancel(Instant):
    """The machine of `cancel`."""

    def compile(self, action: CancelAction, path: str, scope: Scope, nesting: Nesting) -> CancelAction:
        return action

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        first = begun(turn, node)
        target = node.body.step
        if any(_going(turn, node, path)):
            turn.change_step("StepStarted", path, phase=Phase.RUNNING, reason=f"cancels {target}", **first)
        else:
            succeed(turn, path, **first | {"deadline_at": None}, reason=f"{target} does not go on; nothing is cancelled")

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        if not any(_going(turn, node, record.path)):
            succeed(turn, record.path)


def carry_out(turn: Turn) -> None:
    """Stop what the `cancel` steps that have begun are for. Done before the run is advanced, as that may be around the `cancel` itself."""
    for record in list(turn.steps.values()):
        if record.kind == KIND and record.phase is Phase.RUNNING and (node := turn.program.node(record.path)):
            for target in list(_going(turn, node, record.path)):
                if (aim := turn.program.node(target.path)) is not None and not turn.steps[target.path].has_ended:
                    lifecycle.cancel(turn, aim, turn.steps[target.path], f"cancelled by {record.path}", undo=node.body.compensate)


def _going(turn: Turn, node: Node, path: str) -> Iterator[StepRecord]:
    """The records of the step that is to be cancelled which have not ended, seen from the `cancel` at a path."""
    first, _, rest = node.body.step.partition("/")
    home = node.scope.find(first)
    assert home is not None, f"{path}: there is no step {first} to cancel, and the linter let it pass"
    prefix = prefix_of(path, home[0].segments)
    aim = join(static(join(prefix, first)), rest) if rest else static(join(prefix, first))
    return (
        record
        for record in turn.steps.values()
        if not record.has_ended
        and static(record.path) == aim
        and prefix_of(record.path, home[0].segments) == prefix
        and not _waits_for(record.path, path)
    )


def _waits_for(outer: str, path: str) -> bool:
    """Tell whether a step cannot end before the `cancel` at a path: it is around the finally that the `cancel` is in."""
    return is_within(path, outer) and ":finally/" in path[len(outer) :]
