"""Label and field selectors: parsing in the API server's grammar and words, and matching.

Labels (k8s.io/apimachinery/pkg/labels): `a=b, a==b, a!=b, a in (x,y), a notin (x), a, !a, a>1, a<2`.
Fields (pkg/fields): `metadata.name=x,status.phase!=Running`; which fields a kind offers is in `FIELDS`, or in a CRD's `selectableFields`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backstay.local.apiserver import syntax
from backstay.local.apiserver.fields import invalid
from backstay.local.apiserver.status import bad_request

if TYPE_CHECKING:
    from backstay.local.apiserver.resources import Resource

_OPERATORS: Final = ("in", "notin", "=", "==", "!=", "<", ">")
_OPERATORS_SHOWN: Final = "in, notin, =, ==, !=, gt, lt"
_TOKEN: Final = re.compile(r"\s*(==|!=|=|!|\(|\)|,|<|>|[^\s=!(),<>]+)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label: `operator` is in, notin, exists, !, gt or lt (`=` is in, `!=` is notin)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels satisfy the condition."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        if value is None or not re.fullmatch(r"[+-]?\d+", value):
            return False
        left, right = int(value), int(self.values[0])
        return left > right if self.operator == "gt" else left < right


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One condition on a field, given by its label (`status.phase`)."""

    field: str
    value: str
    equal: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a list or watch is about: all conditions must hold."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()
    readers: tuple[Callable[[Mapping[str, Any]], str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Tell whether an object, as it is stored, is selected."""
        if self.labels:
            labels = obj["metadata"].get("labels") or {}
            if not all(requirement.matches(labels) for requirement in self.labels):
                return False
        pairs = zip(self.fields, self.readers, strict=True)
        return all((read(obj) == requirement.value) == requirement.equal for requirement, read in pairs)

    def exact(self, field: str) -> str | None:
        """Return the one value that a field must have, where the selection says so."""
        return next((each.value for each in self.fields if each.field == field and each.equal), None)


EVERYTHING: Final = Selection()


def parse(resource: Resource, labels: str, fields: str) -> Selection:
    """Parse both selectors of a request for a resource. Raises 400 in the API server's words."""
    requirements = parse_labels(labels) if labels else ()
    conditions = tuple(_field_requirement(resource, part) for part in parse_fields(fields)) if fields else ()
    return Selection(requirements, conditions, tuple(_reader(condition.field) for condition in conditions))


# ── labels ──────────────────────────────────────────────────────────────────────────────────────


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Parse a label selector. Raises 400."""
    parser = _LabelParser(_tokens(text))
    return tuple(parser.requirements())


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    while match := _TOKEN.match(text, position):
        tokens.append(match[1])
        position = match.end()
    return tokens


def _is_identifier(token: str) -> bool:
    return bool(token) and token[0] not in "=!(),<>"


class _LabelParser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self._peek():
            if not _is_identifier(self._peek()) and self._peek() != "!":
                raise bad_request(f"found '{self._peek()}', expected: !, identifier, or 'end of string'")
            found.append(self._requirement())
            if not self._peek():
                break
            if (separator := self._next()) != ",":
                raise bad_request(f"found '{separator}', expected: ',' or 'end of string'")
            if not _is_identifier(self._peek()) and self._peek() != "!":
                raise bad_request(f"found '{self._peek()}', expected: identifier after ','")
        return found

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!" and bool(self._next())
        key = self._next()
        if not _is_identifier(key):
            raise self._unparsable(f"found '{key}', expected: identifier")
        if complaints := syntax.qualified_name(key):
            raise self._unparsable(invalid("", key, "; ".join(complaints)).text)
        if negated or self._peek() in ("", ","):
            return Requirement(key, "!" if negated else "exists")
        return self._checked(key, self._next())

    def _checked(self, key: str, operator: str) -> Requirement:
        if operator not in _OPERATORS:
            raise self._unparsable(f"found '{operator}', expected: {_OPERATORS_SHOWN}")
        values = self._value_set() if operator in ("in", "notin") else (self._exact_value(),)
        if operator in ("<", ">"):
            if not re.fullmatch(r"[+-]?\d+", values[0]):
                detail = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise self._unparsable(invalid("values[0]", values[0], detail).text)
            return Requirement(key, "gt" if operator == ">" else "lt", values)
        for value in values:
            if complaints := syntax.label_value(value):
                raise self._unparsable(invalid(f"values[0][{key}]", value, "; ".join(complaints)).text)
        return Requirement(key, "notin" if operator in ("!=", "notin") else "in", values)

    def _exact_value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        value = self._next()
        if not _is_identifier(value):
            raise self._unparsable(f"found '{value}', expected: identifier")
        return value

    def _value_set(self) -> tuple[str, ...]:
        if (opening := self._next()) != "(":
            raise self._unparsable(f"found '{opening}' expected: '('")
        values: list[str] = []
        current = ""
        while (word := self._next()) != ")":
            if word == ",":
                values.append(current)
                current = ""
            elif _is_identifier(word) and not current:
                current = word
            else:
                raise self._unparsable(
                    f"found '{word}', expected: ',' or ')'" if current else f"found '{word}', expected: ',', ')' or identifier"
                )
        return (*values, current)

    @staticmethod
    def _unparsable(why: str) -> Exception:
        return bad_request(f"unable to parse requirement: {why}")


# ── fields ──────────────────────────────────────────────────────────────────────────────────────

FIELDS: Final[Mapping[tuple[str, str], Sequence[str]]] = {
    ("", "pods"): (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "namespaces"): ("status.phase",),
    ("", "secrets"): ("type",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("", "events"): (
        *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")),
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    ("batch", "jobs"): ("status.successful",),
}
"""The fields that builtin kinds can be selected by, besides metadata.name and metadata.namespace (pkg/apis/*/v1/conversion.go)."""

_EVENTS_V1: Final = {"regarding": "involvedObject", "reportingController": "reportingComponent"}


def parse_fields(text: str) -> list[FieldRequirement]:
    """Split a field selector into its conditions. Raises 400."""
    conditions = []
    for part in _split_escaped(text):
        match = re.fullmatch(r"((?:[^=!\\]|\\.|!(?!=))*?)(!=|==|=)(.*)", part, re.DOTALL)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        conditions.append(FieldRequirement(match[1], _unescaped(match[3]), match[2] != "!="))
    return conditions


def _unescaped(value: str) -> str:
    """Return the value of a condition without its escapes (apimachinery's fields.UnescapeValue). Raises 400."""
    if found := re.search(r"(?:[^\\]|^)(?:\\\\)*(\\[^\\,=])", value):
        raise bad_request(f"invalid field selector: invalid escape sequence: {found[1]}")
    if re.search(r"(?<!\\)(?:\\\\)*=", value):
        raise bad_request("invalid field selector: unescaped character in value: 61")
    return re.sub(r"\\([\\,=])", r"\1", value)


def _split_escaped(text: str) -> list[str]:
    parts = re.findall(r"(?:[^,\\]|\\.)+", text, re.DOTALL)
    return [part for part in parts if part]


def _field_requirement(resource: Resource, condition: FieldRequirement) -> FieldRequirement:
    group, plural, field = resource.group, resource.plural, condition.field
    if (group, plural) == ("events.k8s.io", "events"):
        head, dot, rest = field.partition(".")
        group, field = "", _EVENTS_V1.get(head, head) + dot + rest
    known = [path.removeprefix(".") for path in resource.selectable_fields] if resource.is_custom else FIELDS.get((group, plural), ())
    if field not in ("metadata.name", "metadata.namespace", *known):
        raise bad_request(_not_supported(resource, condition.field))
    return FieldRequirement(field, condition.value, condition.equal)


def _not_supported(resource: Resource, field: str) -> str:
    if resource.kind == "Job":
        return f'field label "{field}" not supported for Job'
    if resource.is_custom or (resource.group, resource.plural) in FIELDS or resource.group == "events.k8s.io":
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _reader(field: str) -> Callable[[Mapping[str, Any]], str]:
    special = _READERS.get(field)
    if special is not None:
        return special
    path = field.split(".")

    def read(obj: Mapping[str, Any]) -> str:
        value: Any = obj
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return _as_text(value)

    return read


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _flag(*path: str) -> Callable[[Mapping[str, Any]], str]:
    def read(obj: Mapping[str, Any]) -> str:
        value: Any = obj
        for name in path:
            value = (value or {}).get(name)
        return "true" if value else "false"

    return read


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "spec.hostNetwork": _flag("spec", "hostNetwork"),
    "spec.unschedulable": _flag("spec", "unschedulable"),
    "status.successful": lambda obj: str((obj.get("status") or {}).get("succeeded", 0)),
    "status.podIPs": lambda obj: ",".join(ip.get("ip", "") for ip in (obj.get("status") or {}).get("podIPs") or ()),
    "source": lambda obj: (obj.get("source") or {}).get("component") or obj.get("reportingComponent", ""),
}
