"""Journals to be audited: a run's entries in WorkflowJournals and a status, divided as a test wants, as plain JSON that can be changed by hand."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from backstay.engine.audit import Audit, Subject, audit, volume
from backstay.engine.codec import entry_to_json
from backstay.kube.journals import manifest
from backstay.kube.manifests import RunRef
from tests.support.world import World

Object = dict[str, Any]


@dataclass
class Held:
    """What the API server holds of one run. Everything in it may be changed before it is audited."""

    name: str
    uid: str
    status: Object
    volumes: list[Object] = field(default_factory=list)
    """WorkflowJournals."""

    @classmethod
    def of(cls, world: World, cuts: Iterable[int] = ()) -> "Held":
        """Divide a world's journal: the entries up to each of these numbers stand in a WorkflowJournal of their own, the others in the status.

        Without cuts the status keeps what it has, and the rest stands in one.
        """
        name, uid = world.identity.name, world.identity.uid
        entries = copy.deepcopy([entry_to_json(entry) for entry in world.entries])
        status = copy.deepcopy(world.status)
        kept = (status.get("journal") or {}).get("archived", 0)
        ends = sorted({cut for cut in cuts if kept <= cut < len(entries)} | ({kept} if kept else set()))
        begins = [0, *ends]
        volumes = [manifest(RunRef(uid, name, "shop"), entries[begin:end]) for begin, end in zip(begins, ends, strict=False) if begin < end]
        if ends and ends[-1]:
            status["journal"] = {"head": status["journal"]["head"], "archived": ends[-1], "entries": entries[ends[-1] :]}
        return cls(name, uid, status, volumes)

    @property
    def places(self) -> list[list[Object]]:
        """The lists of entries, oldest first: those of the WorkflowJournals, then that of the status."""
        return [*(one["spec"]["entries"] for one in self.volumes), self.status.get("journal", {}).get("entries", [])]

    def where(self, place: int) -> str:
        """How an audit calls the place with an index."""
        return f"WorkflowJournal {self.volumes[place]['metadata']['name']}" if place < len(self.volumes) else "the status"

    def copy(self) -> "Held":
        return copy.deepcopy(self)

    def audit(self) -> Audit:
        return audit(Subject(self.name, self.uid), self.status, [volume(one["metadata"]["name"], one["spec"]) for one in self.volumes])


def told(found: Audit) -> list[tuple[str, int | None, str]]:
    """What was found in three words each: kind, number of the entry, and where it stands."""
    return [(str(one.kind), one.sequence, one.where) for one in found.findings]


def leaves(value: Any, path: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of everything in a JSON value that has nothing in it."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [tuple(path)]


def put(value: Any, path: Sequence[Any], new: Any) -> None:
    """Change one leaf of a JSON value."""
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def at(value: Any, path: Sequence[Any]) -> Any:
    """Return what stands at a path in a JSON value."""
    for key in path:
        value = value[key]
    return value
