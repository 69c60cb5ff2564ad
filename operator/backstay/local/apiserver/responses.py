"""Answers: which format a client accepts, and objects, lists and tables as bytes.

An object that is served as it is stored goes out as the bytes that are in the store; nothing is parsed or encoded for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import orjson
import yaml

from backstay.local.apiserver import protobuf
from backstay.local.apiserver.convert import is_served_as_stored, to_served
from backstay.local.apiserver.fields import invalid
from backstay.local.apiserver.listing import Page
from backstay.local.apiserver.resources import Resource
from backstay.local.apiserver.status import bad_request, not_acceptable
from backstay.local.apiserver.store import Stored
from backstay.local.apiserver.tables import partial, partial_list, table

JSON: Final = "application/json"
YAML: Final = "application/yaml"
_ACCEPTED: Final = (JSON, YAML)
_META_GROUP: Final = "meta.k8s.io"

View = Literal["object", "table", "partial"]


@dataclass(frozen=True, slots=True)
class Format:
    """How a client wants its answer: the whole object, a table or the metadata alone, and in which media type."""

    view: View = "object"
    version: str = "v1"
    media_type: str = JSON
    include_object: str = ""


@dataclass(slots=True)
class Reply:
    """A whole response."""

    status: int
    body: bytes
    content_type: str = JSON
    warnings: list[str] = field(default_factory=list)


def accepted_format(accept: str, include_object: str) -> Format:
    """Choose the first acceptable clause of an Accept header. Raises 406."""
    for clause in accept.split(",") if accept.strip() else ("*/*",):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        found = _format(media_type, dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter), include_object)
        if found is not None:
            return found
    raise not_acceptable((*_ACCEPTED, protobuf.CONTENT_TYPE))


def _format(media_type: str, parameters: Mapping[str, str], include_object: str) -> Format | None:
    if media_type in ("*/*", "application/*"):
        media_type = JSON
    if media_type not in _ACCEPTED:
        return None
    kind, version = parameters.get("as"), parameters.get("v", "v1")
    if kind is None:
        return Format(media_type=media_type)
    if parameters.get("g", _META_GROUP) != _META_GROUP or version not in ("v1", "v1beta1"):
        return None
    if kind == "Table":
        if include_object not in ("", "None", "Metadata", "Object"):
            why = invalid("includeObject", include_object, "must be 'Metadata', 'Object', 'None', or empty").text
            raise bad_request(f"Unable to convert to Table as requested: {why}")
        return Format("table", version, media_type, include_object)
    return Format("partial", version, media_type) if kind.startswith("PartialObjectMetadata") else None


_NEVER_FOLDED: Final = 1 << 30


class _Dumper(yaml.SafeDumper):
    """Writes YAML as sigs.k8s.io/yaml does: what could be read as something else than text stands in double quotes."""

    def choose_scalar_style(self) -> str:
        """Return the style of the scalar at hand."""
        style = str(super().choose_scalar_style() or "")
        return '"' if style == "'" else style

    def ignore_aliases(self, _: Any) -> bool:
        """Write what occurs twice twice."""
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^[yYnN]$"), list("yYnN"))


def encode(value: Any, media_type: str = JSON) -> bytes:
    """Return a value as JSON or YAML."""
    if media_type == YAML:
        return yaml.dump(value, Dumper=_Dumper, width=_NEVER_FOLDED, allow_unicode=True).encode()
    return orjson.dumps(value)


def object_body(resource: Resource, stored: Stored) -> bytes:
    """Return a stored object as JSON in the version that is served."""
    return stored.body if is_served_as_stored(resource, stored) else orjson.dumps(to_served(resource, stored.object))


def object_reply(resource: Resource, value: Stored | Mapping[str, Any], format_: Format, now: datetime, status: int = 200) -> Reply:
    """Answer with one object, stored or worked out (a dry run, a Status)."""
    if format_.view == "object" and isinstance(value, Stored) and format_.media_type == JSON:
        return Reply(status, object_body(resource, value))
    obj = to_served(resource, value.object) if isinstance(value, Stored) else value
    if obj.get("kind") != "Status":
        obj = _viewed(resource, obj, format_, now)
    return Reply(status, encode(obj, format_.media_type), format_.media_type)


def _viewed(resource: Resource, obj: Mapping[str, Any], format_: Format, now: datetime, *, headers: bool = True) -> Mapping[str, Any]:
    if format_.view == "table":
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return table(resource, [obj], metadata, now, include_object=format_.include_object, headers=headers, version=format_.version)
    return partial(obj, format_.version) if format_.view == "partial" else obj


def _metadata(resource: Resource, page: Page) -> dict[str, Any]:
    """Return a list's metadata: lists of custom resources always have a `continue`."""
    return {"continue": "", **page.metadata} if resource.is_custom else page.metadata


def _item(resource: Resource, obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object as it stands in a list: only custom resources say their kind there."""
    return obj if resource.is_custom else {name: value for name, value in obj.items() if name not in ("apiVersion", "kind")}


def _item_body(resource: Resource, stored: Stored) -> bytes:
    body = object_body(resource, stored)
    if resource.is_custom:
        return body
    head = orjson.dumps({"apiVersion": resource.api_version, "kind": resource.kind})[:-1] + b","
    return b"{" + body[len(head) :] if body.startswith(head) else orjson.dumps(_item(resource, orjson.loads(body)))


def list_reply(resource: Resource, page: Page, format_: Format, now: datetime) -> Reply:
    """Answer with a page of a list."""
    if format_.view == "object" and format_.media_type == JSON:
        head = {
            "kind": resource.list_kind or f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": _metadata(resource, page),
        }
        items = b",".join(_item_body(resource, stored) for stored in page.items)
        return Reply(200, orjson.dumps(head)[:-1] + b',"items":[' + items + b"]}")
    objects: Iterable[Mapping[str, Any]] = [to_served(resource, stored.object) for stored in page.items]
    if format_.view == "table":
        made = table(resource, objects, page.metadata, now, include_object=format_.include_object, version=format_.version)
    elif format_.view == "partial":
        made = partial_list(objects, page.metadata, format_.version)
    else:
        shown = [_item(resource, obj) for obj in objects]
        made = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": _metadata(resource, page), "items": shown}
    return Reply(200, encode(made, format_.media_type), format_.media_type)


def watch_frame(
    resource: Resource, type_: str, value: Stored | Mapping[str, Any], format_: Format, now: datetime, *, headers: bool = True
) -> bytes:
    """Return one line of a watch."""
    if format_.view == "object" and isinstance(value, Stored):
        body = object_body(resource, value)
    else:
        obj = to_served(resource, value.object) if isinstance(value, Stored) else value
        body = orjson.dumps(_viewed(resource, obj, format_, now, headers=headers))
    return b'{"type":"' + type_.encode() + b'","object":' + body + b"}\n"
