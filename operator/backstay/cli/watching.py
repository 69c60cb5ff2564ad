"""Looking on while a run goes: a tree that changes on a terminal, a line for each change elsewhere, nothing at all where only the end counts."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from backstay.cli.failures import CommandFailed, Exit
from backstay.cli.options import note
from backstay.cli.output import is_terminal, live, print_lines
from backstay.cli.reading import follow_run, outcome, part, program_of, read_family, read_steps
from backstay.cli.views.seen import Run
from backstay.cli.views.tree import change_lines, tree
from backstay.errors import Unavailable

if TYPE_CHECKING:
    from backstay.engine.program import Program
    from backstay.kube.client import Client

Object = dict[str, Any]
_TICK_SECONDS = 1.0


class Show(StrEnum):
    """How much is seen of a run while it goes."""

    TREE = "tree"
    NOTHING = "nothing"


async def watch_to_the_end(client: "Client", manifest: Object, show: Show, limit_seconds: float | None = None) -> Exit:
    """Look on until a run has ended and return its exit code. Raises CommandFailed when the limit is over, or the run is deleted."""
    name = manifest["metadata"]["name"]
    try:
        async with asyncio.timeout(limit_seconds):
            run = await _last_look(client, manifest, show)
    except TimeoutError:
        mend = f"look again with `backstay tree {name} -w`"
        raise CommandFailed(f"run {name} has not ended in time, and goes on", mend, Exit.TIMEOUT) from None
    except asyncio.CancelledError:
        note(f"{name} goes on; look again with `backstay tree {name} -w`")
        raise
    if not run.is_finished:
        raise CommandFailed(f"run {name} was deleted before it had ended", "see who did it in the cluster's audit log", Exit.CLUSTER)
    if show is Show.TREE:
        with suppress(Unavailable):
            run = replace(run, children=(await read_family(client, dict(run.manifest))).children)
        print_lines(tree(run, datetime.now(UTC)))
    return outcome(run)


async def _last_look(client: "Client", manifest: Object, show: Show) -> Run:
    looks: asyncio.Queue[tuple[Run, bool]] = asyncio.Queue()
    reader = asyncio.create_task(_read(client, manifest, looks))
    try:
        with _display(show) as display:
            return await _look(looks, reader, display)
    finally:
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader
        await part()


async def _look(looks: "asyncio.Queue[tuple[Run, bool]]", reader: "asyncio.Task[None]", display: Callable[[Run], None]) -> Run:
    """Show every look, and the last one again every second, for time passes also where nothing happens. Raises what the reader raises."""
    run: Run | None = None
    is_gone = False
    while True:
        if reader.done() and looks.empty():
            reader.result()
        with suppress(TimeoutError):
            async with asyncio.timeout(_TICK_SECONDS):
                newest, is_gone = await looks.get()
                run = newest if newest.children or run is None else replace(newest, children=run.children)
        if run is not None:
            display(run)
            if run.is_finished or is_gone:
                return run


async def _read(client: "Client", manifest: Object, looks: "asyncio.Queue[tuple[Run, bool]]") -> None:
    """Tell of a run at every change; of its child runs as well, where it has some, and again every second while they go on."""
    newest: asyncio.Queue[Run] = asyncio.Queue()
    family = asyncio.create_task(_read_children(client, newest, looks))
    try:
        async for run, is_gone in _read_run(client, manifest):
            looks.put_nowait((run, is_gone))
            newest.put_nowait(run)
    finally:
        family.cancel()
        with suppress(asyncio.CancelledError):
            await family


async def _read_children(client: "Client", newest: "asyncio.Queue[Run]", looks: "asyncio.Queue[tuple[Run, bool]]") -> None:
    run = await newest.get()
    while True:
        while not newest.empty():
            run = newest.get_nowait()
        has_children = any(record.child is not None for record in run.state.steps.values())
        if has_children and not run.is_finished:
            with suppress(Unavailable):
                found = await read_family(client, dict(run.manifest))
                if newest.empty():
                    looks.put_nowait((replace(run, children=found.children), False))
        with suppress(TimeoutError):
            async with asyncio.timeout(_TICK_SECONDS if has_children else None):
                run = await newest.get()


async def _read_run(client: "Client", manifest: Object) -> AsyncGenerator[tuple[Run, bool], None]:
    program: Program | None = None
    asked: Any = ()
    before: Run | None = None
    async for seen, is_gone in follow_run(client, manifest):
        revision = (seen.get("status") or {}).get("revision")
        if asked != revision:  # what a run begins with is only certain once it is pinned
            with suppress(Unavailable):
                program, _ = await program_of(client, seen)
                asked = revision
        before = await read_steps(client, seen, program, before=before)
        yield before, is_gone


@contextmanager
def _display(show: Show) -> Iterator[Callable[[Run], None]]:
    if show is Show.NOTHING:
        yield lambda _: None
    elif is_terminal():
        with live() as draw:
            yield lambda run: draw(tree(run, datetime.now(UTC)))
    else:
        yield _Changes().show


class _Changes:
    """Prints what is new since the last look; the first look at a run that goes already is its tree."""

    def __init__(self) -> None:
        self._before: Run | None = None

    def show(self, run: Run) -> None:
        now = datetime.now(UTC)
        if self._before is not None or not run.state.steps:
            print_lines(change_lines(self._before, run, now))
        elif not run.is_finished:
            print_lines(tree(run, now))
        self._before = run
