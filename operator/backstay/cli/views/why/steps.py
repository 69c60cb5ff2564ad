"""Why a step waits."""

import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta

from backstay.cli.views import breaker, limits
from backstay.cli.views.seen import Run
from backstay.cli.views.text import clean, counted, length, moment
from backstay.cli.views.why.answers import LATE, Answer, Cause, Evidence
from backstay.cli.views.why.jobs import held, of_job
from backstay.cli.views.why.words import OPERATOR_MEND, going_for, in_namespace, logs, most_attempts, name_of, request_of, see_logs, short
from backstay.engine.model import Phase, StepRecord
from backstay.engine.policies import circuit, dead_letter
from backstay.engine.policies.disruption import MAX_DISRUPTIONS
from backstay.engine.policies.lock import is_waiting


def of_step(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
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
            return Answer(Cause.STOP, f"{name_of(record)} is being stopped; its call is being ended", "", record.path)
        case Phase.STOPPING:
            return Answer(Cause.STOP, f"{name_of(record)} is being stopped; its pod gets time to end", "", record.path)
        case Phase.RUNNING if record.kind == "http" and not record.message and isinstance(record.inputs, Mapping):
            words = f"{name_of(record)} waits for the answer to {request_of(record.inputs)}{going_for(record, now)}"
            return Answer(Cause.STEP, words, "", record.path, record.due_at)
        case Phase.RUNNING if record.job is not None:
            return of_job(run, record, evidence, now)
        case _:
            words = f"{name_of(record)} is {record.phase}{going_for(record, now)}"
            return Answer(Cause.STEP, f"{words}: {short(record.message)}" if record.message else words, "", record.path, record.due_at)


def _paused(run: Run, record: StepRecord) -> Answer:
    """Say what a person can do about a step, in the very commands."""
    error = f" ({record.error.type}: {short(record.error.detail or record.error.title, 200)})" if record.error else ""
    tried = f" after {counted(record.attempt, 'attempt')}" if record.attempt else ""
    edited = f"; its action was edited {counted(len(record.edits), 'time')}" if record.edits else ""
    letter = f" (DeadLetter {record.letter['name']})" if dead_letter.is_open(record) and record.letter else ""
    sentence = f"{name_of(record)} is paused{tried}{error} and waits for a person{letter}{edited}"
    return Answer(Cause.PERSON, sentence, ways_out(run, record), record.path)


def ways_out(run: Run, record: StepRecord) -> str:
    """Return the commands that bring a paused step on."""
    of = f"{run.name} {shlex.quote(clean(record.path))}{in_namespace(run)}"
    look = see_logs(run, record)
    if dead_letter.is_open(record) and record.letter:
        letter = f"{record.letter['name']}{in_namespace(run)}"
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
        "until it is undone" if record.phase is Phase.STOPPING else "for" + going_for(record, now).removeprefix(" (for").removesuffix(")")
    )
    if record.held_since is not None or (record.message and not record.stalled):
        return held(record, record.message or "", now)
    if below is None:
        look = f"backstay why {record.child}{in_namespace(run)}"
        words = short(record.message) if record.message else f"{name_of(record)} waits {stopping} for run {record.child}"
        return Answer(Cause.PERSON if record.stalled else Cause.STEP, words, look, record.path)
    return Answer(below.cause, f"{name_of(record)} waits for run {record.child}: {below.sentence}", below.mend, record.path, below.until)


def _retrying(run: Run, record: StepRecord, now: datetime) -> Answer:
    what = f"{record.error.type}: {short(record.error.detail or record.error.title, 200)}" if record.error else "an error"
    most = most_attempts(run, record)
    if record.then is Phase.RUNNING:
        times = f"{counted(record.disruptions, 'disruption')}, at most {MAX_DISRUPTIONS}"
        when = f"in {length(record.due_at - now)}" if record.due_at and record.due_at > now else "now"
        sentence = f"{name_of(record)} was disrupted ({what}), and the same attempt runs again {when} ({times})"
        return Answer(Cause.RETRY, sentence, "", record.path, record.due_at)
    attempt = f"attempt {record.attempt + 1}{f' of {most}' if most else ''}"
    due = record.due_at
    if due is None or due <= now:
        return _late(record, due, now, f"{name_of(record)} failed ({what}); {attempt} is due", Cause.RETRY)
    sentence = f"{name_of(record)} failed ({what}), and {attempt} begins in {length(due - now)}"
    return Answer(Cause.RETRY, sentence, f"{logs(run, record)} shows what it said" if record.job else "", record.path, due)


def _waiting(record: StepRecord, now: datetime) -> Answer:
    due = record.due_at
    if due is None:
        words = short(record.message or "")
        limit = f"; it expires in {length(record.deadline_at - now)}" if record.deadline_at and record.deadline_at > now else ""
        waits = words if words.startswith("waits ") else f"waits{': ' if words else ''}{words}"
        return Answer(Cause.STEP, f"{name_of(record)} {waits}{limit}", "", record.path)
    if due <= now:
        return _late(record, due, now, f"{name_of(record)} has waited long enough", Cause.TIMER)
    return Answer(
        Cause.TIMER, f"{name_of(record)} waits for time to pass: {length(due - now)} left, until {moment(due)}", "", record.path, due
    )


def _locked_out(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    words, mend = limits.lock_words(run, record, evidence.semaphores.get((record.lock or {}).get("name", "")), now)
    return Answer(Cause.LOCK, f"{name_of(record)} {words}", mend, record.path, record.due_at)


def _broken(run: Run, record: StepRecord, evidence: Evidence, now: datetime) -> Answer:
    name = record.circuit or ""
    words, mend, until = breaker.waiting_words(name, run.namespace, evidence.breakers.get(name), record.message or "", now)
    limit = f"; it times out in {length(record.deadline_at - now)}" if record.deadline_at and record.deadline_at > now else ""
    return Answer(Cause.CIRCUIT, f"{name_of(record)} {words}{limit}", mend, record.path, until)


def _late(record: StepRecord, due: datetime | None, now: datetime, sentence: str, cause: Cause) -> Answer:
    late = now - due if due is not None else timedelta(0)
    if late < LATE:
        return Answer(cause, f"{sentence}; it is about to go on", "", record.path, due)
    return Answer(Cause.OPERATOR, f"{sentence} since {length(late)}, and no operator has noticed", OPERATOR_MEND, record.path, due)
