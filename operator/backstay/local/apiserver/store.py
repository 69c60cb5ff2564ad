"""The objects of the embedded cluster and the log of their changes: durable in SQLite, served from memory.

Every write is one SQLite transaction (WAL, `synchronous=NORMAL`) that appends to `changes` and points `objects` at the new row, so each
body is written once. A process that is killed with SIGKILL loses nothing that it had answered; a machine that loses power may lose its last
moments, which is the bargain for writes in tens of microseconds. `resourceVersion` is the number of the change: one rising sequence for all.

The log is bounded. What falls off its end is compacted, and reading from before it raises `Compacted` (HTTP 410 for watches).

Stored objects are shared with every reader and never changed: `Stored.copy()` gives one that may be.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson

from backstay.engine.codec import canonical

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]

_PARSED_CHANGES: Final = 500
"""How far back in the log superseded objects are kept parsed, for watches with selectors; the rest is kept as JSON alone."""

OBJECT_LIMIT_BYTES: Final = 1536 * 1024
"""etcd's --max-request-bytes."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
  version INTEGER PRIMARY KEY, type TEXT NOT NULL, grp TEXT NOT NULL, plural TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  body BLOB NOT NULL, previous INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS objects (
  grp TEXT NOT NULL, plural TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY (grp, plural, namespace, name)
) WITHOUT ROWID;
"""


class Key(NamedTuple):
    """Where an object is: group and plural of its resource, namespace ("" for cluster-scoped ones), name."""

    group: str
    plural: str
    namespace: str
    name: str


class StoreError(Exception):
    """The store cannot do what was asked; the subclasses say why."""


class Compacted(StoreError):
    """The change log no longer reaches back to the version asked for; `oldest` is the first that it can serve from."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")
        self.asked = asked
        self.oldest = oldest


class TooLarge(StoreError):
    """An object is larger than `OBJECT_LIMIT_BYTES`."""


class InUse(StoreError):
    """Another process has the data directory open."""


@dataclass(slots=True, eq=False)
class Stored:
    """One version of an object: its number and its JSON, and as long as it is in use the same parsed. Shared: change only what `copy` returns."""

    key: Key
    version: int
    body: bytes
    parsed: dict[str, Any] | None = None

    @property
    def object(self) -> dict[str, Any]:
        """The object, not to be changed."""
        return self.parsed if self.parsed is not None else self.copy()

    def copy(self) -> dict[str, Any]:
        """Return the object as a fresh dict that the caller may change."""
        fresh: dict[str, Any] = orjson.loads(self.body)
        return fresh


@dataclass(slots=True, eq=False)
class Change:
    """One entry of the log: what happened, the object after it (for DELETED: as it was last), and before it (None for ADDED)."""

    version: int
    type: ChangeType
    stored: Stored
    previous: Stored | None


@dataclass(slots=True)
class _Collection:
    objects: dict[str, dict[str, Stored]] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    waiters: set[asyncio.Event] = field(default_factory=set)


_WHOLE_FLOATS: Final = re.compile(rb"\d\.0[,}\]]|\de[+\d]")
"""Where a body may hold numbers that Go writes otherwise than we do: 3.0 as 3."""


class Store:
    """All objects of one cluster. Not thread-safe: one event loop owns it."""

    def __init__(self, path: Path, *, log_limit: int = 20_000, log_limit_bytes: int = 32 * 1024 * 1024) -> None:
        """Open or make the database file at `path`; the log keeps about `log_limit` changes and `log_limit_bytes` of bodies.

        Raises `InUse` when another process has it open.
        """
        self._log_limit = log_limit
        self._log_limit_bytes = log_limit_bytes
        self._collections: dict[tuple[str, str], _Collection] = {}
        self._log: deque[Change] = deque()
        self._log_bytes = 0
        self._floor = 0
        self._version = 0
        self.listeners: list[Callable[[Change], None]] = []
        self._db = _connect(path)
        self._load()

    def close(self) -> None:
        """Close the database; what was written is safe with or without it."""
        self._db.close()

    # ── reading ──

    @property
    def version(self) -> int:
        """The resourceVersion of the newest change."""
        return self._version

    @property
    def oldest(self) -> int:
        """The oldest version that a watch can start from."""
        return self._floor

    def get(self, key: Key) -> Stored | None:
        """Return the newest version of an object, or None."""
        return self._collection(key.group, key.plural).objects.get(key.namespace, {}).get(key.name)

    def select(self, group: str, plural: str, namespace: str = "") -> list[Stored]:
        """Return the objects of a resource (of one namespace where given), by namespace and name."""
        objects = self._collection(group, plural).objects
        names = [namespace] if namespace else sorted(objects)
        return [objects[each][name] for each in names if each in objects for name in sorted(objects[each])]

    def count(self, group: str, plural: str) -> int:
        """Return how many objects a resource has."""
        return sum(len(names) for names in self._collection(group, plural).objects.values())

    def select_at(self, version: int, group: str, plural: str, namespace: str = "") -> list[Stored]:
        """Return what `select` would have returned at an older version. Raises `Compacted`."""
        if version < self._floor:
            raise Compacted(version, self._floor)
        found = {stored.key: stored for stored in self.select(group, plural, namespace)}
        for change in reversed(self._collection(group, plural).log):
            if change.version <= version:
                break
            if change.previous is not None and namespace in ("", change.stored.key.namespace):
                found[change.stored.key] = change.previous
            else:
                found.pop(change.stored.key, None)
        return [found[key] for key in sorted(found)]

    def resources(self) -> list[tuple[str, str]]:
        """Return group and plural of every resource that has objects."""
        return [key for key, collection in self._collections.items() if any(collection.objects.values())]

    # ── writing ──

    def put(self, key: Key, obj: dict[str, Any]) -> Stored:
        """Write an object, new or not, and return it with its new `metadata.resourceVersion`. The store keeps `obj`. Raises `TooLarge`."""
        previous = self.get(key)
        return self._append("MODIFIED" if previous else "ADDED", key, obj, previous)

    def delete(self, key: Key) -> Stored:
        """Remove an object and return it as it was last, with the version of its deletion. Raises KeyError where there is none."""
        previous = self.get(key)
        if previous is None:
            raise KeyError(key)
        return self._append("DELETED", key, previous.copy(), previous)

    def _append(self, type_: ChangeType, key: Key, obj: dict[str, Any], previous: Stored | None) -> Stored:
        version = self._version + 1
        obj["metadata"]["resourceVersion"] = str(version)
        body = orjson.dumps(obj)
        if _WHOLE_FLOATS.search(body):
            obj = canonical(obj)
            body = orjson.dumps(obj)
        stored = Stored(key, version, body, obj)
        if len(stored.body) > OBJECT_LIMIT_BYTES:
            raise TooLarge(f"{key.plural} {key.namespace}/{key.name} has {len(stored.body)} bytes, the limit is {OBJECT_LIMIT_BYTES}")
        change = Change(version, type_, stored, previous)
        self._write(change)
        self._version = version
        self._remember(change)
        self._compact()
        for waiter in self._collection(key.group, key.plural).waiters:
            waiter.set()
        for listener in self.listeners:
            listener(change)
        return stored

    def _write(self, change: Change) -> None:
        key = change.stored.key
        run = self._db.execute
        run("BEGIN IMMEDIATE")
        try:
            row = (change.version, change.type, *key, change.stored.body, change.previous.version if change.previous else 0)
            run("INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            if change.type == "DELETED":
                run("DELETE FROM objects WHERE grp = ? AND plural = ? AND namespace = ? AND name = ?", key)
            else:
                run("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", (*key, change.version))
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            raise

    def _remember(self, change: Change) -> None:
        key = change.stored.key
        collection = self._collection(key.group, key.plural)
        if change.type == "DELETED":
            names = collection.objects[key.namespace]
            del names[key.name]
            if not names:
                del collection.objects[key.namespace]
        else:
            collection.objects.setdefault(key.namespace, {})[key.name] = change.stored
        self._log_change(change, collection)

    def _log_change(self, change: Change, collection: _Collection) -> None:
        collection.log.append(change)
        self._log.append(change)
        self._log_bytes += len(change.stored.body)
        if len(self._log) > _PARSED_CHANGES:
            old = self._log[-_PARSED_CHANGES]
            if old.previous is not None:
                old.previous.parsed = None

    # ── the log ──

    def since(self, version: int, group: str, plural: str) -> list[Change]:
        """Return the changes of a resource after `version`, oldest first. Raises `Compacted` when some of them are gone."""
        if version < self._floor:
            raise Compacted(version, self._floor)
        log = self._collection(group, plural).log
        return log[bisect_right(log, version, key=lambda change: change.version) :]

    def watch(self, *collections: tuple[str, str]) -> Watcher:
        """Return something that wakes when any of the resources (group, plural) changes; close it when done."""
        return Watcher([self._collection(group, plural).waiters for group, plural in collections])

    def compact(self, version: int) -> None:
        """Forget the changes up to and including `version` (as etcd's compaction every few minutes does)."""
        forgotten: dict[tuple[str, str], int] = {}
        rows: list[tuple[int]] = []
        while self._log and self._log[0].version <= version:
            change = self._log.popleft()
            self._floor = change.version
            self._log_bytes -= len(change.stored.body)
            key = (change.stored.key.group, change.stored.key.plural)
            forgotten[key] = forgotten.get(key, 0) + 1
            rows += [(change.previous.version,)] if change.previous else []
            rows += [(change.version,)] if change.type == "DELETED" else []
        for key, count in forgotten.items():
            del self._collections[key].log[:count]
        if forgotten:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM changes WHERE version = ?", rows)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('floor', ?)", (self._floor,))
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", (self._version,))
            self._db.execute("COMMIT")

    def _compact(self) -> None:
        """Keep the log within its limits, a batch at a time so that no single write pays for much."""
        if len(self._log) > self._log_limit or self._log_bytes > self._log_limit_bytes:
            batch = min(max(len(self._log) // 16, 1), 512)
            self.compact(self._log[batch - 1].version)

    def _collection(self, group: str, plural: str) -> _Collection:
        found = self._collections.get((group, plural))
        if found is None:
            found = self._collections[(group, plural)] = _Collection()
        return found

    # ── starting ──

    def _load(self) -> None:
        meta = dict(self._db.execute("SELECT name, value FROM meta"))
        self._floor, self._version = meta.get("floor", 0), meta.get("version", 0)
        versions: dict[int, Stored] = {}
        for change in self._read_changes(versions):
            self._version = max(self._version, change.version)
            if change.version > self._floor:
                self._log_change(change, self._collection(change.stored.key.group, change.stored.key.plural))
        for *key, version in self._db.execute("SELECT grp, plural, namespace, name, version FROM objects"):
            place = Key(*key)
            stored = versions[version]
            stored.parsed = stored.copy()
            self._collection(place.group, place.plural).objects.setdefault(place.namespace, {})[place.name] = stored

    def _read_changes(self, versions: dict[int, Stored]) -> Iterator[Change]:
        rows = self._db.execute("SELECT version, type, grp, plural, namespace, name, body, previous FROM changes ORDER BY version")
        for version, type_, group, plural, namespace, name, body, previous in rows:
            stored = versions[version] = Stored(Key(group, plural, namespace, name), version, body)
            yield Change(version, type_, stored, versions.get(previous))


class Watcher:
    """Wakes its owner when a resource changes; between two waits any number of changes is one wake-up."""

    def __init__(self, waiters: Sequence[set[asyncio.Event]]) -> None:
        self._waiters = waiters
        self._event = asyncio.Event()
        for each in waiters:
            each.add(self._event)

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for a change since the last call, at most so long; tell whether there was one."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def wake(self) -> None:
        """Wake the owner though nothing changed."""
        self._event.set()

    def close(self) -> None:
        """Stop listening."""
        for each in self._waiters:
            each.discard(self._event)


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # it holds Secrets; SQLite gives the log beside it the same mode
    db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        db.executescript(_SCHEMA)
    except sqlite3.OperationalError as error:
        db.close()
        if "locked" in str(error):
            raise InUse(f"{path} is in use by another process; stop that one, or choose another data directory") from error
        raise
    return db
