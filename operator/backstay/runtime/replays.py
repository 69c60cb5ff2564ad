"""The run that is started from a DeadLetter whose own run has ended: the same workflow, the same revision, the letter's parameters."""

from collections.abc import Mapping
from typing import Any

from backstay.engine.policies.editing import merged
from backstay.errors import BackstayError
from backstay.executors import dead_letter
from backstay.kube import resources
from backstay.kube.client import Client, Object
from backstay.names import LABEL_WORKFLOW, label_value


class Refused(BackstayError):
    """No run can be started from a letter; the words say why, and what to do."""


async def run_of(client: Client, letter: Object, old: Mapping[str, Any] | None) -> Object:
    """Return the run to start from a letter. `old` is its own run, where that is still there. Raises Refused, and what the API server says."""
    spec = letter["spec"]
    return dead_letter.replay(letter, await _workflow(client, letter, old), _parameters(spec, old))


async def _workflow(client: Client, letter: Object, old: Mapping[str, Any] | None) -> Mapping[str, Any]:
    spec = letter["spec"]
    name, namespace, number = (
        (spec.get("workflow") or {}).get("name"),
        letter["metadata"]["namespace"],
        (spec.get("revision") or {}).get("number"),
    )
    if not name:
        inline = (((old or {}).get("spec") or {}).get("workflow") or {}).get("inline")
        if inline is None:
            raise Refused(f"run {spec['run']['name']} is gone, and its definition stood in it alone; start a run by hand, or discard this")
        return {"inline": inline}
    page = await client.list(resources.WORKFLOWS, namespace, field_selector=f"metadata.name={name}")
    if not any(item["metadata"]["name"] == name for item in page.items):
        raise Refused(f"there is no Workflow {name} in namespace {namespace} any more; apply it, and replay this again")
    revisions = await client.list(resources.CONTROLLER_REVISIONS, namespace, label_selector=f"{LABEL_WORKFLOW}={label_value(name)}")
    known = sorted(int(item.get("revision") or 0) for item in revisions.items)
    if number not in known:
        there = ", ".join(map(str, known)) or "none"
        raise Refused(
            f"revision {number} of Workflow {name} is gone; there are: {there}; start a run of one of these by hand, or discard this"
        )
    return {**spec["workflow"], "revision": number}


def _parameters(spec: Mapping[str, Any], old: Mapping[str, Any] | None) -> Mapping[str, Any]:
    given = spec.get("parameters")
    if given is None:
        if old is None:
            words = "its parameters took too much to be kept in the letter, and its run is gone; start a run by hand, or discard this"
            raise Refused(words)
        given = (old.get("spec") or {}).get("parameters") or {}
    edit = (spec.get("resolution") or {}).get("parameters")
    changed: Mapping[str, Any] = given if edit is None else merged(given, edit)
    return changed
