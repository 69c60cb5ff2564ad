"""A run as a tree: glyph, step, phase, attempt, time, words. Steps that have not begun are there in grey; undoing stands below, newest first."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from backstay.cli.views.glyphs import BEGUN_NOTHING, glyph
from backstay.cli.views.outline import Item, What, label, outline, shown_children, undo_items
from backstay.cli.views.seen import Run
from backstay.cli.views.text import Line, Span, clean, length, line, one_line
from backstay.engine import codec
from backstay.engine.compensation import kept, left, to_undo, why_left
from backstay.engine.iterations import progress_of
from backstay.engine.model import Fault, Phase, StepRecord
from backstay.engine.paths import ROOT, undo_path, undone_by
from backstay.engine.steps.workflow import UNDO

WORDS_LIMIT = 300
_NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Row:
    """One item of the tree, before its columns are aligned."""

    prefix: str
    phase: str
    name: str
    words: str
    time: str
    message: str
    active: bool = False


def tree(run: Run, now: datetime) -> list[Line]:
    """Return the lines that show a run."""
    root = outline(run.program, run.state.steps)
    lines = [_head(run, now), *_about(run)]
    lines += _table(list(_rows(shown_children(root, finished=run.is_finished), root, run, now, "", top=True)))
    undoing = list(_undo_rows(root, run, now))
    if undoing:
        lines += [Line(), line(Span("undoing, the last step done first", "bold")), *_table(undoing)]
    lines += [line(Span(f"note: {clean(words)}", "dim")) for words in run.notes]
    return lines


# ------------------------------------------------------------------------------------------------------------------ head


def _head(run: Run, now: datetime) -> Line:
    record, phase = run.state.run, run.shown_phase
    spent = f"  {length((record.finished_at or now) - record.started_at)}" if record.started_at else ""
    progress = f"  {clean(str(run.status['progress']))}" if run.status.get("progress") else ""
    title = Span(f"{glyph(phase)} {clean(run.name)}", "bold")
    return line(title, f"  {clean(run.definition)}  ", Span(phase, phase), f"{progress}{spent}")


def _about(run: Run) -> Iterator[Line]:
    """What a person must know of the run as a whole."""
    record = run.state.run
    if record.error is not None and record.phase is not Phase.SUCCEEDED:
        yield line("  ", Span(_fault_words(record.error), str(record.result or Phase.FAILED)))
    elif record.message:
        yield line(f"  {clean(one_line(record.message), WORDS_LIMIT)}")
    elif record.phase is None and (words := run.conditions.get("Succeeded", {}).get("message")):
        yield line(f"  {clean(one_line(str(words)), WORDS_LIMIT)}")
    if run.shown_phase == "Stalled" and (words := run.conditions.get("Stalled", {}).get("message")):
        yield line("  ", Span(clean(one_line(str(words)), 2 * WORDS_LIMIT), "Stalled"))
    if record.suspended_at is not None and not record.is_finished:
        yield line("  ", Span("nothing new starts until it is resumed", "Suspended"))


def _fault_words(fault: Fault) -> str:
    if fault.type == Phase.CANCELLED and fault.detail:
        return clean(one_line(fault.detail), WORDS_LIMIT)
    return clean(one_line(f"{fault.type}: {fault.detail or fault.title}".rstrip(": ")), WORDS_LIMIT)


# ------------------------------------------------------------------------------------------------------------------ steps


def _rows(items: list[Item], owner: Item, run: Run, now: datetime, indent: str, *, top: bool = False) -> Iterator[Row]:
    for index, item in enumerate(items):
        last = index == len(items) - 1
        branch, below = ("", "") if top else ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield _row(item, owner, run, now, indent + branch)
        inside = indent + below + ("  " if top else "")
        yield from _rows(shown_children(item, finished=run.is_finished), item, run, now, inside)
        yield from _child_rows(item.record, run, now, inside)


def _child_rows(record: StepRecord | None, run: Run, now: datetime, indent: str) -> Iterator[Row]:
    """The steps of a child run, where they were asked for; below the step that undoes it, those of undoing it."""
    child = run.children.get(record.child or "") if record is not None else None
    if child is None or record is None:
        return
    root = outline(child.program, child.state.steps)
    if record.kind != UNDO:
        yield from _rows(shown_children(root, finished=child.is_finished), root, child, now, indent)
    if record.kind == UNDO or child.state.run.result is not Phase.COMPENSATED:
        for row in _undo_rows(root, child, now):
            yield replace(row, prefix=f"{indent}⟲ {row.prefix}")


def _row(item: Item, owner: Item, run: Run, now: datetime, prefix: str) -> Row:
    name = clean(label(item, owner))
    record = item.record
    if record is None:
        grouped = item.what in (What.GROUP, What.HANDLER)
        words = "" if grouped else _NOT_REACHED if run.is_finished else "not begun"
        return Row(prefix, "Group" if grouped else BEGUN_NOTHING, name, words, "", "")
    return Row(prefix, str(record.phase), name, _phase_words(record, item), _time(record, now), _message(record, now), not record.has_ended)


def _phase_words(record: StepRecord, item: Item) -> str:
    most = item.node.retry.max_attempts if item.node is not None and item.node.retry is not None else 0
    case = f" ({clean(record.choice)})" if record.choice is not None else ""
    if record.attempt > 1 or (record.phase is Phase.RETRYING and record.attempt):
        return f"{record.phase}{case}, attempt {record.attempt}" + (f"/{most}" if most else "")
    return f"{record.phase}{case}"


def _time(record: StepRecord, now: datetime) -> str:
    if record.started_at is None:
        return ""
    return length((record.finished_at or now) - record.started_at)


def _message(record: StepRecord, now: datetime) -> str:
    if record.phase is Phase.RETRYING and record.due_at is not None:
        after = f"next attempt in {length(record.due_at - now)}" if record.due_at > now else "next attempt is due"
        return f"{after}; {_fault_words(record.error)}" if record.error else after
    if record.phase is Phase.WAITING and record.due_at is not None:
        return f"{length(record.due_at - now)} left" if record.due_at > now else "due"
    if record.goto is not None:
        return f"on to {clean(record.goto)}"
    if record.error is not None and record.phase is Phase.RUNNING:
        return f"the attempt before: {_fault_words(record.error)}"
    if record.error is not None and record.phase not in (Phase.SUCCEEDED, Phase.COMPENSATED):
        return _fault_words(record.error)
    if record.iterations:
        return progress_of(record).words()
    if record.child is not None and not record.message:
        return f"run {record.child}" if record.kind != UNDO else ""
    return clean(one_line(record.message), WORDS_LIMIT) if record.message else ""


# ------------------------------------------------------------------------------------------------------------------ undoing


_OUTCOME: Final = "nobody knows whether it was done"


def _undo_rows(root: Item, run: Run, now: datetime) -> Iterator[Row]:
    """What is being undone, what was, and what is still to be: in the order in which it happens."""
    undo = undo_items(root)
    begun = [path for path in (undone_by(found) for found in run.state.steps) if path is not None]
    for path in dict.fromkeys(begun):
        item = undo.get(path)
        if item is not None:
            yield _row(item, root, run, now, "")
            yield from _rows(shown_children(item, finished=run.is_finished), item, run, now, "  ")
            yield from _child_rows(item.record, run, now, "  ")
    if run.program is None or not _undoes(run):
        return
    for record in to_undo(run.program, run.state):
        if undo_path(record.path) not in run.state.steps:
            words = "not undone" if run.is_finished else "to be undone"
            yield Row("", BEGUN_NOTHING, clean(record.path), words, "", _OUTCOME if record.outcome else "")
    for record in kept(run.program, run.state):
        yield Row("", BEGUN_NOTHING, clean(record.path), "kept", "", f"the pivot {clean(run.state.run.pivot)} has succeeded")


def _undoes(run: Run) -> bool:
    record = run.state.run
    return record.compensate and record.phase in (
        Phase.STOPPING,
        Phase.COMPENSATING,
        Phase.FAILED,
        Phase.CANCELLED,
        Phase.COMPENSATED,
    )


# ------------------------------------------------------------------------------------------------------------------ columns


def _table(rows: list[Row]) -> list[Line]:
    if not rows:
        return []
    names = max(len(row.prefix) + len(row.name) for row in rows)
    words = max(len(row.words) for row in rows)
    return [_aligned(row, min(names, 60), min(words, 30)) for row in rows]


def _aligned(row: Row, names: int, words: int) -> Line:
    mark = "·" if row.phase == "Group" else glyph(row.phase)
    style = "dim" if row.phase in ("Group", BEGUN_NOTHING) else row.phase
    pad = " " * max(0, names - len(row.prefix) - len(row.name))
    time = f"  {row.time:>7}" if row.time or row.message else ""
    return line(
        Span(row.prefix, "dim"),
        Span(mark, style),
        " ",
        Span(row.name, "dim" if style == "dim" else ""),
        f"{pad}  ",
        Span(f"{row.words:<{words}}", style),
        time,
        f"  {row.message}" if row.message else "",
        active=row.active,
    )


# ------------------------------------------------------------------------------------------------------------------ data


def tree_data(run: Run) -> dict[str, Any]:
    """Return what the tree shows as data for programs."""
    root = outline(run.program, run.state.steps)
    record = run.state.run
    found = {
        "name": run.name,
        "namespace": run.namespace,
        "workflow": run.workflow,
        "revision": record.revision_number or None,
        "phase": str(record.phase) if record.phase else None,
        "status": run.shown_phase,
        "progress": run.status.get("progress"),
        "startedAt": _json_time(record.started_at),
        "finishedAt": _json_time(record.finished_at),
        "error": codec.fault_to_json(record.error) if record.error else None,
        "outputs": record.outputs,
    }
    steps = [_item_data(item, root, run) for item in root.children.values()]
    toundo = to_undo(run.program, run.state) if run.program is not None and _undoes(run) else []
    lost = left(run.program, run.state) if run.program is not None and _undoes(run) else []
    undoing = {"toUndo": [step.path for step in toundo], "left": {step.path: why_left(run.state, step) for step in lost}}
    return {**found, "steps": steps, **undoing, "notes": list(run.notes)}


def _item_data(item: Item, owner: Item, run: Run) -> dict[str, Any]:
    record = item.record
    found: dict[str, Any] = {"path": item.path, "name": label(item, owner), "what": str(item.what)}
    found["kind"] = record.kind if record is not None else item.node.kind if item.node is not None else None
    found["phase"] = item.phase or None
    if record is not None:
        shown: Mapping[str, Any] = codec.record_to_json(record)
        found |= {key: value for key, value in shown.items() if key not in ("path", "kind", "phase", "inputs")}
    if item.children:
        found["steps"] = [_item_data(child, item, run) for child in item.children.values()]
    if record is not None and record.kind != UNDO and record.child is not None and record.child in run.children:
        found["run"] = tree_data(run.children[record.child])
    return found


def _json_time(time: datetime | None) -> str | None:
    return codec.time_to_json(time) if time is not None else None


def change_lines(before: Run | None, after: Run, now: datetime) -> list[Line]:
    """Return a line for each step that has changed between two looks: what a watch prints where it cannot draw."""
    known = before.state.steps if before is not None else {}
    changed = [record for path, record in after.state.steps.items() if path != ROOT and _telling(known.get(path)) != _telling(record)]
    lines = []
    for record in _in_order(changed):
        attempt = f", attempt {record.attempt}" if record.attempt > 1 else ""
        lines.append(_change(now, str(record.phase), clean(record.path), f"{record.phase}{attempt}", _message(record, now)))
    if before is None or before.shown_phase != after.shown_phase:
        own = _change(now, after.shown_phase, clean(after.name), after.shown_phase, _about_line(after))
        lines.insert(sum(1 for record in changed if record.has_ended) if before is not None else 0, own)
    return lines


def _in_order(records: list[StepRecord]) -> list[StepRecord]:
    """Sort what is seen at once as it happened: by time; what ends before what begins; a structure ends after the last step in it."""
    last = {record.path: place for place, record in enumerate(records)}
    for place, record in enumerate(records):
        for end in (found.start() for found in re.finditer("[/:]", record.path)):
            if record.path[:end] in last:
                last[record.path[:end]] = place

    def key(place: int) -> tuple[Any, ...]:
        record = records[place]
        time = record.finished_at or record.attempt_started_at or record.started_at or datetime.max.replace(tzinfo=UTC)
        return (time, 0, last[record.path], -len(record.path)) if record.has_ended else (time, 1, place, 0)

    return [records[place] for place in sorted(range(len(records)), key=key)]


def _telling(record: StepRecord | None) -> tuple[Any, ...]:
    return () if record is None else (record.phase, record.attempt, record.message)


def _about_line(run: Run) -> str:
    return next((item.text.strip() for item in _about(run)), "")


def _change(now: datetime, phase: str, name: str, words: str, message: str) -> Line:
    time = now.astimezone().strftime("%H:%M:%S")
    return line(f"{time}  ", Span(glyph(phase), phase), f" {name}  ", Span(words, phase), f"  {message}" if message else "")
