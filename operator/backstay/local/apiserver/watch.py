"""watch: the changes of a resource as a stream of lines, from any version that the log still reaches.

After https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes, KEP-956 (bookmarks) and KEP-3157 (watch-list):
without a resourceVersion the current objects come first as ADDED; with `sendInitialEvents` a bookmark ends them; an object that comes to match
a selector is ADDED, one that stops matching is DELETED; a version that was compacted ends the stream with an ERROR of code 410.

A watch keeps no queue: it remembers the version it has come to and reads on from the log, so a slow client costs no memory.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from backstay.local.apiserver.convert import collection_of
from backstay.local.apiserver.responses import Format, watch_frame
from backstay.local.apiserver.state import CRDS, Cluster
from backstay.local.apiserver.status import StatusError, expired
from backstay.local.apiserver.store import Change, Compacted, Stored, Watcher
from backstay.local.apiserver.targets import ListOptions, Target, version_number

_INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
_DEFAULT_TIMEOUT_SECONDS: Final = (1800.0, 3600.0)
_BATCH: Final = 200
"""Objects or changes that go into one write."""

_Event = tuple[str, Stored | dict[str, Any]]


@dataclass(slots=True)
class Watch:
    """One watch request. `stopping` tells when the server goes down; `clock` is a monotonic clock in seconds."""

    cluster: Cluster
    target: Target
    options: ListOptions
    format: Format
    clock: Callable[[], float]
    bookmark_seconds: float = 60.0
    stopping: Callable[[], bool] = lambda: False
    _version: int = 0
    _told: int = 0
    _sent_headers: bool = False

    def open(self) -> Watcher:
        """Return what wakes this watch. Close it when the stream has ended."""
        return self.cluster.store.watch(collection_of(self.target.resource), CRDS)

    async def frames(self, watcher: Watcher) -> AsyncIterator[bytes]:
        """Yield the stream's bytes, several lines at a time, until the timeout, an error or the end of the resource."""
        low, high = _DEFAULT_TIMEOUT_SECONDS
        deadline = self.clock() + (self.options.timeout_seconds or random.uniform(low, high))  # noqa: S311 (spreads reconnections)
        async for part in self._initial():
            yield part
        bookmark_at = self.clock() + self.bookmark_seconds if self.options.allow_bookmarks else math.inf
        while not self.stopping() and self._is_served():
            try:
                events = self._next_events()
            except Compacted as error:
                yield self._error(expired(str(error)))
                return
            if events:
                yield b"".join(self._frame(event) for event in events)
                continue
            now = self.clock()
            if now >= min(bookmark_at, deadline):
                if self.options.allow_bookmarks and self._told < self._version:
                    yield self._bookmark()
                bookmark_at += self.bookmark_seconds
            if now >= deadline:
                return
            await watcher.wait(max(min(bookmark_at, deadline) - now, 0))

    # ── the beginning ──

    async def _initial(self) -> AsyncIterator[bytes]:
        wanted = self.options.resource_version
        self._version = version_number(wanted)
        sends = self.options.send_initial_events
        if sends or (sends is None and wanted in ("", "0")):
            objects = self._selected()
            self._version = self.cluster.store.version
            for start in range(0, len(objects), _BATCH):
                yield b"".join(self._frame(("ADDED", stored)) for stored in objects[start : start + _BATCH])
            if sends and self.options.allow_bookmarks:
                yield self._bookmark({_INITIAL_EVENTS_END: "true"})
        elif wanted in ("", "0"):
            self._version = self.cluster.store.version
        self._told = max(self._told, self._version)

    def _selected(self) -> list[Stored]:
        resource, selection = self.target.resource, self.options.selection
        objects = self.cluster.store.select(*collection_of(resource), self.target.namespace)
        return [stored for stored in objects if selection.matches(stored.object)] if selection else objects

    # ── the stream ──

    def _is_served(self) -> bool:
        resource = self.target.resource
        return not resource.is_custom or self.cluster.registry.find(resource.group, resource.version, resource.plural) is not None

    def _next_events(self) -> list[_Event]:
        """Return the next events; moves on past changes that this watch is not about. Raises Compacted."""
        events: list[_Event] = []
        changes = self.cluster.store.since(self._version, *collection_of(self.target.resource))
        for change in changes:
            self._version = change.version
            event = self._event(change)
            if event is not None:
                events.append(event)
                if len(events) == _BATCH:
                    return events
        self._version = max(self._version, self.cluster.store.version)
        return events

    def _event(self, change: Change) -> _Event | None:
        stored = change.stored
        if self.target.namespace not in ("", stored.key.namespace):
            return None
        selection = self.options.selection
        if not selection:
            return change.type, stored
        before = change.previous is not None and selection.matches(change.previous.object)
        after = change.type != "DELETED" and selection.matches(stored.object)
        if before and after:
            return "MODIFIED", stored
        if after:
            return "ADDED", stored
        return ("DELETED", _as_of(change)) if before else None

    def _frame(self, event: _Event) -> bytes:
        type_, value = event
        self._told = self._version
        headers, self._sent_headers = not self._sent_headers, True
        return watch_frame(self.target.resource, type_, value, self.format, self.cluster.clock(), headers=headers)

    def _bookmark(self, annotations: dict[str, str] | None = None) -> bytes:
        resource = self.target.resource
        metadata: dict[str, Any] = {"resourceVersion": str(self._version)}
        if annotations:
            metadata["annotations"] = annotations
        self._told = self._version
        obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return b'{"type":"BOOKMARK","object":' + orjson.dumps(obj) + b"}\n"

    @staticmethod
    def _error(error: StatusError) -> bytes:
        return b'{"type":"ERROR","object":' + orjson.dumps(error.as_json()) + b"}\n"


def _as_of(change: Change) -> Stored | dict[str, Any]:
    """Return an object that left the selection: as it was when it matched, with the version of the change."""
    if change.type == "DELETED" or change.previous is None:
        return change.stored
    obj = change.previous.copy()
    obj["metadata"]["resourceVersion"] = str(change.version)
    return Stored(change.stored.key, change.version, orjson.dumps(obj), obj)
