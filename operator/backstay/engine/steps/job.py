"""job: run a container to its end, as a Kubernetes Job. Each attempt is a Job of its own, made exactly once.

    state     on         becomes    then
    (new)     start      Running    the resolved action stands in the status until its Job is known to exist
    Running   succeeded  Succeeded  its Pod succeeded; the outputs are its termination message
    Running   failed     Retrying   where the retry policy says so, else a catch or Failed
    Retrying  due        Running    the next attempt: another Job
    Running   gone       Retrying   the Job was there and is no more (JobDeleted); the same attempt again where the run's deletion took it
    Running   held       Running    a quota, or a webhook that is down, holds it back: it waits, and its startTimeout does not run
    Running   disrupted  Running    its pod was evicted, its node lost: the Job controller runs another; told and counted
    Running   robbed     Retrying   its pod was taken away and the Job failed of it: the same attempt again, as another Job
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

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import orjson

from backstay.api.actions.job import JobAction
from backstay.api.base import format_duration
from backstay.api.faults import DISRUPTIONS
from backstay.engine.lifecycle import begin_stopping, begun, fail, note_unknown, succeed, unknown, waited
from backstay.engine.model import UNKNOWN, Fault, Hold, JobFact, JobState, Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.outputs import accepted
from backstay.engine.paths import finished_by
from backstay.engine.policies import attempts, editing
from backstay.engine.policies.disruption import MAX_DISRUPTIONS, delay_after, words_of
from backstay.engine.policies.sizes import too_large
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.turn import Turn
from backstay.engine.workspaces import Mounted, compile_mounts, resolve
from backstay.names import OUTPUT_LIMIT_BYTES, job_name

START_TIMEOUT: Final = timedelta(minutes=5)
CONFIRM_AFTER: Final = timedelta(seconds=10)
"""A Job's UID enters the status with the next write; a write of its own is made for a Job that runs longer than this."""
_TEXTS: Final = ("image", "working_dir")
_LISTS: Final = ("command", "args")


@dataclass(frozen=True, slots=True)
class Body:
    """The action with its expressions bound; texts and lists of texts apart, because they must become text."""

    texts: dict[str, Bound]
    lists: dict[str, tuple[Bound, ...]]
    env: tuple[tuple[str, Bound | None, Json], ...]
    env_from: Bound | None
    mounts: tuple[Mounted, ...]
    template: Bound | None
    plain: dict[str, Json]
    start_timeout: timedelta
    exit_codes: Mapping[int, str]
    """Error types by exit code."""


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
        env_from = bind([item.to_json() for item in action.env_from], scope) if action.env_from else None
        mounts = compile_mounts(action.workspaces, nesting.workspaces, scope)
        return Body(
            texts,
            lists,
            env,
            env_from,
            mounts,
            template,
            plain,
            action.start_timeout or nesting.defaults.start_timeout or START_TIMEOUT,
            {int(code): error for code, error in action.exit_codes.items()},
        )

    # ------------------------------------------------------------------------------------------------------ beginning

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        self._attempt(turn, node, path, 1, {"attempt_started_at": turn.now, **begun(turn, node, path)})

    def _attempt(self, turn: Turn, node: Node, path: str, attempt: int, changes: dict[str, Any], disruptions: int = 0) -> None:
        inputs = self._inputs(turn, node, path) | (node.tells(turn, path) if node.tells else {})
        if told := turn.undone(path):
            inputs["compensates"] = told
        if fault := too_large("job", inputs):
            fail(turn, node, path, fault)
            return
        turn.change_step(
            "AttemptStarted",
            path,
            phase=Phase.RUNNING,
            attempt=attempt,
            inputs=inputs,
            job=job_name(turn.identity.name, turn.identity.uid, path, attempt, disruptions),
            job_uid=None,
            due_at=None,
            **changes,
        )
        self._wake_for_timers(turn, node, turn.steps[path])
        turn.wake(turn.now + CONFIRM_AFTER)

    def _inputs(self, turn: Turn, node: Node, path: str) -> dict[str, Json]:
        """Resolve the action: what a deed needs stands in the written state until the deed is confirmed."""
        return editing.edited(turn, "job", path, self.resolved(turn, node, path)) | resolve(turn, node.body.mounts, path)

    def resolved(self, turn: Turn, node: Node, path: str) -> dict[str, Json]:
        body: Body = node.body
        names = {"working_dir": "workingDir"}
        inputs: dict[str, Json] = dict(body.plain)
        inputs |= {names.get(name, name): turn.evaluate_text(bound, path) for name, bound in body.texts.items()}
        inputs |= {name: [turn.evaluate_text(bound, path) for bound in items] for name, items in body.lists.items()}
        if body.env:
            inputs["env"] = [
                {"name": name, "value": turn.evaluate_text(bound, path)} if bound is not None else {"name": name, "valueFrom": source}
                for name, bound, source in body.env
            ]
        if body.env_from is not None:
            inputs["envFrom"] = turn.evaluate(body.env_from, path)
        if body.template is not None:
            inputs["template"] = turn.evaluate(body.template, path)
        return inputs

    # ------------------------------------------------------------------------------------------------------ going on

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        if record.phase is Phase.RETRYING:
            self._again(turn, node, record)
            return
        name = record.job or ""
        fact = own_fact(turn, record)
        refusal = turn.observations.refused.get(name)
        obstacle = turn.observations.held.get(name) if fact is None else None if fact.started else fact.stuck
        if fact is not None and fact.state is not JobState.ACTIVE:
            self._ended(turn, node, record, fact)
        elif fact is None and refusal is not None:
            fail(turn, node, record.path, Fault(refusal.type, "The Job was refused", refusal.detail))
        elif fact is None and (record.job_uid or name in turn.observations.vanished):
            self._deleted(turn, node, record)
        elif fact is not None and fact.lost is not None and fact.lost_pod != record.lost_pod:
            self._disrupted(turn, node, record, fact.lost, fact.lost_pod)
        elif fault := self._overdue(turn, node, record, fact, obstacle):
            begin_stopping(turn, node, record, Phase.FAILED, fault)
        else:
            self._watch(turn, node, record, fact, obstacle)

    def _again(self, turn: Turn, node: Node, record: StepRecord) -> None:
        """Another attempt; or the same one, which was disrupted: its attemptTimeout goes on, its startTimeout begins anew."""
        if record.then is Phase.RUNNING:
            changes = {"then": None, "starting_since": turn.now, "reason": f"again, after {words_of(record.disruptions)}"}
            self._attempt(turn, node, record.path, record.attempt, changes, record.disruptions)
        else:
            fresh = {"attempt_started_at": turn.now, "starting_since": None, "disruptions": 0}
            self._attempt(turn, node, record.path, record.attempt + 1, fresh)

    def _ended(self, turn: Turn, node: Node, record: StepRecord, fact: JobFact) -> None:
        output, error = read_output(fact)
        if fact.state is JobState.SUCCEEDED and error is None:
            output, error = accepted(node.declared, output)
        if fact.state is JobState.SUCCEEDED and error is None:
            succeed(turn, record.path, outputs=output, job_uid=fact.uid, error=None)
        elif error is None and fact.fault is not None and fact.fault.type in DISRUPTIONS:
            self._robbed(turn, node, record, fact.fault, fact.lost_pod)
        else:
            if fact.state is JobState.SUCCEEDED and error is not None and error.type == "InvalidOutput":
                note_unknown(turn, record, "its container ended well, and what it left cannot be taken")
            fail(turn, node, record.path, error or _of_exit_code(node.body, fact) or Fault("ExitCode", "The container failed"))

    def _deleted(self, turn: Turn, node: Node, record: StepRecord) -> None:
        """Somebody deleted the Job; or the garbage collector did, because the run is deleted in the foreground while it is being undone, or carries a
        finally through."""
        detail = f"Job {record.job} was there and is no more; somebody deleted it before its result was known"
        fault = Fault("JobDeleted", "The Job was deleted", detail)
        goes_on = turn.run.phase in (Phase.COMPENSATING, Phase.FINISHING) or finished_by(record.path) is not None
        if goes_on and turn.observations.wish.delete:
            self._robbed(turn, node, record, fault, "")
        else:
            note_unknown(turn, record, "its Job is gone, and with it what its container would have said")
            fail(turn, node, record.path, fault)

    def _disrupted(self, turn: Turn, node: Node, record: StepRecord, fault: Fault, pod: str) -> None:
        """The Job controller runs another pod: tell, and count, for it would do so for ever."""
        count = record.disruptions + 1
        if count > MAX_DISRUPTIONS:
            begin_stopping(turn, node, record, Phase.FAILED, _too_many(fault, count))
            return
        words = f"{fault.type}: {fault.detail or fault.title}"
        message = f"Waiting for another pod: {words} ({words_of(count)}, at most {MAX_DISRUPTIONS})"
        told: dict[str, Any] = {"message": message, "held_since": turn.now, **_after_losing(turn, fault)}
        turn.change_step("StepDisrupted", record.path, disruptions=count, lost_pod=pod, reason=message, **told)

    def _robbed(self, turn: Turn, node: Node, record: StepRecord, fault: Fault, pod: str) -> None:
        """The Job has failed, because Kubernetes counts what happened as a failure of its pod: the engine runs the attempt again."""
        count = record.disruptions + (not pod or pod != record.lost_pod)
        if count > MAX_DISRUPTIONS:
            note_unknown(turn, record, "its pod was lost, and with it what its container would have said")
            fail(turn, node, record.path, _too_many(fault, count))
            return
        due = turn.now + delay_after(count)
        reason = f"{fault.type}: {fault.detail or fault.title} ({words_of(count)}, at most {MAX_DISRUPTIONS})"
        turn.change_step(
            "StepDisrupted",
            record.path,
            phase=Phase.RETRYING,
            then=Phase.RUNNING,
            error=fault,
            due_at=due,
            disruptions=count,
            lost_pod=None,
            held_since=None,
            message=None,
            inputs=None,
            reason=reason,
            **_after_losing(turn, fault),
        )
        turn.wake(due)

    def _overdue(self, turn: Turn, node: Node, record: StepRecord, fact: JobFact | None, obstacle: Fault | None) -> Fault | None:
        began = record.attempt_started_at
        if began is None:
            return None
        if node.attempt_timeout is not None and attempts.is_overdue(turn, node, record):
            took = format_duration(node.attempt_timeout)
            return Fault("Timeout", "The attempt took too long", f"it has not ended within {took}{waited(record)}; see its attemptTimeout")
        waits = obstacle is not None if fact is None else not (fact.started or fact.unexplained)
        is_held = record.held_since is not None or isinstance(obstacle, Hold)
        if waits and not is_held and (record.starting_since or began) + node.body.start_timeout <= turn.now:
            took = format_duration(node.body.start_timeout)
            stuck = obstacle or Fault("StartTimeout", "The pod did not start", "no container has begun to run")
            return Fault(
                stuck.type, stuck.title or "The pod did not start", f"{stuck.detail} (not started within {took}; see its startTimeout)"
            )
        return None

    def _watch(self, turn: Turn, node: Node, record: StepRecord, fact: JobFact | None, obstacle: Fault | None) -> None:
        """Nothing has ended: say what it waits for, and note the Job's UID in good time."""
        confirm_at = (record.attempt_started_at or turn.now) + CONFIRM_AFTER
        changes = self._waiting(turn, record, fact, obstacle)
        if fact is not None and record.job_uid is None:
            if changes or confirm_at <= turn.now or turn.is_short_of_room:
                changes |= {"job_uid": fact.uid, "inputs": None}
            else:
                turn.wake(confirm_at)
        if changes:
            words = changes.get("message", record.message)
            kind = "JobSeen" if fact is not None else "JobHeld"
            record = turn.change_step(kind, record.path, reason=words or ("" if "job_uid" in changes else "it goes on"), **changes)
        self._wake_for_timers(turn, node, record)

    def _waiting(self, turn: Turn, record: StepRecord, fact: JobFact | None, obstacle: Fault | None) -> dict[str, Any]:
        """Return what changes of what it waits for. While nobody knows why there is no Job, or no pod yet, it waits for what it did."""
        if obstacle is None and (fact is None or fact.unexplained):
            return {}
        words = _words_of(obstacle)
        if words and record.message and words.partition(":")[0] == record.message.partition(":")[0]:
            words = record.message  # the same is said in ever new words: no write for that
        changes: dict[str, Any] = {} if words == record.message else {"message": words}
        if isinstance(obstacle, Hold) and record.held_since is None:
            changes["held_since"] = turn.now
        elif record.held_since is not None and not isinstance(obstacle, Hold):
            changes |= {"held_since": None, "starting_since": turn.now}
        return changes

    def _wake_for_timers(self, turn: Turn, node: Node, record: StepRecord) -> None:
        began = record.attempt_started_at or turn.now
        start = None if record.held_since else (record.starting_since or began) + node.body.start_timeout
        for moment in (attempts.ends_at(node, record), start):
            if moment is not None and moment > turn.now:
                turn.wake(moment)

    # ------------------------------------------------------------------------------------------------------- stopping

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        fact = own_fact(turn, record)
        if fact is None:
            return True
        if fact.state is JobState.SUCCEEDED:
            self._late_success(turn, record, fact)
            return True
        if fact.state is JobState.ACTIVE and fact.started and record.outcome != UNKNOWN:
            note_unknown(turn, record, "its container has started after all")
        return fact.state is JobState.FAILED

    def _late_success(self, turn: Turn, record: StepRecord, fact: JobFact) -> None:
        """It was done before it could be stopped: that counts, unless the attempt had timed out; then it is recorded and not believed."""
        output, error = read_output(fact)
        if error is None and record.then is not Phase.FAILED:
            succeed(turn, record.path, outputs=output, job_uid=fact.uid)
        elif error is None:
            done = {} if record.outcome == UNKNOWN else unknown(turn)  # when it was cut off, nothing was seen of its container yet
            reason = "it succeeded after it had timed out; that is not believed"
            turn.change_step("LateResult", record.path, job_uid=fact.uid, reason=reason, **done)

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return record.outputs


def _words_of(obstacle: Fault | None) -> str | None:
    if obstacle is None:
        return None
    return f"{obstacle.title if isinstance(obstacle, Hold) else obstacle.type}: {obstacle.detail}"


def _of_exit_code(body: Body, fact: JobFact) -> Fault | None:
    """Return why a Job failed: by its container's exit code, where the step says what that means."""
    named = body.exit_codes.get(fact.exit_code or 0)
    return fact.fault if named is None or fact.fault is None else Fault(named, fact.fault.title, fact.fault.detail)


def _after_losing(turn: Turn, fault: Fault) -> dict[str, Any]:
    """Return what changes of an attempt whose pod is lost; one that its node turned away has not begun."""
    return {} if fault.type == "Unschedulable" else unknown(turn)


def _too_many(fault: Fault, count: int) -> Fault:
    detail = f"{fault.detail or fault.title}; this attempt was disrupted {count} times, of at most {MAX_DISRUPTIONS}"
    return Fault(fault.type, fault.title, detail)


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
