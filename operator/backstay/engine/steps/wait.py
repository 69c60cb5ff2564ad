"""wait: let time pass, for a while or until a moment.

    state     on         becomes    then
    (new)     start      Waiting    due = the moment, or now + duration
    Waiting   due        Succeeded
    Waiting   suspend    Waiting    a due time that falls into a suspension waits for its end
    Waiting   stop       Cancelled

Example:
    - {name: cool-down, wait: {duration: 10m}}
"""

from dataclasses import dataclass
from datetime import datetime

from backstay.api.base import format_duration, parse_duration
from backstay.api.steps import WaitAction
from backstay.engine import codec
from backstay.engine.lifecycle import begun, succeed
from backstay.engine.model import Phase, StepRecord
from backstay.engine.node import Instant, Nesting, Node
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError


@dataclass(frozen=True, slots=True)
class Body:
    """Exactly one of the two is there."""

    duration: Bound | None
    until: Bound | None


class Wait(Instant):
    """The machine of `wait`."""

    def compile(self, action: WaitAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        return Body(
            None if action.duration is None else bind(action.duration, scope), None if action.until is None else bind(action.until, scope)
        )

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        due, words = self._due(turn, node, path)
        record = turn.change_step("StepWaiting", path, phase=Phase.WAITING, due_at=due, message=words, reason=words, **begun(turn, node))
        self.proceed(turn, node, record)

    def _due(self, turn: Turn, node: Node, path: str) -> tuple[datetime, str]:
        body: Body = node.body
        try:
            if body.duration is not None:
                duration = parse_duration(turn.evaluate(body.duration, path))
                return turn.now + duration, f"waits for {format_duration(duration)}"
            assert body.until is not None
            moment = codec.time_from_json(turn.evaluate_text(body.until, path))
            return moment, f"waits until {codec.time_to_json(moment)}"
        except (ValueError, OverflowError) as error:
            raise EvaluationError(f"wait: {error}") from error

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        if turn.is_due(record.due_at):
            succeed(turn, record.path)
