"""backstay cancel-step, complete-step, add-items: what people ask of single steps, as requests in the run's spec."""

import secrets
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from backstay.cli.failures import CommandFailed, Exit
from backstay.cli.options import Place

if TYPE_CHECKING:
    from backstay.cli.views.seen import Run

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run, as order-7f2 or wfrun/order-7f2.")]
StepArgument = Annotated[str, typer.Argument(metavar="STEP", help="The path of the step, as `backstay tree` shows it: pack, or pack[3].")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it goes into the journal.")]
ANSWER_SECONDS = 10.0
ASK_SECONDS = 0.25


async def cancel_step(place: Place, run: RunArgument, step: StepArgument, reason: ReasonOption = "") -> Exit:
    """Cancel one step of a run, or one iteration of a forEach; the run goes on after it.

    What was completed inside the step stays done.

    \b
    Examples:
      backstay cancel-step order-7f2 quotes/north
      backstay cancel-step order-7f2 'pack[3]' --reason "sold out"
    """
    return await _ask(place, run, step, "Cancel", (), reason)


async def complete_step(place: Place, run: RunArgument, step: StepArgument, reason: ReasonOption = "") -> Exit:
    """End a forEach, while or wait well before its time; the run goes on after it.

    \b
    Example:
      backstay complete-step order-7f2 pack --reason "enough parcels"
    """
    return await _ask(place, run, step, "Complete", (), reason)


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
    return await _ask(place, run, step, "AddItems", tuple(map(_value, items)), reason)


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


async def _ask(place: Place, name: str, step: str, action: str, items: tuple[Any, ...], reason: str) -> Exit:
    """Add the request to the run's spec, and wait for the answer, which comes as soon as an operator looks at the run."""
    from backstay.cli.reading import get_run, read_steps, run_name
    from backstay.cli.views.control import refusal_of_request
    from backstay.cli.views.text import clean
    from backstay.kube import resources
    from backstay.kube.client import Client

    async def asked(client: Client, namespace: str) -> str:
        run = await read_steps(client, await get_run(client, namespace, run_name(name)))
        if refused := refusal_of_request(run, step):
            raise CommandFailed(*refused)
        id_ = f"cli-{secrets.token_hex(6)}"
        request = {
            "id": id_,
            "step": step,
            "action": action,
            **({"items": list(items)} if items else {}),
            **({"reason": reason} if reason else {}),
        }
        await client.patch(resources.RUNS, namespace, run.name, _patch(run, request), kind="json", field_manager="backstay-cli")
        return id_

    async with place.connect() as (client, namespace):
        id_ = await asked(client, namespace)
        answer = await _answer(client, namespace, run_name(name), id_)
    if answer is None:
        typer.echo(
            f"{clean(step)}: asked for; no operator has answered within {ANSWER_SECONDS:.0f} s, see `kubectl get wfrun {clean(run_name(name))} -o yaml`"
        )
    elif answer != "Done":
        raise CommandFailed(f"{step}: {answer}", f"`backstay tree {run_name(name)}` shows what goes on")
    else:
        typer.echo(f"{clean(step)}: {'items are added' if items else 'cancelled' if action == 'Cancel' else 'completed'}")
    return Exit.OK


def _patch(run: "Run", request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a JSON Patch that adds the request, whatever else is asked at the same time."""
    same = {"op": "test", "path": "/metadata/uid", "value": run.uid}
    if run.spec.get("requests"):
        return [same, {"op": "add", "path": "/spec/requests/-", "value": request}]
    return [same, {"op": "add", "path": "/spec/requests", "value": [request]}]


async def _answer(client: Any, namespace: str, name: str, id_: str) -> str | None:
    """Wait for the answer to a request. Returns None where none comes in time."""
    import asyncio

    from backstay.kube import resources

    deadline = asyncio.get_running_loop().time() + ANSWER_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        found = (await client.get(resources.RUNS, namespace, name)).get("status") or {}
        if answer := (found.get("answers") or {}).get(id_):
            return str(answer)
        if found.get("finishedAt"):
            return "the run has ended"
        await asyncio.sleep(ASK_SECONDS)
    return None
