"""backstay logs: what the containers of a run's steps have written."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay.cli.failures import CommandFailed, Exit, Usage
from backstay.cli.options import Place, note
from backstay.names import CONTAINER

if TYPE_CHECKING:
    from backstay.cli.views.pods import Wanted, Writer
    from backstay.cli.views.seen import Run
    from backstay.kube.client import Client

Object = dict[str, Any]
_POLL_SECONDS: Final = 1.0


async def logs(
    place: Place,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run, as order-7f2 or wfrun/order-7f2.")],
    step: Annotated[
        str | None,
        typer.Argument(metavar="[STEP]", help="A step by its path, as charge or pack[3]/box; a structure means all steps in it."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run, or the step, has ended.")] = False,
    attempt: Annotated[int | None, typer.Option("--attempt", metavar="N", min=1, help="Only the Nth attempt (default: all).")] = None,
    previous: Annotated[bool, typer.Option("--previous", help="Only the attempt before the latest one of each step.")] = False,
    tail: Annotated[int | None, typer.Option("--tail", metavar="N", min=0, help="Only the last N lines of each attempt.")] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Begin each line with its time.")] = False,
    container: Annotated[str, typer.Option("--container", "-c", metavar="NAME", help="Which container of the pod.")] = CONTAINER,
) -> None:
    """Show the logs of a run's steps, oldest pod first.

    Where there are several attempts or steps, each line begins with the step it is from. Logs live as long as the pods do: the Jobs
    of a run are kept until the run itself is deleted.

    \b
    Examples:
      backstay logs order-7f2
      backstay logs order-7f2 charge --previous
      backstay logs order-7f2 charge -f --tail 20
    """
    from backstay.cli.reading import get_run, read_whole, run_name
    from backstay.cli.views.pods import Options, Wanted

    if previous and attempt is not None:
        raise Usage("--previous and --attempt both choose an attempt", "leave one of them out")
    wanted = Wanted(step, attempt, previous=previous)
    options = Options(container, tail, timestamps=timestamps)
    async with place.connect() as (client, namespace):
        found = await read_whole(client, await get_run(client, namespace, run_name(run)))
        if follow:
            await _Follower(client, found, wanted, options.query(follow=True)).run()
        else:
            await _show(client, found, wanted, options.query(follow=False))


async def _pods(client: "Client", run: "Run") -> list[Object]:
    from backstay.kube import resources
    from backstay.names import LABEL_RUN

    return (await client.list(resources.PODS, run.namespace, label_selector=f"{LABEL_RUN}={run.uid}")).items


async def _show(client: "Client", run: "Run", wanted: "Wanted", query: Mapping[str, str]) -> None:
    from backstay.cli.views.pods import choose, nothing_to_show, prefixes
    from backstay.errors import ApiError

    writers = choose(await _pods(client, run), run, wanted)
    if not writers:
        message, mend = nothing_to_show(run, wanted)
        raise CommandFailed(message, mend, Exit.CLUSTER)
    for writer, prefix in zip(writers, prefixes(writers), strict=True):
        try:
            text = await client.text(writer.path, query)
        except ApiError as error:
            note(f"{prefix}no logs of pod {writer.pod}: {error.message}")
            continue
        for line in text.splitlines():
            typer.echo(f"{prefix}{line}")


class _Follower:
    """Follows the logs of every pod that is wanted, also of those that come later, until the run has ended and all is said."""

    def __init__(self, client: "Client", run: "Run", wanted: "Wanted", query: Mapping[str, str]) -> None:
        self._client = client
        self._run = run
        self._wanted = wanted
        self._query = query
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._prefixed = wanted.step is None

    async def run(self) -> None:
        """Follow. Raises CommandFailed where there is nothing to follow and never will be."""
        from backstay.cli.reading import part
        from backstay.cli.views.pods import nothing_to_show

        try:
            while True:
                has_ended = self._wanted.has_ended(self._run)
                self._begin(await _pods(self._client, self._run))
                if has_ended:
                    break
                await self._pause()
                await self._look()
            if not self._streams:
                message, mend = nothing_to_show(self._run, self._wanted)
                raise CommandFailed(message, mend, Exit.CLUSTER)
            await asyncio.gather(*self._streams.values())
        finally:
            for stream in self._streams.values():
                stream.cancel()
            await asyncio.gather(*self._streams.values(), return_exceptions=True)
            await part()

    def _begin(self, pods: Sequence[Object]) -> None:
        from backstay.cli.views.pods import choose

        writers = choose(pods, self._run, self._wanted, started=True)
        self._prefixed = self._prefixed or len(writers) > 1
        for writer in writers:
            if writer.pod not in self._streams:
                self._streams[writer.pod] = asyncio.create_task(self._stream(writer))

    async def _stream(self, writer: "Writer") -> None:
        from backstay.errors import ApiError

        try:
            async with aclosing(self._client.lines(writer.path, self._query)) as lines:
                async for line in lines:
                    typer.echo(f"{writer.prefix}{line}" if self._prefixed else line)
        except ApiError as error:
            note(f"{writer.prefix}the logs of pod {writer.pod} break off: {error.message}")

    async def _pause(self) -> None:
        await asyncio.sleep(_POLL_SECONDS)

    async def _look(self) -> None:
        """Read the run again; one that is gone has ended."""
        from backstay.cli.reading import read_steps
        from backstay.errors import NotFound, Unavailable
        from backstay.kube import resources

        with suppress(Unavailable):
            try:
                manifest = await self._client.get(resources.RUNS, self._run.namespace, self._run.name)
            except NotFound:
                self._wanted = self._wanted.gone()
                return
            if manifest["metadata"]["uid"] == self._run.uid:
                self._run = await read_steps(self._client, manifest, self._run.program, before=self._run)
            else:
                self._wanted = self._wanted.gone()
