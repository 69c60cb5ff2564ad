"""wait: let time pass, for a while or until a moment; or wait until something holds.

    state     on         becomes    then
    (new)     start      Waiting    due = the moment, or now + duration
    Waiting   due        Succeeded
    Waiting   holds      Succeeded  the condition is true: it is looked at whenever the run has gone on as far as it goes
    Waiting   broken     Failed     the condition cannot be evaluated (ExpressionError)
    Waiting   suspend    Waiting    a due time that falls into a suspension waits for its end, and so does a condition
    Waiting   timeout    Failed     the step's own timeout is a condition's expiry
    Waiting   stop       Cancelled

Example:
    - {name: cool-down, wait: {duration: 10m}}
    - {name: paid, wait: {condition: "${ vars.paid }"}, timeout: 48h}
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backstay.api.base import format_duration, parse_duration
from backstay.api.steps import WaitAction
from backstay.engine import codec
from backstay.engine.lifecycle import begun, succeed
from backstay.engine.model import Phase, StepRecord
from backstay.engine.node import Instant, Nesting, Node
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError

MOST_WORDS: Final = 200


@dataclass(frozen=True, slots=True)
class Body:
    """Exactly one of the three is there."""

    duration: Bound | None
    until: Bound | None
    condition: Bound | None
    words: str


class Wait(Instant):
    """The machine of `wait`."""

    def compile(self, action: WaitAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        duration, until, condition = (
            None if value is None else bind(value, scope) for value in (action.duration, action.until, action.condition)
        )
        return Body(duration, until, condition, f"waits until {action.condition} holds"[:MOST_WORDS])

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        self.open(turn, node, path)
        self.proceed(turn, node, turn.steps[path])

    def open(self, turn: Turn, node: Node, path: str) -> None:
        due, words = self._due(turn, node, path)
        turn.change_step("StepWaiting", path, phase=Phase.WAITING, due_at=due, message=words, reason=words, **begun(turn, node))

    def _due(self, turn: Turn, node: Node, path: str) -> tuple[datetime | None, str]:
        body: Body = node.body
        if body.condition is not None:
            return None, body.words
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
        condition: Bound | None = node.body.condition
        is_over = turn.is_due(record.due_at)
        if condition is not None:
            is_over = not turn.is_suspended and turn.holds(condition, record.path, "wait.condition")
        if is_over:
            succeed(turn, record.path)
