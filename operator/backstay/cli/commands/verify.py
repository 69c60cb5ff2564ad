"""backstay verify: whether a run's journal is whole and unchanged, and its status what follows from it."""

import gzip
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import typer

from backstay.cli.failures import CommandFailed, Exit, Usage
from backstay.cli.options import Format, FormatOption, Place

if TYPE_CHECKING:
    from backstay.cli.views.verdict import Judged
    from backstay.engine.audit import Audit
    from backstay.kube.client import Client

AllOption = Annotated[bool, typer.Option("--all", help="All runs of the namespace.")]


async def verify(
    place: Place,
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN…", help="The runs, as order-7f2 or wfrun/order-7f2.")] = None,
    every: AllOption = False,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Exports to verify without a cluster; with runs, to hold these against. - is standard input.",
        ),
    ] = None,
    output: FormatOption = Format.TEXT,
) -> Exit:
    """Prove a run's status from its journal, or name what was changed.

    All hashes are worked out anew, over the WorkflowJournals and the status, and all entries are folded: the status must be exactly what
    follows. An entry that was edited, dropped, repeated or moved is named, with the object that it stands in.

    Exports (backstay export) are verified without a cluster. Together with runs they prove more: that the journal of the run still begins as it
    did when the export was made, which nobody can forge who cannot reach the export.

    \b
    Exit codes besides those of all commands:
      1  something was changed, or cannot be proven

    \b
    Examples:
      backstay verify order-7f2
      backstay verify -n shop --all -o json | jq '.runs[] | select(.verdict != "Proven")'
      backstay verify --file order-7f2.jsonl
      backstay verify order-7f2 --file order-7f2.jsonl
    """
    from backstay.cli.output import print_data, print_lines
    from backstay.cli.views.verdict import data_of, judged, lines_of, summary
    from backstay.engine.audit import extends

    if runs and every:
        raise Usage("a run and --all name different things", "choose one of them")
    if not (runs or every or files):
        raise Usage("there is nothing to verify", "name a run, or write --all, or --file FILE")
    found, exports = _files(files or [])
    namespace = ""
    if runs or every:
        async with place.connect() as (client, namespace), aclosing(audited_runs(client, namespace, runs or [])) as audits:
            async for manifest, audit in audits:
                known = exports.get(audit.subject.uid, [])
                if exports and not known and not every:
                    raise Usage(
                        f"there is no export of run {audit.subject.name} (UID {audit.subject.uid}) in the files", "name the right file"
                    )
                found.append(judged(audit, manifest["metadata"]["namespace"], [one for older in known for one in extends(audit, older)]))
    if output is not Format.TEXT:
        print_data({"runs": [data_of(one) for one in found]}, output)
    else:
        for one in found:
            if not every or not one.is_proven or one.notes:
                print_lines(lines_of(one))
        if every:
            print_lines([summary([one.verdict for one in found if not one.source], namespace)])
    return Exit.OK if all(one.is_proven for one in found) else Exit.FAILED


def _files(files: Sequence[str]) -> "tuple[list[Judged], dict[str, list[Audit]]]":
    """Audit exports. Returns what was found of each run in them, and the audits by the UID of the run."""
    from backstay.cli.views.verdict import judged
    from backstay.engine.audit import audit_file
    from backstay.engine.audit.export import NoExport

    found: list[Judged] = []
    exports: dict[str, list[Audit]] = {}
    for file in files:
        name = "standard input" if file == "-" else file
        try:
            with ExitStack() as stack:
                lines = sys.stdin.buffer if file == "-" else stack.enter_context(_opened(file))
                for section, audit in audit_file(lines, name):
                    found.append(judged(audit, str(section.run.get("namespace") or ""), source=name))
                    exports.setdefault(audit.subject.uid, []).append(audit)
        except (OSError, EOFError) as error:
            raise Usage(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        except NoExport as error:
            raise Usage(str(error), "`backstay export RUN > FILE` makes one") from error
    return found, exports


def _opened(file: str) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(file)) if file.endswith(".gz") else Path(file).open("rb")


async def audited_runs(client: "Client", namespace: str, runs: Sequence[str]) -> "AsyncGenerator[tuple[dict[str, Any], Audit], None]":
    """Audit the runs with these names, or all of the namespace where none is named."""
    from backstay.cli.reading import get_run, run_name
    from backstay.cli.verifying import audited, audited_all

    if not runs:
        async with aclosing(audited_all(client, namespace)) as audits:
            async for pair in audits:
                yield pair
    for name in map(run_name, runs):
        found = await audited(client, await get_run(client, namespace, name))
        if found is None:
            raise CommandFailed(f'run "{name}" was deleted while it was looked at', code=Exit.CLUSTER)
        yield found
