"""A compiled step, and what a kind of step must be able to do. See `program.py` for how nodes come to be, `steps/` for the kinds."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from backstay.api.policies import Retry
from backstay.api.steps import Step
from backstay.api.workflow import Defaults
from backstay.engine.model import Json, StepRecord
from backstay.engine.scopes import Bound, Scope
from backstay.engine.turn import Turn


class Nesting(Protocol):
    """What a kind gets to compile the lists of steps inside it."""

    defaults: Defaults
    """The workflow's defaults for steps that do work."""

    def steps(self, steps: Iterable[Step], prefix: str, outer: Scope | None, extra: tuple[str, ...] = ()) -> "tuple[Node, ...]":
        """Compile a list of steps whose path is `prefix`."""


class Kind(Protocol):
    """The machine of a kind of step. It writes entries through the turn and never touches the world.

    `works` tells whether it makes attempts at something outside that can fail: then retries and the workflow's defaults apply.
    """

    works: bool

    def compile(self, action: Any, path: str, scope: Scope, nesting: Nesting) -> Any:
        """Turn the action's model into whatever `Node.body` this kind wants. Raises InvalidExpression."""

    def begin(self, turn: Turn, node: "Node", path: str) -> None:
        """Write the step's first entry. May raise EvaluationError."""

    def proceed(self, turn: Turn, node: "Node", record: StepRecord) -> None:
        """Look again at a step that is Running, Waiting, or Retrying and due. May raise EvaluationError."""

    def stop(self, turn: Turn, node: "Node", record: StepRecord) -> bool:
        """Bring to an end what the step has started; called until it returns True: nothing of it goes on any more."""

    def outputs(self, turn: Turn, node: "Node", record: StepRecord) -> Json:
        """What a step that has succeeded produced, as expressions see it."""


class Instant:
    """What the kinds share that are over as soon as they have begun, and leave nothing behind."""

    works = False

    def proceed(self, turn: Turn, node: "Node", record: StepRecord) -> None:
        """Nothing goes on."""

    def stop(self, turn: Turn, node: "Node", record: StepRecord) -> bool:
        """Nothing goes on that would have to end first."""
        return True

    def outputs(self, turn: Turn, node: "Node", record: StepRecord) -> Json:
        """Nothing was produced."""
        return {}


@dataclass(frozen=True, slots=True)
class Handler:
    """One catch: which errors, and the steps that handle them."""

    errors: tuple[str, ...]
    name: str
    """What its expressions call the error."""
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One step of a program. `path` is static: without the indexes of iterations."""

    name: str
    kind: str
    machine: Kind
    path: str
    scope: Scope
    """The list that it stands in."""
    body: Any
    """What its machine made of the action."""
    condition: Bound | None = None
    depends_on: tuple[str, ...] = ()
    timeout: timedelta | None = None
    attempt_timeout: timedelta | None = None
    retry: Retry | None = None
    handlers: tuple[Handler, ...] = ()
