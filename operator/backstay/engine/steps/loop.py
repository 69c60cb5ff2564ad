"""while: the same steps again and again, while a condition holds or until one does.

    state     on         becomes    then
    (new)     start      Running    the condition is looked at; the first iteration begins
    Running   ended      Running    `condition` is true again, or `until` is not yet true: the next iteration begins
    Running   enough     Succeeded  `condition` is false, or `until` is true
    Running   failed     Failed     a step of the iteration failed, and nobody caught it
    Running   too often  Failed     more iterations than maxIterations (LimitExceeded)
    Running   stop       Stopping   the iteration that goes on is stopped

Example:
    - name: poll
      while:
        until: ${ steps.ask.outputs.ready }
        maxIterations: 100
        steps:
        - {name: ask, job: {image: "shop/carrier:1"}}
        - {name: pause, wait: {duration: 10s}}
"""

from dataclasses import dataclass

from backstay.api.actions.iteration import While
from backstay.engine import lifecycle
from backstay.engine.compensation import holds_something
from backstay.engine.iterations import Progress, forget_oldest, progress_of, stop_iterations, too_many
from backstay.engine.lifecycle import Outcome, advance_list, begun, succeed
from backstay.engine.model import Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import iteration
from backstay.engine.scopes import INDEX, Bound, Scope, bind
from backstay.engine.steps.block import outputs_of
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Body:
    """The steps of an iteration; exactly one of the conditions is there."""

    nodes: tuple[Node, ...]
    condition: Bound | None
    until: Bound | None
    most: int
    keeps: bool
    """Whether something inside says how to undo it: then no iteration is forgotten that may have to be undone."""


class Loop:
    """The machine of `while`."""

    works = False

    def compile(self, action: While, path: str, scope: Scope, nesting: Nesting) -> Body:
        nodes = nesting.steps(action.steps, path, scope, (INDEX,), iterated=_nothing)
        before = Scope(scope.segments, scope, (INDEX,))
        return Body(
            nodes,
            None if action.condition is None else bind(action.condition, before),
            None if action.until is None else bind(action.until, nodes[0].scope),
            action.max_iterations,
            nesting.undoes_inside(path),
        )

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        goes = self._goes_on(turn, node, path, 0)
        first = begun(turn, node)
        if not goes:
            succeed(turn, path, **first, iterations={}, reason="its condition is false")
            return
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, iterations=Progress().started(1).to_json(), **first)
        self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        path = record.path
        while turn.steps[path].phase is Phase.RUNNING and not turn.is_ending:
            progress = progress_of(turn.steps[path])
            if not progress.active:
                self._next(turn, node, path, progress)
                return
            (index,) = progress.active
            outcome, fault, target = advance_list(turn, node.body.nodes, iteration(path, index))
            if target:
                lifecycle.leave(turn, node, turn.steps[path], target)
            if turn.is_ending or outcome is Outcome.GOING or turn.steps[path].phase is not Phase.RUNNING:
                return
            if outcome is Outcome.FAILED and fault is not None:
                lifecycle.fail(turn, node, path, fault)
                return
            self._settle(turn, node, path, progress, index, cancelled=outcome is Outcome.STOPPED)

    def _settle(self, turn: Turn, node: Node, path: str, progress: Progress, index: int, *, cancelled: bool) -> None:
        """An iteration has ended: count it, and begin the next one in the same entry, or be done."""
        holds = node.body.keeps and holds_something(turn.program, turn, iteration(path, index))
        after = progress.settled(index, None, cancelled=cancelled, holds=holds)
        enough = cancelled or not self._goes_on(turn, node, path, index + 1)
        after = forget_oldest(turn, path, after)
        if enough:
            succeed(turn, path, iterations=after.to_json())
        elif after.next >= node.body.most:
            lifecycle.fail(turn, node, path, too_many("iterations", after.next + 1, node.body.most, "see maxIterations"))
        elif turn.may_begin:
            turn.change_step("IterationStarted", path, iterations=after.started(1).to_json(), reason=f"[{after.next}]")
        else:
            turn.change_step("IterationEnded", path, iterations=after.to_json(), reason=f"[{index}]")

    def _next(self, turn: Turn, node: Node, path: str, progress: Progress) -> None:
        """Begin an iteration that had to wait, because the run was suspended or the turn was full."""
        if turn.may_begin:
            turn.change_step("IterationStarted", path, iterations=progress.started(1).to_json(), reason=f"[{progress.next}]")

    def _goes_on(self, turn: Turn, node: Node, path: str, index: int) -> bool:
        """Tell whether iteration `index` follows. Raises EvaluationError."""
        body: Body = node.body
        if body.condition is not None:
            return turn.holds(body.condition, path, "condition", index=index)
        assert body.until is not None
        return index == 0 or not turn.holds(body.until, iteration(path, index - 1), "until")

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        return stop_iterations(turn, node.body.nodes, record)

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        progress = progress_of(record)
        found: dict[str, Json] = {"iterations": progress.next}
        if progress.next:
            found["last"] = outputs_of(turn, node.body.nodes, iteration(record.path, progress.next - 1))
        return found


def _nothing(_turn: Turn, _path: str, _index: int) -> Json:
    """A loop has no items."""
    return None
