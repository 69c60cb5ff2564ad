"""What must be there before the operator begins: a cluster, our kinds, and the rights. Found out in a second instead of in a stack trace."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from backstay.cli.failures import INSTALL, CommandFailed, Exit
from backstay.errors import ApiError, NotFound, TooManyRequests, Unavailable
from backstay.kube.backoff import Backoff
from backstay.kube.resources import Resource
from backstay.names import API_VERSION, BREAKERS, DEAD_LETTERS, GROUP, JOURNALS, RUNS, SEMAPHORES, WORKFLOWS

if TYPE_CHECKING:
    from backstay.kube.client import Client

log = logging.getLogger(__name__)

OLDEST: Final = (1, 32)
"""Selectable fields of custom resources are stable since this version of Kubernetes."""
_PATIENCE_SECONDS: Final = 5.0
"""Custom resources that were just applied take a moment until they are served."""
POD_PATIENCE_SECONDS: Final = 100.0
"""How long it waits in a pod for an API server that does not serve, less than the chart's startup probe gives it. A pod that ends again and
again is kept waiting by Kubernetes for up to five minutes, when the server is long there. A person at a terminal is told at once."""
_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)
_READ: Final = ("list", "watch")

KINDS: Final = (WORKFLOWS, RUNS, JOURNALS, SEMAPHORES, BREAKERS, DEAD_LETTERS)
"""The kinds of ours that the operator watches."""
NEEDED: Final[tuple[tuple[str, str, str, tuple[str, ...]], ...]] = (
    (GROUP, WORKFLOWS, "", _READ),
    (GROUP, WORKFLOWS, "status", ("patch",)),
    (GROUP, RUNS, "", ("get", *_READ, "patch", "delete")),
    (GROUP, RUNS, "status", ("patch",)),
    (GROUP, JOURNALS, "", ("list", "create")),
    (GROUP, SEMAPHORES, "", (*_READ, "create", "patch", "delete")),
    (GROUP, SEMAPHORES, "status", ("patch",)),
    (GROUP, BREAKERS, "", (*_READ, "create")),
    (GROUP, BREAKERS, "status", ("patch",)),
    (GROUP, DEAD_LETTERS, "", ("get", *_READ, "create", "delete")),
    (GROUP, DEAD_LETTERS, "status", ("patch",)),
    ("batch", "jobs", "", ("get", *_READ, "create", "delete")),
    ("", "pods", "", _READ),
    ("apps", "controllerrevisions", "", ("get", "list", "create", "delete")),
    ("events.k8s.io", "events", "", ("list", "create", "patch")),
)
"""Group, resource, subresource, verbs: what the operator cannot do without. The chart grants them."""
LEASES: Final = ("coordination.k8s.io", "leases", "", (*_READ, "create", "patch", "delete"))
"""What it needs besides, in the namespace of its Leases alone."""
WANTED: Final[tuple[tuple[tuple[str, str, str, tuple[str, ...]], str], ...]] = (
    ((GROUP, RUNS, "finalizers", ("update",)), "a cluster that enforces owner references refuses the Jobs of runs"),
    ((GROUP, RUNS, "", ("create",)), "workflow steps wait, since their child runs cannot be made"),
    (("", "persistentvolumeclaims", "", ("get", "create")), "jobs that mount a workspace with a claim are not made"),
    (("", "serviceaccounts", "", ("impersonate",)), "resource steps fail, and HTTP steps that name a Secret"),
)
"""What only some clusters ask for, or some workflows need, and what comes of it where it is missing."""


async def when_it_serves(check: Callable[[], Awaitable[None]], patience_seconds: float) -> None:
    """Do a check; while the API server does not serve, do it again, for as long as the patience lasts."""
    deadline = time.monotonic() + patience_seconds
    backoff = Backoff(first=1.0, most=5.0)
    while True:
        try:
            await check()
            return
        except (Unavailable, TooManyRequests) as error:
            pause = max(backoff.next(), error.retry_after_seconds or 0)
            if time.monotonic() + pause > deadline:
                raise
            log.warning("the API server does not serve yet, trying again in %.0f s: %s", pause, error)
        await asyncio.sleep(pause)


async def check(client: "Client", namespaces: Sequence[str], leases_in: str = "") -> None:
    """Raise CommandFailed unless the operator can begin here; `namespaces` are those it looks after, empty for all. `leases_in` is the namespace of its
    Leases, where it takes any."""
    await _check_version(client)
    await _check_kinds(client)
    await _check_rights(client, namespaces or (None,))
    if leases_in and (words := await _refused(client, (leases_in,), (LEASES,))):
        mend = "grant them as the chart does (charts/backstay, rbac.create), or name another place for its Lease with --lease"
        raise CommandFailed(f"the rights do not suffice, missing are: {words}", mend, Exit.CLUSTER)


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
        return list(KINDS)
    served = {item["name"] for item in found.get("resources") or ()}
    return [plural for plural in KINDS if plural not in served]


async def _check_rights(client: "Client", namespaces: Sequence[str | None]) -> None:
    if words := await _refused(client, namespaces, NEEDED):
        mend = "grant them as the chart does (charts/backstay, rbac.create), or name the namespaces you may look after with -n"
        raise CommandFailed(f"the rights do not suffice, missing are: {words}", mend, Exit.CLUSTER)
    for right, loss in WANTED:
        if words := await _refused(client, namespaces, (right,)):
            log.warning("without the right to %s, %s; the chart grants it", words, loss)


async def _refused(client: "Client", namespaces: Sequence[str | None], wanted: Sequence[tuple[str, str, str, tuple[str, ...]]]) -> str:
    """Return the rights that are missing as people read them; empty where none is."""
    asked = [
        (namespace, group, resource, subresource, verb)
        for namespace in namespaces
        for group, resource, subresource, verbs in wanted
        for verb in verbs
    ]
    answers = await asyncio.gather(*(_may(client, *item) for item in asked))
    return "; ".join(_rights([item for item, may in zip(asked, answers, strict=True) if not may]))


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
