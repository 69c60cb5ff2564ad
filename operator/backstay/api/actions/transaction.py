"""Several participants that do something together or not at all: two-phase commit, or try, confirm and cancel."""

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from backstay.api.actions.child import WorkflowAction
from backstay.api.actions.http import HttpAction
from backstay.api.actions.job import JobAction
from backstay.api.base import Duration, Model, Name, unique
from backstay.api.policies import Retry
from backstay.expressions.words import quoted


class TransactionMode(StrEnum):
    """What the participants do before the decision, and after it."""

    TWO_PHASE = "TwoPhase"
    TCC = "TCC"


PHASES: Final[dict[TransactionMode, tuple[str, str, str]]] = {
    TransactionMode.TWO_PHASE: ("prepare", "commit", "abort"),
    TransactionMode.TCC: ("try", "confirm", "cancel"),
}
"""By mode: what every participant does before the decision, after the decision Commit, and after the decision Abort."""
_ACTIONS: Final = ("job", "http", "workflow")


class PhaseAction(Model):
    """What a participant does in one phase: one action, with its own attempts."""

    job: JobAction | None = Field(default=None, description="Run a container to its end.")
    http: HttpAction | None = Field(default=None, description="Make an HTTP request to a host that the installation allows.")
    workflow: WorkflowAction | None = Field(default=None, description="Run another workflow to its end, as a run of its own.")
    timeout: Duration | None = Field(default=None, description="Before the decision: how long the phase may take, all attempts together.")
    attempt_timeout: Duration | None = Field(default=None, description="How long one attempt may take.")
    retry: Retry | None = Field(
        default=None,
        description="Before the decision: another attempt after an error. After it a phase is tried until it succeeds, and this says how far "
        "apart the attempts are.",
    )

    @model_validator(mode="after")
    def _one_action(self) -> "PhaseAction":
        given = [name for name in _ACTIONS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "has no action"
            raise ValueError(f"{found}; give exactly one of {', '.join(_ACTIONS)}")
        return self

    @property
    def kind(self) -> str:
        """Which action this phase has: the name of its field, as users write it."""
        return next(name for name in _ACTIONS if getattr(self, name) is not None)

    @property
    def action(self) -> Any:
        """The model of its action."""
        return getattr(self, self.kind)


class Participant(Model):
    """Somebody who takes part in a transaction, and what it does in each phase."""

    name: Name = Field(description="Its name: a DNS label, unique among the participants.")
    prepare: PhaseAction | None = Field(
        default=None, description="TwoPhase: do everything that may fail, keep it hidden, and promise to be able to commit it."
    )
    commit: PhaseAction | None = Field(default=None, description="TwoPhase: make what was prepared final. It is tried until it succeeds.")
    abort: PhaseAction | None = Field(
        default=None, description="TwoPhase: drop what was prepared, if anything was. It is tried until it succeeds."
    )
    try_: PhaseAction | None = Field(default=None, alias="try", description="TCC: reserve what is needed.")
    confirm: PhaseAction | None = Field(default=None, description="TCC: make the reservation final. It is tried until it succeeds.")
    cancel: PhaseAction | None = Field(
        default=None, description="TCC: give the reservation back, if there is one. It is tried until it succeeds."
    )

    @model_validator(mode="after")
    def _three_phases(self) -> "Participant":
        given = [name for names in PHASES.values() for name in names if self._phase(name) is not None]
        if tuple(given) not in PHASES.values():
            found = f"has {', '.join(given)}" if given else "has no phase"
            ways = " or ".join(f"{', '.join(names[:-1])} and {names[-1]} ({mode})" for mode, names in PHASES.items())
            raise ValueError(f"{found}; give {ways}, all three")
        return self

    def _phase(self, name: str) -> PhaseAction | None:
        found: PhaseAction | None = self.try_ if name == "try" else getattr(self, name)
        return found

    @property
    def mode(self) -> TransactionMode:
        """The mode that its phases are of."""
        return next(mode for mode, names in PHASES.items() if self._phase(names[0]) is not None)

    def phases(self) -> Iterator[tuple[str, PhaseAction]]:
        """Its three phases by name: before the decision, after Commit, after Abort."""
        for name in PHASES[self.mode]:
            phase = self._phase(name)
            assert phase is not None
            yield name, phase


class Transaction(Model):
    """What several participants do together or not at all."""

    mode: TransactionMode = Field(
        default=TransactionMode.TWO_PHASE,
        description="TwoPhase: prepare, commit and abort, for participants that can hold back what they did. TCC: try, confirm and cancel, for "
        "participants that reserve.",
    )
    decision_timeout: Duration = Field(
        default=timedelta(minutes=1),
        description="How long all participants together may take until they are prepared; then the transaction is aborted.",
    )
    participants: Annotated[tuple[Participant, ...], unique("participant", lambda item: item.name)] = Field(
        min_length=1, max_length=100, description="Who takes part."
    )

    @model_validator(mode="after")
    def _phases_of_the_mode(self) -> "Transaction":
        for item in self.participants:
            if item.mode is not self.mode:
                names = ", ".join(PHASES[self.mode])
                raise ValueError(
                    f"the mode is {self.mode}, and participant {quoted(item.name)} has {', '.join(PHASES[item.mode])}; "
                    f"write mode: {item.mode}, or {names}"
                )
        return self

    def phases(self) -> Iterator[tuple[str, str, PhaseAction]]:
        """Every phase of every participant: its place in the manifest, its name, and what it does."""
        for index, item in enumerate(self.participants):
            for name, phase in item.phases():
                yield f"participants[{index}].{name}", name, phase
