"""Request bodies in Kubernetes' protobuf, decoded to the JSON they stand for.

The typed clients of client-go (from 0.33 on) send builtin kinds as protobuf whatever the server prefers: `kubectl create configmap`, helm's
release secrets, leader-election leases. Responses stay JSON, which those clients accept. Field numbers come from gotypes.txt.

Wire format: the magic `k8s\\0`, then runtime.Unknown (1: TypeMeta, 2: the object's bytes); see k8s.io/apimachinery's
pkg/runtime/serializer/protobuf and https://protobuf.dev/programming-guides/encoding/.
"""

import base64
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import orjson

from backstay.local.apiserver.shapes import GoField, go_name, go_structs

CONTENT_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_NS: Final = 1_000_000_000


class ProtobufError(ValueError):
    """The bytes are not what they should be; the message says where reading stopped."""


def decode(body: bytes) -> dict[str, Any]:
    """Return the object in an envelope, with apiVersion and kind. Raises ProtobufError for broken bytes and for kinds without a table."""
    if not body.startswith(_MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    api_version = kind = ""
    raw = b""
    for number, value in _fields(body[len(_MAGIC) :]):
        if number == 1 and isinstance(value, bytes):
            meta = {inner: text.decode() for inner, text in _fields(value) if isinstance(text, bytes)}
            api_version, kind = meta.get(1, ""), meta.get(2, "")
        elif number == 2 and isinstance(value, bytes):
            raw = value
    group, _, version = api_version.rpartition("/")
    name = "meta/v1.DeleteOptions" if kind == "DeleteOptions" else go_name(group, version, kind)
    if name not in go_structs():
        raise ProtobufError(f"no kind {kind!r} is registered for version {api_version!r} in this server's protobuf table; send JSON")
    return {"apiVersion": api_version, "kind": kind, **_message(raw, name)}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield field numbers with their raw values: an int for varints and fixed ones, bytes for the rest."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        value: int | bytes
        if wire_type == 0:
            value, at = _varint(data, at)
        elif wire_type == 2:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        elif wire_type in (1, 5):
            width = 8 if wire_type == 1 else 4
            value, at = int.from_bytes(data[at : at + width], "little"), at + width
        else:
            raise ProtobufError(f"proto: illegal wireType {wire_type}")
        if at > len(data):
            raise ProtobufError("unexpected EOF")
        yield number, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ProtobufError("unexpected EOF")
        byte = data[at]
        result |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return result, at


@cache
def _numbers(name: str) -> dict[int, GoField]:
    return {each.number: each for each in go_structs()[name].fields if each.number}


def _message(data: bytes, name: str) -> dict[str, Any]:
    """Decode a struct; zero values of fields that are no pointers are left out, as Go's `omitempty` does."""
    known, result = _numbers(name), dict[str, Any]()
    for number, raw in _fields(data):
        field = known.get(number)
        if field is None:
            continue
        kind = field.type.lstrip("*")
        if field.is_inline:
            result.update(_message(_bytes(raw), kind))
        elif kind.startswith("list:"):
            result.setdefault(field.name, []).append(_value(raw, kind.removeprefix("list:")))
        elif kind.startswith("map:"):
            entry = dict(_fields(_bytes(raw)))
            result.setdefault(field.name, {})[_bytes(entry.get(1, b"")).decode()] = _map_value(entry.get(2), kind.removeprefix("map:"))
        else:
            value = _value(raw, kind)
            if value or (field.type.startswith("*") and value is not None):
                result[field.name] = value
    return result


def _map_value(raw: int | bytes | None, kind: str) -> Any:
    if kind == "list:string":  # authentication's ExtraValue: a message around the list
        return [_bytes(value).decode() for number, value in _fields(_bytes(raw or b"")) if number == 1]
    return _value(raw if raw is not None else (0 if kind in ("int", "bool") else b""), kind)


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, bytes):
        return raw
    raise ProtobufError("proto: wrong wireType for a message or string")


def _value(raw: int | bytes, kind: str) -> Any:
    special = _SPECIAL.get(kind)
    return special(raw) if special else _message(_bytes(raw), kind)


def _int(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        raise ProtobufError("proto: wrong wireType for a number")
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _moment(raw: int | bytes) -> tuple[int, int]:
    numbers = {number: _int(value) for number, value in _fields(_bytes(raw))}
    return numbers.get(1, 0), numbers.get(2, 0)


def _time(raw: int | bytes) -> str | None:
    seconds, _ = _moment(raw)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None


def _micro_time(raw: int | bytes) -> str | None:
    seconds, nanos = _moment(raw)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{nanos // 1000:06d}Z" if seconds else None


def _quantity(raw: int | bytes) -> str | None:
    return next((_bytes(value).decode() for number, value in _fields(_bytes(raw)) if number == 1), None)


def _int_or_string(raw: int | bytes) -> int | str:
    parts = dict(_fields(_bytes(raw)))
    return _bytes(parts.get(3, b"")).decode() if parts.get(1) else _int(parts.get(2, 0))


def _raw_json(raw: int | bytes) -> Any:
    inner = next((_bytes(value) for number, value in _fields(_bytes(raw)) if number == 1), b"")
    return orjson.loads(inner) if inner else None


def _duration(raw: int | bytes) -> str | None:
    nanos = next((_int(value) for number, value in _fields(_bytes(raw)) if number == 1), 0)
    return f"{nanos / _NS:g}s" if nanos else None


def _float(raw: int | bytes) -> float:
    return float(struct.unpack("<d", _int(raw).to_bytes(8, "little", signed=True))[0])


_SPECIAL: Final[Mapping[str, Callable[[int | bytes], Any]]] = {
    "string": lambda raw: _bytes(raw).decode(),
    "bytes": lambda raw: base64.b64encode(_bytes(raw)).decode(),
    "int": _int,
    "bool": bool,
    "float": _float,
    "Time": _time,
    "MicroTime": _micro_time,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
    "Raw": _raw_json,
    "any": _raw_json,
    "Duration": _duration,
}
