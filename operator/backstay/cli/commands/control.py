"""backstay suspend, resume, cancel, compensate: what people ask of runs, as changes of their spec."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstay.cli.failures import CommandFailed, Exit, explain
from backstay.cli.options import Place, complain
from backstay.errors import BackstayError

if TYPE_CHECKING:
    from backstay.cli.views.control import Step
    from backstay.cli.views.seen import Run
    from backstay.kube.client import Client

RunsArgument = Annotated[list[str], typer.Argument(metavar="RUN…", help="The runs, as order-7f2 or wfrun/order-7f2.")]


async def suspend(place: Place, runs: RunsArgument) -> Exit:
    """Hold a run: it starts nothing new until it is resumed.

    What runs goes on to its end; timers that fall due wait.

    \b
    Examples:
      backstay suspend order-7f2
      backstay suspend order-7f2 order-a01 -n shop
    """
    from backstay.cli.views import control

    return await _ask(place, runs, control.suspend)


async def resume(place: Place, runs: RunsArgument) -> Exit:
    """Let a suspended run go on.

    The time it was suspended does not count towards its deadlines.

    \b
    Example:
      backstay resume order-7f2
    """
    from backstay.cli.views import control

    return await _ask(place, runs, control.resume)


async def cancel(
    place: Place,
    runs: RunsArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it goes into the journal.")] = "",
    compensate: Annotated[bool, typer.Option("--compensate/--no-compensate", help="Whether to undo what was done.")] = True,
) -> Exit:
    """End a run early, and undo what was done.

    What still goes on is stopped; then completed steps are undone, the last one first. This cannot be taken back. With --no-compensate what was done stays done.

    \b
    Examples:
      backstay cancel order-7f2 --reason "customer changed her mind"
      backstay cancel order-7f2 --no-compensate
    """
    from backstay.cli.views import control

    return await _ask(place, runs, lambda run: control.cancel(run, reason, compensate=compensate))


async def compensate(
    place: Place,
    runs: RunsArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it goes into the journal.")],
) -> Exit:
    """Undo a run that has succeeded.

    Its completed steps are undone, the last one first, and its child runs with them; then it is Compensated. A run that still goes is cancelled
    and undone. This cannot be taken back.

    \b
    Example:
      backstay compensate order-7f2 --reason "the customer sent it back"
    """
    from backstay.cli.views import control

    return await _ask(place, runs, lambda run: control.compensate(run, reason))


async def _ask(place: Place, runs: list[str], plan: "Callable[[Run], Step]") -> Exit:
    """Ask the same of several runs. One that refuses does not keep the others from being asked; the first refusal's code is returned."""
    code = Exit.OK
    async with place.connect() as (client, namespace):
        for name in dict.fromkeys(runs):
            try:
                await _ask_one(client, namespace, name, plan)
            except BackstayError as error:
                words, refused = explain(error)
                complain(words)
                code = code or refused
    return code


async def _ask_one(client: "Client", namespace: str, text: str, plan: "Callable[[Run], Step]") -> None:
    from backstay.cli.reading import get_run, read_whole, run_name
    from backstay.cli.views.text import clean
    from backstay.kube import resources

    run = await read_whole(client, await get_run(client, namespace, run_name(text)))
    step = plan(run)
    if step.refusal:
        raise CommandFailed(step.refusal, step.mend)
    if step.patch is not None:
        meta: dict[str, Any] = {"uid": run.uid}
        await client.patch(resources.RUNS, namespace, run.name, {"metadata": meta, "spec": step.patch}, field_manager="backstay-cli")
    typer.echo(clean(step.words))
