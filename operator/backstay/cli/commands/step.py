"""backstay cancel-step, complete-step, add-items: what people ask of single steps, as requests in the run's spec."""

from typing import Annotated, Any

import orjson
import typer

from backstay.cli.asking import ask, tell
from backstay.cli.failures import Exit
from backstay.cli.options import Place

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run, as order-7f2 or wfrun/order-7f2.")]
StepArgument = Annotated[str, typer.Argument(metavar="STEP", help="The path of the step, as `backstay tree` shows it: pack, or pack[3].")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it goes into the journal.")]


async def cancel_step(place: Place, run: RunArgument, step: StepArgument, reason: ReasonOption = "") -> Exit:
    """Cancel one step of a run, or one iteration of a forEach; the run goes on after it.

    What was completed inside the step stays done.

    \b
    Examples:
      backstay cancel-step order-7f2 quotes/north
      backstay cancel-step order-7f2 'pack[3]' --reason "sold out"
    """
    return tell(await ask(place, run, step, "Cancel", {}, reason), "cancelled")


async def complete_step(place: Place, run: RunArgument, step: StepArgument, reason: ReasonOption = "") -> Exit:
    """End a forEach, while or wait well before its time; the run goes on after it.

    \b
    Example:
      backstay complete-step order-7f2 pack --reason "enough parcels"
    """
    return tell(await ask(place, run, step, "Complete", {}, reason), "completed")


async def add_items(
    place: Place,
    run: RunArgument,
    step: StepArgument,
    items: Annotated[list[str], typer.Argument(metavar="ITEM…", help="The items, each as JSON; what is no JSON is taken as text.")],
    reason: ReasonOption = "",
) -> Exit:
    """Give a forEach that goes on more items.

    \b
    Example:
      backstay add-items order-7f2 pack '{"sku": "tea"}' '{"sku": "jam"}'
    """
    return tell(await ask(place, run, step, "AddItems", {"items": [_value(item) for item in items]}, reason), "items are added")


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
