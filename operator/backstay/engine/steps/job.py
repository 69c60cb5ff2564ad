"""job: run a container to its end, as a Kubernetes Job. Each attempt is a Job of its own, made exactly once.

    state     on         becomes    then
    (new)     start      Running    the resolved action stands in the status until its Job is known to exist
    Running   succeeded  Succeeded  its Pod succeeded; the outputs are its termination message
    Running   failed     Retrying   where the retry policy says so, else a catch or Failed
    Retrying  due        Running    the next attempt: another Job
    Running   gone       Retrying   the Job was there and is no more (JobDeleted)
    Running   timeout    Stopping   attemptTimeout, timeout or startTimeout is over: the Job is deleted, then it failed
    Running   stop       Stopping   the Job is deleted
    Stopping  gone       Cancelled  the Job and its Pods are gone
    Stopping  succeeded  Succeeded  it was done before it could be stopped; what was done counts, and can be undone

Example:
    - name: charge
      job: {image: "shop/pay:3", args: [charge, "${params.orderId}"]}
      retry: {maxAttempts: 3, errors: [Transient]}
      timeout: 10m
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from backstay.api.base import format_duration
from backstay.api.steps import JobAction
from backstay.engine.lifecycle import begin_stopping, begun, fail, succeed
from backstay.engine.model import Fault, JobFact, JobState, Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn
from backstay.names import OUTPUT_LIMIT_BYTES, job_name

START_TIMEOUT: Final = timedelta(minutes=5)
CONFIRM_AFTER: Final = timedelta(seconds=10)
"""A Job's UID enters the status with the next write; a write of its own is made for a Job that runs longer than this."""
MAX_INPUT_BYTES: Final = 128 * 1024
_TEXTS: Final = ("image", "working_dir")
_LISTS: Final = ("command", "args")


@dataclass(frozen=True, slots=True)
class Body:
    """The action with its expressions bound; texts and lists of texts apart, because they must become text."""

    texts: dict[str, Bound]
    lists: dict[str, tuple[Bound, ...]]
    env: tuple[tuple[str, Bound | None, Json], ...]
    template: Bound | None
    plain: dict[str, Json]
    start_timeout: timedelta


class Job:
    """The machine of `job`."""

    works = True

    def compile(self, action: JobAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        texts = {name: bind(getattr(action, name), scope) for name in _TEXTS if getattr(action, name) is not None}
        lists = {name: tuple(bind(item, scope, unexpanded) for item in getattr(action, name)) for name in _LISTS if getattr(action, name)}
        env = tuple(
            (
                item.name,
                None if item.value is None else bind(item.value, scope, unexpanded),
                item.value_from.to_json() if item.value_from else None,
            )
            for item in action.env
        )
        template = None if action.template is None else bind(action.template, scope, unexpanded)
        plain = action.model_dump(
            mode="json", by_alias=True, exclude_unset=True, include={"resources", "image_pull_policy", "service_account_name"}
        )
        return Body(texts, lists, env, template, plain, action.start_timeout or nesting.defaults.start_timeout or START_TIMEOUT)

    # ------------------------------------------------------------------------------------------------------ beginning

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        self._attempt(turn, node, path, 1, begun(turn, node))

    def _attempt(self, turn: Turn, node: Node, path: str, attempt: int, changes: dict[str, Any]) -> None:
        inputs = self._inputs(turn, node.body, path)
        size = len(orjson.dumps(inputs))
        if size > MAX_INPUT_BYTES:
            detail = f"the resolved job takes {size:,} bytes of at most {MAX_INPUT_BYTES:,}; hand large data over by reference"
            fail(turn, node, path, Fault("LimitExceeded", "Too much data for a job", detail))
            return
        turn.change_step(
            "AttemptStarted",
            path,
            phase=Phase.RUNNING,
            attempt=attempt,
            attempt_started_at=turn.now,
            inputs=inputs,
            job=job_name(turn.identity.name, turn.identity.uid, path, attempt),
            job_uid=None,
            due_at=None,
            **changes,
        )
        self._wake_for_timers(turn, node, turn.now)
        turn.wake(turn.now + CONFIRM_AFTER)

    def _inputs(self, turn: Turn, body: Body, path: str) -> dict[str, Json]:
        """Resolve the action: what a deed needs stands in the written state until the deed is confirmed."""
        names = {"working_dir": "workingDir"}
        inputs: dict[str, Json] = dict(body.plain)
        inputs |= {names.get(name, name): turn.evaluate_text(bound, path) for name, bound in body.texts.items()}
        inputs |= {name: [turn.evaluate_text(bound, path) for bound in items] for name, items in body.lists.items()}
        if body.env:
            inputs["env"] = [
                {"name": name, "value": turn.evaluate_text(bound, path)} if bound is not None else {"name": name, "valueFrom": source}
                for name, bound, source in body.env
            ]
        if body.template is not None:
            inputs["template"] = turn.evaluate(body.template, path)
        return inputs

    # ------------------------------------------------------------------------------------------------------ going on

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        if record.phase is Phase.RETRYING:
            self._attempt(turn, node, record.path, record.attempt + 1, {})
            return
        name = record.job or ""
        fact = own_fact(turn, record)
        refusal = turn.observations.refused.get(name)
        if fact is not None and fact.state is not JobState.ACTIVE:
            self._ended(turn, node, record, fact)
        elif fact is None and refusal is not None:
            fail(turn, node, record.path, Fault(refusal.type, "The Job was refused", refusal.detail))
        elif fact is None and (record.job_uid or name in turn.observations.vanished):
            detail = f"Job {name} was there and is no more; somebody deleted it before its result was known"
            fail(turn, node, record.path, Fault("JobDeleted", "The Job was deleted", detail))
        elif fault := self._overdue(turn, node, record, fact):
            begin_stopping(turn, node, record, Phase.FAILED, fault)
        else:
            self._watch(turn, node, record, fact)

    def _ended(self, turn: Turn, node: Node, record: StepRecord, fact: JobFact) -> None:
        output, error = read_output(fact)
        if fact.state is JobState.SUCCEEDED and error is None:
            succeed(turn, record.path, outputs=output, job_uid=fact.uid, error=None)
        else:
            fail(turn, node, record.path, error or fact.fault or Fault("ExitCode", "The container failed"))

    def _overdue(self, turn: Turn, node: Node, record: StepRecord, fact: JobFact | None) -> Fault | None:
        began = record.attempt_started_at
        if began is None:
            return None
        if node.attempt_timeout is not None and began + node.attempt_timeout <= turn.now:
            took = format_duration(node.attempt_timeout)
            return Fault("Timeout", "The attempt took too long", f"it has not ended within {took}; see its attemptTimeout")
        if fact is not None and not fact.started and began + node.body.start_timeout <= turn.now:
            took = format_duration(node.body.start_timeout)
            stuck = fact.stuck or Fault("StartTimeout", "The pod did not start", "no container has begun to run")
            return Fault(
                stuck.type, stuck.title or "The pod did not start", f"{stuck.detail} (not started within {took}; see its startTimeout)"
            )
        return None

    def _watch(self, turn: Turn, node: Node, record: StepRecord, fact: JobFact | None) -> None:
        """Nothing has ended: say what it waits for, and note the Job's UID in good time."""
        began = record.attempt_started_at or turn.now
        self._wake_for_timers(turn, node, began)
        if fact is None:
            return
        words = f"{fact.stuck.type}: {fact.stuck.detail}" if fact.stuck and not fact.started else None
        if words and record.message and words.partition(":")[0] == record.message.partition(":")[0]:
            words = record.message  # the kubelet says the same in ever new words: no write for that
        if record.job_uid is None and (began + CONFIRM_AFTER <= turn.now or words):
            turn.change_step("JobSeen", record.path, job_uid=fact.uid, inputs=None, message=words, reason=words or "")
        elif record.message != words:
            turn.change_step("JobSeen", record.path, message=words, reason=words or "it runs")
        elif record.job_uid is None:
            turn.wake(began + CONFIRM_AFTER)

    def _wake_for_timers(self, turn: Turn, node: Node, began: datetime) -> None:
        for limit in (node.attempt_timeout, node.body.start_timeout):
            if limit is not None and began + limit > turn.now:
                turn.wake(began + limit)

    # ------------------------------------------------------------------------------------------------------- stopping

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        fact = own_fact(turn, record)
        if fact is None:
            return True
        if fact.state is JobState.SUCCEEDED:
            self._late_success(turn, record, fact)
            return True
        return fact.state is JobState.FAILED

    def _late_success(self, turn: Turn, record: StepRecord, fact: JobFact) -> None:
        """It was done before it could be stopped: that counts, unless the attempt had timed out; then it is recorded and not believed."""
        output, error = read_output(fact)
        if error is None and record.then is not Phase.FAILED:
            succeed(turn, record.path, outputs=output, job_uid=fact.uid)
        elif error is None:
            turn.change_step(
                "LateResult", record.path, job_uid=fact.uid, reason="it succeeded after it had timed out; that is not believed"
            )

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return record.outputs


def own_fact(turn: Turn, record: StepRecord) -> JobFact | None:
    """Return what is seen of an attempt's Job. One of the same name and another UID is not it: ours was deleted."""
    fact = turn.observations.jobs.get(record.job or "")
    return fact if fact is None or record.job_uid in (None, fact.uid) else None


def unexpanded(data: str) -> str:
    """Keep Kubernetes from expanding `$(NAME)` in a run's data: `$(DB_PASSWORD)` as a parameter must not become the password.

    What the author of the workflow wrote is expanded as in any Pod (k8s.io/api/core/v1, Container.args: `$$(NAME)` is `$(NAME)`).
    """
    return data.replace("$(", "$$(")


def read_output(fact: JobFact) -> tuple[Json, Fault | None]:
    """Read what a container left in its termination message: outputs, or a business error, or InvalidOutput (DESIGN §4)."""
    text = (fact.output or "").strip()
    if not text:
        return None, None
    size = len(text.encode())
    if size >= OUTPUT_LIMIT_BYTES:
        detail = f"the output takes {size:,} bytes or more of at most {OUTPUT_LIMIT_BYTES - 1:,}; hand large data over by reference"
        return None, _invalid(fact, detail)
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return None, _invalid(fact, f"the output is no JSON ({error}); found {_excerpt(text)}; write one JSON object to $BACKSTAY_OUTPUT")
    if not isinstance(found, dict):
        return None, _invalid(fact, f"the output is no JSON object; found {_excerpt(text)}; write an object to $BACKSTAY_OUTPUT")
    if "error" not in found:
        return found, None
    return None, _business_error(fact, found["error"])


def _business_error(fact: JobFact, error: Json) -> Fault | None:
    named = isinstance(error, dict) and isinstance(error.get("type"), str) and 0 < len(error["type"]) <= 63
    if not named:
        return _invalid(
            fact, f'"error" in the output must be an object with a type of at most 63 characters; found {_excerpt(json_text(error))}'
        )
    return Fault(error["type"], "Reported by the container", str(error.get("message", ""))[:2048])


def _invalid(fact: JobFact, detail: str) -> Fault | None:
    """A failed container's own failure says more than the form of what it wrote."""
    return None if fact.state is JobState.FAILED else Fault("InvalidOutput", "The output cannot be read", detail)


def json_text(value: Json) -> str:
    """Return a value as JSON text."""
    return orjson.dumps(value).decode()


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
