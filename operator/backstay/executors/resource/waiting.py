"""Waiting for objects to be as they should: by a watch of just these, or, where there is none to be had, by looking now and then.

    list    what is there now, and where to watch from
    watch   from there on, and from where it broke off; too old (410): list again
    poll    where the account may not watch, or too many watch already; all that poll share a rate

An outage of the API server is sat out. After a restart of the operator the wait begins anew: it is the world that is waited for, nothing is lost.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Final

from backstay import errors
from backstay.executors.resource.doing import Doing
from backstay.executors.resource.faults import passes
from backstay.executors.resource.seen import Verdict
from backstay.kube.backoff import Backoff, jittered
from backstay.kube.client import Object
from backstay.kube.resources import Resource

MOST_WATCHES: Final = 200
"""Watches of resource steps that are open at once; whoever comes later polls."""
WATCH_SECONDS: Final = 290
"""How long a watch is asked to last; the API server ends older ones itself."""
POLLS_A_SECOND: Final = 20.0
MOST_OBJECTS: Final = 1000
"""Objects that a selector may find."""

Judge = Callable[[Sequence[Object]], Verdict]


class TooMany(errors.BackstayError):
    """A selector finds more objects than a step looks at."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which objects: one by its name, or those that a label selector finds."""

    resource: Resource
    namespace: str | None
    name: str | None
    selector: str = ""

    @property
    def selectors(self) -> dict[str, str]:
        """As a list and a watch want them; a Role may name the object, because its name stands in the field selector."""
        return {"label_selector": self.selector} if self.name is None else {"field_selector": f"metadata.name={self.name}"}

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.resource.kind} {where}{self.name}" if self.name is not None else f"{self.resource.kind} {where}({self.selector})"


@dataclass(slots=True)
class _View:
    """What is known of the objects, and from which version to watch on; empty before they were listed, and where they cannot be."""

    objects: dict[str, Object] = field(default_factory=dict)
    version: str = ""

    def take(self, event: str, found: Object) -> bool:
        """Take in an event; tell whether the objects are others now."""
        self.version = found["metadata"]["resourceVersion"]
        if event == "BOOKMARK":
            return False
        name = found["metadata"]["name"]
        if event == "DELETED":
            self.objects.pop(name, None)
        else:
            self.objects[name] = found
        if len(self.objects) > MOST_OBJECTS:
            raise TooMany(f"the selector finds more than {MOST_OBJECTS:,} objects; make it narrower")
        return True


async def wait_until(doing: Doing, place: Place, judge: Judge) -> tuple[Verdict, list[Object]]:
    """Wait until `judge` finds the objects done or failed; return that, and the objects. Raises ApiError, TooMany."""
    waiting = _Waiting(doing, place, judge)
    backoff = Backoff(0.5, 10.0)
    while True:
        try:
            verdict = await waiting.go_on()
        except errors.Gone:
            waiting.view.version = ""
        except errors.ApiError as error:
            words = passes(error)
            if words is None:
                raise
            doing.teller.say(words)
            await asyncio.sleep(max(jittered(error.retry_after_seconds or 0.0), backoff.next()))
        else:
            backoff.reset()
            if verdict is not None:
                return verdict, list(waiting.view.objects.values())


class _Waiting:
    """One wait: what is known so far, and which ways of looking the account has."""

    def __init__(self, doing: Doing, place: Place, judge: Judge) -> None:
        self.view = _View()
        self._doing = doing
        self._place = place
        self._judge = judge
        self._may_list = True
        self._may_watch = True
        self._pause = Backoff(1.0, 10.0)

    async def go_on(self) -> Verdict | None:
        """Look once, or watch for as long as it lasts. Returns None where it is not decided."""
        if not self.view.version:
            await self._look()
        if verdict := self._decided():
            return verdict
        if self._may_watch and self.view.version and self._doing.shared.watches < MOST_WATCHES:
            return await self._watch()
        self.view.version = ""
        with _counted(self._doing, "pollers"):
            await asyncio.sleep(max(self._pause.next(), jittered(self._doing.shared.pollers / POLLS_A_SECOND)))
        return None

    def _decided(self) -> Verdict | None:
        verdict = self._judge(list(self.view.objects.values()))
        if verdict.is_done or verdict.fault is not None:
            return verdict
        self._doing.teller.say(verdict.words)
        return None

    async def _look(self) -> None:
        doing, place = self._doing, self._place
        if self._may_list:
            try:
                async with doing.shared.room:
                    page = await doing.client.list(place.resource, place.namespace, **place.selectors, limit=500)
            except errors.Forbidden:
                if place.name is None:
                    raise
                self._may_list = self._may_watch = False
            else:
                if len(page.items) > MOST_OBJECTS:
                    raise TooMany(f"the selector finds {len(page.items):,} objects of at most {MOST_OBJECTS:,}; make it narrower")
                kind = {"apiVersion": place.resource.api_version, "kind": place.resource.kind}
                self.view = _View({item["metadata"]["name"]: {**kind, **item} for item in page.items}, page.resource_version)
                return
        assert place.name is not None
        try:
            async with doing.shared.room:
                found = await doing.client.get(place.resource, place.namespace, place.name)
            self.view = _View({place.name: found})
        except errors.NotFound:
            self.view = _View()

    async def _watch(self) -> Verdict | None:
        doing, place, view = self._doing, self._place, self.view
        events = doing.client.watch(
            place.resource, place.namespace, **place.selectors, resource_version=view.version, timeout_seconds=WATCH_SECONDS
        )
        with _counted(doing, "watches"):
            try:
                async with aclosing(events):
                    async for event, found in events:
                        if view.take(event, found) and (verdict := self._decided()):
                            return verdict
            except errors.Forbidden:
                self._may_watch = False
        return None


@contextmanager
def _counted(doing: Doing, what: str) -> Iterator[None]:
    setattr(doing.shared, what, getattr(doing.shared, what) + 1)
    try:
        yield
    finally:
        setattr(doing.shared, what, getattr(doing.shared, what) - 1)
