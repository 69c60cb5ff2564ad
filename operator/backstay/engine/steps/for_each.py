"""forEach: the same steps for every item of a list or map, several at a time.

    state     on         becomes    then
    (new)     start      Running    the items are pinned; the first `parallelism` iterations begin
    (new)     too many   Failed     more items than maxItems
    Running   ended      Running    an iteration ended: what it left is collected, the next one begins
    Running   add        Running    an iteration, or somebody outside, brought more items
    Running   cancelled  Running    one iteration is no longer wanted: it is stopped, and counts neither as done nor as failed
    Running   all ended  Succeeded  no more failed than are tolerated, and `until` holds
    Running   enough     Stopping   completeWhen is true: the iterations that go on are stopped
    Stopping  ended      Succeeded
    Running   too bad    Stopping   more failed than are tolerated: the others are stopped
    Stopping  ended      Failed     with the error of the iteration that was one too many
    Running   stop       Stopping   the iterations that go on are stopped

Example:
    - name: pack
      forEach:
        in: ${ params.lines }
        as: line
        parallelism: 10
        tolerate: 10%
        steps: [{name: box, job: {image: "shop/pack:1", args: ["${ line.sku }"]}}]
        collect: ${ steps.box.outputs.parcel }
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from backstay.api.actions.iteration import ForEach
from backstay.engine import lifecycle
from backstay.engine.compensation import Reach, holds_something
from backstay.engine.iterations import Progress, forget_oldest, progress_of, stop_iterations, too_many
from backstay.engine.lifecycle import Outcome, advance_list, begun, stop_list, succeed
from backstay.engine.model import Fault, Json, Phase, StepRecord, broken_expression
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import iteration
from backstay.engine.scopes import INDEX, Bound, Scope, bind
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError
from backstay.expressions import whole_expression
from backstay.expressions.words import quoted

MAX_PINNED_BYTES: Final = 128 * 1024
"""Items that stand in the status, as JSON. Those that are a parameter need not: parameters never change."""
MAX_COLLECTED_BYTES: Final = 64 * 1024
_PARAMETER: Final = re.compile(r"\s*params((?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s*")
_COUNTS: Final = ("done", "failed", "total")


@dataclass(frozen=True, slots=True)
class Body:
    """The steps of an iteration, where the items come from, and when it is enough."""

    nodes: tuple[Node, ...]
    action: ForEach
    items: Bound | None
    parameter: tuple[str, ...]
    """Where the items are a parameter, or a part of one: the names that lead to it."""
    count: Bound | None
    complete_when: Bound | None
    collect: Bound | None
    add: Bound | None
    until: Bound | None
    keeps: bool
    """Whether something inside says how to undo it: then no iteration is forgotten that may have to be undone."""


class ForEachStep:
    """The machine of `forEach`."""

    works = False

    def compile(self, action: ForEach, path: str, scope: Scope, nesting: Nesting) -> Body:
        names = tuple(dict.fromkeys(("item", action.as_, INDEX)))
        nodes = nesting.steps(action.steps, path, scope, names, iterated=_item)
        inside, counting = nodes[0].scope, Scope(scope.segments, scope, _COUNTS)
        source = whole_expression(action.in_) if isinstance(action.in_, str) else None
        parameter = _PARAMETER.fullmatch(source or "")
        return Body(
            nodes=nodes,
            action=action,
            items=None if action.in_ is None else bind(action.in_, scope),
            parameter=tuple(parameter[1].split(".")[1:]) if parameter else (),
            count=None if action.count is None else bind(action.count, scope),
            complete_when=None if action.complete_when is None else bind(action.complete_when, counting),
            collect=None if action.collect is None else bind(action.collect, inside),
            add=None if action.add is None else bind(action.add, inside),
            until=None if action.until is None else bind(action.until, counting),
            keeps=nesting.undoes_inside(path),
        )

    # ------------------------------------------------------------------------------------------------------ beginning

    def begin(self, turn: Turn, node: Node, path: str) -> None:
        body: Body = node.body
        items = None if body.count is not None else _listed(_given(turn, body, path))
        total = _number(turn.evaluate(body.count, path)) if body.count is not None else len(items or ())
        pinned = None if body.count is not None or body.parameter else items
        if fault := _too_large(total, pinned, body):
            lifecycle.fail(turn, node, path, fault)
            return
        progress = Progress(total=total)
        record = turn.change_step(
            "StepStarted",
            path,
            phase=Phase.RUNNING,
            iterations=progress.to_json(),
            items=pinned,
            reason=f"{total:,} iterations",
            **begun(turn, node),
        )
        self.proceed(turn, node, record)

    # ------------------------------------------------------------------------------------------------------ going on

    def proceed(self, turn: Turn, node: Node, record: StepRecord) -> None:
        path = record.path
        while True:
            before = turn.sequence
            faults = self._advance(turn, node, path)
            if turn.is_ending or turn.steps[path].phase is not Phase.RUNNING:
                return
            try:
                if self._is_decided(turn, node, turn.steps[path], faults):
                    return
            except EvaluationError as error:
                lifecycle.begin_stopping(turn, node, turn.steps[path], Phase.FAILED, broken_expression(error))
                return
            self._start_more(turn, node, path)
            if turn.sequence == before:
                return

    def _advance(self, turn: Turn, node: Node, path: str) -> list[Fault]:
        """Bring every iteration that goes on as far as it goes. Returns the faults of those that failed now, in their order."""
        faults: list[Fault] = []
        progress = progress_of(turn.steps[path])
        for index in progress.active:
            if index in progress.stopping:
                inside = iteration(path, index)
                if stop_list(turn, node.body.nodes, inside) and (
                    index not in progress.undoing or lifecycle.advance_undoing(turn, Reach(inside=inside))
                ):
                    self._settle(turn, node, path, index, Outcome.STOPPED, None)
                continue
            outcome, fault, target = advance_list(turn, node.body.nodes, iteration(path, index))
            if target:
                lifecycle.leave(turn, node, turn.steps[path], target)
            if turn.is_ending or turn.steps[path].phase is not Phase.RUNNING:
                return faults
            if outcome is not Outcome.GOING and (failed := self._settle(turn, node, path, index, outcome, fault)):
                faults.append(failed)
        return faults

    def _settle(self, turn: Turn, node: Node, path: str, index: int, outcome: Outcome, fault: Fault | None) -> Fault | None:
        """An iteration has ended: collect what it left, count it, and forget an older one."""
        changes: dict[str, Any] = {}
        record, progress = turn.steps[path], progress_of(turn.steps[path])
        if outcome is Outcome.DONE:
            try:
                changes, progress = self._gathered(turn, node, record, progress, index)
            except EvaluationError as error:
                fault = broken_expression(error, iteration(path, index))
        holds = node.body.keeps and holds_something(turn.program, turn, iteration(path, index))
        progress = forget_oldest(turn, path, progress.settled(index, fault, cancelled=outcome is Outcome.STOPPED, holds=holds))
        how = "cancelled" if outcome is Outcome.STOPPED else "failed" if fault else "done"
        turn.change_step("IterationEnded", path, iterations=progress.to_json(), reason=f"[{index}] {how}", **changes)
        return fault

    def _gathered(self, turn: Turn, node: Node, record: StepRecord, progress: Progress, index: int) -> tuple[dict[str, Any], Progress]:
        """Evaluate what an iteration leaves behind, and the items that it found. Raises EvaluationError."""
        body: Body = node.body
        inside = iteration(record.path, index)
        changes: dict[str, Any] = {}
        if body.collect is not None:
            left = {str(index): turn.evaluate(body.collect, inside)}
            _check_size({**(record.collected or {}), **left}, MAX_COLLECTED_BYTES, "collect: what all iterations leave behind")
            changes["collected"] = left
        if body.add is not None:
            more = turn.evaluate(body.add, inside)
            if not isinstance(more, list):
                raise EvaluationError(f"add: {more!r} is no list of items")
            changes |= added(record, progress, more, body.action.max_items)
            progress = progress.with_more(len(more))
        return changes, progress

    def _is_decided(self, turn: Turn, node: Node, record: StepRecord, faults: list[Fault]) -> bool:
        body: Body = node.body
        progress = progress_of(record)
        counts = {"done": progress.succeeded, "failed": progress.failed, "total": progress.total}
        surplus = progress.failed - body.action.tolerated(progress.total)
        if surplus > 0:
            one_too_many = faults[-min(surplus, len(faults))] if faults else _earlier(progress)
            lifecycle.begin_stopping(turn, node, record, Phase.FAILED, one_too_many)
            return True
        if body.complete_when is not None and progress.ended and turn.holds(body.complete_when, record.path, "completeWhen", **counts):
            lifecycle.begin_stopping(turn, node, record, Phase.SUCCEEDED)
            return True
        if progress.active or progress.next < progress.total:
            return False
        if body.until is not None and not turn.holds(body.until, record.path, "until", **counts):
            return False
        succeed(turn, record.path, items=record.items if body.keeps else None)
        return True

    def _start_more(self, turn: Turn, node: Node, path: str) -> None:
        progress = progress_of(turn.steps[path])
        room = min(node.body.action.parallelism - len(progress.active), progress.total - progress.next)
        if room <= 0 or not turn.may_begin:
            return
        after = progress.started(room)
        words = f"[{progress.next}]" if room == 1 else f"[{progress.next}] to [{after.next - 1}]"
        turn.change_step("IterationsStarted", path, iterations=after.to_json(), reason=words)

    # ------------------------------------------------------------------------------------------------- ending, reading

    def stop(self, turn: Turn, node: Node, record: StepRecord) -> bool:
        return stop_iterations(turn, node.body.nodes, record)

    def outputs(self, turn: Turn, node: Node, record: StepRecord) -> Json:
        progress = progress_of(record)
        found: dict[str, Json] = {"total": progress.total, "succeeded": progress.succeeded, "failed": progress.failed}
        if node.body.collect is not None:
            left = record.collected or {}
            found["items"] = [left.get(str(index)) for index in range(progress.next)]
        return found


def added(record: StepRecord, progress: Progress, more: Sequence[Json], most: int) -> dict[str, Any]:
    """Return the changes of a forEach's record that bring more items. Raises EvaluationError where that is too much."""
    if progress.total + len(more) > most:
        raise EvaluationError(too_many("items", progress.total + len(more), most, "see maxItems").detail)
    found = {str(progress.total + offset): item for offset, item in enumerate(more)}
    _check_size({**(record.added or {}), **found}, MAX_PINNED_BYTES, "items that were added")
    return {"added": found}


def _item(turn: Turn, path: str, index: int) -> Json:
    """Return the item of an iteration of the forEach at a path."""
    record, node = turn.steps[path], turn.program.node(path)
    assert node is not None
    body: Body = node.body
    if str(index) in (record.added or {}):
        return (record.added or {})[str(index)]
    if body.count is not None:
        return index
    if record.items is not None:
        return record.items[index]
    key = ("items", path)
    if key not in turn.memory:
        turn.memory[key] = _listed(_given(turn, body, path))
    return turn.memory[key][index]


def _given(turn: Turn, body: Body, path: str) -> Json:
    """Return what is iterated over. A parameter is followed by hand: however long it is, that costs nothing."""
    assert body.items is not None
    value: Json = turn.params
    for name in body.parameter:
        if not isinstance(value, Mapping) or name not in value:
            return turn.evaluate(body.items, path)  # its message says what is there instead
        value = value[name]
    return value if body.parameter else turn.evaluate(body.items, path)


def _listed(given: Json) -> list[Json]:
    if isinstance(given, Mapping):
        return [{"key": key, "value": given[key]} for key in sorted(given)]
    if not isinstance(given, list):
        raise EvaluationError(f"in: {quoted(given)} is neither a list nor a map")
    return given


def _number(count: Json) -> int:
    if isinstance(count, bool) or not isinstance(count, int | float) or count != int(count) or count < 0:
        raise EvaluationError(f"count: {quoted(count)} is no number of iterations")
    return int(count)


def _too_large(total: int, pinned: Json, body: Body) -> Fault | None:
    if total > body.action.max_items:
        return too_many("items", total, body.action.max_items, "raise maxItems, or split the work into several runs")
    size = len(orjson.dumps(pinned)) if pinned is not None else 0
    if size > MAX_PINNED_BYTES:
        detail = (
            f"the items take {size:,} bytes of at most {MAX_PINNED_BYTES:,}; iterate over a parameter, or over a count or keys, and let each "
            "job fetch its own part"
        )
        return Fault("LimitExceeded", "Too much data in items", detail)
    return None


def _check_size(value: Json, most: int, what: str) -> None:
    size = len(orjson.dumps(value))
    if size > most:
        raise EvaluationError(f"{what} would take {size:,} bytes of at most {most:,}; hand large data over by reference")


def _earlier(progress: Progress) -> Fault:
    return Fault("IterationsFailed", "Too many iterations failed", "; ".join(progress.failures))
