"""The node's access to an API server, by path: requests with a limit, and collections that are followed for ever.

What a request raises are the errors of `errors.py`.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import orjson

from backstay import errors
from backstay.kube import answers
from backstay.kube.backoff import Backoff
from backstay.kube.login import Login
from backstay.kube.transport import JSON, Request, Transport

log = logging.getLogger(__name__)

Obj = dict[str, Any]
"""A Kubernetes object, or any other JSON object of the API."""

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
REQUEST_SECONDS: Final = 30.0
REQUESTS_AT_A_TIME: Final = 16
"""Each of them has a connection of its own, which costs a handshake and, with uvloop, half a megabyte on both ends."""
WATCH_SECONDS: Final = 300
"""How long one watch lasts by agreement with the server; a silent connection is given up a little later."""
WATCH_SLACK_SECONDS: Final = 10.0
SHORT_WATCH_SECONDS: Final = 1.0
"""A watch that ends sooner than this, with nothing to tell, is not begun again at once."""
TOMBSTONES: Final = 10_000
"""How many deleted UIDs are remembered, so that a late answer does not bring an object back."""

Listener = Callable[[str, Obj], None]
TRANSIENT: Final = (errors.Unavailable, errors.TooManyRequests)
"""Refusals that go by: the same request can succeed later."""


class Api:
    """One connection pool to one API server. Use it as an async context manager."""

    def __init__(self, login: Login, *, agent: str) -> None:
        """`login` is asked at once, and again when the server refuses who we are; it blocks while it reads files."""
        self._transport = Transport(login(), login, user_agent=agent, timeout_seconds=REQUEST_SECONDS)
        self._turns = asyncio.Semaphore(REQUESTS_AT_A_TIME)

    async def __aenter__(self) -> Self:
        self._transport.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._transport.close()

    async def get(self, path: str, **params: str) -> Obj:
        return await self._ask("get", "GET", path, params=params)

    async def create(self, path: str, obj: Obj) -> Obj:
        return await self._ask("create", "POST", path, obj)

    async def replace(self, path: str, obj: Obj) -> Obj:
        """Replace an object. Its `metadata.resourceVersion` is a precondition."""
        return await self._ask("update", "PUT", path, obj)

    async def patch(self, path: str, patch: Obj | list[Obj]) -> Obj:
        """Apply a JSON merge patch, or a JSON patch if given a list. `metadata.resourceVersion` and `metadata.uid` are preconditions."""
        return await self._ask("patch", "PATCH", path, patch, content_type=JSON_PATCH if isinstance(patch, list) else MERGE_PATCH)

    async def delete(self, path: str, options: Obj | None = None) -> Obj:
        return await self._ask("delete", "DELETE", path, {"apiVersion": "v1", "kind": "DeleteOptions", **(options or {})})

    async def watch(self, path: str, resource_version: str, **params: str) -> AsyncGenerator[tuple[str, Obj], None]:
        """Yield (type, object) until the server ends the watch. Raises Gone when the resourceVersion is too old."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
            **params,
        }
        request = Request("watch", _plural(path), "GET", path, query)
        async with contextlib.aclosing(self._transport.stream(request, WATCH_SECONDS + WATCH_SLACK_SECONDS)) as lines:
            async for line in lines:
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise answers.error_of_status(event["object"])
                yield event["type"], event["object"]

    async def _ask(
        self,
        verb: str,
        method: str,
        path: str,
        body: Obj | list[Obj] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> Obj:
        data = None if body is None else orjson.dumps(body)
        request = Request(verb, _plural(path), method, path, params or {}, data, content_type)
        async with self._turns:
            answer: Obj = orjson.loads(await self._transport.send(request))
        return answer


def _plural(path: str) -> str:
    """Return the resource of a path, for counting requests: what follows the namespace, or the version."""
    parts = path.split("/")
    rest = parts[3:] if parts[1] == "api" else parts[4:]
    return rest[2] if rest[0] == "namespaces" and len(rest) > 2 else rest[0]


class Cache:
    """Objects of one kind by UID, each as new as anything seen of it: from the watch, or in the answer to an own write."""

    def __init__(self) -> None:
        self._objects: dict[str, Obj] = {}
        self._deleted: dict[str, None] = {}

    def take(self, kind: str, obj: Obj) -> bool:
        """Take an event or an answer; False when it is old news, such as a version of an object that is deleted already."""
        uid = obj["metadata"]["uid"]
        if kind == "DELETED":
            self._deleted[uid] = None
            if len(self._deleted) > TOMBSTONES:
                del self._deleted[next(iter(self._deleted))]
            return self._objects.pop(uid, None) is not None
        known = self._objects.get(uid)
        if uid in self._deleted or (known is not None and version_of(obj) <= version_of(known)):
            return False
        self._objects[uid] = obj
        return True

    def get(self, uid: str) -> Obj | None:
        return self._objects.get(uid)

    def values(self) -> list[Obj]:
        return list(self._objects.values())

    def uids(self) -> set[str]:
        return set(self._objects)


def version_of(obj: Obj) -> int:
    """Return the resourceVersion: of one kind, they are integers that grow (KEP-5504)."""
    return int(obj["metadata"]["resourceVersion"])


class Reflector:
    """Follows the objects under a path: lists, watches from there, resumes, and lists again when the server forgot.

    Listeners get ("ADDED" | "MODIFIED" | "DELETED", object), each object's news in order and never an older version. A repeated list tells what
    was added, changed and deleted meanwhile. `synced` is set after the first list.
    """

    def __init__(self, api: Api, path: str, **params: str) -> None:
        self._api, self._path, self._params = api, path, params
        self._listeners: list[Listener] = []
        self._version: str | None = None
        self._backoff = Backoff()
        self.cache = Cache()
        self.synced = asyncio.Event()

    def listen(self, listener: Listener) -> None:
        """Tell the listener all news from now on."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Follow until cancelled. Whatever the server refuses is logged and tried again, more and more slowly."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                if not await self._watch():
                    await asyncio.sleep(self._backoff.next())
            except errors.ApiError as fault:
                if not isinstance(fault, errors.Unavailable):
                    self._version = None
                if not isinstance(fault, errors.Gone):
                    log.warning("cannot follow %s: %s", self._path, fault)
                await asyncio.sleep(self._backoff.next())

    def take(self, kind: str, obj: Obj) -> None:
        """Take news, also from elsewhere: the answer to an own write is known at once this way."""
        if self.cache.take(kind, obj):
            for listener in self._listeners:
                listener(kind, obj)

    async def _list(self) -> None:
        answer = await self._api.get(self._path, **self._params)
        found = {obj["metadata"]["uid"] for obj in answer["items"]}
        for known in self.cache.values():
            if known["metadata"]["uid"] not in found:
                self.take("DELETED", known)
        for obj in answer["items"]:
            self.take("MODIFIED" if self.cache.get(obj["metadata"]["uid"]) else "ADDED", obj)
        self._version = str(answer["metadata"]["resourceVersion"])
        self.synced.set()

    async def _watch(self) -> bool:
        """Take events until the server ends the watch; tell whether it was of use."""
        began, useful = asyncio.get_running_loop().time(), False
        async with contextlib.aclosing(self._api.watch(self._path, str(self._version), **self._params)) as events:
            async for kind, obj in events:
                useful = True
                self._backoff.reset()
                if kind != "BOOKMARK":
                    self.take(kind, obj)
                self._version = obj["metadata"]["resourceVersion"]
        return useful or asyncio.get_running_loop().time() - began > SHORT_WATCH_SECONDS
