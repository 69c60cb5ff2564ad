"""Why the Job of a step has not ended: it cannot be made, cannot start, or runs."""

from datetime import datetime
from typing import Final

from backstay.cli.views.seen import Run
from backstay.cli.views.text import length
from backstay.cli.views.why.answers import LATE, Answer, Cause, Evidence
from backstay.cli.views.why.words import MENDS, OPERATOR_MEND, age, going_for, in_namespace, logs, name_of, short
from backstay.engine.model import Fault, Hold, JobState, StepRecord
from backstay.executors.refusals import of_pod


def of_job(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    fact = evidence.jobs.get(record.job or "")
    if record.held_since is not None and record.message and (fact is None or (fact.state is JobState.ACTIVE and not fact.started)):
        return held(record, record.message, now)
    if fact is None:
        return _without_job(run, record, evidence, now)
    if fact.state is not JobState.ACTIVE:
        ended = f"the Job of {name_of(record)} has ended ({fact.state}), and the operator is about to read its result"
        return Answer(Cause.OPERATOR, ended, "", record.path)
    if not fact.started and evidence.warnings and record.job not in evidence.pods:
        refusal = of_pod(evidence.warnings[-1])
        if isinstance(refusal, Hold):
            return held(record, f"{refusal.title}: {refusal.detail}", now)
        return _stuck(run, record, refusal, evidence, now)
    if fact.stuck is not None and not fact.started:
        return _stuck(run, record, fact.stuck, evidence, now)
    if not fact.started:
        return Answer(Cause.POD_START, f"the pod of {name_of(record)} is starting{going_for(record, now)}", "", record.path)
    limit = f"; it times out in {length(record.deadline_at - now)}" if record.deadline_at and record.deadline_at > now else ""
    attempt = f" (attempt {record.attempt})" if record.attempt > 1 else ""
    return Answer(
        Cause.JOB,
        f"{name_of(record)} has been running for {age(record, now)}{attempt}{limit}",
        f"{logs(run, record, follow=True)} shows what it does",
        record.path,
    )


def _without_job(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    if evidence.warnings:
        return Answer(
            Cause.API, f"the Job of {name_of(record)} cannot be made: {short(evidence.warnings[-1])}", _warning_mend(evidence), record.path
        )
    if record.message:
        return _stuck(run, record, _fault_of(record.message), evidence, now)
    if not evidence.asked or record.job_uid is not None:
        words = (
            "its Job and pods may not be read with your rights" if not evidence.asked else "its Job is gone, and the operator will notice"
        )
        return Answer(Cause.JOB, f"{name_of(record)} has been running for {age(record, now)}; {words}", "", record.path)
    began = record.attempt_started_at or now
    sentence = f"the Job of {name_of(record)} is about to be created"
    return Answer(Cause.OPERATOR, sentence, OPERATOR_MEND if now - began > LATE else "", record.path)


def held(record: StepRecord, message: str, now: datetime) -> Answer:
    """Something stands in the way that passes by itself; who wants it to pass sooner is told how."""
    since = f" (for {length(now - record.held_since)})" if record.held_since else ""
    mend = next((mend for words, mend in _PASSING.items() if message.startswith(words)), "it goes on by itself once that has passed")
    return Answer(Cause.HOLD, f"{name_of(record)} is held back{since}: {short(message)}", mend, record.path)


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
    look = f"kubectl describe pod {pod}{in_namespace(run)}" if pod else f"kubectl describe job {record.job}{in_namespace(run)}"
    what = f"the pod of {name_of(record)} cannot start{going_for(record, now)}: {stuck.type}: {short(stuck.detail or stuck.title)}"
    return Answer(Cause.PERSON, what, f"{MENDS.get(stuck.type, 'mend what the message names')}; {look} shows more", record.path)
