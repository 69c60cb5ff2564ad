"""Garbage collection by owner references: background, foreground and orphan propagation.

After k8s.io/kubernetes' pkg/controller/garbagecollector. An object whose owners are all gone is deleted. An owner under foreground deletion
waits until the dependents that block it are gone; one under orphan deletion first has itself struck from its dependents' references. Events
older than an hour go as well, as the real server's do by their lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, Literal

from backstay.local.apiserver.convert import key_of
from backstay.local.apiserver.deleting import delete, is_finished
from backstay.local.apiserver.meta import FOREGROUND, ORPHAN, parse_timestamp
from backstay.local.apiserver.state import Cluster
from backstay.local.apiserver.store import Change, Key, Stored
from backstay.local.apiserver.targets import DeleteOptions
from backstay.local.apiserver.worker import Worker

_EVENT_TTL: Final = timedelta(hours=1)
_EVENT_SWEEP_SECONDS: Final = 60.0

_OwnerState = Literal["solid", "waiting", "absent"]


class Collector:
    """Deletes what nobody owns any more. `run` for ever; what is to be done is learnt from the store's changes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._dependents: dict[str, set[Key]] = {}
        self._owners: dict[Key, frozenset[str]] = {}
        self._uids: dict[str, Key] = {}
        self._worker: Worker[Key] = Worker("gc", self._process)
        for group, plural in cluster.store.resources():
            for stored in cluster.store.select(group, plural):
                self._learn(stored)
                if stored.key in self._owners or _is_held(stored.object["metadata"]):
                    self._worker.add(stored.key)
        cluster.store.listeners.append(self._on_change)

    async def run(self) -> None:
        """Collect until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._worker.run())
            tasks.create_task(self._expire_events())

    # ── what depends on what ──

    def _on_change(self, change: Change) -> None:
        stored = change.stored
        owners = self._owners.get(stored.key, frozenset())
        if change.type == "DELETED":
            self._forget(stored)
            for uid in owners:
                self._wake_owner(uid)
            self._worker.add_all(self._dependents.get(stored.object["metadata"]["uid"], ()))
            return
        self._learn(stored)
        for uid in owners - self._owners.get(stored.key, frozenset()):
            self._wake_owner(uid)
        metadata = stored.object["metadata"]
        if (metadata.get("ownerReferences") and (change.previous is None or _owners_changed(change))) or _is_held(metadata):
            self._worker.add(stored.key)

    def _learn(self, stored: Stored) -> None:
        metadata = stored.object["metadata"]
        self._uids[metadata["uid"]] = stored.key
        owners = frozenset(owner["uid"] for owner in metadata.get("ownerReferences") or ())
        known = self._owners.get(stored.key, frozenset())
        if owners == known:
            return
        for uid in known - owners:
            self._dependents[uid].discard(stored.key)
        for uid in owners:
            self._dependents.setdefault(uid, set()).add(stored.key)
        self._owners[stored.key] = owners

    def _forget(self, stored: Stored) -> None:
        self._uids.pop(stored.object["metadata"]["uid"], None)
        for uid in self._owners.pop(stored.key, frozenset()):
            self._dependents[uid].discard(stored.key)
            if not self._dependents[uid]:
                del self._dependents[uid]

    def _wake_owner(self, uid: str) -> None:
        key = self._uids.get(uid)
        if key is not None:
            self._worker.add(key)

    def _dependents_of(self, stored: Stored) -> list[Stored]:
        keys = sorted(self._dependents.get(stored.object["metadata"]["uid"], ()))
        return [found for key in keys if (found := self._cluster.store.get(key)) is not None]

    # ── what follows ──

    def _process(self, key: Key) -> None:
        stored = self._cluster.store.get(key)
        if stored is None:
            return
        metadata = stored.object["metadata"]
        if "deletionTimestamp" not in metadata:
            if metadata.get("ownerReferences"):
                self._check_owners(stored)
            return
        if ORPHAN in (metadata.get("finalizers") or ()):
            self._orphan(stored)
        elif FOREGROUND in (metadata.get("finalizers") or ()):
            self._delete_dependents(stored)

    def _orphan(self, owner: Stored) -> None:
        uid = owner.object["metadata"]["uid"]
        for dependent in self._dependents_of(owner):
            self._rewrite_owners(dependent, [each for each in dependent.object["metadata"]["ownerReferences"] if each["uid"] != uid])
        self._drop_finalizer(owner, ORPHAN)

    def _delete_dependents(self, owner: Stored) -> None:
        uid = owner.object["metadata"]["uid"]
        blocking = [each for each in self._dependents_of(owner) if _blocks(each, uid)]
        for dependent in blocking:
            if "deletionTimestamp" not in dependent.object["metadata"]:
                self._check_owners(dependent)
        if not any(_blocks(each, uid) for each in self._dependents_of(owner)):
            self._drop_finalizer(owner, FOREGROUND)

    def _check_owners(self, stored: Stored) -> None:
        states = [(owner, self._state_of(stored, owner)) for owner in stored.object["metadata"]["ownerReferences"]]
        solid = [owner for owner, state in states if state == "solid"]
        if solid:
            if len(solid) < len(states):
                self._rewrite_owners(stored, solid)
            return
        waiting = any(state == "waiting" for _, state in states)
        dependents = self._dependents_of(stored)
        if waiting and dependents:
            if any(FOREGROUND in (each.object["metadata"].get("finalizers") or ()) for each in dependents):
                self._unblock(stored)
            self._delete(stored, "Foreground")
        else:
            self._delete(stored, _propagation_of(stored))

    def _state_of(self, stored: Stored, owner: Mapping[str, Any]) -> _OwnerState:
        resource = self._cluster.registry.by_kind(owner["apiVersion"].rpartition("/")[0], owner["kind"])
        if resource is None or (resource.namespaced and not stored.key.namespace):
            return "solid"  # a kind that is not served, or an impossible owner: the real collector leaves such objects alone
        live = self._cluster.store.get(key_of(resource, stored.key.namespace if resource.namespaced else "", owner["name"]))
        if live is None or live.object["metadata"]["uid"] != owner["uid"]:
            return "absent"
        metadata = live.object["metadata"]
        return "waiting" if "deletionTimestamp" in metadata and FOREGROUND in (metadata.get("finalizers") or ()) else "solid"

    # ── deeds ──

    def _delete(self, stored: Stored, propagation: str) -> None:
        resource = self._cluster.resource_of(stored.key.group, stored.key.plural)
        if resource is not None:
            delete(self._cluster, resource, stored, DeleteOptions(propagation=propagation, uid=stored.object["metadata"]["uid"]))

    def _rewrite_owners(self, stored: Stored, owners: list[dict[str, Any]]) -> None:
        resource = self._cluster.resource_of(stored.key.group, stored.key.plural)
        if resource is not None:
            obj = self._cluster.served(resource, stored)
            _replace(obj["metadata"], "ownerReferences", owners)
            self._cluster.save(resource, obj)

    def _unblock(self, stored: Stored) -> None:
        owners = [{**owner, "blockOwnerDeletion": False} for owner in stored.object["metadata"]["ownerReferences"]]
        self._rewrite_owners(stored, owners)

    def _drop_finalizer(self, stored: Stored, finalizer: str) -> None:
        resource = self._cluster.resource_of(stored.key.group, stored.key.plural)
        current = self._cluster.store.get(stored.key)
        if resource is None or current is None:
            return
        obj = self._cluster.served(resource, current)
        _replace(obj["metadata"], "finalizers", [each for each in obj["metadata"].get("finalizers") or () if each != finalizer])
        if is_finished(resource, obj, current.object):
            self._cluster.remove(current)
        else:
            self._cluster.save(resource, obj)

    async def _expire_events(self) -> None:
        while True:
            await asyncio.sleep(_EVENT_SWEEP_SECONDS)
            expire_events(self._cluster)


def expire_events(cluster: Cluster) -> None:
    """Remove the events that were last seen more than an hour ago."""
    limit = (cluster.clock() - _EVENT_TTL).timestamp()
    for stored in cluster.store.select("", "events"):
        if _written_at(stored.object) < limit:
            cluster.remove(stored)


def _written_at(event: Mapping[str, Any]) -> float:
    made = parse_timestamp(event["metadata"]["creationTimestamp"]).timestamp()
    seen = event.get("lastTimestamp") or event.get("eventTime")
    try:
        return max(made, parse_timestamp(seen).timestamp()) if seen else made
    except ValueError:
        return made


def _replace(metadata: dict[str, Any], name: str, values: list[Any]) -> None:
    if values:
        metadata[name] = values
    else:
        metadata.pop(name, None)


def _is_held(metadata: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in metadata and any(each in (ORPHAN, FOREGROUND) for each in metadata.get("finalizers") or ())


def _owners_changed(change: Change) -> bool:
    previous = change.previous.object["metadata"] if change.previous else {}
    return bool(previous.get("ownerReferences") != change.stored.object["metadata"].get("ownerReferences"))


def _blocks(dependent: Stored, uid: str) -> bool:
    owners: Iterable[Mapping[str, Any]] = dependent.object["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)


def _propagation_of(stored: Stored) -> str:
    finalizers = stored.object["metadata"].get("finalizers") or ()
    return "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
