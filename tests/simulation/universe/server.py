"""A modelled API server: objects, versions, preconditions, selectors, finalizers, subresources and watches, as Kubernetes documents them.

Everything is kept as JSON text, as etcd does: who reads gets a copy, and a copy costs little. What it tells is held against real servers by
the scenario suite; what it does not model (admission, schemas, managed fields) is no part of what the simulation is to find.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

Object = dict[str, Any]
Key = tuple[str, str]
Selected = Callable[[Object], bool]
FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
KUBELET: Final = "model/kubelet"
"""What stands here for the time of grace of a pod that runs."""
SUBRESOURCED: Final = frozenset(
    {"workflowruns", "workflows", "semaphores", "circuitbreakers", "deadletters", "jobs", "pods", "workflowmigrations", "namespaces"}
)
KINDS: Final = {
    "workflowruns": "WorkflowRun",
    "workflows": "Workflow",
    "workflowjournals": "WorkflowJournal",
    "jobs": "Job",
    "pods": "Pod",
    "semaphores": "Semaphore",
    "circuitbreakers": "CircuitBreaker",
    "deadletters": "DeadLetter",
    "events": "Event",
    "controllerrevisions": "ControllerRevision",
    "leases": "Lease",
    "configmaps": "ConfigMap",
    "namespaces": "Namespace",
    "persistentvolumeclaims": "PersistentVolumeClaim",
}


class Refused(Exception):
    """A request is answered with an error; what is raised is turned into a metav1.Status."""

    def __init__(self, status: int, reason: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message, self.retry_after = status, reason, message, retry_after

    def body(self) -> bytes:
        """Return the answer's body."""
        return orjson.dumps({"kind": "Status", "status": "Failure", "code": self.status, "reason": self.reason, "message": self.message})


@dataclass(slots=True)
class Change:
    """One change of one object: what a watch tells of it, and the object as it was before."""

    version: int
    new: Object
    old: Object | None
    raw: bytes
    is_gone: bool = False


@dataclass(slots=True)
class Kind:
    """All objects of one kind, and what has happened to them."""

    objects: dict[Key, Object] = field(default_factory=dict)
    raw: dict[Key, bytes] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    forgotten: int = 0
    """Versions up to this one cannot be watched from any more."""


class Server:
    """One API server. `changed(plural, new, old)` is told of every change, once it is a fact; `old` is None for what is new, `new` for what is gone."""

    def __init__(self, clock: Callable[[], str]) -> None:
        self.clock = clock
        """What time the server has, in RFC 3339."""
        self.version = 0
        self.kinds: defaultdict[str, Kind] = defaultdict(Kind)
        self.listeners: list[Callable[[str, Object | None, Object | None], None]] = []
        self.watchers: list[tuple[str, Callable[[Change], None]]] = []

    # ------------------------------------------------------------------------------------------------------------- reads

    def find(self, plural: str, namespace: str, name: str) -> Object | None:
        """Return an object, not to be changed; None where there is none."""
        return self.kinds[plural].objects.get((namespace, name))

    def all(self, plural: str) -> list[Object]:
        """Return all objects of a kind, those first that were made first; not to be changed."""
        return list(self.kinds[plural].objects.values())

    def read(self, plural: str, namespace: str, name: str) -> bytes:
        """Return an object as it is sent."""
        raw = self.kinds[plural].raw.get((namespace, name))
        if raw is None:
            raise Refused(404, "NotFound", f'{plural} "{name}" not found')
        return raw

    def listed(self, plural: str, namespace: str, selected: Selected) -> bytes:
        """Return a whole list as it is sent."""
        kind = self.kinds[plural]
        items = [kind.raw[key] for key, one in kind.objects.items() if namespace in ("", key[0]) and selected(one)]
        return b'{"kind":"List","metadata":{"resourceVersion":"%d"},"items":[%s]}' % (self.version, b",".join(items))

    def since(self, plural: str, version: int) -> list[Change]:
        """Return the changes after a version. Raises Refused where it is too old."""
        kind = self.kinds[plural]
        if version < kind.forgotten:
            raise Refused(410, "Expired", f"too old resource version: {version} ({kind.forgotten})")
        return [change for change in kind.changes if change.version > version]

    def forget_history(self, plural: str) -> None:
        """Compact: who watches from before now must list anew."""
        kind = self.kinds[plural]
        kind.forgotten = self.version
        kind.changes.clear()

    # ------------------------------------------------------------------------------------------------------------ writes

    def create(self, plural: str, namespace: str, made: Object) -> bytes:
        """Make an object."""
        meta = made["metadata"]
        if "name" not in meta and "generateName" in meta:
            meta["name"] = f"{meta['generateName']}{self.version + 1}"
        if (namespace, meta["name"]) in self.kinds[plural].objects:
            raise Refused(409, "AlreadyExists", f'{plural} "{meta["name"]}" already exists')
        made["metadata"] = {
            **meta,
            "namespace": namespace,
            "uid": f"{plural[:3]}-{self.version + 1:06}",
            "generation": 1,
            "creationTimestamp": self.clock(),
        }
        if plural in SUBRESOURCED:
            made.pop("status", None)
        made.setdefault("kind", KINDS.get(plural, plural))
        return self._store(plural, made, None)

    def patch(self, plural: str, namespace: str, name: str, body: Any, kind: str, subresource: str = "") -> bytes:
        """Change an object; where nothing is changed nothing happens, and its version stays."""
        old = self.find(plural, namespace, name)
        if old is None and kind == "apply" and not subresource:
            return self.create(plural, namespace, body)
        new = orjson.loads(self.read(plural, namespace, name))
        assert old is not None
        new = json_patched(new, body) if kind == "json" else merged(new, body)
        for key in ("resourceVersion", "uid"):
            if new["metadata"].get(key, old["metadata"][key]) != old["metadata"][key]:
                raise Refused(409, "Conflict", f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified')
        if subresource == "status":
            new = {**old, "status": new.get("status")}
        elif plural in SUBRESOURCED:
            new = {**new, "status": old["status"]} if "status" in old else {key: value for key, value in new.items() if key != "status"}
        return self._update(plural, new, old)

    def update(self, plural: str, new: Object) -> bytes:
        """Write an object as whoever may write everything of it: a controller, a person."""
        old = self.find(plural, new["metadata"]["namespace"], new["metadata"]["name"])
        assert old is not None
        return self._update(plural, new, old)

    def _update(self, plural: str, new: Object, old: Object) -> bytes:
        key = old["metadata"]["namespace"], old["metadata"]["name"]
        if new == old:
            return self.kinds[plural].raw[key]
        if new.get("spec") != old.get("spec"):
            new = {**new, "metadata": {**new["metadata"], "generation": old["metadata"]["generation"] + 1}}
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self._remove(plural, new)
            return orjson.dumps(new)
        return self._store(plural, new, old)

    def delete(self, plural: str, namespace: str, name: str, *, uid: str = "", version: str = "", propagation: str = "Background") -> None:
        """Delete an object, or mark it as being deleted where finalizers hold it. What it owns is the garbage collector's affair."""
        old = self.find(plural, namespace, name)
        if old is None:
            raise Refused(404, "NotFound", f'{plural} "{name}" not found')
        meta = old["metadata"]
        if (uid and meta["uid"] != uid) or (version and meta["resourceVersion"] != version):
            raise Refused(409, "Conflict", f"Precondition failed: UID in precondition: {uid}, UID in object meta: {meta['uid']}")
        holds = [held for held in meta.get("finalizers") or () if held not in (FOREGROUND, ORPHAN)]
        own = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN]}.get(propagation, [])
        if plural == "pods" and (old.get("status") or {}).get("phase") in ("Pending", "Running", None):
            own = [KUBELET]
        if not holds and not own:
            self._remove(plural, old)
            return
        if meta.get("deletionTimestamp"):
            holds = list(meta.get("finalizers") or ())
            own = []
        moment = meta.get("deletionTimestamp") or self.clock()
        marks = {"deletionTimestamp": moment, "deletionGracePeriodSeconds": 0, "generation": meta["generation"] + 1}
        new = {**old, "metadata": {**meta, **marks, "finalizers": [*holds, *own]}}
        if new["metadata"]["finalizers"] != meta.get("finalizers") or not meta.get("deletionTimestamp"):
            self._store(plural, new, old)

    def vanish(self, plural: str, one: Object) -> None:
        """An object goes whatever holds it: its kubelet says that it is over, or somebody has forced it."""
        if self.find(plural, one["metadata"]["namespace"], one["metadata"]["name"]) is not None:
            self._remove(plural, one)

    # ----------------------------------------------------------------------------------------------------------- storage

    def _store(self, plural: str, new: Object, old: Object | None) -> bytes:
        self.version += 1
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self.version)}}
        raw = orjson.dumps(new)
        new = orjson.loads(raw)
        kind, key = self.kinds[plural], (new["metadata"]["namespace"], new["metadata"]["name"])
        kind.objects[key], kind.raw[key] = new, raw
        self._tell(plural, Change(self.version, new, old, raw))
        return raw

    def _remove(self, plural: str, old: Object) -> None:
        self.version += 1
        kind, key = self.kinds[plural], (old["metadata"]["namespace"], old["metadata"]["name"])
        before = kind.objects.pop(key)
        del kind.raw[key]
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
        self._tell(plural, Change(self.version, last, before, orjson.dumps(last), is_gone=True))

    def _tell(self, plural: str, change: Change) -> None:
        self.kinds[plural].changes.append(change)
        for listener in self.listeners:
            listener(plural, None if change.is_gone else change.new, change.old)
        for wanted, watcher in tuple(self.watchers):
            if wanted == plural:
                watcher(change)


# ---------------------------------------------------------------------------------------------------------------- selectors


def everything(_: Object) -> bool:
    """Select all."""
    return True


def selector(labels: str, fields: str) -> Selected:
    """Return what a label selector and a field selector choose, in the forms that are used."""
    wanted = [_label(part) for part in labels.split(",") if part]
    chosen = [_field(part) for part in fields.split(",") if part]
    if not wanted and not chosen:
        return everything
    return lambda one: all(found(one) for found in (*wanted, *chosen))


def _label(part: str) -> Selected:
    name, equals, value = part.partition("=")
    if equals:
        return lambda one: (one["metadata"].get("labels") or {}).get(name) == value.lstrip("=")
    return lambda one: name in (one["metadata"].get("labels") or {})


def _field(part: str) -> Selected:
    found = re.fullmatch(r"([^!=]+)(!=|==?)(.*)", part)
    assert found is not None, part
    path, operator, wanted = found.groups()
    names = path.split(".")

    def matches(one: Object) -> bool:
        value: Any = one
        for name in names:
            value = (value or {}).get(name)
        return (str(value or "") == wanted) == (operator != "!=")

    return matches


# ------------------------------------------------------------------------------------------------------------------ patches


def merged(old: Any, patch: Any) -> Any:
    """Return what a JSON Merge Patch (RFC 7396) makes of an object, which it may use up."""
    if not isinstance(patch, dict):
        return patch
    new = old if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merged(new.get(key), value)
    return new


def json_patched(old: Object, patch: list[Object]) -> Object:
    """Return what a JSON Patch (RFC 6902) makes of an object, which it uses up. Raises Refused (422) where it does not fit."""
    for step in patch:
        try:
            _apply(old, step)
        except (KeyError, IndexError, ValueError, TypeError):
            raise Refused(422, "Invalid", f"the server rejected our request due to an error in our request: {step['path']}") from None
    return old


def _apply(document: Any, step: Object) -> None:
    *way, last = (part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:])
    for part in way:
        document = document[int(part)] if isinstance(document, list) else document[part]
    if isinstance(document, list):
        _apply_to_list(document, last, step)
        return
    match step["op"]:
        case "add":
            document[last] = step["value"]
        case "replace":
            if last not in document:
                raise KeyError(last)
            document[last] = step["value"]
        case "remove":
            del document[last]
        case "test":
            if document[last] != step["value"]:
                raise ValueError(last)


def _apply_to_list(items: list[Any], last: str, step: Object) -> None:
    match step["op"]:
        case "add":
            items.insert(len(items) if last == "-" else _index(last, len(items) + 1), step["value"])
        case "replace":
            items[_index(last, len(items))] = step["value"]
        case "remove":
            del items[_index(last, len(items))]
        case "test":
            if items[_index(last, len(items))] != step["value"]:
                raise ValueError(last)


def _index(text: str, end: int) -> int:
    found = int(text)
    if not 0 <= found < end:
        raise IndexError(text)
    return found


def owners_of(one: Object) -> Iterator[Object]:
    """Yield the owners that an object names."""
    yield from one["metadata"].get("ownerReferences") or ()
