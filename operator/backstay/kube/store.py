"""What is known of the objects of one kind, and which news of them is news: pure, no I/O.

News comes from lists, from watches (repeated and late at times) and from our own writes. Versions decide: a resourceVersion is a number that
grows with every change (KEP-5504), so what is not newer than what is known is no news, and a deletion is remembered for a while, so that a
late word of an object does not raise it from the dead.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Literal, Protocol, TypeVar

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
_TOMBSTONES: Final = 10_000


class Seen(Protocol):
    """What a trimmed object must tell of itself. Keep it small: there is one for every object in the cluster that is watched.

    Equality says whether anything of interest has changed: leave `resource_version` out of it (`field(compare=False)`).
    """

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> int: ...
    @property
    def run_uid(self) -> str:
        """UID of the run that it belongs to, from its label; `""` for none."""


T = TypeVar("T", bound=Seen)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """A difference that news has made. Where it is DELETED, `new` is the last that was heard of the object."""

    event: EventType
    new: T
    old: T | None


class Store(Generic[T]):
    """The objects by namespace and name, and by the run that they belong to."""

    def __init__(self) -> None:
        self._objects: dict[Key, T] = {}
        self._by_run: dict[str, dict[Key, T]] = {}
        self._deleted: dict[str, int] = {}
        """UID → version at which it was deleted; the newest last."""

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._objects.values()))

    def get(self, namespace: str, name: str) -> T | None:
        """Return what is known of an object."""
        return self._objects.get((namespace, name))

    def of(self, run_uid: str) -> tuple[T, ...]:
        """Return all objects of a run, those first that were known first."""
        return tuple(self._by_run.get(run_uid, {}).values())

    def put(self, new: T, *, trusted: bool = False) -> list[Change[T]]:
        """Take in word of an object that exists, and return what changed: nothing where it is old news or makes no difference.

        `trusted` takes it in whatever its version: the server's history has been turned back.
        """
        old = self._objects.get((new.namespace, new.name))
        if not trusted and self._is_old(new, old):
            return []
        self._deleted.pop(new.uid, None)
        if old is None:
            self._keep(new)
            return [Change("ADDED", new, None)]
        if old.uid != new.uid:
            self._lose(old, new.resource_version)
            self._keep(new)
            return [Change("DELETED", old, old), Change("ADDED", new, None)]
        self._keep(new)
        return [] if old == new else [Change("MODIFIED", new, old)]

    def remove(self, last: T) -> list[Change[T]]:
        """Take in word of a deletion. `last` is the object at its end; its version is that of the deletion."""
        old = self._objects.get((last.namespace, last.name))
        if old is None or old.uid != last.uid:
            self._bury(last.uid, last.resource_version)
            return []
        if last.resource_version < old.resource_version:
            return []
        self._lose(old, last.resource_version)
        return [Change("DELETED", last, old)]

    def sweep(self, listed: Iterable[str], version: int, *, trusted: bool = False) -> list[Change[T]]:
        """Delete what a whole list of that version lacks; `listed` are the UIDs in it. What is younger than the list stays."""
        alive = set(listed)
        gone = [old for old in self._objects.values() if old.uid not in alive and (trusted or old.resource_version <= version)]
        for old in gone:
            self._lose(old, version)
        return [Change("DELETED", old, old) for old in gone]

    def drop(self, namespace: str, name: str) -> list[Change[T]]:
        """Let go of what is no longer of interest; it may come to be again."""
        if (old := self._objects.pop((namespace, name), None)) is None:
            return []
        self._unindex((namespace, name), old.run_uid)
        return [Change("DELETED", old, old)]

    def forget(self, run_uid: str) -> None:
        """Free the memory that a run's objects take, without a word to anybody. News of them is taken in again."""
        for key in self._by_run.pop(run_uid, {}):
            self._objects.pop(key, None)

    def forgive(self) -> None:
        """Forget which objects were deleted: versions have been turned back and tell nothing any more."""
        self._deleted.clear()

    def _is_old(self, new: T, old: T | None) -> bool:
        if old is not None and new.resource_version <= old.resource_version:
            return True
        return new.resource_version <= self._deleted.get(new.uid, -1)

    def _keep(self, new: T) -> None:
        key = (new.namespace, new.name)
        old = self._objects.get(key)
        if old is not None and old.run_uid != new.run_uid:
            self._unindex(key, old.run_uid)
        self._objects[key] = new
        if new.run_uid:
            self._by_run.setdefault(new.run_uid, {})[key] = new

    def _lose(self, old: T, version: int) -> None:
        key = (old.namespace, old.name)
        self._objects.pop(key, None)
        self._unindex(key, old.run_uid)
        self._bury(old.uid, max(version, old.resource_version))

    def _bury(self, uid: str, version: int) -> None:
        self._deleted[uid] = version
        if len(self._deleted) > _TOMBSTONES:
            del self._deleted[next(iter(self._deleted))]

    def _unindex(self, key: Key, run_uid: str) -> None:
        objects = self._by_run.get(run_uid, {})
        objects.pop(key, None)
        if not objects:
            self._by_run.pop(run_uid, None)
