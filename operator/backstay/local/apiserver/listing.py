"""list: selection, paging and reading at an older version (apiserver's storage/continue.go, storage/etcd3/errors.go)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

import orjson

from backstay.local.apiserver.convert import collection_of
from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.state import Cluster
from backstay.local.apiserver.status import Cause, bad_request, expired, timeout
from backstay.local.apiserver.store import Compacted, Stored
from backstay.local.apiserver.targets import ListOptions, Target, version_number

_CONTINUE_VERSION: Final = "meta.k8s.io/v1"
_TOO_OLD: Final = "The resourceVersion for the provided list is too old."
_CONTINUE_TOO_OLD: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use "
    "the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - "
    "objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(slots=True)
class Page:
    """A page of a list: its objects, and the list's metadata."""

    items: list[Stored]
    metadata: dict[str, Any]


def list_page(cluster: Cluster, target: Target, options: ListOptions) -> Page:
    """Return the objects that a request selects. Raises 410 for a version that was compacted, 504 for one that is not reached yet."""
    resource, selection = target.resource, options.selection
    after, version = _position(cluster, options)
    namespace = target.namespace or selection.exact("metadata.namespace") or ""
    items = _objects_at(cluster, resource, namespace, version, options, after)
    if after:
        items = [stored for stored in items if (stored.key.namespace, stored.key.name) > after]
    chosen = [stored for stored in items if selection.matches(stored.object)] if selection else items
    shown = version if version is not None else cluster.store.version
    metadata: dict[str, Any] = {"resourceVersion": str(shown)}
    from_cache = options.resource_version == "0" and not options.resource_version_match  # it knows no pages
    if options.limit and not from_cache and len(chosen) > options.limit:
        last = chosen[options.limit - 1].key
        metadata["continue"] = _token(shown, last.namespace, last.name)
        if not selection:
            metadata["remainingItemCount"] = len(chosen) - options.limit
        chosen = chosen[: options.limit]
    return Page(chosen, metadata)


def check_reached(cluster: Cluster, version: int) -> None:
    """Raise 504 when the cluster has not come to a version yet, as after a data directory was removed."""
    current = cluster.store.version
    if version > current:
        text = f"Too large resource version: {version}, current: {current}"
        raise timeout(text, 1, [Cause("ResourceVersionTooLarge", "Too large resource version")])


def _position(cluster: Cluster, options: ListOptions) -> tuple[tuple[str, str] | None, int | None]:
    """Return the object to go on after, and the version to read at (None: the newest)."""
    if options.continue_token:
        if options.resource_version not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        version, after = _read_token(options.continue_token)
        return after, None if version < 0 else version
    wanted = version_number(options.resource_version)
    check_reached(cluster, wanted)
    return None, wanted if wanted and options.resource_version_match == "Exact" else None


def _objects_at(
    cluster: Cluster, resource: Resource, namespace: str, version: int | None, options: ListOptions, after: tuple[str, str] | None
) -> list[Stored]:
    group, plural = collection_of(resource)
    if version is None:
        return cluster.store.select(group, plural, namespace)
    try:
        return cluster.store.select_at(version, group, plural, namespace)
    except Compacted as error:
        if options.continue_token and after:
            raise expired(_CONTINUE_TOO_OLD, _token(-1, *after)) from error
        raise expired(_TOO_OLD) from error


def _token(version: int, namespace: str, name: str) -> str:
    start = f"{namespace}/{name}" if namespace else name
    token = orjson.dumps({"v": _CONTINUE_VERSION, "rv": version, "start": f"{start}\x00"})
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def _read_token(text: str) -> tuple[int, tuple[str, str]]:
    try:
        token = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        version, start = int(token["rv"]), str(token["start"])
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error
    if token.get("v") != _CONTINUE_VERSION:
        raise bad_request(
            f"invalid continue token: continue key is not valid: server does not recognize this encoded version {token.get('v')}"
        )
    namespace, _, name = start.rstrip("\x00").rpartition("/")
    return version, (namespace, name)
