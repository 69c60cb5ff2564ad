"""The answer to why a run waits, and the evidence that it is drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from backstay.engine import codec
from backstay.engine.model import JobFact

LATE: Final = timedelta(seconds=30)
"""After so long a delay the operator is to blame, not the load."""


class Cause(StrEnum):
    """What a run waits for, as one word for programs."""

    NOTHING = "Nothing"
    OPERATOR = "Operator"
    WORKFLOW = "Workflow"
    TURN = "Turn"
    LOCK = "Lock"
    CIRCUIT = "Circuit"
    RESUME = "Resume"
    PERSON = "Person"
    HOLD = "Hold"
    POD_START = "PodStart"
    API = "ApiServer"
    RETRY = "Retry"
    TIMER = "Timer"
    STOP = "Stop"
    JOB = "Job"
    STEP = "Step"
    FINALIZER = "Finalizer"


URGENCY: Final = {
    cause: rank
    for rank, cause in enumerate(
        (
            Cause.PERSON,
            Cause.HOLD,
            Cause.API,
            Cause.OPERATOR,
            Cause.POD_START,
            Cause.RETRY,
            Cause.CIRCUIT,
            Cause.LOCK,
            Cause.STOP,
            Cause.JOB,
            Cause.STEP,
        )
    )
}
"""Which of several steps that go on at once to name first: what somebody must mend before what goes well; timers last."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the cluster was asked for besides the run: Jobs with what is seen of their pods by name, and warnings (newest last)."""

    jobs: Mapping[str, JobFact] = field(default_factory=dict)
    pods: Mapping[str, str] = field(default_factory=dict)
    """The name of the newest pod of a Job, by the name of the Job."""
    warnings: Sequence[str] = ()
    asked: bool = False
    """Whether Jobs and Pods could be asked for at all."""
    children: "Mapping[str, Answer]" = field(default_factory=dict)
    """Why child runs wait, by name."""
    semaphores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The Semaphores whose slots it waits for, by name."""
    breakers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The CircuitBreakers that it waits for, or has failed by, by name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Why a run waits. `mend` is empty where there is nothing to do but to wait."""

    cause: Cause
    sentence: str
    mend: str = ""
    step: str = ""
    until: datetime | None = None
    others: tuple[str, ...] = ()
    """Paths of the other steps that go on."""
    error: Mapping[str, Any] | None = None
    """Of a run that has failed: its error, with its class and the catches that were looked at."""

    def to_json(self) -> dict[str, Any]:
        """Return the answer as data."""
        found: dict[str, Any] = {"waitsFor": str(self.cause), "sentence": self.sentence, "mend": self.mend, "step": self.step}
        found["until"] = codec.time_to_json(self.until) if self.until else None
        return {**found, "others": list(self.others), **({"error": self.error} if self.error is not None else {})}
