"""What must be there before the operator begins: a cluster, our kinds, and the rights. Found out in a second instead of in a stack trace."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from backstay.cli.failures import INSTALL, CommandFailed, Exit
from backstay.errors import ApiError, NotFound
from backstay.kube.resources import Resource
from backstay.names import API_VERSION, GROUP, RUNS, WORKFLOWS

if TYPE_CHECKING:
    from backstay.kube.client import Client

log = logging.getLogger(__name__)

OLDEST: Final = (1, 32)
"""Selectable fields of custom resources are stable since this version of Kubernetes."""
_PATIENCE_SECONDS: Final = 5.0
"""Custom resources that were just applied take a moment until they are served."""
_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)
_READ: Final = ("list", "watch")

NEEDED: Final[tuple[tuple[str, str, str, tuple[str, ...]], ...]] = (
    (GROUP, WORKFLOWS, "", ("get", *_READ, "patch")),
    (GROUP, WORKFLOWS, "status", ("patch",)),
    (GROUP, RUNS, "", ("get", *_READ, "patch", "delete")),
    (GROUP, RUNS, "status", ("patch",)),
    ("batch", "jobs", "", ("get", *_READ, "create", "delete")),
    ("", "pods", "", ("get", *_READ)),
    ("apps", "controllerrevisions", "", ("get", "list", "create", "delete")),
    ("events.k8s.io", "events", "", ("create", "patch")),
)
"""Group, resource, subresource, verbs: what the operator cannot do without. The chart grants them."""


async def check(client: "Client", namespaces: Sequence[str]) -> None:
    """Raise CommandFailed unless the operator can begin here; `namespaces` are those it looks after, empty for all."""
    await _check_version(client)
    await _check_kinds(client)
    await _check_rights(client, namespaces or (None,))


async def _check_version(client: "Client") -> None:
    try:
        found = orjson.loads(await client.text("/version"))
        version = int(found["major"]), int("".join(filter(str.isdigit, found["minor"])))
    except (ApiError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ApiError) and error.status not in (403, 404):
            raise
        return
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        message = f"this cluster runs Kubernetes {version[0]}.{version[1]}, and Backstay needs {wanted} or newer"
        raise CommandFailed(message, "update the cluster, or choose another with --context", Exit.CLUSTER)


async def _check_kinds(client: "Client") -> None:
    deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
    missing = await _missing_kinds(client)
    if missing:
        log.warning("%s not served by this cluster yet; looking again for %.0f s", " and ".join(missing), _PATIENCE_SECONDS)
    while missing and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.5)
        missing = await _missing_kinds(client)
    if missing:
        kinds = " and ".join(f"{plural}.{GROUP}" for plural in missing)
        raise CommandFailed(f"this cluster does not know {kinds}", f"install the custom resources: {INSTALL}", Exit.CLUSTER)


async def _missing_kinds(client: "Client") -> list[str]:
    try:
        found = orjson.loads(await client.text(f"/apis/{API_VERSION}"))
    except NotFound:
        return [WORKFLOWS, RUNS]
    served = {item["name"] for item in found.get("resources") or ()}
    return [plural for plural in (WORKFLOWS, RUNS) if plural not in served]


async def _check_rights(client: "Client", namespaces: Sequence[str | None]) -> None:
    asked = [
        (namespace, group, resource, subresource, verb)
        for namespace in namespaces
        for group, resource, subresource, verbs in NEEDED
        for verb in verbs
    ]
    answers = await asyncio.gather(*(_may(client, *item) for item in asked))
    refused = [item for item, may in zip(asked, answers, strict=True) if not may]
    if refused:
        words = "; ".join(_rights(refused))
        mend = "grant them as the chart does (charts/backstay, rbac.create), or name the namespaces you may look after with -n"
        raise CommandFailed(f"the rights do not suffice, missing are: {words}", mend, Exit.CLUSTER)


async def _may(client: "Client", namespace: str | None, group: str, resource: str, subresource: str, verb: str) -> bool:
    """Ask the API server whether we may; one that cannot say counts as a yes, and the first request will tell."""
    attributes: dict[str, Any] = {"group": group, "resource": resource, "verb": verb}
    attributes |= {"subresource": subresource} if subresource else {}
    attributes |= {"namespace": namespace} if namespace else {}
    review = {"apiVersion": _REVIEWS.api_version, "kind": _REVIEWS.kind, "spec": {"resourceAttributes": attributes}}
    try:
        answer = await client.create(_REVIEWS, None, review)
    except ApiError as error:
        if error.status in (403, 404, 405):
            return True
        raise
    return bool((answer.get("status") or {}).get("allowed"))


def _rights(refused: Sequence[tuple[str | None, str, str, str, str]]) -> Iterator[str]:
    """Write rights as people read them: `get, list jobs.batch in shop`."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for namespace, group, resource, subresource, verb in refused:
        what = f"{resource}{f'.{group}' if group else ''}{f'/{subresource}' if subresource else ''}"
        verbs.setdefault((what, f"in {namespace}" if namespace else "in all namespaces"), []).append(verb)
    return (f"{', '.join(found)} {what} {where}" for (what, where), found in verbs.items())
