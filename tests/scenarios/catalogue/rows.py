"""What a row of the catalogue of failures is: words for docs/failures.md, and the test that shows it, or a scenario that is one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.scenarios.manifests import run_of, shell, step
from tests.support.api import Object

SERVER: Final = "${ params.server }"
"""In manifests: the address of tests/support/odd_server.py, which the runs that name it are given."""
NOBODY: Final = "${ params.nobody }"
"""In manifests: an address at which nobody listens."""
MINE: Final = "tests/scenarios/failures.py::test_a_failure_goes_as_the_catalogue_says"


@dataclass(frozen=True)
class Deed:
    """What somebody does to a run, and when.

    `when` is `STEP PHASE`, or a condition that is true (`Stalled`). `what` is merged into the run; or `ask`, a request; or `delete`: the
    run, or `job STEP`, `child STEP`. `seen` is what a user reads at that moment in the condition, or as message of the step.
    """

    when: str
    what: Mapping[str, Any] = field(default_factory=dict)
    ask: Mapping[str, Any] | None = None
    delete: str = ""
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """A run, what is done to it, and what its user then sees. What is left out is not looked at.

    `undone` are the steps that are undone, in that order; `journal` sentences as in tests/support/shown.py; `conditions` parts of
    `STATUS REASON: MESSAGE`; `events` parts of messages, by their reason.
    """

    steps: tuple[Object, ...]
    phase: str = "Failed"
    error: str = ""
    says: tuple[str, ...] = ()
    undone: tuple[str, ...] | None = None
    ends: Mapping[str, str] = field(default_factory=dict)
    """Phases of steps."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    outputs: Any = None
    conditions: Mapping[str, str] = field(default_factory=dict)
    journal: tuple[str, ...] = ()
    events: Mapping[str, str] = field(default_factory=dict)
    deeds: tuple[Deed, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Of the run and its definition, besides the steps."""
    also: tuple[Object, ...] = ()
    """What else is applied."""
    goes: bool = False
    """The run is deleted in the end."""

    def manifest(self, name: str, server: str) -> Object:
        """The run, for a web server at an address."""
        given = {"server": server, "nobody": "http://127.0.0.1:9"} if SERVER in str(self.steps) or NOBODY in str(self.steps) else {}
        fields = {"declared": [{"name": key} for key in given], "parameters": given, **self.fields}
        return run_of(name, *self.steps, **fields)


@dataclass(frozen=True)
class Row:
    """One failure: what happens, what Backstay does, what its user sees, what there is to do; and a scenario, or tests that are elsewhere."""

    happens: str
    does: str
    sees: str
    todo: str
    scenario: Scenario | None = None
    tests: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------------------ manifests


def done(name: str, **fields: Any) -> Object:
    """A step that does its work, and says how to undo it."""
    return step(name, **{"job": shell(), "compensate": {"job": shell()}, **fields})


def stop(error: str = "NoFlight") -> Object:
    """A step that fails the run."""
    return step("flight", fail={"error": error})


def undo(script: str, attempts: int = 1, **fields: Any) -> Object:
    """A compensation that runs a script."""
    return {"job": shell(script), "retry": {"maxAttempts": attempts, "interval": "10ms", "errors": ["*"]}, **fields}


def again(attempts: int, **fields: Any) -> Object:
    """A retry without long pauses."""
    return {"maxAttempts": attempts, "interval": "10ms", "errors": ["*"], **fields}


def says(output: str, code: int = 0) -> Object:
    """A job that leaves an output."""
    return shell(f"printf '%s' '{output}' > $BACKSTAY_OUTPUT; exit {code}")


HANGS: Final = "trap 'exit 1' TERM; sleep 600 & wait"
ALL_UNDONE: Final = {"Compensated": "True AllUndone"}
