"""WorkflowJournal objects as manifests: written from entries, and read back with nothing taken on trust."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay import names
from backstay.engine import codec, journal
from backstay.engine.model import Entry, Json
from backstay.errors import ArchiveIncomplete, TamperedState
from backstay.kube.manifests import RunRef

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a run's entries without gaps, oldest first, as one WorkflowJournal holds them."""

    name: str
    run_uid: str
    entries: tuple[Entry, ...]

    @property
    def first(self) -> int:
        """Number of its first entry."""
        return self.entries[0].sequence

    @property
    def last(self) -> int:
        """Number of its last entry."""
        return self.entries[-1].sequence


def manifest(run: RunRef, entries: Sequence[Mapping[str, Json]]) -> Object:
    """Return the WorkflowJournal that holds entries of a run, as they stand in its status; at least one."""
    first, last = codec.entry_from_json(entries[0]), codec.entry_from_json(entries[-1])
    labels = {names.LABEL_MANAGED_BY: names.MANAGER, names.LABEL_RUN: run.uid}
    if run.workflow_name:
        labels[names.LABEL_WORKFLOW] = names.label_value(run.workflow_name)
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.JOURNAL,
        "metadata": {
            "name": names.journal_name(run.name, run.uid, first.sequence),
            "namespace": run.namespace,
            "labels": labels,
            # It goes with the run, and nobody has to wait for that: no controller, no blocking of the owner's deletion.
            "ownerReferences": [{"apiVersion": names.API_VERSION, "kind": names.RUN, "name": run.name, "uid": run.uid}],
        },
        "spec": {
            "run": {"name": run.name, "uid": run.uid},
            "first": first.sequence,
            "last": last.sequence,
            "count": len(entries),
            "previous": first.previous,
            "head": journal.hash_of(last),
            "entries": list(entries),
        },
    }


def part_of(found: Mapping[str, Any]) -> Part:
    """Read a WorkflowJournal. Raises ArchiveIncomplete, naming it, where it is not what it says; the chain is checked by whoever folds it."""
    name = str(found["metadata"]["name"])
    try:
        spec = found["spec"]
        entries = tuple(codec.entry_from_json(data) for data in spec["entries"])
        first, last, uid = spec["first"], spec["last"], str(spec["run"]["uid"])
    except (TamperedState, KeyError, TypeError, AttributeError) as error:
        raise ArchiveIncomplete(f"WorkflowJournal {name} cannot be read: {error}") from error
    numbers = [entry.sequence for entry in entries]
    if not numbers or numbers[0] != first or numbers[-1] != last or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ArchiveIncomplete(f"WorkflowJournal {name} says that it holds the entries {first} to {last}, and does not")
    return Part(name, uid, entries)
