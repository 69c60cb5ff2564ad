"""Runs for the views: a World's status in the manifest that the API server would show."""

from datetime import timedelta
from typing import Any

from backstay.cli.views.seen import Run, read_run
from backstay.cli.views.text import Line
from backstay.engine.codec import time_to_json
from tests.support.world import START, World

UID = "6f1c1c0e-1111-4222-8333-444455556666"


def manifest_of(world: World, *, suspend: bool = False, **metadata: Any) -> dict[str, Any]:
    """Return the WorkflowRun of a world."""
    wish = world.wish
    spec: dict[str, Any] = {"workflow": {"name": "order"}, "suspend": suspend or wish.suspend}
    if wish.cancel:
        spec["cancel"] = {"reason": wish.cancel_reason, "compensate": wish.cancel_compensates}
    meta = {"name": "order-7f2", "namespace": "shop", "uid": UID, "creationTimestamp": time_to_json(START)[:19] + "Z", **metadata}
    if wish.delete:
        meta["deletionTimestamp"] = time_to_json(world.now)
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "WorkflowRun", "metadata": meta, "spec": spec, "status": world.status}


def run_of(world: World, *, with_program: bool = True, **options: Any) -> Run:
    """Return a world's run as the command line reads it."""
    return read_run(manifest_of(world, **options), world.program if with_program else None)


def texts(lines: list[Line]) -> list[str]:
    """Return lines without their styles."""
    return [line.text for line in lines]


def soon(world: World, seconds: float = 0) -> Any:
    """Return the time of a world, and some seconds."""
    return world.now + timedelta(seconds=seconds)
