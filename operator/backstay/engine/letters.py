"""What becomes of a DeadLetter, judged by what its run has written. Pure; `runtime/dead_letters.py` asks and does.

    its run          the step                     nobody says    Replay                       Discard
    goes on          waits                        Waiting        Replaying: the run decides   Replaying: the run decides
    goes on          waits, has refused it                       Failed, with the reason      Failed, with the reason
    goes on          was stopped                  Waiting        Replaying: when it has ended Discarded
    ended, or gone   was not taken up             Waiting        a new run                    Discarded
    any              has gone on, was given up    Replayed, or Discarded: the letter follows, whoever asked for it
    ended            nobody can tell              Waiting        Failed: it is never done twice, rather not at all

A run decides by the write of its own status that resumes the step, or that does not any more because it is being ended. A new run is
started only once its end is certain, so that one resolution never leads to two continuations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from backstay.api.dead_letter import LetterAction, LetterPhase
from backstay.engine.model import Json, State
from backstay.engine.policies import dead_letter


class Standing(StrEnum):
    """How the run of a letter stands."""

    GOING = "Going"
    ENDED = "Ended"
    GONE = "Gone"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What somebody wants to become of a letter."""

    id: str
    action: str
    edit: Mapping[str, Json] | None = None
    parameters: Mapping[str, Json] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the run of a letter has written of it."""

    standing: Standing
    run_phase: str = ""
    is_waiting: bool = False
    """Whether the step waits for what becomes of this letter."""
    outcome: str = ""
    by: str = ""
    refused: str = ""
    """Id of the resolution that the run has refused, and `why`."""
    why: str = ""
    unknown: str = ""
    """Why nobody can tell whether it was taken up, where that is so."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a letter's status is to say. Where `starts`, a new run is to be started first."""

    phase: LetterPhase
    message: str
    is_own_run: bool = False
    """Whether its own run goes on with it."""
    starts: bool = False

    @property
    def is_settled(self) -> bool:
        return self.phase in (LetterPhase.REPLAYED, LetterPhase.DISCARDED)


def written_of(state: State, path: str, name: str) -> Mapping[str, str] | None:
    """Return what a run's state says of a letter; None where it knows nothing of it, because the step's record was dropped."""
    record = state.steps.get(path)
    letter = record.letter if record is not None else None
    if record is None or letter is None:
        return None
    if letter.get("name") == name:
        return {**letter, "waits": "yes"} if dead_letter.is_open(record) else letter
    # It has given up again since, which it cannot without having gone on.
    return {"name": name, "outcome": dead_letter.CONTINUED, "by": f"it gave up again: see DeadLetter {letter.get('name')}"}


def judge(run: str, resolution: Resolution | None, seen: Seen) -> Verdict:
    """Return what becomes of a letter of a run of that name."""
    if seen.outcome:
        return _followed(run, seen)
    if resolution is not None and resolution.action not in set(LetterAction):
        return Verdict(LetterPhase.FAILED, f"spec.resolution.action: {resolution.action[:40]!r} is none; write {' or '.join(LetterAction)}")
    if seen.is_waiting and seen.standing is Standing.GOING:
        return _while_it_waits(run, resolution, seen)
    if resolution is not None and resolution.action == LetterAction.DISCARD:
        return Verdict(LetterPhase.DISCARDED, resolution.reason)
    if seen.standing is Standing.GOING:
        words = f"the step was stopped, and run {run} goes on: a new run is started once it has ended"
        return Verdict(LetterPhase.WAITING if resolution is None else LetterPhase.REPLAYING, words)
    return _by_a_new_run(run, resolution, seen)


def _followed(run: str, seen: Seen) -> Verdict:
    by = f" ({seen.by})" if seen.by else ""
    if seen.outcome == dead_letter.CONTINUED:
        return Verdict(LetterPhase.REPLAYED, f"run {run} goes on with the step{by}", is_own_run=True)
    words = (
        f"run {run} goes on after the step, which was skipped{by}" if seen.outcome == dead_letter.SKIPPED else f"the step has failed{by}"
    )
    return Verdict(LetterPhase.DISCARDED, words, is_own_run=True)


def _while_it_waits(run: str, resolution: Resolution | None, seen: Seen) -> Verdict:
    if resolution is None:
        return Verdict(LetterPhase.WAITING, f"run {run} waits at the step; a replay goes on with it there")
    if seen.refused == resolution.id:
        return Verdict(LetterPhase.FAILED, f"spec.resolution: {seen.why}")
    if resolution.parameters is not None:
        words = f"spec.resolution.parameters: run {run} still waits, and keeps its parameters; change the step's inputs by edit, or cancel the run first"
        return Verdict(LetterPhase.FAILED, words)
    return Verdict(LetterPhase.REPLAYING, f"run {run} is to take it up")


def _by_a_new_run(run: str, resolution: Resolution | None, seen: Seen) -> Verdict:
    ended = f"run {run} is gone" if seen.standing is Standing.GONE else f"run {run} has ended ({seen.run_phase})"
    if resolution is None:
        return Verdict(LetterPhase.WAITING, f"{ended}; a replay starts a new run")
    if seen.unknown:
        words = f"{ended}, and nobody can tell whether it had taken this up ({seen.unknown}); start a run by hand, or discard this"
        return Verdict(LetterPhase.FAILED, words)
    if resolution.edit is not None:
        words = f"spec.resolution.edit: {ended}, and no step waits whose inputs it could change; give parameters for a new run instead"
        return Verdict(LetterPhase.FAILED, words)
    return Verdict(LetterPhase.REPLAYING, f"{ended}; a new run is started", starts=True)
