"""backstay breaker: what people ask of circuit breakers, as changes of their spec."""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstay.api.circuit import ForcedState
from backstay.cli.failures import CommandFailed, Exit
from backstay.cli.options import Place, command

if TYPE_CHECKING:
    from backstay.cli.views.breaker import Manifest
    from backstay.cli.views.control import Step

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The circuit breaker, as payments or circuitbreaker/payments.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it is told where the breaker is looked at.")]


async def reset(place: Place, name: NameArgument, reason: ReasonOption) -> None:
    """Close a circuit breaker: all is well again.

    It counts anew, and whoever waits for it goes on.

    \b
    Example:
      backstay breaker reset payments --reason "the bank says it is back"
    """
    from backstay.cli.views import breaker

    await _ask(place, name, lambda found: breaker.reset(found, secrets.token_hex(8), reason))


async def force(
    place: Place, name: NameArgument, state: Annotated[ForcedState, typer.Argument(help="Where to hold it.")], reason: ReasonOption
) -> None:
    """Hold a circuit breaker open or closed, whatever is counted.

    Open lets nothing through, as for maintenance; Closed lets everything through.

    \b
    Examples:
      backstay breaker force payments Open --reason "maintenance until six"
      backstay breaker force payments Closed --reason "the errors are known and harmless"
    """
    from backstay.cli.views import breaker

    await _ask(place, name, lambda found: breaker.force(found, state, reason))


async def release(place: Place, name: NameArgument) -> None:
    """Let a circuit breaker go on by itself that was held open or closed.

    One that was held open first finds out whether calls go well.

    \b
    Example:
      backstay breaker release payments
    """
    from backstay.cli.views import breaker

    await _ask(place, name, breaker.release)


async def _ask(place: Place, text: str, plan: "Callable[[Manifest], Step]") -> None:
    from backstay.cli.views.text import clean
    from backstay.errors import NotFound
    from backstay.kube import resources

    async with place.connect() as (client, namespace):
        name = text.rpartition("/")[2]
        try:
            found = await client.get(resources.BREAKERS, namespace, name)
        except NotFound:
            message = f"there is no CircuitBreaker {name} in namespace {namespace}"
            raise CommandFailed(message, f"kubectl get circuitbreakers -n {namespace} shows those that are there", Exit.CLUSTER) from None
        step = plan(found)
        if step.refusal:
            raise CommandFailed(step.refusal, step.mend)
        if step.patch is not None:
            body: dict[str, Any] = {"metadata": {"uid": found["metadata"]["uid"]}, "spec": step.patch}
            await client.patch(resources.BREAKERS, namespace, name, body, field_manager="backstay-cli")
    typer.echo(clean(step.words))


app = typer.Typer(
    name="breaker", no_args_is_help=True, rich_markup_mode=None, help="Close a circuit breaker, hold it, or let it go on by itself."
)
for _function in (reset, force, release):
    command(app, _function)
