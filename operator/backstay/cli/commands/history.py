"""backstay history: the journal of a run, as a story."""

from typing import Annotated

import typer

from backstay.cli.failures import Exit
from backstay.cli.options import Format, FormatOption, Place


async def history(
    place: Place,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run, as order-7f2 or wfrun/order-7f2.")],
    output: FormatOption = Format.TEXT,
) -> Exit:
    """Tell the story of a run: when, what, why, and who.

    Every transition of a step and of the run is an entry of its journal, and so is what people have asked for.

    The journal is sealed by a chain of hashes, and the status follows from it. Both are checked each time; where they do not fit,
    the last line says so and the exit code is 1. Of a long run the older entries are read from its WorkflowJournals.

    \b
    Examples:
      backstay history order-7f2
      backstay history order-7f2 -o json | jq '.entries[] | select(.actor != "operator")'
    """
    from backstay.cli.archive import unreadable
    from backstay.cli.output import print_data, print_lines
    from backstay.cli.reading import get_run, run_name
    from backstay.cli.verifying import audited
    from backstay.cli.views.seen import read_run
    from backstay.cli.views.story import read_story, story, story_data
    from backstay.errors import ApiError

    async with place.connect() as (client, namespace):
        manifest = await get_run(client, namespace, run_name(run))
        found, trouble = None, ""
        try:
            if (pair := await audited(client, manifest)) is not None:
                manifest, found = pair
        except ApiError as error:
            trouble = unreadable(error)
        seen = read_run(manifest)
    told = read_story(seen, found, trouble)
    if output is Format.TEXT:
        print_lines(story(told))
    else:
        print_data(story_data(seen, told), output)
    return Exit.OK if told.is_sound else Exit.FAILED
