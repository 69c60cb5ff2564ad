"""What every command that speaks to a cluster understands: namespace, context, kubeconfig; and how commands end when they fail.

The options may stand before the command or after it: kubectl's users write them at the end.
"""

import asyncio
import functools
import inspect
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstay.cli.failures import Exit, explain
from backstay.errors import BackstayError

if TYPE_CHECKING:
    from backstay.kube.client import Client

NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAMESPACE", help="The namespace (default: that of the context).")
]
ContextOption = Annotated[
    str | None, typer.Option("--context", metavar="CONTEXT", help="The context of the kubeconfig (default: the current one).")
]
KubeconfigOption = Annotated[
    str | None, typer.Option("--kubeconfig", metavar="FILE", help="The kubeconfig file (default: KUBECONFIG, then ~/.kube/config).")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="On an error, show where in Backstay it arose.")]


class Format(StrEnum):
    """How data is printed."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="text is for eyes, json and yaml are for programs.")]


@dataclass(frozen=True, slots=True)
class Place:
    """Which cluster, and where in it."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    debug: bool = False

    def over(self, other: "Place") -> "Place":
        """Return this place, filled up with what another one says."""
        return replace(
            self,
            namespace=self.namespace or other.namespace,
            context=self.context or other.context,
            kubeconfig=self.kubeconfig or other.kubeconfig,
            debug=self.debug or other.debug,
        )

    @asynccontextmanager
    async def connect(self) -> "AsyncIterator[tuple[Client, str]]":
        """Yield a client and the namespace. Raises LoginFailed where there is no way to a cluster."""
        from backstay.kube.client import Client

        async with Client.from_kubeconfig(self.kubeconfig, self.context) as client:
            yield client, self.namespace or client.namespace


_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_PLACE: dict[str, Any] = {
    "namespace": NamespaceOption,
    "context": ContextOption,
    "kubeconfig": KubeconfigOption,
    "debug": DebugOption,
}


def remember(ctx: typer.Context, place: Place) -> None:
    """Keep what stood before the command."""
    ctx.obj = place


def command(app: typer.Typer, function: Callable[..., Any], *, place: bool = True) -> None:
    """Register a function as the command of its name. With `place` it gets one as its first argument, and the command the options for it.

    The function may be a coroutine function, and may return an Exit. Whatever it raises ends it with one line on stderr.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1 if place else 0 :]
    shared = _PLACE if place else {}

    def run(ctx: typer.Context, **given: Any) -> None:
        before = ctx.obj if isinstance(ctx.obj, Place) else Place()
        here = Place(**{name: given.pop(name) for name in shared}).over(before)
        guard(functools.partial(function, *([here] if place else []), **given), debug=here.debug)

    run.__doc__ = function.__doc__
    options = [inspect.Parameter(name, _KEYWORD, default=getattr(Place(), name), annotation=kind) for name, kind in shared.items()]
    first = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    run.__signature__ = inspect.Signature([first, *[item.replace(kind=_KEYWORD) for item in own], *options])  # type: ignore[attr-defined]
    run.__annotations__ = {"ctx": typer.Context, **{item.name: item.annotation for item in own}, **shared}
    app.command(function.__name__.replace("_", "-"))(run)


def guard(work: Callable[[], Any], *, debug: bool) -> None:
    """Do a command's work and end with its exit code; an error becomes one line on stderr."""
    try:
        code = _finish(work)
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        words, code = explain(error) if isinstance(error, BackstayError) else (_fault_words(error), Exit.FAILED)
        complain(words)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    if code:
        raise typer.Exit(int(code))


def _fault_words(error: Exception) -> str:
    return f"backstay has a fault ({type(error).__name__}: {error}); run it again with --debug and report what it shows"


def _finish(work: Callable[[], Any]) -> Exit:
    result = work()
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    return result if isinstance(result, Exit) else Exit.OK


def complain(words: str) -> None:
    """Say on stderr what went wrong."""
    from backstay.cli.views.text import clean

    for line in words.splitlines():
        typer.echo(f"error: {clean(line)}", err=True)


def note(words: str) -> None:
    """Say something on stderr that is no part of the answer."""
    from backstay.cli.views.text import clean

    sys.stdout.flush()
    typer.echo(clean(words), err=True)
