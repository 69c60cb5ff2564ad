"""race: several events, and the first one wins (deferred choice, workflow pattern 16; an event-based gateway in BPMN).

    state     on         becomes    then
    (new)     start      Running    every event is awaited
    Running   event      Running    `choice` says which was the first; in the same turn the others are cancelled; its steps begin
    Running   done       Succeeded  every step of that branch is done
    Running   failed     Failed     an event could not be awaited, or a step of the branch failed, and nobody caught it
    Running   goto       Stopping   a goto in the branch leads to a step outside
    Running   stop       Stopping   the events are no longer awaited, what runs of the branch is stopped

Of two events that are found to have happened, the one that fell due earlier wins; where both did at the same moment, the one written first.
An event is only opened when the race begins: it is here that it happens, so that no other can happen as well.

Example:
    - name: paid
      race:
      - {name: by-hand, wait: {condition: "${ vars.paid }"}, steps: [{name: thank, set: {thanked: true}}]}
      - {name: overdue, wait: {duration: 48h}, steps: [{name: late, fail: {error: PaymentOverdue}}]}
"""

from dataclasses import dataclass

from backstay.api.steps import RaceBranch, action_of, kind_of
from backstay.engine import lifecycle
from backstay.engine.lifecycle import advance, begun, open_event, stop_list
from backstay.engine.model import Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import join
from backstay.engine.scopes import Scope
from backstay.engine.steps.block import finish_list, outputs_of
from backstay.engine.turn import Turn


@dataclass(frozen=True, slots=True)
class Branch:
    """What is awaited, and the steps for when it happens first."""

    event: Node
    nodes: tuple[Node, ...]


class Race:
    """The machine of `race`."""

    works = False

    def compile(self, action: tuple[RaceBranch, ...], path: str, scope: Scope, nesting: Nesting) -> dict[str, Branch]:
        branches = {}
        for index, branch in enumerate(action):
            name = branch.name or str(index)
            event = nesting.event(kind_of(branch), action_of(branch), name, join(path, name), scope)
            branches[name] = Branch(event, nesting.steps(branch.steps or (), join(path, name), scope))
        return branches

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, **begun(turn, node))
        self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        if record.choice is not None:
            finish_list(turn, node, record, node.body[record.choice].nodes, join(record.path, record.choice))
            return
        winner = self._first(turn, node, record) if self._open(turn, node, record) else None
        if winner is None:
            return
        event = turn.steps[join(record.path, winner)]
        if event.phase is Phase.FAILED:
            lifecycle.begin_stopping(turn, node, record, Phase.FAILED, event.error)
            return
        self._close(turn, node, record)
        won = turn.change_step("RaceWon", record.path, choice=winner, reason=f"{winner} was the first")
        self.proceed(turn, node, won)

    def _open(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        """Begin to wait for every event. Returns whether all are open: none may win before."""
        opened = []
        for name, branch in node.body.items():
            opened.append(open_event(turn, branch.event, join(record.path, name)) is not None)
        return all(opened)

    def _first(self, turn: Turn, node: Node, record: StepRecord) -> str | None:
        """Look at the events in the order in which they would win; return the first that has happened, or one that cannot be awaited."""
        events = [(index, name, turn.steps[join(record.path, name)]) for index, name in enumerate(node.body)]
        for _, name, event in events:
            if event.phase is Phase.FAILED:
                return str(name)
        for _, _, name in sorted((event.due_at or turn.now, index, name) for index, name, event in events):
            looked_at = advance(turn, node.body[name].event, join(record.path, name))
            if looked_at is not None and looked_at.has_ended:
                return str(name)
        return None

    def _close(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        """Cancel the events that nobody waits for any more. Returns whether all have ended."""
        ended = True
        for name, branch in node.body.items():
            event = turn.steps.get(join(record.path, name))
            if event is not None and not event.has_ended:
                lifecycle.stop(turn, branch.event, event)
                ended = turn.steps[event.path].has_ended and ended
        return ended

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        ended = self._close(turn, node, record)
        if record.choice is None:
            return ended
        return stop_list(turn, node.body[record.choice].nodes, join(record.path, record.choice)) and ended

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        if record.choice is None:
            return {}
        return outputs_of(turn, node.body[record.choice].nodes, join(record.path, record.choice))
