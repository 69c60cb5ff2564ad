"""Manifests for scenarios, in few words."""

from typing import Any, Final

from tests.support.api import Object

_API = "backstay.dev/v1alpha1"
_OF_THE_RUN = ("suspend", "cancel", "parameters", "timeout", "ttl", "jobLabels")


def shell(script: str = "true", **fields: Any) -> Object:
    """A job that runs a script."""
    return {"image": "busybox:1.36", "command": ["sh", "-c", script], **fields}


def step(name: str = "a", **fields: Any) -> Object:
    """A step; its action and modifiers are `fields`."""
    return {"name": name, **fields}


def steps(*items: Object, **fields: Any) -> Object:
    """The spec of a workflow."""
    return {"steps": list(items), **fields}


def workflow_of(spec: Any, name: str = "bad") -> Object:
    """A Workflow."""
    return {"apiVersion": _API, "kind": "Workflow", "metadata": {"name": name}, "spec": spec}


def run_with(spec: Any, name: str = "bad") -> Object:
    """A WorkflowRun."""
    return {"apiVersion": _API, "kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec}


def run_by_name(name: str, workflow: str, **reference: Any) -> Object:
    """A run of a Workflow that is there by itself."""
    return run_with({"workflow": {"name": workflow, **reference}}, name)


def run_of(name: str, *items: Object, **fields: Any) -> Object:
    """A run with its definition in place. What is a field of a run goes there, all else into the definition; `declared` are its parameters."""
    own = {key: fields.pop(key) for key in _OF_THE_RUN if key in fields}
    if "declared" in fields:
        fields["parameters"] = fields.pop("declared")
    return run_with({"workflow": {"inline": steps(*items, **fields)}, **own}, name)


ONE: Final = step(set={"x": 1})
"""The least that a workflow can do."""
TEXT: Final = {"name": "orderId", "schema": {"type": "string"}}
"""A parameter."""
