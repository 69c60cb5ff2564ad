"""The verbs over HTTP: a request for a resource in, a reply out.

Everything that changes the cluster runs between two awaits, so a request is atomic; only bodies, watches and logs are awaited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

from backstay.local.apiserver import protobuf, reviews, scale, subresources
from backstay.local.apiserver.creating import Written, create, refuse_immortal
from backstay.local.apiserver.deleting import delete, delete_each
from backstay.local.apiserver.documents import DocumentError, load_json, load_yaml
from backstay.local.apiserver.listing import check_reached, list_page
from backstay.local.apiserver.patches import APPLY_PATCH, check_type
from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.responses import Format, Reply, accepted_format, encode, list_reply, object_reply
from backstay.local.apiserver.state import NAMESPACES, Cluster
from backstay.local.apiserver.status import bad_request, method_not_allowed, method_not_served, too_large, unsupported_media_type
from backstay.local.apiserver.store import Stored
from backstay.local.apiserver.targets import DeleteOptions, Target, delete_options, get_version, list_options, write_options
from backstay.local.apiserver.updating import patch, update

BODY_LIMIT_BYTES: Final = 3 * 1024 * 1024
_JSON_TYPES: Final = ("application/json", "application/yaml")
_NO_JSON: Final = "couldn't get version/kind; json parse error: "
_VERSION_AND_KIND: Final = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


@dataclass(frozen=True, slots=True)
class Body:
    """A request body: as it came (b"" where it was protobuf), and decoded."""

    raw: bytes
    value: dict[str, Any]


async def read_body(request: web.BaseRequest) -> bytes:
    """Return the bytes of a body. Raises 413 above 3 MiB, as the real server does."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large(f"limit is {BODY_LIMIT_BYTES}") from error


def decode_body(request: web.BaseRequest, resource: Resource, raw: bytes) -> Body:
    """Decode a body by its content type. Raises 400 and 415."""
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip() or _JSON_TYPES[0]
    if media_type == protobuf.CONTENT_TYPE and not resource.is_custom:
        try:
            return Body(b"", protobuf.decode(raw))
        except protobuf.ProtobufError as error:
            raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind}): {error}") from error
    if media_type not in _JSON_TYPES:
        raise unsupported_media_type((*_JSON_TYPES, protobuf.CONTENT_TYPE))
    is_json = media_type == _JSON_TYPES[0]
    try:
        value = load_json(raw) if is_json else load_yaml(raw)
    except DocumentError as error:
        raise _unrecognized(resource, f"{_NO_JSON if is_json else ''}{error}", raw) from error
    if value is None or (isinstance(value, dict) and resource.is_custom and not value.get("kind")):
        shown = raw.decode(errors="replace") if is_json else orjson.dumps(value).decode()
        raise _unrecognized(resource, f"Object 'Kind' is missing in '{shown}'", raw)
    if not isinstance(value, dict):
        raise _unrecognized(resource, f"{_NO_JSON}{wrong_type(value)}", raw)
    return Body(raw, value)


def _unrecognized(resource: Resource, why: str, raw: bytes) -> Exception:
    head = raw[:30].decode(errors="replace") if raw[:1] == b"{" else raw[:30].hex()
    shown = (head + " ..." if len(raw) > 30 else head) if raw else "<empty>"
    return bad_request(f"the object provided is unrecognized (must be of type {resource.kind}): {why} ({shown})")


def wrong_type(value: Any) -> str:
    """Say that a body is no object, as Go does when it looks for version and kind."""
    names = {list: "array", str: "string", bool: "bool"}
    return f"json: cannot unmarshal {names.get(type(value), 'number')} into Go value of type {_VERSION_AND_KIND}"


class Rest:
    """Answers every verb but watch and log, which are streams (server.py)."""

    def __init__(self, cluster: Cluster, token: str) -> None:
        self._cluster = cluster
        self._token = token

    async def reply(self, request: web.BaseRequest, target: Target) -> Reply:
        """Carry out a request. Raises StatusError."""
        format_ = accepted_format(request.headers.get("Accept", ""), request.query.get("includeObject", ""))
        if target.verb == "get":
            return self._get(target, format_, get_version(request.query))
        if target.verb == "list" and "list" not in target.resource.verbs:
            raise self._not_allowed(target)
        if target.verb == "list":
            page = list_page(self._cluster, target, list_options(target, request.query))
            return list_reply(target.resource, page, format_, self._cluster.clock())
        raw = await read_body(request)
        match target.verb:
            case "create":
                return self._create(request, target, raw, format_)
            case "update":
                return self._update(request, target, raw, format_)
            case "patch":
                return self._patch(request, target, raw, format_)
            case "delete":
                return self._delete(request, target, raw, format_)
            case "deletecollection":
                return self._delete_collection(request, target, raw, format_)
        raise self._not_allowed(target)

    # ── reads ──

    def _get(self, target: Target, format_: Format, version: int) -> Reply:
        if target.subresource not in ("", "status", "scale") or "get" not in target.resource.verbs:
            raise self._not_allowed(target)
        check_reached(self._cluster, version)
        stored = self._cluster.find(target.resource, target.namespace, target.name)
        if target.subresource == "scale":
            shown = scale.scale_of(target.resource, self._cluster.served(target.resource, stored))
            return Reply(200, encode(shown, format_.media_type), format_.media_type)
        return object_reply(target.resource, stored, format_, self._cluster.clock())

    # ── writes ──

    def _create(self, request: web.BaseRequest, target: Target, raw: bytes, format_: Format) -> Reply:
        body = decode_body(request, target.resource, raw)
        if target.subresource:
            return self._act(request, target, body, format_)
        if (target.name and not target.resource.is_custom) or (target.resource.namespaced and not target.namespace):
            raise self._not_allowed(target)
        if reviews.is_review(target.resource):
            answered = reviews.answer(target.resource, body.value, self._token)
            return object_reply(target.resource, answered, format_, self._cluster.clock(), 201)
        options = write_options("CreateOptions", request.query, request.headers.get("User-Agent", ""))
        return self._written(target, create(self._cluster, target, body.value, options, body.raw), format_)

    def _act(self, request: web.BaseRequest, target: Target, body: Body, format_: Format) -> Reply:
        options = write_options("CreateOptions", request.query, "")
        if target.subresource == "binding":
            done = subresources.bind(self._cluster, target, body.value, dry_run=options.dry_run)
        elif target.subresource == "eviction":
            chosen = delete_options(request.query, body.value.get("deleteOptions") or {"dryRun": ["All"] if options.dry_run else []})
            done = subresources.evict(self._cluster, target, chosen)
        else:
            raise self._not_allowed(target)
        return object_reply(target.resource, done, format_, self._cluster.clock(), 201)

    def _update(self, request: web.BaseRequest, target: Target, raw: bytes, format_: Format) -> Reply:
        self._need_name(target, "update", ("", "status", "finalize", "scale"))
        body = decode_body(request, target.resource, raw)
        options = write_options("UpdateOptions", request.query, request.headers.get("User-Agent", ""))
        if target.subresource == "scale":
            return self._written(target, scale.update_scale(self._cluster, target, scale.requested(body.value), options), format_)
        return self._written(target, update(self._cluster, target, body.value, options, body.raw), format_)

    def _patch(self, request: web.BaseRequest, target: Target, raw: bytes, format_: Format) -> Reply:
        self._need_name(target, "patch", ("", "status", "scale"))
        patch_type = check_type(target.resource, request.headers.get("Content-Type", ""))
        agent = request.headers.get("User-Agent", "")
        options = write_options("PatchOptions", request.query, agent, is_apply=patch_type == APPLY_PATCH)
        write = scale.patch_scale if target.subresource == "scale" else patch
        return self._written(target, write(self._cluster, target, patch_type, raw, options), format_)

    def _need_name(self, target: Target, verb: str, subresources: tuple[str, ...]) -> None:
        if not target.name and target.resource.is_custom:
            raise bad_request("name must be provided")
        if not target.name or target.subresource not in subresources or verb not in target.resource.verbs:
            raise self._not_allowed(target)

    def _written(self, target: Target, written: Written, format_: Format) -> Reply:
        value: Stored | Mapping[str, Any] = written.stored if written.stored is not None else written.obj
        if target.subresource == "scale":
            return Reply(200, encode(value, format_.media_type), format_.media_type, written.warnings)
        reply = object_reply(target.resource, value, format_, self._cluster.clock(), 201 if written.created else 200)
        reply.warnings = written.warnings
        return reply

    # ── deletions ──

    def _delete(self, request: web.BaseRequest, target: Target, raw: bytes, format_: Format) -> Reply:
        if target.subresource or "delete" not in target.resource.verbs:
            raise self._not_allowed(target)
        options = self._delete_options(request, raw)
        refuse_immortal(target)
        stored = self._cluster.find(target.resource, target.namespace, target.name)
        answered = delete(self._cluster, target.resource, stored, options)
        return object_reply(target.resource, answered, format_, self._cluster.clock())

    def _delete_collection(self, request: web.BaseRequest, target: Target, raw: bytes, format_: Format) -> Reply:
        resource = target.resource
        everywhere = resource.namespaced and not target.namespace
        if target.subresource or everywhere or "deletecollection" not in resource.verbs or (resource.group, resource.plural) == NAMESPACES:
            raise self._not_allowed(target)
        page = list_page(self._cluster, target, list_options(target, request.query))
        delete_each(self._cluster, resource, page.items, self._delete_options(request, raw))
        return list_reply(resource, page, format_, self._cluster.clock())

    @staticmethod
    def _delete_options(request: web.BaseRequest, raw: bytes) -> DeleteOptions:
        if not raw:
            return delete_options(request.query, None)
        media_type = request.headers.get("Content-Type", "").partition(";")[0].strip()
        try:
            read = {protobuf.CONTENT_TYPE: protobuf.decode, _JSON_TYPES[1]: load_yaml}.get(media_type, load_json)
            given = read(raw)
        except (protobuf.ProtobufError, DocumentError) as error:
            raise bad_request(f"{_NO_JSON}{error}") from error
        if not isinstance(given, dict):
            raise bad_request(f"{_NO_JSON}{wrong_type(given)}")
        return delete_options(request.query, given or {"kind": "DeleteOptions"})

    @staticmethod
    def _not_allowed(target: Target) -> Exception:
        resource = target.resource
        return method_not_allowed(resource.group, resource.plural, target.verb) if resource.is_custom else method_not_served()
