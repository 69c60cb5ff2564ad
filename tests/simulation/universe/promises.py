"""The promises, held against every write as it reaches the server, and against what is there in the end.

They are checked from outside: on what stands in the server and on what really ran, never on what the operator has in memory.

    P1  an attempt is one Job; a second one only where the first was gone before its UID was written
    P2  nothing begins that is not written: a Job, a child run, a call
    P3  what was begun goes on: every run ends, or says what it waits for
    P4  what is undone is undone in order, once, and only what was done; the run says of all else that it is left
    P5  the status is the fold of the journal, the journal only grows, and changes of phase are those of the table
    P8  a status has less than 700 KB
    PX  nothing of a run goes on once it has ended; locks and transactions hold
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from backstay import names
from backstay.engine import codec, journal
from backstay.engine.audit import Subject, audit, volume
from backstay.engine.model import Entry
from backstay.engine.program import Program
from backstay.errors import BackstayError
from backstay.runtime.reconciler import FRESH_SECONDS
from tests.simulation.universe.cluster import DECLINES, GARBAGE, GOOD, Cluster, Work
from tests.simulation.universe.server import Object, Server
from tests.support.saga_rules import violations

MOST_BYTES: Final = 700_000
GOES_ON: Final = frozenset({"Running", "Waiting", "Stopping", "Retrying"})
ABANDONED: Final = frozenset({"CompensationAbandoned", "FinallyAbandoned"})
"""What a journal says where a run is let go by hand: what goes on is told to stop, and not waited for."""
FINISHED: Final = frozenset({"Succeeded", "Failed", "Cancelled", "Compensated"})


@dataclass
class Told:
    """One run as its writes have told of it."""

    name: str
    uid: str
    fold: journal.Fold = field(default_factory=journal.Fold)
    entries: list[Entry] = field(default_factory=list)
    written: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """Its entries as they were written first, by their number."""
    status: Mapping[str, Any] = field(default_factory=dict)
    writes: int = 0
    jobs: dict[str, str] = field(default_factory=dict)
    """The UIDs of Jobs that were written, by the Job's name."""
    wanted_at: dict[str, float] = field(default_factory=dict)
    """When its status last wanted a Job that it no longer wants, by the Job's name."""
    is_gone: bool = False
    forged: Mapping[str, Any] | None = None
    """What somebody has written into its status by hand."""


class Promises:
    """Watches one universe. What is broken is in `broken`, in words."""

    def __init__(self, server: Server, cluster: Cluster, *, have_leases: bool) -> None:
        self.server = server
        self.cluster = cluster
        self.have_leases = have_leases
        """Whether no two operators work at the same time. Without Leases one may act on what the other has moved on from a moment before."""
        self.broken: list[str] = []
        self.told: dict[str, Told] = {}
        """By UID."""
        self.attempts: defaultdict[tuple[str, str], list[Work]] = defaultdict(list)
        """By UID of the run and name of the Job."""
        self.looks_away = False
        """While somebody writes into a status who may not."""
        self.keys: dict[tuple[str, str], str] = {}
        """The idempotency keys of calls, by name of the run and path of the step."""
        self.ended_at: dict[str, float] = {}
        """When runs ended, by UID."""
        server.listeners.append(self._changed)

    def say(self, promise: str, words: str) -> None:
        """Note what is broken; the first is what counts."""
        if len(self.broken) < 20:
            self.broken.append(f"{promise} at {self.cluster.loop.now:.3f}: {words}")

    # ------------------------------------------------------------------------------------------------------ every write

    def _changed(self, plural: str, new: Object | None, old: Object | None) -> None:
        if plural == "workflowruns":
            self._run_changed(new, old)
        elif plural == "jobs" and old is None and new is not None:
            self._job_made(new)

    def _run_changed(self, new: Object | None, old: Object | None) -> None:
        if new is None:
            assert old is not None
            if old["metadata"]["uid"] in self.told:
                self.told[old["metadata"]["uid"]].is_gone = True
            return
        meta = new["metadata"]
        told = self.told.setdefault(meta["uid"], Told(meta["name"], meta["uid"]))
        if old is None:
            self._is_born(new)
        status = new.get("status") or {}
        if self.looks_away:
            told.forged = status
        if status in (told.status, told.forged) or not status.get("journal"):
            return
        told.writes += 1
        size = len(self.server.kinds["workflowruns"].raw["shop", meta["name"]])
        if size > MOST_BYTES:
            self.say("P8", f"{meta['name']}: {size} bytes")
        self._status_written(told, status)

    def _status_written(self, told: Told, status: Mapping[str, Any]) -> None:
        """The journal has grown, and the status follows from it."""
        try:
            fresh = self._appended(told, status["journal"])
            for entry in fresh:
                told.fold.add(entry)
            folded = told.fold.state
            shown = codec.state_from_status(status)
        except (BackstayError, KeyError, ValueError, TypeError) as error:
            self.say("P5", f"{told.name}: {error!r}")
            return
        was_finished = bool(told.status.get("finishedAt"))
        told.entries += fresh
        if status["journal"]["head"] != folded.head:
            self.say("P5", f"{told.name}: the journal was rewritten, or entries are lost: {status['journal']['head']} is not {folded.head}")
        if not status.get("stepsOmitted") and shown != folded:
            self.say("P5", f"{told.name}: the status does not follow from its journal: {_difference(shown, folded)}")
        told.wanted_at |= {step["job"]: self.cluster.loop.now for step in told.status.get("steps") or () if _is_wanted(step)}
        told.status = status
        self._one_at_a_time()
        for step in status.get("steps") or ():
            if step.get("jobUid"):
                told.jobs[step["job"]] = step["jobUid"]
        if status.get("finishedAt") and not was_finished:
            self._ended(told)

    def _appended(self, told: Told, shown: Mapping[str, Any]) -> list[Entry]:
        """Return the entries that are new. Those before them are what they were, to the last letter, and so need not be folded again."""
        entries = shown.get("entries") or []
        journal.window_of({"journal": {**shown, "entries": entries[:1]}})  # it begins where it says
        known = [data for data in entries if data["sequence"] <= told.fold.sequence]
        for data in known:
            if data != told.written.get(data["sequence"]):
                self.say("P5", f"{told.name}: entry {data['sequence']} is not what it was: {data}")
        fresh = entries[len(known) :]
        told.written |= {data["sequence"]: data for data in fresh}
        return [codec.entry_from_json(data) for data in fresh]

    # ---------------------------------------------------------------------------------------------------------- P1, P2

    def _job_made(self, job: Object) -> None:
        meta = job["metadata"]
        notes = meta.get("annotations") or {}
        uid = (meta.get("labels") or {}).get(names.LABEL_RUN, "")
        if names.ANNOTATION_PATH not in notes or uid not in self.told:
            return
        path, told, work = notes[names.ANNOTATION_PATH], self.told[uid], self.cluster.by_uid[meta["uid"]]
        before = self.attempts[uid, meta["name"]]
        before.append(work)
        where = f"{told.name} {path}#{work.attempt} ({meta['name']})"
        if meta["name"] in told.jobs:
            self.say("P1", f"{where}: its Job is made again, although its UID was written")
        attempts = [other for works in self.attempts.values() for other in works if _is_same(other, work) and other is not work]
        if any(other.name != work.name and not (other.ended == "killed" or other.told_to_stop) for other in attempts):
            self.say("P1", f"{where}: another Job was made for this attempt, although nobody took the first: {attempts[0].name}")
        if not self.have_leases and self.cluster.loop.now - told.wanted_at.get(meta["name"], float("-inf")) < FRESH_SECONDS:
            return
        if told.status.get("finishedAt"):
            self.say("PX", f"{where}: its Job is made after the run has ended")
        step = _step(told.status, path)
        if step is None or step.get("job") != meta["name"] or not _is_wanted(step):
            self.say("P2", f"{where}: its Job is made, and the status says {step and (step['phase'], step.get('job'))}")

    def _is_born(self, run: Object) -> None:
        notes, labels = run["metadata"].get("annotations") or {}, run["metadata"].get("labels") or {}
        caller = self.told.get(labels.get(names.LABEL_PARENT, ""))
        if caller is None or names.ANNOTATION_PATH not in notes:
            return
        step = _step(caller.status, notes[names.ANNOTATION_PATH])
        is_recovery = notes[names.ANNOTATION_DETACHED] == "true" if names.ANNOTATION_DETACHED in notes else False
        if (step is None or step.get("child") != run["metadata"]["name"]) and not is_recovery:
            self.say("P2", f"{caller.name} {notes[names.ANNOTATION_PATH]}: run {run['metadata']['name']} is made and not written")

    def called(self, run: str, path: str, key: str) -> None:
        """Somebody outside was called: the step is written, and its key is always the same."""
        if self.keys.setdefault((run, path), key) != key:
            self.say("P1", f"{run} {path}: it is called under the keys {self.keys[run, path]} and {key}")
        found = [told for told in self.told.values() if told.name == run and not told.is_gone]
        step = _step(found[0].status, path) if found else None
        if step is None:
            self.say("P2", f"{run} {path}: a call is made that is not written")

    # -------------------------------------------------------------------------------------------------------------- P3

    def is_in_time(self, due: datetime, seconds: float) -> None:
        """What was due by then is not waiting any more, and what had ended, so many seconds ago, is known."""
        for (uid, name), works in self.attempts.items():
            told, work = self.told[uid], works[-1]
            step = _step(told.status, work.path) or {}
            is_open = not told.is_gone and step.get("job") == name and step["phase"] == "Running"
            if is_open and work.ended and work.ended_at < self.cluster.loop.now - seconds:
                self.say("P3", f"{told.name} {work.path}: it is Running still, and its work has ended at {work.ended_at:.3f}")
        limit = codec.time_to_json(due)
        for told in self.told.values():
            for step in told.status.get("steps") or () if not told.is_gone else ():
                if step["phase"] in ("Waiting", "Retrying") and step.get("dueAt", limit) < limit:
                    self.say("P3", f"{told.name} {step['path']}: it is {step['phase']} still, and was due at {step['dueAt']}")
                child = self.told.get(step.get("childUid", ""))
                is_open = step["phase"] in ("Running", "Stopping") and child is not None and bool(child.status.get("finishedAt"))
                if child is not None and is_open and self.ended_at[child.uid] < self.cluster.loop.now - seconds:
                    self.say("P3", f"{told.name} {step['path']}: it is {step['phase']} still, and {child.name} has ended")

    # -------------------------------------------------------------------------------------------------------------- PX

    def _one_at_a_time(self) -> None:
        """Of the runs that have one slot together one goes on; of the steps that have the lock `desk` one goes on."""
        going = [told for told in self.told.values() if told.status.get("phase") and not (told.is_gone or told.status.get("finishedAt"))]
        alone = [told.name for told in going if (told.status.get("revision") or {}).get("name") == "one-at-a-time-1"]
        if len(alone) > 1:
            self.say("PX", f"{alone} go on at the same time, and one at a time may")
        locked = [f"{told.name} {step['path']}" for told in going for step in told.status.get("steps") or () if _holds_the_desk(step)]
        if len(locked) > 1:
            self.say("PX", f"{locked} have the lock at the same time")

    def _ended(self, told: Told) -> None:
        """A run has ended: what it began has ended, or is being stopped."""
        self.ended_at[told.uid] = self.cluster.loop.now
        steps = {step["path"]: step for step in told.status.get("steps") or ()}
        for (uid, _), works in self.attempts.items():
            for work in works if uid == told.uid else ():
                if not work.ended and not work.told_to_stop and not _let_go(told):
                    phase = steps.get(work.path, {}).get("phase")
                    self.say("PX", f"{told.name} has ended, and the Job of {work.path}#{work.attempt} goes on (its step is {phase})")

    # --------------------------------------------------------------------------------------------------------- the end

    def at_the_end(self, programs: Mapping[str, Program]) -> None:
        """Check what can be told only when all is over. `programs` are those of runs, by name."""
        for told in self.told.values():
            if told.name in programs:
                for words in violations(programs[told.name], told.entries):
                    self.say("P4", f"{told.name}: {words}")
                if told.is_gone and not told.status.get("finishedAt") and self._is_left(told, programs[told.name]):
                    self.say("P4", f"{told.name}: it is gone, and what it did is not undone")
            for words in self._untrue(told):
                self.say("P4", f"{told.name}: {words}")
            for words in self._forgotten(told):
                self.say("P4", f"{told.name}: {words}")
            for words in self._unproven(told):
                self.say("P5", f"{told.name}: {words}")
            for words in _halves(told):
                self.say("PX", f"{told.name}: {words}")

    def _unproven(self, told: Told) -> Iterator[str]:
        """What `backstay verify` would find."""
        run = self.server.find("workflowruns", "shop", told.name)
        if run is None or not (run.get("status") or {}).get("journal"):
            return
        journals = [one for one in self.server.all("workflowjournals") if one["spec"]["run"]["uid"] == told.uid]
        found = audit(Subject(told.name, told.uid), run["status"], [volume(one["metadata"]["name"], one["spec"]) for one in journals])
        yield from (str(finding) for finding in found.findings if not found.is_proven)

    def _is_left(self, told: Told, program: Program) -> bool:
        """Whether work was done that is to be undone."""
        works = [work for (uid, _), many in self.attempts.items() if uid == told.uid for work in many]
        return any(work.ended == "done" and program.undo_of(work.path) is not None for work in works)

    def _forgotten(self, told: Told) -> Iterator[str]:
        """Work that took effect and that the run counts as not done, so that nobody would ever undo it."""
        steps = {step["path"]: step for step in told.status.get("steps") or ()}
        for (uid, _), works in self.attempts.items():
            for work in works if uid == told.uid else ():
                step = steps.get(work.path, {})
                is_lost = (
                    step.get("phase") in ("Failed", "Cancelled") and step.get("outcome") is None and step.get("finishing") != "Succeeded"
                )
                is_known = work.name in told.jobs or not work.gone  # of one that went before that nobody can know that it was ever there
                if work.ended == "done" and work.fate.how == GOOD and is_lost and is_known and work.ended_at < self.ended_at.get(uid, 0.0):
                    yield f"{work.path}#{work.attempt}: its work was done, and the run says that it was not: {step['phase']}"

    def _untrue(self, told: Told) -> Iterator[str]:
        """Where the journal claims what did not happen: a success of an attempt whose pod did not end so."""
        works = {(work.path, work.attempt): work for (uid, _), many in self.attempts.items() if uid == told.uid for work in many}
        attempt: dict[str, int] = {}
        jobs: set[str] = set()
        for entry in told.entries:
            if entry.changes.get("job"):
                jobs.add(entry.path)
            attempt[entry.path] = int(entry.changes.get("attempt") or attempt.get(entry.path, 0))
            if entry.changes.get("phase") == "Succeeded":
                work = works.get((entry.path, attempt[entry.path]))
                if entry.path in jobs and not _is_true(work) and not _is_skipped(entry):
                    yield f"{entry.path}#{attempt[entry.path]}: it is said to have succeeded, and its work was {work and work.ended}"


def _is_true(work: Work | None) -> bool:
    """Tell whether a success may be said of work: it was done, or its pod ended with 0 and is gone with what it had to say against it. Then the Job
    says that it is complete, and nobody who did not see the pod in that moment can know more."""
    if work is None:
        return False
    return (work.ended == "done" and work.fate.how != GARBAGE) or (work.took_its_words_along and work.fate.how in (DECLINES, GARBAGE))


def _is_wanted(step: Mapping[str, Any]) -> bool:
    return "job" in step and step["phase"] == "Running"


def _holds_the_desk(step: Mapping[str, Any]) -> bool:
    return bool(step.get("lockedAt")) and (step.get("lock") or {}).get("scope") is None and not step.get("finishedAt")


def _halves(told: Told) -> Iterator[str]:
    """Transactions of which one half was committed and the other aborted."""
    ways: defaultdict[str, set[str]] = defaultdict(set)
    for entry in told.entries:
        participant, _, phase = entry.path.rpartition("/")
        for commits, aborts in (("commit", "abort"), ("confirm", "cancel")):
            if phase in (commits, aborts) and entry.changes.get("job"):
                ways[participant.rpartition("/")[0]].add("commit" if phase == commits else "abort")
    for path, found in ways.items():
        if len(found) > 1:
            yield f"{path}: some participants commit and others abort"


def _is_skipped(entry: Entry) -> bool:
    return entry.kind not in ("StepSucceeded", "StepFinishing") or entry.actor != "operator"


def _is_same(one: Work, other: Work) -> bool:
    return (one.run, one.path, one.attempt) == (other.run, other.path, other.attempt)


def _let_go(told: Told) -> bool:
    return any(entry.kind in ABANDONED for entry in told.entries)


def _step(status: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    return next((step for step in status.get("steps") or () if step["path"] == path), None)


def _difference(shown: Any, folded: Any) -> str:
    for path in sorted({*shown.steps, *folded.steps}):
        if shown.steps.get(path) != folded.steps.get(path):
            return f"{path}: {shown.steps.get(path)} is not {folded.steps.get(path)}"
    return f"{shown.run} is not {folded.run}"
