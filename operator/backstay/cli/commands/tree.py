"""backstay tree: a run and its steps."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from backstay.cli.failures import Exit, Usage
from backstay.cli.options import Format, FormatOption, Place


async def tree(
    place: Place,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run, as order-7f2 or wfrun/order-7f2.")],
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look on until the run has ended; the exit code then tells how.")] = False,
    output: FormatOption = Format.TEXT,
) -> Exit:
    """Show a run and its steps.

    Every step has its glyph, phase, attempts, time, and what there is to say about it.

    Steps that have not begun are in grey. What is undone, or is to be, stands below in the order in which it is undone. The steps of child
    runs stand below the steps that run them.

    \b
    ✔ Succeeded   ▶ Running    ◷ Waiting     ↺ Retrying   ⚑ Caught by a handler
    ✖ Failed      ⊘ Cancelled  ↷ Skipped     ◼ Stopping   ⟲ Compensated (undone)
    ○ not begun   ⏸ Suspended  ⚠ Paused, Stalled: a person is needed

    With --watch the tree changes in place on a terminal; elsewhere each change is a line. It ends as the run does:
    0 Succeeded, 1 Failed, 3 Cancelled.

    \b
    Examples:
      backstay tree order-7f2
      backstay tree order-7f2 -w -n shop
      backstay tree order-7f2 -o json
    """
    from backstay.cli.output import print_data, print_lines
    from backstay.cli.reading import get_run, read_family, run_name
    from backstay.cli.views.tree import tree as lines_of
    from backstay.cli.views.tree import tree_data
    from backstay.cli.watching import Show, watch_to_the_end

    if watch and output is not Format.TEXT:
        raise Usage(f"--watch draws, and -o {output} prints once", "leave one of them out")
    async with place.connect() as (client, namespace):
        manifest = await get_run(client, namespace, run_name(run))
        if watch:
            return await watch_to_the_end(client, manifest, Show.TREE)
        found = await read_family(client, manifest)
    if output is Format.TEXT:
        print_lines(lines_of(found, datetime.now(UTC)))
    else:
        print_data(tree_data(found), output)
    return Exit.OK
