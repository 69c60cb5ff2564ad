"""An informer: keeps a picture of the objects of one kind, by a list and a watch that goes on where it stopped.

    list, page by page  →  watch from that version  →  the watch ends or breaks: watch again from the last version heard of
           ↑                                                                        │
           └──── the version is too old (410), or the server says it is none ───────┘

It never dies of an API error: it waits, longer each time, and tries again. A watch that falls silent is left after its time is up (kopf #698,
#1276: watches stall without an error). Only what `trim` returns is kept.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, Generic, TypeVar

from backstay import errors
from backstay.kube.backoff import Backoff, jittered
from backstay.kube.client import Client, ListPage, Object
from backstay.kube.resources import Resource
from backstay.kube.store import Change, Seen, Store

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Seen)

WATCH_SECONDS: Final = 30
"""How long a watch lasts; beginning anew costs one request. A watch that stalls is noticed after this and the client's slack."""
_EXPECTED: Final = 1000
_SHORT_SECONDS: Final = 1.0
"""A watch that ends sooner than this without a word is no success, and is not begun again at once."""


class Informer(Generic[T]):
    """One list and watch of the objects of a kind that a selector chooses.

    `trim` makes of a manifest what is kept, or None where the object is of no interest. `on_change` is told of every difference,
    synchronously: (`ADDED` | `MODIFIED` | `DELETED`, the object now or at its end, the object before).
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        trim: Callable[[Object], T | None],
        on_change: Callable[[str, T, T | None], None],
        watch_seconds: int = WATCH_SECONDS,
    ) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        """Set once the first list is in."""
        self.lists = 0
        """How many lists were made: one at start, one more whenever the watch fell too far behind."""
        self.failures = 0
        """How many lists and watches have failed."""
        self._client = client
        self._scope = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._trim = trim
        self._on_change = on_change
        self._watch_seconds = watch_seconds
        self._store: Store[T] = Store()
        self._version = ""
        """From where to watch; empty where a list is due."""
        self._newest = 0
        """The newest version that the server ever told of the collection."""
        self._backoff = Backoff()
        self._heard_at = self._turned_at = time.monotonic()
        self._complaint = ""
        self.lagged: Callable[[float], None] = _unheard
        """Told how many seconds after a write of our own the watch has told of it; set it to count them."""
        self.passed: Callable[[Object], None] = _unnoticed
        """Told the last manifest of an object that is gone and was of no interest any more; set it to hear of these, too."""
        self._expected: deque[tuple[int, float]] = deque(maxlen=_EXPECTED)
        """Versions that we wrote and the watch has not reached, and since when."""

    def __len__(self) -> int:
        return len(self._store)

    @property
    def silence_seconds(self) -> float:
        """How long ago the server last said anything: an event, a bookmark, a list, or that a watch's time is up."""
        return time.monotonic() - self._heard_at

    @property
    def idle_seconds(self) -> float:
        """How long ago anything happened here at all, failures included; 0 while a pause is meant. It never grows much beyond what a watch may
        last, whatever the server does: where it does, this has hung."""
        return max(0.0, time.monotonic() - self._turned_at)

    def expect(self, version: int) -> None:
        """We wrote an object, which has this version now: the watch will tell of it, and how late it does is its lag."""
        if version > self._newest:
            self._expected.append((version, time.monotonic()))
        else:
            self.lagged(0.0)

    def get(self, namespace: str, name: str) -> T | None:
        """Return what is known of an object."""
        return self._store.get(namespace, name)

    def of(self, run_uid: str) -> tuple[T, ...]:
        """Return the objects whose label says that they belong to this run."""
        return self._store.of(run_uid)

    def objects(self) -> tuple[T, ...]:
        """Return all that is known."""
        return tuple(self._store)

    def has_reached(self, version: int) -> bool:
        """Tell whether everything up to a version was told of: what is no newer, and is not known, is there no longer, or of no interest."""
        return version <= self._newest

    def remember(self, new: T) -> None:
        """Take in at once what was just created or changed; the watch's older or equal word of it is no news then. Tells nobody."""
        self._store.put(new)
        self.expect(new.resource_version)

    def drop(self, namespace: str, name: str) -> None:
        """Free the memory that an object takes, without a word to anybody. Later news of it is taken in again, if `trim` lets it."""
        self._store.drop(namespace, name)

    def forget(self, run_uid: str) -> None:
        """Free the memory that a finished run's objects take. Later news of them is taken in again, if `trim` lets it."""
        self._store.forget(run_uid)

    async def run(self) -> None:
        """Keep the picture up to date until cancelled."""
        self._turned_at = time.monotonic()
        while True:
            try:
                if not self._version:
                    await self._list()
                if not await self._watch():
                    await asyncio.sleep(self._backoff.next())
            except errors.ApiError as error:
                if _needs_list(error):
                    self._version = ""
                self.failures += 1
                self._complain(error)
                pause = max(self._backoff.next(), jittered(error.retry_after_seconds or 0))
                self._turned_at = time.monotonic() + pause
                await asyncio.sleep(pause)

    # ----------------------------------------------------------------------------------------------------------- list

    async def _list(self) -> None:
        """Take in the whole collection; what it lacks was deleted while nobody watched."""
        listed: set[str] = set()
        page = ListPage()
        turned_back = False
        pages = self._client.pages(self.resource, self._scope, label_selector=self._label_selector, field_selector=self._field_selector)
        async with aclosing(pages):
            async for page in pages:
                self._turned_at = time.monotonic()
                turned_back = turned_back or self._is_turned_back(page)
                for item in page.items:
                    listed.add(item["metadata"]["uid"])
                    self._take_in(item, trusted=turned_back)
        version = _number(page.resource_version)
        self._tell(self._store.sweep(listed, version, trusted=turned_back))
        self._newest = version
        self._expected.clear()
        self._version = page.resource_version
        self.lists += 1
        self._heard()
        self.synced.set()

    def _is_turned_back(self, page: ListPage) -> bool:
        """Tell whether the server's history was turned back, as by restoring a backup: then only the list can be believed."""
        if _number(page.resource_version) >= self._newest:
            return False
        log.warning(
            "%s: the server is at version %s and was at %s before: its history was turned back, everything is read anew",
            self.resource.plural,
            page.resource_version,
            self._newest,
        )
        self._newest = 0
        self._store.forgive()
        return True

    # ---------------------------------------------------------------------------------------------------------- watch

    async def _watch(self) -> bool:
        """Follow the changes until the watch ends; tell whether it was of use."""
        began = time.monotonic()
        useful = False
        watch = self._client.watch(
            self.resource,
            self._scope,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=self._version,
            timeout_seconds=round(jittered(self._watch_seconds)),
        )
        async with aclosing(watch):
            async for event, manifest in watch:
                useful = True
                self._backoff.reset()
                self._follow(event, manifest)
        self._heard()
        if time.monotonic() - began >= _SHORT_SECONDS:
            self._backoff.reset()
            return True
        return useful

    def _follow(self, event: str, manifest: Object) -> None:
        self._heard()
        version = manifest["metadata"]["resourceVersion"]
        if event == "BOOKMARK" and _number(version) < self._newest:
            # A server whose history was turned back accepts a version of its future, and is silent until it gets there.
            raise errors.Gone(410, "Backwards", f"the server is at version {version}, and was at {self._newest} before")
        self._version = version
        self._newest = max(self._newest, _number(version))
        self._measure_lag()
        if event == "DELETED":
            self._take_out(manifest)
        elif event != "BOOKMARK":
            self._take_in(manifest)

    # -------------------------------------------------------------------------------------------------------- picture

    def _take_in(self, manifest: Object, *, trusted: bool = False) -> None:
        metadata = manifest["metadata"]
        new = self._trimmed(manifest)
        if new is not None:
            self._tell(self._store.put(new, trusted=trusted))
        else:
            self._tell(self._store.drop(metadata.get("namespace", ""), metadata["name"]))

    def _take_out(self, manifest: Object) -> None:
        metadata = manifest["metadata"]
        known = self._store.get(metadata.get("namespace", ""), metadata["name"])
        last = self._trimmed(manifest)
        if last is not None:
            self._tell(self._store.remove(last))
        elif known is not None and known.uid == metadata.get("uid"):
            self._tell(self._store.drop(known.namespace, known.name))
        else:
            self.passed(manifest)

    def _trimmed(self, manifest: Object) -> T | None:
        try:
            return self._trim(manifest)
        except (KeyError, TypeError, ValueError, AttributeError):
            log.exception("%s %s is not as expected and is left out", self.resource.kind, manifest["metadata"].get("name"))
            return None

    def _tell(self, changes: list[Change[T]]) -> None:
        for change in changes:
            try:
                self._on_change(change.event, change.new, change.old)
            except Exception:
                # A fault in what listens must not end the watching for everybody else; whoever needs it looks again in time.
                log.exception("%s %s: what was to be done about a change has failed", self.resource.kind, change.new.name)

    # ------------------------------------------------------------------------------------------------------- health

    def _heard(self) -> None:
        self._heard_at = self._turned_at = time.monotonic()
        self._complaint = ""

    def _measure_lag(self) -> None:
        while self._expected and self._expected[0][0] <= self._newest:
            self.lagged(self._heard_at - self._expected.popleft()[1])

    def _complain(self, error: errors.ApiError) -> None:
        """Say once what is wrong, and again only after it was right; a connection that breaks once in a while is nothing to speak of."""
        if isinstance(error, errors.Gone) or (isinstance(error, errors.Unavailable) and self._backoff.tries == 0):
            log.debug("%s: watching anew after: %s", self.resource.plural, error)
            return
        complaint = f"{type(error).__name__} {error.status}"
        if complaint != self._complaint:
            self._complaint = complaint
            log.warning("%s cannot be watched, trying again: %s", self.resource.plural, error)


def _unheard(seconds: float) -> None:
    """Where nobody counts the lags."""


def _unnoticed(manifest: Object) -> None:
    """Where nobody asks for what was of no interest."""


def _needs_list(error: errors.ApiError) -> bool:
    """Tell whether watching from the version at hand is hopeless: too old, no version at all, or one that the server does not have yet."""
    return isinstance(error, (errors.Gone, errors.Invalid)) or "ResourceVersionTooLarge" in error.causes


def _number(version: str) -> int:
    """Versions are numbers for every kind that is stored in etcd; one that is none cannot be compared and counts as the oldest."""
    return int(version) if version.isdigit() else 0
