"""Hearing of runs, and asking for things, on a control plane that may be slow or busy: what fails is asked for again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, TypeVar

from backstay.errors import ApiError, TooManyRequests, Unavailable
from backstay.kube.client import Client
from backstay.kube.resources import Resource

Object = dict[str, Any]
Answer = TypeVar("Answer")

_WATCH_SECONDS: Final = 300
_PAUSE_SECONDS: Final = 0.2
_PATIENCE_SECONDS: Final = 90


async def insist(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until the API server answers; an error that another try does not mend is raised, and TimeoutError after 90 s."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            try:
                return await ask()
            except (TooManyRequests, Unavailable):
                await asyncio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def hearing(client: Client, resource: Resource, namespace: str, told: Callable[[str, Object], None]) -> AsyncIterator[None]:
    """Tell `told(event, object)` of all objects of a namespace and of every change, until the block ends.

    Where the watch breaks, all are listed anew: what is there is told as ADDED, what has gone meanwhile as DELETED.
    """
    known: dict[str, Object] = {}

    def tell(event: str, thing: Object) -> None:
        if event == "DELETED":
            known.pop(thing["metadata"]["name"], None)
        else:
            known[thing["metadata"]["name"]] = thing
        told(event, thing)

    async def listed() -> str:
        page = await client.list(resource, namespace)
        there = {thing["metadata"]["name"] for thing in page.items}
        for name in known.keys() - there:
            tell("DELETED", known[name])
        for thing in page.items:
            tell("ADDED", thing)
        return page.resource_version

    async def follow(version: str) -> None:
        events = client.watch(resource, namespace, resource_version=version, timeout_seconds=_WATCH_SECONDS)
        async with aclosing(events):
            async for event, thing in events:
                if event != "BOOKMARK":
                    tell(event, thing)

    async def hear() -> None:
        version = first
        while True:
            try:
                await follow(version)
                version = await listed()
            except ApiError:
                await asyncio.sleep(_PAUSE_SECONDS)
                version = await insist(listed)

    first = await insist(listed)
    task = asyncio.create_task(hear())
    try:
        yield
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
    if not isinstance(ended, asyncio.CancelledError):
        raise ended
