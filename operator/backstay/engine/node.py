"""A compiled step, and what a kind of step must be able to do. See `program.py` for how nodes come to be, `steps/` for the kinds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from backstay.api.actions.structures import Dependency
from backstay.api.policies import OnExhausted, Retry
from backstay.api.steps import Step
from backstay.api.workflow import Defaults, WorkflowSpec
from backstay.engine.model import Json, StepRecord
from backstay.engine.outputs import Declared
from backstay.engine.policies.circuit import CircuitNode
from backstay.engine.policies.lock import LockNode
from backstay.engine.scopes import Bound, Iterated, Scope
from backstay.engine.turn import Turn
from backstay.engine.workspaces import Source


class Nesting(Protocol):
    """What a kind gets to compile the lists of steps inside it."""

    defaults: Defaults
    """The workflow's defaults for steps that do work."""
    workspaces: Mapping[str, Source]
    """What its jobs may mount, by name."""

    def steps(
        self, steps: Iterable[Step], prefix: str, outer: Scope | None, extra: tuple[str, ...] = (), iterated: Iterated | None = None
    ) -> "tuple[Node, ...]":
        """Compile a list of steps whose path is `prefix`. `extra` are names that it sees besides; `iterated` gives their values in a body."""

    def event(self, kind: str, action: Any, name: str, path: str, scope: Scope) -> "Node":
        """Compile an event that something waits for: an action without a step of its own."""

    def place(self, path: str, node: "Node", **changes: Any) -> "Node":
        """Put a node, with changes, in the place of the one at a path. Returns it."""

    def template(self, name: str, path: str) -> "tuple[WorkflowSpec, tuple[Node, ...], Scope]":
        """Compile the steps of a template for the step at a path. Returns the template as a workflow, its steps, and the list that they are."""

    def undoes_inside(self, path: str) -> bool:
        """Tell whether a step inside the structure at a path says how to undo it, once its lists are compiled."""


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


class Work(Kind, Protocol):
    """The machine of a kind that does work from an action that is resolved before each attempt."""

    def resolved(self, turn: Turn, node: "Node", path: str) -> dict[str, Json]:
        """Return the action with its expressions evaluated, in the shape in which users write it: what an edit is merged into.

        May raise EvaluationError.
        """


class Event(Kind, Protocol):
    """The machine of a kind that waits for something to happen, and that a race can be about."""

    def open(self, turn: Turn, node: "Node", path: str) -> None:
        """Write the step's first entry and no more: whether it has happened already is for `proceed`. May raise EvaluationError."""


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
    when: Bound | None = None
    """What has to be true besides."""
    outputs: Bound | None = None
    """What the step produced after all, once these steps have succeeded."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """One event at the edge of a step, and the steps for when it happens while the step goes on."""

    called: str
    """How it is called in paths: its position, or a dash and its name."""
    interrupting: bool
    block: "Node"
    """The steps."""
    event: "Node | None" = None
    """What is waited for; nothing of an escalation, which somebody raises."""
    code: str = ""
    """The escalation that is heard, or `*`."""
    outputs: Bound | None = None
    """What the step produced after all, once these steps have succeeded."""


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
    depends_on: tuple[Dependency, ...] = ()
    timeout: timedelta | None = None
    attempt_timeout: timedelta | None = None
    retry: Retry | None = None
    handlers: tuple[Handler, ...] = ()
    boundaries: tuple[Boundary, ...] = ()
    lock: LockNode | None = None
    declared: Declared | None = None
    """What the step says that it produces."""
    on_exhausted: OnExhausted | None = None
    """What becomes of it once no attempt is left; see `lifecycle.pausing.exhaustion` for where it does not say."""
    is_retriable: bool = False
    """Whether it is tried until it succeeds."""
    is_pivot: bool = False
    """Whether the run only goes forward once it has succeeded."""
    is_phase: bool = False
    """Whether it is what a participant of a transaction does in one phase (`engine/transactions.py`)."""
    tells: Callable[[Turn, str], dict[str, Json]] | None = None
    """What attempts are told besides their own action: added to the inputs of the attempt at a path, for the executor."""
    never_again: tuple[str, ...] = ()
    """Errors after which it is not tried again, even where it is retriable."""
    finally_: "Node | None" = None
    """The block of steps that runs before its end, whatever that is. Its path is `finally_path` of the step's."""
    circuit: CircuitNode | None = None
