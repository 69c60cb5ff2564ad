"""What the cluster must be asked for, to say why a run waits."""

from collections.abc import Iterator

from backstay.cli.views.seen import Run
from backstay.engine.conditions import going_on
from backstay.engine.model import StepRecord
from backstay.engine.policies import circuit
from backstay.engine.policies.lock import is_waiting
from backstay.names import workflow_semaphore


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
