"""Why a run waits as a whole: it has ended, has not begun, is suspended, is stuck, or nothing goes on."""

from datetime import datetime, timedelta
from typing import Any, Final

from backstay.api.faults import class_of
from backstay.cli.views import doubt, limits
from backstay.cli.views.seen import Run
from backstay.cli.views.text import counted, length, listed, moment
from backstay.cli.views.why.answers import LATE, Answer, Cause, Evidence
from backstay.cli.views.why.words import MENDS, OPERATOR_MEND, in_namespace, logs, name_of, see_logs, short
from backstay.engine import codec, uncaught
from backstay.engine.compensation import kept, left, to_undo, why_left
from backstay.engine.conditions import going_on
from backstay.engine.model import Fault, Phase, StepRecord
from backstay.engine.policies import circuit
from backstay.names import ANNOTATION_RELEASE, workflow_semaphore

_CHILD_STEP: Final = ":child/"
"""Stands in the place of an error between a step and the place in its child run."""


def finished(run: Run) -> Answer:
    record = run.state.run
    at = f" at {moment(record.finished_at)}" if record.finished_at else ""
    left = run.manifest["metadata"].get("finalizers") or ()
    if run.is_deleted and left:
        words = f"it has ended and was deleted, and waits for {'finalizers' if len(left) > 1 else 'the finalizer'} {listed(map(str, left))}"
        return Answer(Cause.FINALIZER, words, "whoever put a finalizer on takes it off; Backstay's own goes with a running operator")
    if record.phase is Phase.SUCCEEDED:
        return Answer(Cause.NOTHING, f"it waits for nothing: it succeeded{at}")
    if record.phase is Phase.COMPENSATED:
        return Answer(Cause.NOTHING, f"it waits for nothing: it had succeeded, and was undone{at} ({short(record.message)})")
    fault = record.error
    if record.phase is Phase.CANCELLED:
        verb, words = "was ended early", short(fault.detail if fault else record.message)
    else:
        verb, words = "failed", f"{fault.type}: {short(fault.detail or fault.title)}".rstrip(": ") if fault else short(record.message)
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
    if fault is not None and _CHILD_STEP in fault.step:
        caller = run.state.steps.get(fault.step.partition(_CHILD_STEP)[0])
        if caller is not None and caller.child:
            return f"`backstay why {caller.child}{in_namespace(run)}` tells how the child run ended"
    failed = run.state.steps.get(fault.step) if fault else None
    node = run.program.node(fault.step) if fault is not None and run.program is not None else None
    if fault is not None and fault.type == circuit.CIRCUIT_OPEN and node is not None and node.circuit is not None:
        return f"kubectl describe circuitbreaker {node.circuit.name}{in_namespace(run)} tells why; once it is closed, run it again"
    if fault is None or failed is None or not failed.job:
        return ""
    return MENDS.get(fault.type) or f"{logs(run, failed)} shows what step {failed.path} said"


def _left_undone(run: Run) -> str:
    if run.program is None or not run.state.run.compensate:
        return ""
    still = [record.path for record in to_undo(run.program, run.state)]
    stays = [f"{record.path} (the pivot {run.state.run.pivot} has succeeded)" for record in kept(run.program, run.state)]
    lost = [] if stays else [f"{record.path} ({why_left(run.state, record)})" for record in left(run.program, run.state)]
    return f"; NOT undone: {listed([*still, *stays, *lost])}" if still or stays or lost else ""


def not_begun(run: Run, evidence: Evidence, now: datetime) -> Answer:
    said = run.conditions.get("Succeeded", {})
    reason, message = str(said.get("reason") or ""), short(str(said.get("message") or ""))
    if reason in ("WorkflowNotFound", "WorkflowNotReady") and message:
        mend = "apply the Workflow, and the run begins by itself" if reason == "WorkflowNotFound" else "the operator is about to look at it"
        return Answer(Cause.WORKFLOW, f"it has not begun: {message}", mend)
    if reason == "Queued" and not run.suspend:
        words, mend = limits.queued_words(run, evidence.semaphores.get(workflow_semaphore(run.workflow)), now)
        return Answer(Cause.TURN, f"it has not begun: {words}", mend)
    if run.suspend:
        return Answer(Cause.RESUME, "it has not begun, because it was created suspended", f"backstay resume {run.name}{in_namespace(run)}")
    waited = now - run.created_at if run.created_at else timedelta(0)
    if waited < LATE:
        return Answer(Cause.OPERATOR, f"it was created {length(waited)} ago, and the operator is about to look at it")
    return Answer(Cause.OPERATOR, f"it was created {length(waited)} ago, and no operator has looked at it", OPERATOR_MEND)


def suspended(run: Run, since: datetime, now: datetime) -> Answer:
    active = [record.path for record in going_on(run.state) if record.phase in (Phase.RUNNING, Phase.STOPPING)]
    goes_on = f"; what runs goes on ({listed(active)})" if active else ""
    if not run.suspend:
        return Answer(Cause.OPERATOR, f"it was resumed, and the operator is about to go on{goes_on}", OPERATOR_MEND)
    return Answer(
        Cause.RESUME,
        f"it has been suspended for {length(now - since)}, so nothing new starts{goes_on}",
        f"backstay resume {run.name}{in_namespace(run)}",
    )


def stalled(run: Run, stuck: StepRecord) -> Answer:
    error = f" ({stuck.error.type}: {short(stuck.error.detail or stuck.error.title, 200)})" if stuck.error else ""
    tried = counted(stuck.attempt, "attempt")
    deadline = run.state.run.deadline_at
    limit = f"; it is given up at {moment(deadline)}" if deadline is not None else ""
    still = [record.path for record in to_undo(run.program, run.state)] if run.program is not None else []
    rest = f"; still to be undone: {listed(still)}" if still else ""
    sentence = f"{name_of(stuck)} failed after {tried}{error} and waits for a person{rest}{limit}"
    release = f"kubectl annotate wfrun {run.name}{in_namespace(run)} {ANNOTATION_RELEASE}=true"
    again = f"backstay retry {run.name} {stuck.path}{in_namespace(run)}"
    skip = f"backstay skip {run.name} {stuck.path}{in_namespace(run)}"
    mend = f"{see_logs(run, stuck)}`{again}`, or undo it by hand and `{skip}`; to let the whole run go: {release}"
    return Answer(Cause.PERSON, sentence, mend, stuck.path, deadline)


def nothing_goes_on(run: Run, now: datetime) -> Answer:
    times = [time for record in run.state.steps.values() for time in (record.finished_at, record.started_at) if time is not None]
    newest = max([*times, *([run.state.run.started_at] if run.state.run.started_at else [])], default=None)
    since = now - newest if newest is not None else timedelta(0)
    if run.suspend:
        return Answer(Cause.RESUME, "it is about to be suspended", f"backstay resume {run.name}{in_namespace(run)}")
    sentence = f"{aim(run)}no step goes on; the last one ended {length(since)} ago, and the operator decides what comes next"
    return Answer(Cause.OPERATOR, sentence, OPERATOR_MEND if since > LATE else "")


def aim(run: Run) -> str:
    """What the run is about to do, where that is not going forward."""
    record = run.state.run
    if record.phase is Phase.COMPENSATING:
        return f"{_ending(run)} and is being undone: "
    if record.phase is Phase.FINISHING:
        return f"{_ending(run)} and does what comes last: "
    return f"{_ending(run)} and is stopping what still goes on: " if record.phase is Phase.STOPPING else ""


def _ending(run: Run) -> str:
    record = run.state.run
    why_words = f" ({short(record.message, 160)})" if record.message else ""
    word = {
        Phase.FAILED: "the run has failed",
        Phase.SUCCEEDED: "the run has succeeded",
        Phase.CANCELLED: "the run was ended early",
        Phase.COMPENSATED: "the run had succeeded, is not wanted any more",
    }.get(record.result or Phase.FAILED, "the run ends")
    return word + why_words
