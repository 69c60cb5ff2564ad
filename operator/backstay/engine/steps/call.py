"""What the kinds share whose work the operator does itself, by a call to somebody else: an HTTP request, a change of a resource.

    state     on         becomes    then
    (new)     start      Running    the resolved call stands in the status; it is made once that is written
    Running   answered   Succeeded  with its outputs
    Running   refused    Retrying   where the retry policy says so, not before the time that the other side asked for; else a catch or Failed
    Retrying  due        Running    the next attempt
    Running   timeout    Stopping   attemptTimeout or timeout is over: the call is ended, then it failed
    Running   stop       Stopping   the call is ended
    Stopping  gone       Cancelled  nobody makes the call any more
    Stopping  answered   Succeeded  it was done before it could be stopped; what was done counts, and can be undone

A call lives in the operator's memory. Should the operator die, the next one makes it again, under the same name and with the same
idempotency key: whoever is called must know a repeated key, as with any at-least-once delivery.

Example:
    - name: charge
      http: {method: POST, url: "https://pay.example.com/charges", body: {order: "${params.orderId}"}}
      retry: {maxAttempts: 3, errors: [Transient]}
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from backstay.api.base import format_duration
from backstay.engine.lifecycle import begin_stopping, begun, fail, note_unknown, succeed
from backstay.engine.model import CallFact, CallState, Fault, Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.outputs import accepted
from backstay.engine.policies import attempts
from backstay.engine.policies.sizes import too_large
from backstay.engine.scopes import Scope
from backstay.engine.turn import Turn
from backstay.names import job_name


class Call(ABC):
    """The machine of a kind that works by calls. A kind says how its action is compiled, and what a call needs to be made."""

    works = True

    @abstractmethod
    def compile(self, action: Any, path: str, scope: Scope, nesting: Nesting) -> Any:
        """Turn the action's model into the node's body. Raises InvalidExpression."""

    @abstractmethod
    def inputs(self, turn: Turn, node: Node, path: str) -> Mapping[str, Json]:
        """Resolve the action: all that the executor needs, as JSON, and nothing that is secret. Raises EvaluationError."""

    def judge(self, turn: Turn, node: Node, record: StepRecord, outputs: Json) -> tuple[Json, Fault | None]:
        """Look at what a call came to: what is kept of it as outputs, or a fault that makes the attempt fail. Must not raise."""
        return outputs, None

    def is_unanswered(self, fact: CallFact) -> bool:
        """Tell whether a call may have reached the other side, which did not say what became of it."""
        return fact.unanswered

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        self._attempt(turn, node, path, 1, begun(turn, node, path))

    def _attempt(self, turn: Turn, node: Node, path: str, attempt: int, changes: Mapping[str, Any]) -> None:
        inputs = dict(self.inputs(turn, node, path)) | (node.tells(turn, path) if node.tells else {})
        if fault := too_large(f"{node.kind} call", inputs):
            fail(turn, node, path, fault)
            return
        record = turn.change_step(
            "AttemptStarted",
            path,
            phase=Phase.RUNNING,
            attempt=attempt,
            attempt_started_at=turn.now,
            inputs=inputs,
            call=job_name(turn.identity.name, turn.identity.uid, path, attempt),
            due_at=None,
            **changes,
        )
        attempts.wake_at_end(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        if record.phase is Phase.RETRYING:
            self._attempt(turn, node, record.path, record.attempt + 1, {})
            return
        fact = turn.observations.calls.get(record.call or "")
        if fact is not None and fact.state is not CallState.ACTIVE:
            self._answered(turn, node, record, fact)
        elif attempts.is_overdue(turn, node, record):
            took = format_duration(node.attempt_timeout or timedelta())
            detail = f"it has not ended within {took}{_waiting(record)}; see its attemptTimeout"
            begin_stopping(turn, node, record, Phase.FAILED, Fault("Timeout", "The attempt took too long", detail))
        else:
            if fact is not None and fact.message != record.message:
                record = turn.change_step("CallWaits", record.path, message=fact.message, reason=fact.message or "it goes on")
            attempts.wake_at_end(turn, node, record)

    def _answered(self, turn: Turn, node: Node, record: StepRecord, fact: CallFact) -> None:
        outputs, fault = (None, fact.fault) if fact.state is CallState.FAILED else self.judge(turn, node, record, fact.outputs)
        if fact.state is CallState.SUCCEEDED and fault is None:
            outputs, fault = accepted(node.declared, outputs)
        if fact.state is CallState.SUCCEEDED and fault is None:
            succeed(turn, record.path, outputs=outputs, error=None)
            return
        if self.is_unanswered(fact):
            note_unknown(turn, record, "no answer came, and what was asked for may have been done")
        elif fact.state is CallState.SUCCEEDED and fault is not None and fault.type == "InvalidOutput":
            note_unknown(turn, record, "it was answered well, and what was answered cannot be taken")
        pause = None if fact.retry_after_seconds is None else timedelta(seconds=fact.retry_after_seconds)
        fail(turn, node, record.path, fault or Fault("CallFailed", "The call failed"), after=pause)

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        fact = turn.observations.calls.get(record.call or "")
        if fact is None:
            return True
        outputs, fault = self.judge(turn, node, record, fact.outputs) if fact.state is CallState.SUCCEEDED else (None, fact.fault)
        if fact.state is CallState.SUCCEEDED and fault is None and record.then is not Phase.FAILED:
            succeed(turn, record.path, outputs=outputs)
        elif fact.state is CallState.SUCCEEDED and fault is None:
            turn.change_step("LateResult", record.path, reason="it succeeded after it had timed out; that is not believed")
        return fact.state is not CallState.ACTIVE

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return record.outputs


def _waiting(record: StepRecord) -> str:
    return f" ({record.message})" if record.message else ""
