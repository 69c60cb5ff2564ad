"""The structure of a workflow as a graph: vertices, clusters of them, and edges. `drawing.py` writes it as Mermaid or DOT.

in order    a → b             parallel   fork → branches → join        catch        step ⇢ handler → what follows the step
dag         dependsOn         switch     decision → cases              compensate   step ⇠ how to undo it (dashed)
goto        goto → its step   race       first → events → their steps
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from backstay.api.actions.boundary import Boundary, EscalateAction, called
from backstay.api.actions.child import TemplateAction, WorkflowAction
from backstay.api.actions.control import CancelAction, GotoAction
from backstay.api.actions.iteration import ForEach, While
from backstay.api.actions.job import JobAction
from backstay.api.actions.structures import Awaited, Dag, Dependency, Parallel, Switch, SwitchMode
from backstay.api.policies import Catch
from backstay.api.steps import Compensate, EndAction, FailAction, RaceBranch, Step, WaitAction, action_of
from backstay.api.workflow import WorkflowSpec
from backstay.cli.views.text import clean, one_line
from backstay.engine.model import StepRecord
from backstay.engine.paths import ROOT, boundary_path, finally_path, handler_prefix, join, undo_path

_TEXT = 48


class Shape(StrEnum):
    """What a vertex stands for."""

    STEP = "step"
    START = "start"
    END = "end"
    FORK = "fork"
    DECISION = "decision"
    STOP = "stop"
    UNDO = "undo"
    CALL = "call"
    """Other steps, which have a picture of their own: a child run, a template."""


class Flow(StrEnum):
    """What an edge means: what follows, where an error leads, how something is undone."""

    NEXT = "next"
    CATCH = "catch"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Vertex:
    """One step, or a point between steps. `phase` is empty where nothing is known of a run."""

    id: str
    lines: tuple[str, ...]
    shape: Shape = Shape.STEP
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """From one vertex or cluster to another."""

    source: str
    target: str
    label: str = ""
    flow: Flow = Flow.NEXT


@dataclass(slots=True)
class Cluster:
    """Vertices that belong together: the inside of a structure."""

    id: str
    title: str
    members: "list[Vertex | Cluster]" = field(default_factory=list)
    phase: str = ""


@dataclass(slots=True)
class Graph:
    """A whole workflow."""

    body: Cluster
    edges: list[Edge] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the graph: where it is entered, and where it is left, each exit with the words for its edge."""

    entries: tuple[str, ...]
    exits: tuple[tuple[str, str], ...]


def graph(spec: WorkflowSpec, name: str, steps: Mapping[str, StepRecord] | None = None) -> Graph:
    """Return the graph of a workflow, with the state of a run's steps where they are given."""
    return _Builder(steps or {}).whole(spec, name)


class _Builder:
    """Builds one graph. Identifiers are numbers, so that no name can be anything but a label."""

    def __init__(self, steps: Mapping[str, StepRecord]) -> None:
        self.steps = {re.sub(r"~\d+", "", path): record for path, record in steps.items()}
        """The latest visit of each step: a goto may lead back to it."""
        self.edges: list[Edge] = []
        self.count = 0
        self.around: list[tuple[str, frozenset[str]]] = []
        """The lists of steps around what is being drawn, outermost first: path and names."""
        self.entries: dict[str, tuple[str, ...]] = {}
        self.jumps: list[tuple[str, str]] = []
        """The vertex of each goto, and the path of the step that it leads to."""

    def whole(self, spec: WorkflowSpec, name: str) -> Graph:
        top = self._cluster(name, "")
        start = self._vertex(top, ("start",), shape=Shape.START)
        inside = top
        if spec.catch or spec.finally_:
            inside = self._cluster("body", self._phase(ROOT))
            top.members.append(inside)
        body = self._dag(spec.dag, "", inside) if spec.dag is not None else self.list(spec.steps or (), "", inside)
        body = self._handlers(spec.catch, ROOT, inside.id, body, top)
        body = self._finally(spec.finally_, ROOT, inside.id, body, top)
        end = self._vertex(top, ("end",), shape=Shape.END)
        self._connect(((start, ""),), body.entries, top)
        self._connect(body.exits, (end,), top)
        self.edges += [Edge(source, entry) for source, target in self.jumps for entry in self.entries.get(target, ())]
        return Graph(top, self.edges)

    # -------------------------------------------------------------------------------------------------------- one step

    def list(self, steps: Iterable[Step], prefix: str, cluster: Cluster) -> Part:
        """Steps in order."""
        entries: tuple[str, ...] = ()
        exits: tuple[tuple[str, str], ...] = ()
        first = True
        steps = tuple(steps)
        self.around.append((prefix, frozenset(step.name for step in steps)))
        for step in steps:
            part = self.step(step, prefix, cluster)
            if first:
                entries, first = part.entries, False
            else:
                self._connect(exits, part.entries, cluster)
            exits = part.exits
        self.around.pop()
        return Part(entries, exits)

    def step(self, step: Step, prefix: str, cluster: Cluster) -> Part:
        """One step with its handlers, and how it is undone."""
        path = join(prefix, step.name)
        anchor, part = self._action(step, path, cluster)
        self.entries[path] = part.entries
        if step.compensate is not None:
            self._undo(step.compensate, path, anchor, cluster)
        part = self._handlers(step.catch, path, anchor, part, cluster)
        part = self._edges(step.boundary, path, anchor, part, cluster)
        return self._finally(step.finally_, path, anchor, part, cluster)

    def _action(self, step: Step, path: str, cluster: Cluster) -> tuple[str, Part]:
        """Draw what a step does. Returns what its other edges begin at, and the part."""
        action = step.action
        match action:
            case GotoAction():
                vertex = self._vertex(cluster, self._lines(step), path, Shape.STOP)
                self.jumps += [(vertex, join(prefix, action.step)) for prefix, names in self.around if action.step in names][-1:]
                return vertex, Part((vertex,), ((vertex, "otherwise"),) if step.if_ is not None else ())
            case Dag() | Parallel() | Switch() | ForEach() | While() | tuple():
                inner = self._inner(step, path, cluster)
                return inner.id, self._structure(action, path, inner)
            case EndAction() | FailAction():
                vertex = self._vertex(cluster, self._lines(step), path, Shape.STOP)
                return vertex, Part((vertex,), ())
            case _:
                shape = Shape.CALL if isinstance(action, (WorkflowAction, TemplateAction)) else Shape.STEP
                vertex = self._vertex(cluster, self._lines(step), path, shape)
                return vertex, Part((vertex,), ((vertex, ""),))

    def _inner(self, step: Step, path: str, cluster: Cluster) -> Cluster:
        inner = self._cluster(" · ".join(self._lines(step)), self._phase(path))
        cluster.members.append(inner)
        return inner

    def _lines(self, step: Step) -> tuple[str, ...]:
        condition = (f"if {_short(_inside(step.if_))}",) if step.if_ is not None else ()
        return (step.name, _summary(step), *condition)

    # ----------------------------------------------------------------------------------------------------- structures

    def _structure(self, action: Any, path: str, cluster: Cluster) -> Part:
        match action:
            case Dag():
                return self._dag(action, path, cluster)
            case Parallel():
                return self._parallel(action, path, cluster)
            case Switch():
                return self._switch(action, path, cluster)
            case ForEach() | While():
                return self._again(action, path, cluster)
            case (RaceBranch(), *_):
                return self._race(action, path, cluster)
            case _:
                return self.list(action, path, cluster)

    def _dag(self, dag: Dag, path: str, cluster: Cluster) -> Part:
        parts = {step.name: self.step(step, path, cluster) for step in dag.steps}
        awaited = {item.step for step in dag.steps for item in step.depends_on}
        for step in dag.steps:
            for item in step.depends_on:
                if item.step in parts:
                    self._connect(_ended_as(item, parts[item.step]), parts[step.name].entries, cluster)
        entries = tuple(entry for step in dag.steps if not step.depends_on for entry in parts[step.name].entries)
        exits = tuple(found for step in dag.steps if step.name not in awaited for found in parts[step.name].exits)
        return Part(entries or next(iter(parts.values())).entries, exits)

    def _parallel(self, parallel: Parallel, path: str, cluster: Cluster) -> Part:
        fork = self._vertex(cluster, ("",), shape=Shape.FORK)
        meet = self._vertex(cluster, ("",), shape=Shape.FORK)
        for branch in parallel.branches:
            part = self.list(branch.steps, join(path, branch.name), cluster)
            self.edges += [Edge(fork, entry, branch.name) for entry in part.entries]
            self._connect(part.exits, (meet,), cluster)
        return Part((fork,), ((meet, ""),))

    def _switch(self, switch: Switch, path: str, cluster: Cluster) -> Part:
        decision = self._vertex(cluster, ("?" if switch.mode is SwitchMode.FIRST else "every",), shape=Shape.DECISION)
        exits: list[tuple[str, str]] = []
        for index, case in enumerate(switch.cases):
            words = f"{case.name}: {_inside(case.when)}" if case.name else _inside(case.when)
            exits += self._case(case.steps, join(path, case.name or str(index)), decision, words, cluster)
        if switch.default is not None:
            exits += self._case(switch.default, join(path, "default"), decision, "otherwise", cluster)
        else:
            exits.append((decision, "otherwise"))
        return Part((decision,), tuple(exits))

    def _again(self, action: ForEach | While, path: str, cluster: Cluster) -> Part:
        """Steps that are run again and again: an edge leads back from their end to their beginning."""
        part = self.list(action.steps, path, cluster)
        words = _short(_inside(action.condition or action.until or "")) if isinstance(action, While) else "next"
        self.edges += [Edge(source, entry, words) for source, _ in part.exits for entry in part.entries]
        return part

    def _race(self, branches: Sequence[RaceBranch], path: str, cluster: Cluster) -> Part:
        """Every event in a vertex of its own, followed by the steps for when it is the first."""
        fork = self._vertex(cluster, ("first",), shape=Shape.DECISION)
        exits: list[tuple[str, str]] = []
        for index, branch in enumerate(branches):
            place = join(path, branch.name or str(index))
            event = self._vertex(cluster, (branch.name or "", _action_words(action_of(branch))), place)
            self.edges.append(Edge(fork, event))
            part = self.list(branch.steps or (), place, cluster)
            self._connect(((event, ""),), part.entries, cluster)
            exits += part.exits if branch.steps else ((event, ""),)
        return Part((fork,), tuple(exits))

    def _case(self, steps: Sequence[Step], path: str, decision: str, words: str, cluster: Cluster) -> tuple[tuple[str, str], ...]:
        part = self.list(steps, path, cluster)
        self.edges += [Edge(decision, entry, _short(words)) for entry in part.entries]
        return part.exits

    # ------------------------------------------------------------------------------------------------- errors, undoing

    def _handlers(self, catches: Sequence[Catch], path: str, anchor: str, part: Part, cluster: Cluster) -> Part:
        exits = list(part.exits)
        for index, catch in enumerate(catches):
            inner = self._cluster(f"on {', '.join(catch.errors)}", "")
            cluster.members.append(inner)
            handler = self.list(catch.steps, handler_prefix(path, index), inner)
            self.edges += [Edge(anchor, entry, _short(", ".join(catch.errors)), Flow.CATCH) for entry in handler.entries]
            exits += handler.exits
        return Part(part.entries, tuple(exits))

    def _edges(self, events: Sequence[Boundary], path: str, anchor: str, part: Part, cluster: Cluster) -> Part:
        """The boundary events of a step: what takes its place and what runs beside it alike come before what follows."""
        exits = list(part.exits)
        for index, event in enumerate(events):
            place = boundary_path(path, called(event, index))
            words = _action_words(event.wait) if event.wait is not None else f"escalation {event.escalation}"
            inner = self._cluster(words if event.interrupting else f"{words} (beside)", self._phase(place))
            cluster.members.append(inner)
            aside = self.list(event.steps, place, inner)
            self.edges += [Edge(anchor, entry, words, Flow.CATCH) for entry in aside.entries]
            exits += aside.exits
        return Part(part.entries, tuple(exits))

    def _finally(self, steps: Sequence[Step] | None, path: str, anchor: str, part: Part, cluster: Cluster) -> Part:
        """The steps that come before a step's end, on every way out of it; where none leads on, after the step itself."""
        if steps is None:
            return part
        place = finally_path(path)
        inner = self._cluster("finally", self._phase(place))
        cluster.members.append(inner)
        last = self.list(steps, place, inner)
        self._connect(part.exits or ((anchor, ""),), last.entries, cluster)
        return Part(part.entries, last.exits if part.exits else ())

    def _undo(self, compensate: Compensate, path: str, anchor: str, cluster: Cluster) -> None:
        place = undo_path(path)
        if compensate.steps is not None:
            inner = self._cluster(f"undo {path.rpartition('/')[2]}", self._phase(place))
            cluster.members.append(inner)
            entries = self.list(compensate.steps, place, inner).entries
        else:
            words = _action_words(action_of(compensate))
            entries = (self._vertex(cluster, (f"undo {path.rpartition('/')[2]}", words), place, Shape.UNDO),)
        self.edges += [Edge(anchor, entry, "undo", Flow.UNDO) for entry in entries]

    # ---------------------------------------------------------------------------------------------------------- pieces

    def _connect(self, exits: Sequence[tuple[str, str]], entries: Sequence[str], cluster: Cluster) -> None:
        """Lead every exit to every entry; where that would be a thicket, through a point between them."""
        if len(exits) > 1 and len(entries) > 1:
            point = self._vertex(cluster, ("",), shape=Shape.FORK)
            self.edges += [Edge(source, point, words) for source, words in exits]
            exits = ((point, ""),)
        self.edges += [Edge(source, target, words) for source, words in exits for target in entries]

    def _vertex(self, cluster: Cluster, lines: Iterable[str], path: str = "", shape: Shape = Shape.STEP) -> str:
        vertex = Vertex(self._id("n"), tuple(clean(item) for item in lines if item), shape, self._phase(path) if path else "")
        cluster.members.append(vertex)
        return vertex.id

    def _cluster(self, title: str, phase: str) -> Cluster:
        return Cluster(self._id("c"), clean(title), [], phase)

    def _id(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def _phase(self, path: str) -> str:
        record = self.steps.get(path)
        return str(record.phase) if record is not None else ""


# -------------------------------------------------------------------------------------------------------------------- words


def _summary(step: Step) -> str:
    action = step.action
    if isinstance(action, Parallel):
        rest = "" if action.cancel_rest else ", the rest goes on"
        return "parallel" if action.join == "All" else f"parallel, join {action.join}{rest}"
    if isinstance(action, dict):
        return _short(f"{step.kind} {', '.join(action)}")
    return _action_words(action) or step.kind


def _action_words(action: object) -> str:
    match action:
        case JobAction():
            return _short(action.image)
        case WaitAction():
            return _short(
                f"wait {action.duration}"
                if action.duration is not None
                else f"wait until {action.until or _inside(action.condition or '')}"
            )
        case GotoAction():
            return f"goto {action.step}"
        case CancelAction():
            return f"cancel {action.step}"
        case (RaceBranch(), *_):
            return "race"
        case FailAction():
            return f"fail {action.error}" if action.error is not None else "raise it again"
        case EscalateAction():
            return f"escalate {action.code}"
        case EndAction():
            return f"end {action.result}"
        case Switch():
            return "switch"
        case Dag():
            return "dag"
        case ForEach():
            items = f"in {_inside(str(action.in_))}" if action.count is None else f"count {_inside(str(action.count))}"
            return _short(f"for each {'' if action.as_ == 'item' else action.as_ + ' '}{items}")
        case While():
            return _short(f"while {_inside(action.condition)}" if action.condition is not None else f"until {_inside(action.until or '')}")
        case WorkflowAction():
            title = f"{action.name}/{action.template}" if action.template else action.name
            return _short(f"{'run' if action.wait else 'start'} {title}")
        case TemplateAction():
            return _short(f"template {action.name}")
        case tuple():
            return "steps"
    return ""


def _ended_as(item: Dependency, part: Part) -> tuple[tuple[str, str], ...]:
    """Return where a dependency's edges begin, with how the step must end where that is not well."""
    if item.outcome is Awaited.SUCCEEDED:
        return part.exits
    return tuple((source, str(item.outcome)) for source, _ in part.exits) or tuple((entry, str(item.outcome)) for entry in part.entries)


def _inside(expression: str) -> str:
    """The expression without `${ }`."""
    stripped = expression.strip()
    return stripped.removeprefix("${").removesuffix("}").strip() if stripped.startswith("${") else stripped


def _short(text: str) -> str:
    return clean(one_line(text), _TEXT)
