"""backstay export: runs with their whole journals, as JSON lines."""

from contextlib import aclosing
from typing import Annotated

import typer

from backstay.cli.commands.verify import AllOption, audited_runs
from backstay.cli.failures import Exit, Usage
from backstay.cli.options import Place, note


async def export(
    place: Place,
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN…", help="The runs, as order-7f2 or wfrun/order-7f2.")] = None,
    every: AllOption = False,
) -> Exit:
    """Write a run and its whole journal as JSON lines, to be kept and verified elsewhere.

    A header with the run and its status, then each entry of its journal, from the first one on. The same run gives the same bytes. Each line
    is the JSON that is hashed: the SHA-256 of an entry's line, the first 32 digits of it, stands in the next line as previous.

    The journal is verified on the way. One that cannot be trusted is written as far as it can be read, and the exit code is 1.

    \b
    Examples:
      backstay export order-7f2 > order-7f2.jsonl
      backstay export -n shop --all | gzip > shop.jsonl.gz
    """
    from backstay.cli.views.text import counted
    from backstay.engine.audit.export import lines_of

    if bool(runs) == every:
        raise Usage("name what to export", "a run, as in `backstay export order-7f2`, or --all")
    code = Exit.OK
    async with place.connect() as (client, namespace), aclosing(audited_runs(client, namespace, runs or [])) as audits:
        async for manifest, found in audits:
            for line in lines_of(manifest, found):
                typer.echo(line)
            if found.findings:
                code = Exit.FAILED
                name = found.subject.name
                note(
                    f"{name} cannot be trusted ({counted(len(found.findings), 'finding')}); `backstay verify {name}` names what was changed"
                )
    return code
