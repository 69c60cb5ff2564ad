"""What Backstay asks of an API server, a method a verb; failures are the errors of `errors.py`.

async with Client.from_kubeconfig() as client:
    run = await client.get(RUNS, "shop", "order-7f2")
"""

import copy
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal, Self

import orjson

from backstay import __version__, errors, names
from backstay.kube import answers
from backstay.kube.limiter import Limiter
from backstay.kube.login import Access, Login, find_login
from backstay.kube.resources import SERVICE_ACCOUNTS, Resource
from backstay.kube.transport import CallHook, Impersonation, Request, Transport

Object = dict[str, Any]
PatchKind = Literal["merge", "json", "apply"]

USER_AGENT: Final = f"backstay/{__version__}"
PAGE_SIZE: Final = 500
WATCH_SLACK_SECONDS: Final = 10.0
"""How much longer than it was asked to a watch may last before it counts as stalled (kopf #698, #1276)."""

_PATCH_TYPES: Final[dict[str, str]] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


@dataclass(frozen=True, slots=True)
class ListPage:
    """Objects as a list returned them, and the version of the collection at that moment: where to watch from."""

    items: list[Object] = field(default_factory=list)
    resource_version: str = ""


class Client:
    """Speaks to one API server. Use it as an async context manager, in one event loop."""

    def __init__(self, access: Access, login: Login | None = None, *, user_agent: str = USER_AGENT, timeout_seconds: float = 30.0) -> None:
        """`login` renews `access` once it has grown stale or is refused; without it a refusal is final."""
        self._transport = Transport(access, login, user_agent=user_agent, timeout_seconds=timeout_seconds)
        self._wire: Transport | Impersonation = self._transport

    @classmethod
    def from_kubeconfig(cls, path: str | None = None, context: str | None = None, *, timeout_seconds: float = 30.0) -> Self:
        """Log in with a kubeconfig file (`path`, else KUBECONFIG, else ~/.kube/config), else as the pod's service account.

        Blocks for as long as files and login plugins take. Raises LoginFailed, which says what to do.
        """
        login = find_login(path, context)
        return cls(login(), login, timeout_seconds=timeout_seconds)

    async def __aenter__(self) -> Self:
        self._transport.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._transport.close()

    def impersonating(self, namespace: str, account: str) -> Self:
        """Return a client that acts as a service account, with its rights alone, over the same connections; it lives as long as this one.

        We need the right to `impersonate` that service account, nothing else; where it is missing every request raises Forbidden.
        Raises Invalid for a name that cannot be one: `a:b` would be another kind of user.
        """
        SERVICE_ACCOUNTS.path(namespace, account)
        if ":" in namespace + account:
            raise errors.Invalid(
                400, "BadRequest", f"{account!r} is no name of a service account; names have letters, digits, '-' and '.' only"
            )
        other = copy.copy(self)
        other._wire = Impersonation(self._transport, f"system:serviceaccount:{namespace}:{account}")
        return other

    @property
    def namespace(self) -> str:
        """The default namespace of the context, or the pod's."""
        return self._transport.access.namespace

    @property
    def server(self) -> str:
        """The API server's base address."""
        return self._transport.access.server

    @property
    def clock_skew_seconds(self) -> float | None:
        """How far this machine's clock is ahead of the API server's, within a second; None where no answer has told."""
        return self._transport.clock_skew_seconds

    @property
    def calls(self) -> CallHook:
        """Told of every request; set it to count them."""
        return self._transport.calls

    @calls.setter
    def calls(self, hook: CallHook) -> None:
        self._transport.calls = hook

    @property
    def limiter(self) -> Limiter | None:
        """What holds requests back, those of all its impersonations too; set it to have it so."""
        return self._transport.limiter

    @limiter.setter
    def limiter(self, limiter: Limiter | None) -> None:
        self._transport.limiter = limiter

    # -------------------------------------------------------------------------------------------------------- objects

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """Return one object. Raises NotFound, and the other errors of the API as all methods do."""
        return await self._ask(Request("get", resource.plural, "GET", resource.path(namespace, name)))

    async def list(
        self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", field_selector: str = "", limit: int = 0
    ) -> ListPage:
        """Return all objects that are selected; with `limit` they are fetched in pages of that size."""
        items: list[Object] = []
        version = ""
        async for page in self.pages(resource, namespace, label_selector=label_selector, field_selector=field_selector, limit=limit):
            items += page.items
            version = page.resource_version
        return ListPage(items, version)

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = PAGE_SIZE,
    ) -> AsyncGenerator[ListPage, None]:
        """Yield the objects that are selected, page by page, all of one version. Raises Gone if the server drops that version midway."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(limit or "")}
        while True:
            answer = await self._ask(Request("list", resource.plural, "GET", resource.path(namespace), query))
            metadata = answer.get("metadata") or {}
            yield ListPage(answer.get("items") or [], str(metadata.get("resourceVersion") or ""))
            if not metadata.get("continue"):
                return
            query = query | {"continue": metadata["continue"]}

    async def create(
        self,
        resource: Resource,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        strict: bool = False,
        dry_run: bool = False,
        field_manager: str = names.MANAGER,
    ) -> Object:
        """Create an object and return it as it was stored. Raises AlreadyExists, Forbidden, Invalid.

        `strict` has the server refuse unknown and repeated fields instead of dropping them; with `dry_run` nothing is stored.
        """
        query = {"fieldManager": field_manager, "fieldValidation": "Strict" if strict else "", "dryRun": "All" if dry_run else ""}
        return await self._ask(Request("create", resource.plural, "POST", resource.path(namespace), query, orjson.dumps(body)))

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any] | Sequence[Any],
        *,
        subresource: str | None = None,
        kind: PatchKind = "merge",
        field_manager: str = names.MANAGER,
        force: bool = False,
        strict: bool = False,
    ) -> Object:
        """Change an object and return it as it is then. A `metadata.resourceVersion` in a merge patch makes it conditional: Conflict.

        `force` is for `apply`: it takes fields over from other managers. `strict` has the server refuse unknown fields.
        """
        query = {"fieldManager": field_manager, "force": "true" if force else "", "fieldValidation": "Strict" if strict else ""}
        path = resource.path(namespace, name, subresource)
        return await self._ask(Request("patch", resource.plural, "PATCH", path, query, orjson.dumps(body), _PATCH_TYPES[kind]))

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> None:
        """Delete an object: with `uid` only that very one, with `resource_version` only as it was then, else Conflict.

        `propagation` is Foreground, Background or Orphan.
        """
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            options["preconditions"] = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version is not None else {})
        if propagation is not None:
            options["propagationPolicy"] = propagation
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        request = Request("delete", resource.plural, "DELETE", resource.path(namespace, name), data=orjson.dumps(options))
        await self._wire.send(request)

    # -------------------------------------------------------------------------------------------------------- streams

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str,
        timeout_seconds: int,
    ) -> AsyncGenerator[tuple[str, Object], None]:
        """Yield (type, object) for every change after `resource_version`: ADDED, MODIFIED, DELETED and BOOKMARK.

        Ends when the server ends it, which it should after `timeout_seconds`. Raises Gone when the version is too old, and Unavailable
        when the connection breaks, or when it lasts longer than that and WATCH_SLACK_SECONDS.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        request = Request("watch", resource.plural, "GET", resource.path(namespace), query)
        async with aclosing(self._wire.stream(request, timeout_seconds + WATCH_SLACK_SECONDS)) as lines:
            async for line in lines:
                yield _event(_parsed(line, request), request)

    async def text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """Return what the server has at a path, as text: `/version`, or the logs of a pod."""
        return (await self._wire.send(Request("get", "text", "GET", path, params or {}))).decode(errors="replace")

    async def lines(
        self, path: str, params: Mapping[str, str] | None = None, *, limit_seconds: float | None = None
    ) -> AsyncGenerator[str, None]:
        """Yield the lines of a text as they come, for as long as the server sends them: logs that are followed."""
        async with aclosing(self._wire.stream(Request("get", "text", "GET", path, params or {}), limit_seconds)) as lines:
            async for line in lines:
                yield line.decode(errors="replace")

    async def _ask(self, request: Request) -> Object:
        return _parsed(await self._wire.send(request), request)


def _event(event: Object, request: Request) -> tuple[str, Object]:
    kind, manifest = event.get("type"), event.get("object")
    if not isinstance(kind, str) or not isinstance(manifest, dict):
        raise answers.unreachable("NoEvent", f"{request}: the stream holds something that is no watch event")
    if kind == "ERROR":
        raise answers.error_of_status(manifest)
    if not isinstance(manifest.get("metadata"), dict) or "resourceVersion" not in manifest["metadata"]:
        raise answers.unreachable("NoEvent", f"{request}: a {kind} event has no resourceVersion to go on from")
    return kind, manifest


def _parsed(content: bytes, request: Request) -> Object:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise answers.unreachable("NotJSON", f"{request}: the answer is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise answers.unreachable("NotJSON", f"{request}: the answer is no object")
    return found
