"""backstay selftest: a hello run, from its creation to its end, to see that an installation works."""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay.cli.failures import CommandFailed, Exit, Usage
from backstay.cli.options import Format, FormatOption, Place
from backstay.names import API_VERSION, RUN

if TYPE_CHECKING:
    from backstay.cli.views.seen import Run
    from backstay.kube.client import Client

Object = dict[str, Any]

_PAUSE_SECONDS: Final = 0.5
_LEAVES_AFTER: Final = "10m"
"""Should this process be killed before it has cleared away, the run leaves by itself."""


async def selftest(
    place: Place,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="IMAGE", help="Run a container besides: an image of Backstay, which tells its version."),
    ] = None,
    pull_policy: Annotated[
        str | None, typer.Option("--pull-policy", metavar="POLICY", help="When the node pulls it: Always, IfNotPresent or Never.")
    ] = None,
    pull_secret: Annotated[
        list[str] | None, typer.Option("--pull-secret", metavar="NAME", help="A Secret with credentials for its registry. Repeatable.")
    ] = None,
    time_limit: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long it may take, as 90s or 5m.")] = "2m",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the run where it is, to be looked at.")] = False,
    output: FormatOption = Format.TEXT,
) -> Exit:
    """Start a hello run, wait for its end, tell its story, and remove it: to see that an installation works.

    It needs the rights to create, list, watch and delete runs in the namespace. `helm test` runs it in a pod.

    \b
    Exit codes:
      0  the run has Succeeded
      1  it has Failed
      2  an option is wrong
      4  it has not ended in time; a line says what it waits for
      5  the cluster cannot be reached, or refuses

    \b
    Examples:
      backstay selftest -n shop
      backstay selftest -n shop --image registry.example.com/backstay:0.2.0 --timeout 5m
    """
    limit = _seconds(time_limit)
    manifest = _manifest(image, pull_policy, pull_secret or [])
    began = time.monotonic()
    async with place.connect() as (client, namespace):
        created = await _create(client, namespace, manifest, limit)
        try:
            code = await _to_the_end(client, created, max(1.0, limit - (time.monotonic() - began)))
            await _tell(client, created, code, output)
        finally:
            if not keep:
                await _remove(client, created)
    return code


def _seconds(duration: str) -> float:
    from backstay.api.base import parse_duration

    try:
        return parse_duration(duration).total_seconds()
    except ValueError as error:
        raise Usage(f"--timeout: {error}") from None


def _manifest(image: str | None, pull_policy: str | None, pull_secrets: list[str]) -> Object:
    steps: list[Object] = [{"name": "greet", "set": {"greeting": "hello"}}]
    if image:
        job: Object = {"image": image, "args": ["version"], **({"imagePullPolicy": pull_policy} if pull_policy else {})}
        if pull_secrets:
            job["template"] = {"spec": {"imagePullSecrets": [{"name": name} for name in pull_secrets]}}
        steps.append({"name": "work", "job": job, "retry": {"maxAttempts": 1}})
    elif pull_policy or pull_secrets:
        raise Usage("--pull-policy and --pull-secret are of an image, and there is none", "name one with --image")
    inline = {"steps": steps, "outputs": [{"name": "greeting", "value": "${ vars.greeting }"}]}
    spec = {"workflow": {"inline": inline}, "ttl": {"succeeded": _LEAVES_AFTER, "failed": _LEAVES_AFTER}}
    return {"apiVersion": API_VERSION, "kind": RUN, "metadata": {"generateName": "selftest-"}, "spec": spec}


async def _create(client: "Client", namespace: str, manifest: Object, limit: float) -> Object:
    """Create the run. An API server that has just learnt of our kinds may need a few seconds until it takes one (503)."""
    from backstay.errors import Unavailable
    from backstay.kube import resources

    deadline = time.monotonic() + min(limit, 30.0)
    while True:
        try:
            return await client.create(resources.RUNS, namespace, manifest, strict=True)
        except Unavailable:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


async def _to_the_end(client: "Client", created: Object, limit: float) -> Exit:
    from backstay.cli.watching import Show, watch_to_the_end

    try:
        return await watch_to_the_end(client, created, Show.NOTHING, limit)
    except CommandFailed as error:
        if error.code is not Exit.TIMEOUT:
            raise
        return Exit.TIMEOUT


async def _tell(client: "Client", created: Object, code: Exit, output: Format) -> None:
    from backstay.cli.output import print_data, print_lines
    from backstay.cli.reading import get_run, read_whole
    from backstay.cli.views.story import read_story, story, story_data
    from backstay.cli.views.text import Span, clean, line

    meta = created["metadata"]
    found = await read_whole(client, await get_run(client, meta["namespace"], meta["name"]))
    told, verdict = read_story(found), await _verdict(client, found, code)
    if output is Format.TEXT:
        print_lines([*story(told), line(Span(found.name, "bold"), f": {clean(verdict)}")])
    else:
        print_data({**story_data(found, told), "exitCode": int(code), "verdict": verdict}, output)


async def _verdict(client: "Client", run: "Run", code: Exit) -> str:
    """Say how it ended, or why it has not."""
    from datetime import UTC, datetime

    from backstay.cli.commands.why import evidence_of
    from backstay.cli.views.why import why

    if code is Exit.OK:
        return "the installation works"
    if code is Exit.TIMEOUT and not run.status:
        return "nobody has looked at the run: is the operator running, and does it look after this namespace?"
    answer = why(run, await evidence_of(client, run), datetime.now(UTC))
    return f"{answer.sentence}; {answer.mend}" if answer.mend else answer.sentence


async def _remove(client: "Client", created: Object) -> None:
    from backstay.errors import NotFound
    from backstay.kube import resources

    meta = created["metadata"]
    with suppress(NotFound):
        await client.delete(resources.RUNS, meta["namespace"], meta["name"], uid=meta["uid"], propagation="Background")
