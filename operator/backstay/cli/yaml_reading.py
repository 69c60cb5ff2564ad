"""YAML as kubectl reads it, with the line of everything.

kubectl takes YAML 1.1 with JSON's types (sigs.k8s.io/yaml, go-yaml v2): `on` and `y` are booleans, also as names of fields; times stay text;
`1:30` is no number. It lets the last of two equal fields win in silence; here that is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from backstay.errors import BackstayError

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_NODES: Final = 500_000
"""What aliases may grow a document to: a few lines of them can stand for more than a machine's memory."""
MAX_DEPTH: Final = 200

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRUE: Final = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE: Final = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_INT: Final = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[1-9][0-9_]*|0)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL: Final = {f"{sign}.{form}": float(f"{sign}{form}") for sign in ("", "+", "-") for form in ("inf", "Inf", "INF")}
_NAN: Final = frozenset((".nan", ".NaN", ".NAN"))
_MERGE: Final = "tag:yaml.org,2002:merge"
_PATH: Final = re.compile(r'\.?([^.\[\]"]+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]')


class BadYaml(BackstayError):
    """A text that is no YAML, or none that can be a manifest. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(f"line {line}: {message}")


@dataclass(slots=True)
class Place:
    """Where a value stands: its line, counted from 1, and the places of what is in it, by field or index."""

    line: int
    inner: dict[str | int, "Place"] = field(default_factory=dict)

    def find(self, path: str) -> int:
        """Return the line of what a path such as `spec.steps[2].job` leads to, or of the innermost part of it that is there."""
        place = self
        for name, index, quoted in _PATH.findall(path):
            key: str | int = int(index) if index else quoted or name
            if key not in place.inner:
                break
            place = place.inner[key]
        return place.line


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a text: its value as JSON knows it, where everything stands, and what is wrong with its form."""

    value: Any
    place: Place
    faults: tuple[BadYaml, ...] = ()


def read_documents(text: str) -> Iterator[Document]:
    """Yield the documents of a text; empty ones are left out. Raises BadYaml where the text is no YAML: what came before it has been yielded."""
    if len(text) > MAX_BYTES:
        raise BadYaml(1, f"the text has {len(text):,} characters of at most {MAX_BYTES:,}; divide it")
    if (line := _too_deep(text)) is not None:
        raise BadYaml(line, f"the text nests more than {MAX_DEPTH} levels deep; make it flatter")
    loader = _LOADER(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None
            reading = _Reading()
            value, place = reading.read(node, 0)
            if value is not None:
                yield Document(value, place, tuple(reading.faults))
    except yaml.YAMLError as error:
        raise _bad(error, text) from None
    finally:
        loader.dispose()


def _too_deep(text: str) -> int | None:
    """Return the line where a text nests too deeply, if it does. Looked for event by event: to compose such a text would kill the process."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH and event.start_mark is not None:
                return event.start_mark.line + 1
    except yaml.YAMLError:
        return None  # it is told where the text is read, after what is before it
    return None


def _bad(error: yaml.YAMLError, text: str) -> BadYaml:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line if mark else 0
    words = getattr(error, "problem", None) or str(error)
    found = text.splitlines()[line : line + 1]
    hint = "; a tab cannot indent YAML, use spaces" if found and "\t" in found[0][: len(found[0]) - len(found[0].lstrip())] else ""
    return BadYaml(line + 1, f"it is no YAML: {words}{hint}")


class _Reading:
    """Turns the nodes of one document into values and places."""

    def __init__(self) -> None:
        self.faults: list[BadYaml] = []
        self._nodes = 0

    def read(self, node: yaml.Node, depth: int) -> tuple[Any, Place]:
        line = node.start_mark.line + 1
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise BadYaml(line, f"aliases make this document grow beyond {MAX_NODES:,} values; write it without them")
        if depth > MAX_DEPTH:
            raise BadYaml(line, f"the document nests more than {MAX_DEPTH} levels deep, or contains itself; make it flatter")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, depth)
        assert isinstance(node, yaml.ScalarNode)
        return scalar(node.value, plain=not node.style), Place(line)

    def _sequence(self, node: yaml.SequenceNode, depth: int) -> tuple[Any, Place]:
        found = [self.read(item, depth + 1) for item in node.value]
        return [value for value, _ in found], Place(node.start_mark.line + 1, {index: place for index, (_, place) in enumerate(found)})

    def _mapping(self, node: yaml.MappingNode, depth: int) -> tuple[Any, Place]:
        value: dict[str, Any] = {}
        here = Place(node.start_mark.line + 1)
        merged: list[tuple[dict[str, Any], Place]] = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged += self._merged(value_node, depth, key_node.start_mark.line + 1)
                continue
            key, line = self._key(key_node), key_node.start_mark.line + 1
            if key in value:
                self.faults.append(BadYaml(line, f'the field "{key}" stands here and in line {here.inner[key].line}; keep one of them'))
            value[key], inner = self.read(value_node, depth + 1)
            here.inner[key] = Place(line, inner.inner)
        for base, place in merged:
            for key, item in base.items():
                if key not in value:
                    value[key], here.inner[key] = item, place.inner[key]
        return value, here

    def _merged(self, node: yaml.Node, depth: int, line: int) -> list[tuple[dict[str, Any], Place]]:
        """The mappings that `<<` brings in; the first one wins."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found = [self.read(item, depth + 1) for item in nodes]
        if not all(isinstance(value, dict) for value, _ in found):
            raise BadYaml(line, "<< merges maps, and this is none; write the fields themselves")
        return found

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise BadYaml(node.start_mark.line + 1, "the name of a field must be text, and this is a list or a map; write it in quotes")
        value = scalar(node.value, plain=not node.style)
        if isinstance(value, str):
            return value
        line = node.start_mark.line + 1
        if isinstance(value, bool):
            word = str(value).lower()
            if node.value.lower() != word:
                message = f'YAML reads the field name {node.value} as {word}; write it in quotes: "{node.value}"'
                self.faults.append(BadYaml(line, message))
            return word
        return "null" if value is None else str(value)


def scalar(text: str, *, plain: bool) -> Any:
    """Return what kubectl takes a scalar for. `plain` is one without quotes; any other is text."""
    if not plain:
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), -float("inf")):
            return text
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if text in _NAN:
        return float("nan")
    return _SPECIAL.get(text, text)


def _integer(text: str) -> int | float | str:
    digits = text.replace("_", "").lower()
    sign, digits = (digits[0], digits[1:]) if digits[0] in "+-" else ("", digits)
    base = {"0b": 2, "0x": 16, "0o": 8}.get(digits[:2], 8 if digits.startswith("0") and len(digits) > 1 else 10)
    body = digits[2:] if digits[:2] in ("0b", "0x", "0o") else digits
    if not body:
        return text
    number = int(sign + body, base)
    return number if -(2**63) <= number < 2**63 else float(number)
