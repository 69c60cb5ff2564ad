"""What suspending, resuming or cancelling a run means as it stands now: the change to its spec, and what will happen. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backstay.cli.views.seen import Run
from backstay.cli.views.text import clean, listed
from backstay.engine.compensation import to_undo
from backstay.engine.conditions import going_on
from backstay.engine.model import Phase

ENDING = (Phase.STOPPING, Phase.COMPENSATING, Phase.FINISHING)
"""Phases of a run that is on its way to its end."""
MOST_REQUESTS = 100
"""How many requests a run's spec can hold."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do: a merge patch of the spec, or nothing where it is so already; or why it cannot be done."""

    words: str = ""
    patch: Mapping[str, Any] | None = None
    refusal: str = ""
    mend: str = ""


def suspend(run: Run) -> Step:
    """Hold a run."""
    if refused := _refused(run, "suspended"):
        return refused
    if run.cancel is not None or run.is_deleted:
        words = "deleted" if run.is_deleted else "cancelled"
        return Step(refusal=f"{run.name} was {words} and cannot be suspended", mend="it must be able to end; see how with `backstay tree`")
    if run.suspend:
        return Step(f"{run.name} is suspended already")
    active = _running(run)
    goes_on = f"{active} {'go' if ' and ' in active else 'goes'} on to its end; " if active else ""
    return Step(f"{run.name} is suspended: nothing new starts; {goes_on}let it go on with `backstay resume {run.name}`", {"suspend": True})


def resume(run: Run) -> Step:
    """Let a held run go on."""
    if refused := _refused(run, "resumed"):
        return refused
    if not run.suspend:
        return Step(f"{run.name} is not suspended; `backstay why {run.name}` says what it waits for")
    return Step(f"{run.name} goes on", {"suspend": False})


def cancel(run: Run, reason: str, *, compensate: bool) -> Step:
    """End a run early."""
    if refused := _refused(run, "cancelled"):
        return refused
    if run.cancel is not None:
        before = run.cancel.get("compensate", True)
        if before == compensate:
            return Step(f"{run.name} is being cancelled already; watch it with `backstay tree {run.name} -w`")
        asked = "with" if before else "without"
        return Step(refusal=f"{run.name} was cancelled {asked} compensation, and that cannot be changed any more", mend="let it end")
    if run.is_deleted:
        return Step(refusal=f"{run.name} was deleted and is ending", mend=f"watch it with `backstay tree {run.name} -w`")
    if run.state.run.phase in ENDING:
        ending = f"it will end {run.state.run.result}" if run.state.run.result else "it is ending"
        return Step(refusal=f"{run.name} is ending by itself already ({ending})", mend=f"watch it with `backstay tree {run.name} -w`")
    patch = {"cancel": {"compensate": compensate, **({"reason": reason} if reason else {})}}
    return Step(f"{run.name} is cancelled: {_what_follows(run, compensate=compensate)}", patch)


def compensate(run: Run, reason: str) -> Step:
    """Undo what a run did, although it has succeeded."""
    phase = run.state.run.phase
    if run.spec.get("compensate") is not None:
        return Step(f"{run.name} is to be undone already; watch it with `backstay tree {run.name} -w`")
    if run.is_finished and phase is not Phase.SUCCEEDED:
        words = {Phase.FAILED: "has failed", Phase.CANCELLED: "was cancelled", Phase.COMPENSATED: "was undone"}.get(
            phase or Phase.FAILED, "has ended"
        )
        return Step(
            refusal=f"{run.name} {words}: there is nothing more to undo", mend=f"`backstay history {run.name}` tells what was undone"
        )
    if phase in ENDING:
        return Step(refusal=f"{run.name} is ending already", mend=f"watch it with `backstay tree {run.name} -w`")
    patch = {"compensate": {"reason": reason}}
    if not run.is_finished:
        return Step(f"{run.name} is cancelled, to be undone: {_what_follows(run, compensate=True)}", patch)
    left = [clean(record.path) for record in to_undo(run.program, run.state)] if run.program is not None else []
    what = f"{listed(left)} {'are undone, in this order' if len(left) > 1 else 'is undone'}" if left else "what it did is undone"
    return Step(f"{run.name} is undone: {what}; watch it with `backstay tree {run.name} -w`", patch)


def refusal_of_request(run: Run, path: str) -> tuple[str, str] | None:
    """Return why nothing can be asked of a step, and the mend; None where it can."""
    if refused := _refused(run, "asked for anything"):
        return refused.refusal, refused.mend
    if len(run.spec.get("requests") or ()) >= MOST_REQUESTS:
        return f"{run.name} was asked {MOST_REQUESTS} times, and more is not possible", "cancel the run, or let it end"
    if path.partition("[")[0] not in run.state.steps and path not in run.state.steps:
        begun = listed(clean(record.path) for record in going_on(run.state))
        return f'no step "{clean(path)}" of {run.name} has begun', f"what goes on is {begun or 'nothing'}; see `backstay tree {run.name}`"
    return None


def _refused(run: Run, what: str) -> Step | None:
    if not run.is_finished:
        return None
    ended = {
        Phase.SUCCEEDED: "has succeeded",
        Phase.FAILED: "has failed",
        Phase.CANCELLED: "was cancelled",
        Phase.COMPENSATED: "was undone",
    }
    words = ended.get(run.state.run.phase or Phase.FAILED, "has ended")
    return Step(refusal=f"{run.name} {words} and cannot be {what} any more", mend=f"`backstay history {run.name}` tells how it ended")


def _what_follows(run: Run, *, compensate: bool) -> str:
    active = _running(run)
    stops = f"{active} {'are' if ' and ' in active else 'is'} stopped" if active else "nothing goes on that must be stopped"
    if not compensate:
        return f"{stops}, and what was done stays done"
    left = [clean(record.path) for record in to_undo(run.program, run.state)] if run.program is not None else []
    if not left:
        return f"{stops}; nothing is to be undone" if run.program is not None else f"{stops}; then what was done is undone"
    return f"{stops}; then {listed(left)} {'are undone, in this order' if len(left) > 1 else 'is undone'}; watch it with `backstay tree {run.name} -w`"


def _running(run: Run) -> str:
    return listed(clean(record.path) for record in going_on(run.state))
