"""dag: steps that start as soon as those they depend on have ended as they should.

    state     on         becomes    then
    (new)     start      Running    the steps that depend on nothing begin
    Running   ended      Running    steps of which all dependencies have ended begin; where one ended in another way than asked, they are skipped
    Running   done       Succeeded  every step has ended, and every failure was dealt with: a step that asked for it has begun
    Running   failed     Stopping   with failFast the others are stopped; without it, those go on that do not depend on the failed one
    Stopping  ended      Failed     with the error of the first step that failed and that no other dealt with
    Running   stop       Stopping   what runs of it is stopped

A step that was skipped by its own `if` counts as succeeded for those that depend on it; one that was skipped for its dependencies does not.

Example:
    - name: build
      dag:
        steps:
        - {name: fetch, job: {image: "shop/git:1"}}
        - {name: test, dependsOn: [fetch], job: {image: "shop/test:1"}}
        - {name: scan, dependsOn: [fetch], job: {image: "shop/scan:1"}}
        - {name: publish, dependsOn: [test, scan], job: {image: "shop/push:1"}}
        - {name: tell, dependsOn: [{step: test, outcome: Failed}], job: {image: "shop/mail:1"}}
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from graphlib import TopologicalSorter
from operator import or_

from backstay.api.actions.structures import Awaited, Dag, Dependency
from backstay.engine import lifecycle
from backstay.engine.lifecycle import advance, begun, skip, stop_list, succeed
from backstay.engine.model import Json, Phase, StepRecord
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import ROOT, join
from backstay.engine.scopes import Scope
from backstay.engine.steps.block import inside, outputs_of
from backstay.engine.turn import Turn

_DEALS_WITH: frozenset[Awaited] = frozenset({Awaited.FAILED, Awaited.DONE})


@dataclass(frozen=True, slots=True)
class Body:
    """The steps of a dag; each node knows what it depends on."""

    nodes: tuple[Node, ...]
    fail_fast: bool
    order: tuple[Node, ...]
    """Each step after those it depends on."""
    heirs: Mapping[str, tuple[str, ...]]
    """By the name of a step: those that deal with it, should it fail."""
    place: Mapping[str, int]
    """Where each step is in `order`, by name."""
    before: Mapping[str, int]
    """By the name of a step: all that it depends on, however far, as a set of bits by their places. 5,000 steps take 3 MB at most."""

    def depends(self, one: str, other: str) -> bool:
        """Tell whether a step depends on another one, directly or over others."""
        return bool(self.before.get(one, 0) >> self.place.get(other, 0) & 1)


class DagStep:
    """The machine of `dag`."""

    works = False

    def compile(self, action: Dag, path: str, scope: Scope, nesting: Nesting) -> Body:
        nodes = nesting.steps(action.steps, inside(path), None if path == ROOT else scope)
        by_name = {node.name: node for node in nodes}
        graph = TopologicalSorter({step.name: [item.step for item in step.depends_on] for step in action.steps})
        heirs: dict[str, tuple[str, ...]] = {}
        for step in action.steps:
            for item in step.depends_on:
                if item.outcome in _DEALS_WITH:
                    heirs[item.step] = (*heirs.get(item.step, ()), step.name)
        order = tuple(graph.static_order())
        place = {name: index for index, name in enumerate(order)}
        before: dict[str, int] = {}
        for name in order:
            needed = [item.step for item in by_name[name].depends_on]
            before[name] = reduce(or_, (before[other] | 1 << place[other] for other in needed), 0)
        return Body(nodes, action.fail_fast, tuple(by_name[name] for name in order), heirs, place, before)

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        record = turn.change_step("StepStarted", path, phase=Phase.RUNNING, **begun(turn, node))
        self.proceed(turn, node, record)

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        body, prefix = node.body, inside(record.path)
        while True:
            found = _advance_all(turn, body, prefix)
            if turn.is_ending:
                return
            failed = _not_dealt_with(turn, body, prefix, found)
            going = [step for step in found if not step.has_ended]
            if failed and body.fail_fast:
                break
            if not _skip(turn, body, prefix):
                break
        if failed and (body.fail_fast or not going):
            places = {join(prefix, step.name): place for place, step in enumerate(body.nodes)}
            first = min(failed, key=lambda step: (step.finished_at or turn.now, places[step.path]))
            lifecycle.begin_stopping(turn, node, record, Phase.FAILED, first.error)
        elif len(found) == len(body.nodes) and not going:
            succeed(turn, record.path)

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        return stop_list(turn, node.body.nodes, inside(record.path))

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        return outputs_of(turn, node.body.nodes, inside(record.path))


def _advance_all(turn: Turn, body: Body, prefix: str) -> list[StepRecord]:
    """Bring every step as far as it goes, also those that a step which was done at once makes ready. Returns what has begun."""
    waiting = list(body.nodes)
    found: list[StepRecord] = []
    left_out = _LeftOut(turn, body, prefix)
    progress = True
    while waiting and progress and not turn.is_ending:
        later: list[Node] = []
        progress = False
        for node in waiting:
            path = join(prefix, node.name)
            before = turn.steps.get(path)
            if before is not None and before.has_ended:
                found.append(before)
                continue
            if before is None and not all(_is_met(turn, prefix, item, left_out) for item in node.depends_on):
                later.append(node)
                continue
            record = advance(turn, node, path)
            if record is not None:
                found.append(record)
                progress = progress or (record is not before and (record.has_ended or record.is_joined))
        waiting = later
    return found


def _is_met(turn: Turn, prefix: str, item: Dependency, left_out: Container[str]) -> bool:
    """Tell whether a step has ended in the way that another one asks for."""
    record = turn.steps.get(join(prefix, item.step))
    if record is None:
        return False
    match item.outcome:
        case Awaited.SUCCEEDED:
            return record.is_joined or (record.is_done and (record.phase is not Phase.SKIPPED or item.step not in left_out))
        case Awaited.FAILED:
            return record.phase is Phase.FAILED
        case Awaited.SKIPPED:
            return record.phase is Phase.SKIPPED
        case Awaited.DONE:
            return record.has_ended or record.is_joined


class _LeftOut(Container[str]):
    """The steps that were skipped because of how others ended: worked out when one is asked for, which is seldom."""

    def __init__(self, turn: Turn, body: Body, prefix: str) -> None:
        self._turn, self._body, self._prefix = turn, body, prefix
        self._names: set[str] | None = None

    def __contains__(self, name: object) -> bool:
        if self._names is None:
            self._names = _left_out(self._turn, self._body.order, self._prefix)
        return name in self._names

    def add(self, name: str) -> None:
        """Note that one more was skipped."""
        if name not in self and self._names is not None:
            self._names.add(name)


def _left_out(turn: Turn, order: Iterable[Node], prefix: str) -> set[str]:
    """Return the steps that were skipped because of how others ended: what depends on them is skipped, too. Derived, never stored."""
    found: set[str] = set()
    for node in order:
        record = turn.steps.get(join(prefix, node.name))
        if record is not None and record.phase is Phase.SKIPPED and not all(_is_met(turn, prefix, item, found) for item in node.depends_on):
            found.add(node.name)
    return found


def _skip(turn: Turn, body: Body, prefix: str) -> bool:
    """Skip the steps of which all dependencies have ended, and one in another way than they ask for. Returns whether there were any."""
    left_out = _LeftOut(turn, body, prefix)
    any_skipped = False
    for node in body.order:
        path = join(prefix, node.name)
        if path in turn.steps or not turn.may_begin:
            continue
        records = [(item, turn.steps.get(join(prefix, item.step))) for item in node.depends_on]
        if not all(record is not None and (record.has_ended or record.is_joined) for _, record in records):
            continue
        unmet = [(item, record) for item, record in records if record and not _is_met(turn, prefix, item, left_out)]
        if unmet:
            item, record = unmet[0]
            skip(turn, node, path, f"{item.step} should have ended as {item.outcome} and was {record.phase}")
            left_out.add(node.name)
            any_skipped = True
    return any_skipped


def _not_dealt_with(turn: Turn, body: Body, prefix: str, found: Iterable[StepRecord]) -> list[StepRecord]:
    """Return the steps that failed, and of which no other deals with the failure or still may."""
    return [step for step in found if step.phase is Phase.FAILED and not any(_deals(turn, prefix, heir) for heir in _heirs(body, step))]


def _heirs(body: Body, failed: StepRecord) -> tuple[str, ...]:
    return body.heirs.get(failed.path.rpartition("/")[2], ())


def _deals(turn: Turn, prefix: str, name: str) -> bool:
    record = turn.steps.get(join(prefix, name))
    return record is None or record.phase is not Phase.SKIPPED
