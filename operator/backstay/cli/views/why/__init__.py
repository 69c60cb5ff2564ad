"""Why a run waits: one sentence, and what to do about it. Pure: what must be asked of the cluster comes in as evidence.

A reason is looked for in this order; the first that holds is the answer:

    it has ended · it has not begun (no workflow, no operator) · it is suspended · undoing is stuck · a step waits for something
    that a person must mend · a step is retried, waits, is stopped, runs · nothing goes on, although it should
"""

from datetime import datetime

from backstay.cli.views import doubt
from backstay.cli.views.seen import Run
from backstay.cli.views.text import counted, listed
from backstay.cli.views.why.answers import URGENCY, Answer, Cause, Evidence
from backstay.cli.views.why.evidence import active_children, active_jobs, awaited_breakers, awaited_semaphores
from backstay.cli.views.why.steps import of_step
from backstay.cli.views.why.whole import aim, finished, not_begun, nothing_goes_on, stalled, suspended
from backstay.engine.conditions import going_on, stuck_at

__all__ = ["Answer", "Cause", "Evidence", "active_children", "active_jobs", "awaited_breakers", "awaited_semaphores", "why"]


def why(run: Run, evidence: Evidence, now: datetime) -> Answer:
    """Return why a run waits, or that it does not."""
    record = run.state.run
    if record.is_finished:
        return finished(run)
    if record.phase is None:
        return not_begun(run, evidence, now)
    if record.suspended_at is not None:
        return suspended(run, record.suspended_at, now)
    if run.program is not None and (stuck := stuck_at(run.program, run.state)) is not None:
        return stalled(run, stuck)
    active = going_on(run.state)
    if not active:
        return nothing_goes_on(run, now)
    answers = sorted((of_step(run, step, evidence, now) for step in active), key=lambda item: URGENCY.get(item.cause, len(URGENCY)))
    first = answers[0]
    others = tuple(item.step for item in answers[1:])
    more = f" (and {counted(len(others), 'other step')} {'goes' if len(others) == 1 else 'go'} on: {listed(others)})" if others else ""
    return Answer(first.cause, aim(run) + doubt.aim(run) + first.sentence + more, first.mend, first.step, first.until, others)
