"""What is wrong with resource steps beyond their fields: manifests that cannot be made, and what would carry a Secret into a run's status."""

from collections.abc import Iterator, Mapping
from typing import Any

from backstay.api.actions.resource import OBJECT, SECRET_FIELDS, ResourceAction, is_open, is_secret, mistakes
from backstay.api.validate.places import listings
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidExpression, Problem
from backstay.expressions import find_expressions, references

_OUTSIDE: tuple[str, ...] = ("Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
"""Kinds that everybody knows to be in no namespace; of others the API server tells when the step runs."""


def check_resources(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the resource steps of a workflow, and with compensations that are such."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            path = listing.place(index)
            if step.resource is not None:
                yield from _check(step.resource, f"{path}.resource")
            if step.compensate is not None and step.compensate.resource is not None:
                yield from _check(step.compensate.resource, f"{path}.compensate.resource")


def _check(action: ResourceAction, path: str) -> Iterator[Problem]:
    what = action.model_dump(mode="json", by_alias=True, exclude_unset=True)[action.act]
    for place, words in mistakes(action.act, what):
        yield Problem(f"{path}.{action.act}.{place}", words)
    yield from _check_namespace(action, what, path)
    if is_secret(what):
        yield from _check_secret(action, path)


def _check_namespace(action: ResourceAction, what: Mapping[str, Any], path: str) -> Iterator[Problem]:
    metadata = what.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else what.get("namespace")
    if what.get("kind") not in _OUTSIDE:
        if action.own and namespace and not is_open(namespace):
            yield Problem(
                f"{path}.own",
                "a run owns objects of its own namespace only; remove namespace, or set own: false and delete it in a step",
                "warning",
            )
        return
    if namespace:
        where = "metadata.namespace" if isinstance(metadata, Mapping) else "namespace"
        yield Problem(f"{path}.{action.act}.{where}", f"a {what['kind']} is in no namespace; remove it")
    if action.own:
        yield Problem(
            f"{path}.own", f"a {what['kind']} is in no namespace, and a run owns objects of its own namespace only; set own: false"
        )


def _check_secret(action: ResourceAction, path: str) -> Iterator[Problem]:
    """Values of a Secret are never shown: an output of one would always be empty, and is surely a mistake."""
    try:
        found = list(find_expressions(action.outputs or {}))
        chains = [(place, chain) for place, source in found for chain in references(source)]
    except InvalidExpression:
        return  # told with the other expressions
    for place, chain in chains:
        if chain[0] == OBJECT and len(chain) > 1 and chain[1] in SECRET_FIELDS:
            words = f"takes {'.'.join(chain)} of a Secret, whose values are never shown to a workflow; let the job that needs it refer to the Secret"
            yield Problem(f"{path}.outputs.{place}", words)
