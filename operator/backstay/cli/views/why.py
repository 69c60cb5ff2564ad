"""Why a run waits: one sentence, and what to do about it. Pure: what must be asked of the cluster comes in as evidence.

A reason is looked for in this order; the first that holds is the answer:

    it has ended · it has not begun (no workflow, no operator) · it is suspended · undoing is stuck · a step waits for something
    that a person must mend · a step is retried, waits, is stopped, runs · nothing goes on, although it should
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from backstay.api.faults import class_of
from backstay.cli.views import breaker, doubt, limits
from backstay.cli.views.seen import Run
from backstay.cli.views.text import clean, counted, length, listed, moment, one_line
from backstay.engine import codec, uncaught
from backstay.engine.compensation import kept, left, to_undo, why_left
from backstay.engine.conditions import going_on, stuck_at
from backstay.engine.model import Fault, Hold, JobFact, JobState, Phase, StepRecord
from backstay.engine.paths import undo_path, undone_by
from backstay.engine.policies import circuit, dead_letter
from backstay.engine.policies.disruption import MAX_DISRUPTIONS
from backstay.engine.policies.lock import is_waiting
from backstay.executors.refusals import of_pod
from backstay.names import ANNOTATION_RELEASE, workflow_semaphore

LATE: Final = timedelta(seconds=30)
"""After so long a delay the operator is to blame, not the load."""
CHILD_STEP: Final = ":child/"
"""Stands in the place of an error between a step and the place in its child run."""
_WORDS: Final = 600


class Cause(StrEnum):
    """What a run waits for, as one word for programs."""

    NOTHING = "Nothing"
    OPERATOR = "Operator"
    WORKFLOW = "Workflow"
    TURN = "Turn"
    LOCK = "Lock"
    CIRCUIT = "Circuit"
    RESUME = "Resume"
    PERSON = "Person"
    HOLD = "Hold"
    POD_START = "PodStart"
    API = "ApiServer"
    RETRY = "Retry"
    TIMER = "Timer"
    STOP = "Stop"
    JOB = "Job"
    STEP = "Step"
    FINALIZER = "Finalizer"


_URGENCY: Final = {
    cause: rank
    for rank, cause in enumerate(
        (
            Cause.PERSON,
            Cause.HOLD,
            Cause.API,
            Cause.OPERATOR,
            Cause.POD_START,
            Cause.RETRY,
            Cause.CIRCUIT,
            Cause.LOCK,
            Cause.STOP,
            Cause.JOB,
            Cause.STEP,
        )
    )
}
"""Which of several steps that go on at once to name first: what somebody must mend before what goes well; timers last."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the cluster was asked for besides the run: Jobs with what is seen of their pods by name, and warnings (newest last)."""

    jobs: Mapping[str, JobFact] = field(default_factory=dict)
    pods: Mapping[str, str] = field(default_factory=dict)
    """The name of the newest pod of a Job, by the name of the Job."""
    warnings: Sequence[str] = ()
    asked: bool = False
    """Whether Jobs and Pods could be asked for at all."""
    children: "Mapping[str, Answer]" = field(default_factory=dict)
    """Why child runs wait, by name."""
    semaphores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The Semaphores whose slots it waits for, by name."""
    breakers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The CircuitBreakers that it waits for, or has failed by, by name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Why a run waits. `mend` is empty where there is nothing to do but to wait."""

    cause: Cause
    sentence: str
    mend: str = ""
    step: str = ""
    until: datetime | None = None
    others: tuple[str, ...] = ()
    """Paths of the other steps that go on."""
    error: Mapping[str, Any] | None = None
    """Of a run that has failed: its error, with its class and the catches that were looked at."""

    def to_json(self) -> dict[str, Any]:
        """Return the answer as data."""
        found: dict[str, Any] = {"waitsFor": str(self.cause), "sentence": self.sentence, "mend": self.mend, "step": self.step}
        found["until"] = codec.time_to_json(self.until) if self.until else None
        return {**found, "others": list(self.others), **({"error": self.error} if self.error is not None else {})}


def why(run: Run, evidence: Evidence, now: datetime) -> Answer:
    """Return why a run waits, or that it does not."""
    record = run.state.run
    if record.is_finished:
        return _finished(run)
    if record.phase is None:
        return _not_begun(run, evidence, now)
    if record.suspended_at is not None:
        return _suspended(run, record.suspended_at, now)
    if run.program is not None and (stuck := stuck_at(run.program, run.state)) is not None:
        return _stalled(run, stuck)
    active = going_on(run.state)
    if not active:
        return _nothing_goes_on(run, now)
    answers = sorted((_step(run, step, evidence, now) for step in active), key=lambda item: _URGENCY.get(item.cause, len(_URGENCY)))
    first = answers[0]
    others = tuple(item.step for item in answers[1:])
    more = f" (and {counted(len(others), 'other step')} {'goes' if len(others) == 1 else 'go'} on: {listed(others)})" if others else ""
    return Answer(first.cause, _aim(run) + doubt.aim(run) + first.sentence + more, first.mend, first.step, first.until, others)


def _aim(run: Run) -> str:
    """What the run is about to do, where that is not going forward."""
    record = run.state.run
    if record.phase is Phase.COMPENSATING:
        return f"{_ending(run)} and is being undone: "
    if record.phase is Phase.FINISHING:
        return f"{_ending(run)} and does what comes last: "
    return f"{_ending(run)} and is stopping what still goes on: " if record.phase is Phase.STOPPING else ""


def _ending(run: Run) -> str:
    record = run.state.run
    why_words = f" ({_short(record.message, 160)})" if record.message else ""
    word = {
        Phase.FAILED: "the run has failed",
        Phase.SUCCEEDED: "the run has succeeded",
        Phase.CANCELLED: "the run was ended early",
        Phase.COMPENSATED: "the run had succeeded, is not wanted any more",
    }.get(record.result or Phase.FAILED, "the run ends")
    return word + why_words


# ------------------------------------------------------------------------------------------------------------ the whole run


def _finished(run: Run) -> Answer:
    record = run.state.run
    at = f" at {moment(record.finished_at)}" if record.finished_at else ""
    left = run.manifest["metadata"].get("finalizers") or ()
    if run.is_deleted and left:
        words = f"it has ended and was deleted, and waits for {'finalizers' if len(left) > 1 else 'the finalizer'} {listed(map(str, left))}"
        return Answer(Cause.FINALIZER, words, "whoever put a finalizer on takes it off; Backstay's own goes with a running operator")
    if record.phase is Phase.SUCCEEDED:
        return Answer(Cause.NOTHING, f"it waits for nothing: it succeeded{at}")
    if record.phase is Phase.COMPENSATED:
        return Answer(Cause.NOTHING, f"it waits for nothing: it had succeeded, and was undone{at} ({_short(record.message)})")
    fault = record.error
    if record.phase is Phase.CANCELLED:
        verb, words = "was ended early", _short(fault.detail if fault else record.message)
    else:
        verb, words = "failed", f"{fault.type}: {_short(fault.detail or fault.title)}".rstrip(": ") if fault else _short(record.message)
    told = _told(run, fault) if fault is not None and record.phase is Phase.FAILED else None
    story = "" if told is None or fault is None else _story(run, fault)
    sentence = f"it waits for nothing: it {verb}{at}{f' ({words})' if words else ''}{story}{_left_undone(run)}{doubt.left(run)}"
    return Answer(Cause.NOTHING, sentence, _mend_of_failure(run, fault), fault.step if fault else "", error=told)


def _story(run: Run, fault: Fault) -> str:
    """Say of which class an error is, where it was raised, and why nobody caught it."""
    kind = f"; it is {found}" if (found := class_of(fault.type)) else ""
    where = f"; raised by {fault.step}" if fault.step else ""
    return kind + (where if run.program is None else uncaught.words(run.program, run.state.steps, fault))


def _told(run: Run, fault: Fault) -> dict[str, Any]:
    """Return the same as data: the members of an error (RFC 9457, and two of our own), its class, and the catches that were looked at."""
    looked = [] if run.program is None else uncaught.looked_at(run.program, run.state.steps, fault)
    catches = [{"step": found.step, "catch": found.index, "why": found.why} for found in looked]
    return {**codec.fault_to_json(fault), "class": class_of(fault.type), "catches": catches}


def _mend_of_failure(run: Run, fault: Fault | None) -> str:
    """Say where to look: at what the step said, or, where it never ran, at what kept it from running."""
    if fault is not None and CHILD_STEP in fault.step:
        caller = run.state.steps.get(fault.step.partition(CHILD_STEP)[0])
        if caller is not None and caller.child:
            return f"`backstay why {caller.child}{_in(run)}` tells how the child run ended"
    failed = run.state.steps.get(fault.step) if fault else None
    node = run.program.node(fault.step) if fault is not None and run.program is not None else None
    if fault is not None and fault.type == circuit.CIRCUIT_OPEN and node is not None and node.circuit is not None:
        return f"kubectl describe circuitbreaker {node.circuit.name}{_in(run)} tells why; once it is closed, run it again"
    if fault is None or failed is None or not failed.job:
        return ""
    return _MENDS.get(fault.type) or f"{_logs(run, failed)} shows what step {failed.path} said"


def _left_undone(run: Run) -> str:
    if run.program is None or not run.state.run.compensate:
        return ""
    still = [record.path for record in to_undo(run.program, run.state)]
    stays = [f"{record.path} (the pivot {run.state.run.pivot} has succeeded)" for record in kept(run.program, run.state)]
    lost = [] if stays else [f"{record.path} ({why_left(run.state, record)})" for record in left(run.program, run.state)]
    return f"; NOT undone: {listed([*still, *stays, *lost])}" if still or stays or lost else ""


def _not_begun(run: Run, evidence: Evidence, now: datetime) -> Answer:
    said = run.conditions.get("Succeeded", {})
    reason, message = str(said.get("reason") or ""), _short(str(said.get("message") or ""))
    if reason in ("WorkflowNotFound", "WorkflowNotReady") and message:
        mend = "apply the Workflow, and the run begins by itself" if reason == "WorkflowNotFound" else "the operator is about to look at it"
        return Answer(Cause.WORKFLOW, f"it has not begun: {message}", mend)
    if reason == "Queued" and not run.suspend:
        words, mend = limits.queued_words(run, evidence.semaphores.get(workflow_semaphore(run.workflow)), now)
        return Answer(Cause.TURN, f"it has not begun: {words}", mend)
    if run.suspend:
        return Answer(Cause.RESUME, "it has not begun, because it was created suspended", f"backstay resume {run.name}{_in(run)}")
    waited = now - run.created_at if run.created_at else timedelta(0)
    if waited < LATE:
        return Answer(Cause.OPERATOR, f"it was created {length(waited)} ago, and the operator is about to look at it")
    return Answer(Cause.OPERATOR, f"it was created {length(waited)} ago, and no operator has looked at it", _OPERATOR_MEND)


_OPERATOR_MEND: Final = (
    "see that the operator runs and looks after this namespace: kubectl get pods -A -l app.kubernetes.io/name=backstay, or start one "
    "with `backstay operator`"
)


def _suspended(run: Run, since: datetime, now: datetime) -> Answer:
    active = [record.path for record in going_on(run.state) if record.phase in (Phase.RUNNING, Phase.STOPPING)]
    goes_on = f"; what runs goes on ({listed(active)})" if active else ""
    if not run.suspend:
        return Answer(Cause.OPERATOR, f"it was resumed, and the operator is about to go on{goes_on}", _OPERATOR_MEND)
    return Answer(
        Cause.RESUME,
        f"it has been suspended for {length(now - since)}, so nothing new starts{goes_on}",
        f"backstay resume {run.name}{_in(run)}",
    )


def _stalled(run: Run, stuck: StepRecord) -> Answer:
    error = f" ({stuck.error.type}: {_short(stuck.error.detail or stuck.error.title, 200)})" if stuck.error else ""
    tried = counted(stuck.attempt, "attempt")
    deadline = run.state.run.deadline_at
    limit = f"; it is given up at {moment(deadline)}" if deadline is not None else ""
    still = [record.path for record in to_undo(run.program, run.state)] if run.program is not None else []
    rest = f"; still to be undone: {listed(still)}" if still else ""
    sentence = f"{_name(stuck)} failed after {tried}{error} and waits for a person{rest}{limit}"
    release = f"kubectl annotate wfrun {run.name}{_in(run)} {ANNOTATION_RELEASE}=true"
    again = f"backstay retry {run.name} {stuck.path}{_in(run)}"
    skip = f"backstay skip {run.name} {stuck.path}{_in(run)}"
    mend = f"see what it said ({_logs(run, stuck)}), then `{again}`, or undo it by hand and `{skip}`; to let the whole run go: {release}"
    return Answer(Cause.PERSON, sentence, mend, stuck.path, deadline)


def _nothing_goes_on(run: Run, now: datetime) -> Answer:
    times = [time for record in run.state.steps.values() for time in (record.finished_at, record.started_at) if time is not None]
    newest = max([*times, *([run.state.run.started_at] if run.state.run.started_at else [])], default=None)
    since = now - newest if newest is not None else timedelta(0)
    if run.suspend:
        return Answer(Cause.RESUME, "it is about to be suspended", f"backstay resume {run.name}{_in(run)}")
    sentence = f"{_aim(run)}no step goes on; the last one ended {length(since)} ago, and the operator decides what comes next"
    return Answer(Cause.OPERATOR, sentence, _OPERATOR_MEND if since > LATE else "")


# -------------------------------------------------------------------------------------------------------------------- steps


def _step(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    match record.phase:
        case Phase.WAITING | Phase.RETRYING if circuit.is_waiting(record):
            return _broken(run, record, evidence, now)
        case Phase.RETRYING:
            return _retrying(run, record, now)
        case Phase.PAUSED:
            return _paused(run, record)
        case Phase.RUNNING | Phase.STOPPING if record.child is not None:
            return _child(run, record, evidence, now)
        case Phase.WAITING if is_waiting(record):
            return _locked_out(run, record, evidence, now)
        case Phase.WAITING:
            return _waiting(record, now)
        case Phase.STOPPING if record.call is not None:
            return Answer(Cause.STOP, f"{_name(record)} is being stopped; its call is being ended", "", record.path)
        case Phase.STOPPING:
            return Answer(Cause.STOP, f"{_name(record)} is being stopped; its pod gets time to end", "", record.path)
        case Phase.RUNNING if record.kind == "http" and not record.message and isinstance(record.inputs, Mapping):
            words = f"{_name(record)} waits for the answer to {_request(record.inputs)}{_since(record, now)}"
            return Answer(Cause.STEP, words, "", record.path, record.due_at)
        case Phase.RUNNING if record.job is not None:
            return _job(run, record, evidence, now)
        case _:
            words = f"{_name(record)} is {record.phase}{_since(record, now)}"
            return Answer(Cause.STEP, f"{words}: {_short(record.message)}" if record.message else words, "", record.path, record.due_at)


def _paused(run: Run, record: StepRecord) -> Answer:
    """Say what a person can do about a step, in the very commands."""
    error = f" ({record.error.type}: {_short(record.error.detail or record.error.title, 200)})" if record.error else ""
    tried = f" after {counted(record.attempt, 'attempt')}" if record.attempt else ""
    edited = f"; its action was edited {counted(len(record.edits), 'time')}" if record.edits else ""
    letter = f" (DeadLetter {record.letter['name']})" if dead_letter.is_open(record) and record.letter else ""
    sentence = f"{_name(record)} is paused{tried}{error} and waits for a person{letter}{edited}"
    return Answer(Cause.PERSON, sentence, ways_out(run, record), record.path)


def ways_out(run: Run, record: StepRecord) -> str:
    """Return the commands that bring a paused step on."""
    of = f"{run.name} {shlex.quote(clean(record.path))}{_in(run)}"
    look = f"see what it said ({_logs(run, record)}), then " if record.job else ""
    if dead_letter.is_open(record) and record.letter:
        letter = f"{record.letter['name']}{_in(run)}"
        return (
            f"{look}`backstay replay {letter}` tries it again (with --edit, changed), `backstay discard {letter} --reason …` lets it fail"
        )
    return (
        f"{look}`backstay retry {of}` tries it again (with --edit, changed), `backstay skip {of}` goes on without it (with --outputs, as if it "
        f"were done), `backstay give-up {of}` lets it fail"
    )


def _child(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    """Follow into the child run: what it waits for is what this run waits for."""
    below = evidence.children.get(record.child or "")
    stopping = (
        "until it is undone" if record.phase is Phase.STOPPING else "for" + _since(record, now).removeprefix(" (for").removesuffix(")")
    )
    if record.held_since is not None or (record.message and not record.stalled):
        return _held(record, record.message or "", now)
    if below is None:
        look = f"backstay why {record.child}{_in(run)}"
        words = _short(record.message) if record.message else f"{_name(record)} waits {stopping} for run {record.child}"
        return Answer(Cause.PERSON if record.stalled else Cause.STEP, words, look, record.path)
    return Answer(below.cause, f"{_name(record)} waits for run {record.child}: {below.sentence}", below.mend, record.path, below.until)


def _retrying(run: Run, record: StepRecord, now: datetime) -> Answer:
    what = f"{record.error.type}: {_short(record.error.detail or record.error.title, 200)}" if record.error else "an error"
    most = _most_attempts(run, record)
    if record.then is Phase.RUNNING:
        times = f"{counted(record.disruptions, 'disruption')}, at most {MAX_DISRUPTIONS}"
        when = f"in {length(record.due_at - now)}" if record.due_at and record.due_at > now else "now"
        sentence = f"{_name(record)} was disrupted ({what}), and the same attempt runs again {when} ({times})"
        return Answer(Cause.RETRY, sentence, "", record.path, record.due_at)
    attempt = f"attempt {record.attempt + 1}{f' of {most}' if most else ''}"
    due = record.due_at
    if due is None or due <= now:
        return _late(record, due, now, f"{_name(record)} failed ({what}); {attempt} is due", Cause.RETRY)
    sentence = f"{_name(record)} failed ({what}), and {attempt} begins in {length(due - now)}"
    return Answer(Cause.RETRY, sentence, f"{_logs(run, record)} shows what it said", record.path, due)


def _waiting(record: StepRecord, now: datetime) -> Answer:
    due = record.due_at
    if due is None:
        words = _short(record.message or "")
        limit = f"; it expires in {length(record.deadline_at - now)}" if record.deadline_at and record.deadline_at > now else ""
        waits = words if words.startswith("waits ") else f"waits{': ' if words else ''}{words}"
        return Answer(Cause.STEP, f"{_name(record)} {waits}{limit}", "", record.path)
    if due <= now:
        return _late(record, due, now, f"{_name(record)} has waited long enough", Cause.TIMER)
    return Answer(
        Cause.TIMER, f"{_name(record)} waits for time to pass: {length(due - now)} left, until {moment(due)}", "", record.path, due
    )


def _locked_out(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    words, mend = limits.lock_words(run, record, evidence.semaphores.get((record.lock or {}).get("name", "")), now)
    return Answer(Cause.LOCK, f"{_name(record)} {words}", mend, record.path, record.due_at)


def _broken(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    name = record.circuit or ""
    words, mend, until = breaker.waiting_words(name, run.namespace, evidence.breakers.get(name), record.message or "", now)
    limit = f"; it times out in {length(record.deadline_at - now)}" if record.deadline_at and record.deadline_at > now else ""
    return Answer(Cause.CIRCUIT, f"{_name(record)} {words}{limit}", mend, record.path, until)


def _late(record: StepRecord, due: datetime | None, now: datetime, sentence: str, cause: Cause) -> Answer:
    late = now - due if due is not None else timedelta(0)
    if late < LATE:
        return Answer(cause, f"{sentence}; it is about to go on", "", record.path, due)
    return Answer(Cause.OPERATOR, f"{sentence} since {length(late)}, and no operator has noticed", _OPERATOR_MEND, record.path, due)


def _job(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    fact = evidence.jobs.get(record.job or "")
    if record.held_since is not None and record.message and (fact is None or (fact.state is JobState.ACTIVE and not fact.started)):
        return _held(record, record.message, now)
    if fact is None:
        return _without_job(run, record, evidence, now)
    if fact.state is not JobState.ACTIVE:
        ended = f"the Job of {_name(record)} has ended ({fact.state}), and the operator is about to read its result"
        return Answer(Cause.OPERATOR, ended, "", record.path)
    if not fact.started and evidence.warnings and record.job not in evidence.pods:
        refusal = of_pod(evidence.warnings[-1])
        if isinstance(refusal, Hold):
            return _held(record, f"{refusal.title}: {refusal.detail}", now)
        return _stuck(run, record, refusal, evidence, now)
    if fact.stuck is not None and not fact.started:
        return _stuck(run, record, fact.stuck, evidence, now)
    if not fact.started:
        return Answer(Cause.POD_START, f"the pod of {_name(record)} is starting{_since(record, now)}", "", record.path)
    limit = f"; it times out in {length(record.deadline_at - now)}" if record.deadline_at and record.deadline_at > now else ""
    attempt = f" (attempt {record.attempt})" if record.attempt > 1 else ""
    return Answer(
        Cause.JOB,
        f"{_name(record)} has been running for {_age(record, now)}{attempt}{limit}",
        f"{_logs(run, record, follow=True)} shows what it does",
        record.path,
    )


def _without_job(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    if evidence.warnings:
        return Answer(
            Cause.API, f"the Job of {_name(record)} cannot be made: {_short(evidence.warnings[-1])}", _warning_mend(evidence), record.path
        )
    if record.message:
        return _stuck(run, record, _fault_of(record.message), evidence, now)
    if not evidence.asked or record.job_uid is not None:
        words = (
            "its Job and pods may not be read with your rights" if not evidence.asked else "its Job is gone, and the operator will notice"
        )
        return Answer(Cause.JOB, f"{_name(record)} has been running for {_age(record, now)}; {words}", "", record.path)
    began = record.attempt_started_at or now
    sentence = f"the Job of {_name(record)} is about to be created"
    return Answer(Cause.OPERATOR, sentence, _OPERATOR_MEND if now - began > LATE else "", record.path)


def _held(record: StepRecord, message: str, now: datetime) -> Answer:
    """Something stands in the way that passes by itself; who wants it to pass sooner is told how."""
    since = f" (for {length(now - record.held_since)})" if record.held_since else ""
    mend = next((mend for words, mend in _PASSING.items() if message.startswith(words)), "it goes on by itself once that has passed")
    return Answer(Cause.HOLD, f"{_name(record)} is held back{since}: {_short(message)}", mend, record.path)


_PASSING: Final = {
    "Waiting for quota": "it goes on by itself when there is room: raise the quota, or delete Jobs and runs that have ended",
    "Waiting for an admission webhook": "it goes on by itself when the webhook answers: look at the service that the message names",
    "Waiting for rights": "it goes on by itself once the right is granted",
    "Waiting for another pod": "it goes on by itself as soon as the old pod is surely gone; of a node that never comes back, delete the Node",
    "Waiting for the Job to be resumed": "it goes on by itself when the Job's spec.suspend is false again",
}


def _warning_mend(evidence: Evidence) -> str:
    text = evidence.warnings[-1]
    if "quota" in text:
        return "raise the quota, or wait until other pods have ended; it is tried again by itself"
    return "it is tried again by itself; mend what the message names"


def _fault_of(message: str) -> Fault:
    kind, _, detail = message.partition(": ")
    return Fault(kind if detail else "", "", detail or message)


def _stuck(run: Run, record: StepRecord, stuck: Fault, evidence: Evidence, now: datetime) -> Answer:
    pod = evidence.pods.get(record.job or "")
    look = f"kubectl describe pod {pod}{_in(run)}" if pod else f"kubectl describe job {record.job}{_in(run)}"
    what = f"the pod of {_name(record)} cannot start{_since(record, now)}: {stuck.type}: {_short(stuck.detail or stuck.title)}"
    return Answer(Cause.PERSON, what, f"{_MENDS.get(stuck.type, 'mend what the message names')}; {look} shows more", record.path)


_MENDS: Final = {
    "ImagePull": "mend the image's name in the workflow, push the image, or give the service account a pull secret",
    "Unschedulable": "free or add room in the cluster, lower the requests, or mend the node selector",
    "InvalidJob": "create the Secret, ConfigMap or service account that is missing, or mend the command in the workflow",
    "AdmissionDenied": "mend what the policy objects to in the workflow's job, or the policy",
}


# -------------------------------------------------------------------------------------------------------------------- words


def _name(record: StepRecord) -> str:
    undoes = undone_by(record.path)
    if undoes is not None:
        return f"undoing {clean(undoes)}" if record.path == undo_path(undoes) else f"step {clean(record.path)}"
    return f"step {clean(record.path)}"


def _request(inputs: Mapping[str, Any]) -> str:
    """Return what an http step asks for, without the query."""
    return _short(f"{inputs.get('method')} {str(inputs.get('url')).partition('?')[0]}", 200)


def _age(record: StepRecord, now: datetime) -> str:
    began = record.attempt_started_at or record.started_at
    return length(now - began) if began is not None else "some time"


def _since(record: StepRecord, now: datetime) -> str:
    began = record.attempt_started_at or record.started_at
    return f" (for {length(now - began)})" if began is not None else ""


def _most_attempts(run: Run, record: StepRecord) -> int:
    node = run.program.node(record.path) if run.program is not None else None
    is_counted = node is not None and node.retry is not None and not node.is_retriable and not node.retry.rules and not record.tries
    return node.retry.max_attempts if is_counted and node is not None and node.retry is not None else 0


def _logs(run: Run, record: StepRecord, *, follow: bool = False) -> str:
    return f"`backstay logs {run.name} {clean(record.path)}{_in(run)}{' -f' if follow else ''}`"


def _in(run: Run) -> str:
    return f" -n {run.namespace}" if run.namespace else ""


def _short(text: str, limit: int = _WORDS) -> str:
    return clean(one_line(text), limit)


def active_jobs(run: Run) -> Iterator[StepRecord]:
    """The steps whose Jobs the cluster should be asked about."""
    return (record for record in going_on(run.state) if record.job is not None)


def active_children(run: Run) -> Iterator[StepRecord]:
    """The steps whose child runs the cluster should be asked about."""
    return (record for record in going_on(run.state) if record.child is not None and record.held_since is None)


def awaited_semaphores(run: Run) -> set[str]:
    """The names of the Semaphores whose slots a run, or a step of it, waits for."""
    if run.is_finished:
        return set()
    if run.state.run.phase is None:
        return {workflow_semaphore(run.workflow)} if "Queued" in run.conditions and run.workflow else set()
    waiting = (record.lock or {} for record in going_on(run.state) if is_waiting(record))
    return {wanted["name"] for wanted in waiting if wanted.get("scope") != "Run"}


def awaited_breakers(run: Run) -> set[str]:
    """The names of the CircuitBreakers that steps of a run wait for."""
    return set() if run.is_finished else {record.circuit or "" for record in going_on(run.state) if circuit.is_waiting(record)}
