"""A Workflow compiled once a revision: a tree of nodes with their expressions bound, so that deciding needs no parsing.

Each kind of step compiles its own body (`engine/steps/`); what every step may carry (if, timeouts, retry, catch, compensate)
is compiled here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from backstay.api.actions.boundary import ESCALATION, called
from backstay.api.actions.boundary import Boundary as Event
from backstay.api.actions.child import RecoveryWorkflow
from backstay.api.policies import Catch, OnExhausted, Retry
from backstay.api.steps import Compensate, NotUndone, Step, action_of, kind_of
from backstay.api.workflow import WorkflowSpec
from backstay.engine.lifecycle.boundary import heard
from backstay.engine.model import Json
from backstay.engine.node import Boundary, Handler, Node
from backstay.engine.outputs import declare
from backstay.engine.paths import (
    RECOVERY,
    ROOT,
    boundary_path,
    event_path,
    finally_path,
    finished_by,
    handler_prefix,
    join,
    segments_of,
    static,
    undo_path,
    undone_by,
)
from backstay.engine.policies import attempts
from backstay.engine.policies.circuit import compile_circuit
from backstay.engine.policies.lock import compile_lock, compile_undo_lock
from backstay.engine.scopes import ENDING, STATE, Bound, Iterated, Scope, bind
from backstay.engine.steps import KINDS
from backstay.engine.steps.block import Body
from backstay.engine.steps.workflow import UNDO, UNDO_CHILD
from backstay.engine.transactions import TRANSACTION
from backstay.engine.workspaces import Source, compile_workspaces
from backstay.errors import InvalidDefinition, Problem

UNDO_RETRY: Final = Retry(max_attempts=5, errors=("*",))
"""Undoing is tried harder than doing: on any error, until a person is needed."""


@dataclass(frozen=True, slots=True)
class Program:
    """A workflow, ready to be decided upon."""

    spec: WorkflowSpec
    root: Node
    outputs: Bound
    undoable: bool
    """Whether any step says how to undo it, or a transaction must be carried through: then a run needs the finalizer."""
    nodes: Mapping[str, Node]
    """Every node by static path; how to undo a step stands at `undo_path` of its path."""
    top_level: tuple[str, ...]
    """Paths of the outermost steps: what progress counts."""
    kinds: frozenset[str]
    """The kinds of steps that there are."""
    undoing: frozenset[str]
    """Paths of the steps that say how to undo them, and of all structures around those."""
    pivots: frozenset[str]
    """Paths of the steps after which the run only goes forward."""
    bounded: frozenset[str] = frozenset()
    """Paths of the steps that have boundary events."""
    circuits: frozenset[str] = frozenset()
    """The circuit breakers that steps name."""
    finishing: frozenset[str] = frozenset()
    """Paths of the steps that have a `finally`."""
    finally_: Node | None = None
    """The workflow's own `finally`, a block."""
    recovery: Node | None = None
    """What starts the run that recovers from a failure."""

    @property
    def must_end(self) -> bool:
        """Whether a run may have something to do when it is deleted: then it needs the finalizer."""
        return self.undoable or bool(self.finishing) or self.finally_ is not None

    @property
    def leads_back(self) -> bool:
        """Whether a list of steps may be in another lap than the first."""
        return "goto" in self.kinds

    def undoes(self, path: str) -> bool:
        """Tell whether the step at a path, or one inside it, says how to undo it."""
        return static(path) in self.undoing

    def undo_of(self, path: str) -> Node | None:
        """Return how to undo the step at a path, or None where it does not say."""
        return self.nodes.get(undo_path(static(path)))

    def node(self, path: str) -> Node | None:
        """Return the node of the step at a path, whatever iteration it is in."""
        return self.nodes.get(static(path))


class Compiler:
    """Turns the models of `api/` into nodes; handed to each kind's `compile`, so that kinds can nest lists of steps."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.defaults = spec.defaults
        self.workspaces: Mapping[str, Source] = compile_workspaces(spec.workspaces)
        self.retry = spec.defaults.retry
        """What steps that do work get where they say nothing themselves; another one inside a compensation."""
        self.nodes: dict[str, Node] = {}
        self.undoable = False
        self.spec = spec
        self.open: list[str] = []
        """The templates whose steps are being compiled, the outermost first."""

    def steps(
        self, steps: Iterable[Step], prefix: str, outer: Scope | None, extra: tuple[str, ...] = (), iterated: Iterated | None = None
    ) -> tuple[Node, ...]:
        """Compile a list of steps whose path is `prefix`. `extra` are names that it sees besides; `iterated` gives their values in a body."""
        return self.list_of(steps, prefix, Scope(segments_of(prefix), outer, extra, iterated=iterated))

    def list_of(self, steps: Iterable[Step], prefix: str, scope: Scope) -> tuple[Node, ...]:
        """Compile a list of steps whose path is `prefix`, as its expressions see the world."""
        for step in steps:
            scope.nodes[step.name] = self.step(step, prefix, scope)
        return tuple(scope.nodes.values())

    def template(self, name: str, path: str) -> tuple[WorkflowSpec, tuple[Node, ...], Scope]:
        """Compile the steps of a template for the step at a path. Returns the template as a workflow, its steps, and the list that they are.

        Raises InvalidDefinition for a template that is not there or uses itself, which `check_workflow` tells before.
        """
        spec = self.spec.of_template(name)
        if spec is None or name in self.open:
            words = "uses itself" if spec is not None else "is not there"
            raise InvalidDefinition([Problem(path, f"the template {name!r} {words}")])
        self.open.append(name)
        scope = Scope(segments_of(path), is_template=True)
        for step in spec.steps or ():
            scope.nodes[step.name] = self.step(step, path, scope)
        self.open.pop()
        return spec, tuple(scope.nodes.values()), scope

    def undoes_inside(self, path: str) -> bool:
        """Tell whether a step inside the structure at a path says how to undo it, once its lists are compiled."""
        return any(undone_by(inner) is not None and inner.startswith(f"{path}/") for inner in self.nodes)

    def step(self, step: Step, prefix: str, scope: Scope) -> Node:
        """Compile one step with all that it carries."""
        path = join(prefix, step.name)
        node = self.bare(step.kind, step.action, step.name, path, scope)
        if step.compensate is not None:
            self._undo(step.compensate, path, scope)
        elif step.workflow is not None and step.workflow.is_undone and undone_by(path) is None and finished_by(path) is None:
            self._undo_child(path, scope)
        self.nodes[path] = replace(
            node,
            condition=None if step.if_ is None else bind(step.if_, scope),
            depends_on=step.depends_on,
            timeout=None if step.retriable else step.timeout or node.timeout,
            attempt_timeout=step.attempt_timeout or node.attempt_timeout,
            retry=step.retry or node.retry,
            handlers=self.handlers(step.catch, path, scope),
            boundaries=tuple(self.boundary(event, called(event, index), path, scope) for index, event in enumerate(step.boundary)),
            lock=compile_lock(step.lock, scope),
            declared=declare(step.outputs),
            on_exhausted=step.on_exhausted,
            is_retriable=step.retriable,
            is_pivot=step.pivot,
            circuit=compile_circuit(step),
            finally_=self.finally_(step.finally_, path, scope),
        )
        if step.lock is not None and undo_path(path) in self.nodes:
            self.nodes[undo_path(path)] = replace(self.nodes[undo_path(path)], lock=compile_undo_lock(step.lock))
        return self.nodes[path]

    def handlers(self, catches: Sequence[Catch], path: str, scope: Scope | None) -> tuple[Handler, ...]:
        """Compile the catches of the step at `path`."""
        return tuple(self._handler(catch, handler_prefix(path, index), scope) for index, catch in enumerate(catches))

    def _handler(self, catch: Catch, prefix: str, outer: Scope | None) -> Handler:
        before, scope = (Scope(segments_of(prefix), outer, (catch.as_,), handles=True) for _ in range(2))
        return Handler(
            catch.errors,
            catch.as_,
            self.list_of(catch.steps, prefix, scope),
            when=None if catch.when is None else bind(catch.when, before),
            outputs=None if catch.outputs is None else bind(catch.outputs, scope),
        )

    def boundary(self, event: Event, called: str, owner: str, outer: Scope) -> Boundary:
        """Compile a boundary event of the step at `owner`, which stands in the list `outer`."""
        path, listens = boundary_path(owner, called), event.escalation is not None
        scope = Scope(segments_of(path), outer, (ESCALATION,) if listens else (), iterated=heard if listens else None)
        nodes = self.list_of(event.steps, path, scope)
        self.nodes[path] = Node(called, "steps", KINDS["steps"], path, outer, Body(nodes))
        awaited = None if listens else self.event(event.kind, event.event, called, event_path(path), outer)
        outputs = None if event.outputs is None else bind(event.outputs, scope)
        return Boundary(called, event.interrupting, self.nodes[path], awaited, event.escalation or "", outputs)

    def finally_(self, steps: Sequence[Step] | None, path: str, scope: Scope) -> Node | None:
        """Compile the `finally` of the step at `path`, in a list, as a block of its own."""
        if steps is None:
            return None
        place = finally_path(path)
        self.nodes[place] = Node(place, "steps", KINDS["steps"], place, scope, Body(self.steps(steps, place, scope, (ENDING,))))
        return self.nodes[place]

    def recovery(self, action: RecoveryWorkflow | None, scope: Scope) -> Node | None:
        """Compile what starts the run that recovers from a failure: a step that nobody waits for."""
        if action is None:
            return None
        inner = Scope(scope.segments, scope, ("error", STATE))
        self.nodes[RECOVERY] = self.bare("workflow", action.as_action(), RECOVERY, RECOVERY, inner)
        return self.nodes[RECOVERY]

    def _undo(self, compensate: Compensate, path: str, scope: Scope) -> None:
        kind = kind_of(compensate)
        inner = Scope(scope.segments, scope, ("self", "error"))
        before, self.retry = self.retry, compensate.retry or UNDO_RETRY
        node = self.bare(kind, action_of(compensate), f"{path}:compensate", undo_path(path), inner)
        self.retry = before
        self.undoable = True
        self.nodes[undo_path(path)] = replace(
            node,
            timeout=compensate.timeout or node.timeout,
            attempt_timeout=compensate.attempt_timeout or node.attempt_timeout,
            on_exhausted=OnExhausted.FAIL if compensate.on_exhausted is NotUndone.SKIP else None,
        )

    def _undo_child(self, path: str, scope: Scope) -> None:
        """A child run is undone by itself, where the step does not say another way."""
        self.undoable = True
        self.nodes[undo_path(path)] = Node(f"{path}:compensate", UNDO, UNDO_CHILD, undo_path(path), scope, None)

    def event(self, kind: str, action: Any, name: str, path: str, scope: Scope) -> Node:
        """Compile an event that something waits for: an action without a step of its own."""
        self.nodes[path] = self.bare(kind, action, name, path, scope)
        return self.nodes[path]

    def place(self, path: str, node: Node, **changes: Any) -> Node:
        """Put a node, with changes, in the place of the one at a path. Returns it."""
        self.nodes[path] = replace(node, **changes)
        return self.nodes[path]

    def bare(self, kind: str, action: Any, name: str, path: str, scope: Scope) -> Node:
        """Compile an action by itself, with the workflow's defaults where its kind does work."""
        machine = KINDS[kind]
        seen = attempts.seeing(scope) if machine.works else scope
        node = Node(name, kind, machine, path, scope, machine.compile(action, path, seen, self))
        if not machine.works:
            return node
        return replace(node, timeout=self.defaults.timeout, attempt_timeout=self.defaults.attempt_timeout, retry=self.retry)


def compile_program(spec: WorkflowSpec) -> Program:
    """Compile a workflow that has been validated. Raises InvalidExpression where one does not parse."""
    if spec.is_library:
        raise InvalidDefinition(
            [Problem("", "it has templates and no body: run one of its templates, as in workflow: {name: …, template: …}")]
        )
    compiler = Compiler(spec)
    kind = "steps" if spec.steps is not None else "dag"
    root = compiler.bare(kind, getattr(spec, kind), "", ROOT, Scope(0))
    nodes: Sequence[Node] = root.body.nodes
    inside = nodes[0].scope
    root = replace(root, handlers=compiler.handlers(spec.catch, ROOT, inside))
    outputs: dict[str, Json] = {output.name: output.value for output in spec.outputs}
    finishing = frozenset(path for path, node in compiler.nodes.items() if node.finally_ is not None)
    finally_, recovery = compiler.finally_(spec.finally_, ROOT, inside), compiler.recovery(spec.on_failure.workflow, inside)
    return Program(
        spec=spec,
        root=root,
        outputs=bind(outputs, inside),
        undoable=compiler.undoable or any(node.kind == TRANSACTION for node in compiler.nodes.values()),
        nodes={**compiler.nodes, ROOT: root},
        top_level=tuple(node.path for node in nodes),
        kinds=frozenset(node.kind for node in compiler.nodes.values()),
        undoing=_undoing(compiler.nodes),
        pivots=frozenset(path for path, node in compiler.nodes.items() if node.is_pivot),
        bounded=frozenset(path for path, node in compiler.nodes.items() if node.boundaries),
        circuits=frozenset(node.circuit.name for node in compiler.nodes.values() if node.circuit is not None),
        finishing=finishing,
        finally_=finally_,
        recovery=recovery,
    )


def _undoing(nodes: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in filter(None, map(undone_by, nodes)):
        found.add(path)
        found.update(path[: place.start()] for place in re.finditer("[/:]", path))
    return frozenset(found)


NOTHING: Final = compile_program(WorkflowSpec.model_validate({"steps": [{"name": "nothing", "set": {"done": True}}]}))
"""Stands in for the program of a run whose workflow is missing or cannot be run."""
