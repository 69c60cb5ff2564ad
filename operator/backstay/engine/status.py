"""The status of a run as it is written: the state, and what people want to see of it, in one JSON object."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from backstay.engine import bounds, codec
from backstay.engine.conditions import conditions, going_on, shown_status
from backstay.engine.model import Entry, Json, State
from backstay.engine.paths import static
from backstay.engine.program import Program


def render(
    program: Program,
    state: State,
    entries: Sequence[Entry],
    before: Mapping[str, Any],
    generation: int,
    now: datetime,
    moved: bounds.Moved = bounds.NOTHING_MOVED,
) -> dict[str, Json]:
    """Return the whole status after a decision. `before` is the status that the decision was made on, `moved` what it need not hold any more.

    Raises BackstayError rather than return a status of more than `bounds.STATUS_BYTES`.
    """
    status: dict[str, Json] = {"observedGeneration": generation, **codec.run_to_json(state.run)}
    status["status"] = shown_status(program, state)
    status["progress"] = progress(program, state)
    status["step"] = shown_steps(state)
    status["conditions"] = conditions(program, state, before.get("conditions") or (), generation, now)
    kept = bounds.shown_journal(before.get("journal") or {}, entries, state.head, moved)
    steps, omitted = bounds.shown_steps(program, state, entries, before, {**status, "journal": kept})
    status["steps"] = steps
    status["stepsOmitted"] = omitted or None
    status["journal"] = kept
    return {key: value for key, value in status.items() if value not in (None, "")}


def progress(program: Program, state: State) -> str:
    """Return how many of the outermost steps are done, as `2/6`."""
    latest = {static(path): record for path, record in state.steps.items()} if program.leads_back else state.steps
    done = sum(1 for path in program.top_level if path in latest and latest[path].is_done)
    return f"{done}/{len(program.top_level)}"


def shown_steps(state: State) -> str:
    """Return what the STEP column shows: what goes on now."""
    if state.run.is_finished:
        return ""
    active = going_on(state)
    return active[0].path + (f" +{len(active) - 1}" if len(active) > 1 else "") if active else ""
