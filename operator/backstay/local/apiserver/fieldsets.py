"""Sets of fields, and what two objects differ in, for server-side apply.

A path is a tuple of elements as `managedFields` spells them: `f:spec`, `k:{"name":"main"}` (an item of a list-map), `v:"x"` (an item of a
set). A set of fields is a plain `set` of paths, so that union and difference are Python's own. The rules are those of
sigs.k8s.io/structured-merge-diff (v6): what is a leaf, what an item owns, in which order lists merge.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from backstay.local.apiserver.shapes import Shape

Path = tuple[str, ...]
Paths = set[Path]

_MISSING: Final = object()


class ShapeError(Exception):
    """An object does not fit its shape: an undeclared field, an item without its keys. `problems` are "path: what"."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = problems


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def field_set(value: Any, shape: Shape) -> Paths:
    """Return every field that a configuration names: leaves, items, empty maps and entries of free maps."""
    found: Paths = set()
    _collect(value, shape, (), found)
    return found


def _collect(value: Any, shape: Shape, path: Path, found: Paths) -> None:
    if isinstance(value, dict) and not shape.is_atomic:
        for name, inner in value.items():
            below = (*path, f"f:{name}")
            _collect(inner, shape.child(name), below, found)
            if inner is None or inner == {} or not shape.knows(name):
                found.add(below)
    elif isinstance(value, list) and shape.list_type != "atomic":
        for element, inner in _items(value, shape, path):
            below = (*path, element)
            _collect(inner, shape.item(), below, found)
            found.add(below)
    elif value is not None:
        found.add(path)


def _items(values: list[Any], shape: Shape, path: Path) -> Iterable[tuple[str, Any]]:
    for index, value in enumerate(values):
        yield _element(value, shape, path, index), value


def _element(value: Any, shape: Shape, path: Path, index: int) -> str:
    if shape.list_type == "set":
        return f"v:{_json(value)}"
    found = {key: value.get(key, shape.key_default(key)) for key in shape.keys} if isinstance(value, dict) else {}
    present = {key: each for key, each in found.items() if each is not None}
    if not present:
        what = "associative list with keys has an element that omits all key fields"
        raise ShapeError(
            [f"{path_text(path)}: element {index}: {what} {list(shape.keys)} (and doesn't have default values for any key fields)"]
        )
    return f"k:{_json(present)}"


def undeclared(value: Any, shape: Shape, path: Path = ()) -> list[str]:
    """Return a line a field that the shape does not declare, where it declares any (apply refuses those)."""
    if isinstance(value, list):
        item = shape.item()
        elements = ((f"i:{index}", each) for index, each in enumerate(value)) if shape.list_type == "atomic" else _items(value, shape, path)
        return [line for element, each in elements for line in undeclared(each, item, (*path, element))]
    if not isinstance(value, dict):
        return []
    lines: list[str] = []
    for name, inner in value.items():
        below = (*path, f"f:{name}")
        if not shape.knows(name) and not shape.is_open:
            lines.append(f"{path_text(below)}: field not declared in schema")
        else:
            lines += undeclared(inner, shape.child(name), below)
    return lines


# ── comparing ───────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Comparison:
    """The fields that a change removed, changed and added."""

    removed: Paths = field(default_factory=set)
    modified: Paths = field(default_factory=set)
    added: Paths = field(default_factory=set)

    def without(self, ignored: Iterable[Path]) -> "Comparison":
        """Return the comparison with everything at or below the ignored paths left out."""
        prefixes = tuple(ignored)
        return Comparison(*(subtract(paths, prefixes) for paths in (self.removed, self.modified, self.added)))


def subtract(paths: Paths, prefixes: tuple[Path, ...]) -> Paths:
    """Return the paths that are neither at nor below any of the prefixes."""
    return {path for path in paths if not any(path[: len(prefix)] == prefix for prefix in prefixes)}


def compare(old: Any, new: Any, shape: Shape) -> Comparison:
    """Return what changed from `old` to `new`."""
    comparison = Comparison()
    _compare(old, new, shape, (), comparison)
    return comparison


def _compare(old: Any, new: Any, shape: Shape, path: Path, result: Comparison) -> None:
    if old is new or (old == new and old is not _MISSING):
        return
    children = None
    if not (_is_empty(old) and _is_empty(new)):
        children = _map_pairs(old, new, shape) or _list_pairs(old, new, shape, path)
    if children is None:
        _note(old, new, path, result)
        return
    for element, before, after, inner in children:
        _compare(before, after, inner, (*path, element), result)
    if old is _MISSING:
        result.added.add(path)
    elif new is _MISSING:
        result.removed.add(path)


def _note(old: Any, new: Any, path: Path, result: Comparison) -> None:
    if old is _MISSING:
        result.added.add(path)
    elif new is _MISSING:
        result.removed.add(path)
    else:
        result.modified.add(path)


def _is_empty(value: Any) -> bool:
    return value is _MISSING or value is None or value in ({}, [])


_Pairs = list[tuple[str, Any, Any, Shape]]


def _map_pairs(old: Any, new: Any, shape: Shape) -> _Pairs | None:
    before, after = ({} if _is_empty(side) else side for side in (old, new))
    if shape.is_atomic or not isinstance(before, dict) or not isinstance(after, dict):
        return None
    names = [*before, *(name for name in after if name not in before)]
    return [(f"f:{name}", before.get(name, _MISSING), after.get(name, _MISSING), shape.child(name)) for name in names]


def _list_pairs(old: Any, new: Any, shape: Shape, path: Path) -> _Pairs | None:
    before, after = ([] if _is_empty(side) else side for side in (old, new))
    if shape.list_type == "atomic" or not isinstance(before, list) or not isinstance(after, list):
        return None
    left, right = dict(_items(before, shape, path)), dict(_items(after, shape, path))
    elements = [*left, *(element for element in right if element not in left)]
    return [(element, left.get(element, _MISSING), right.get(element, _MISSING), shape.item()) for element in elements]


# ── merging and removing ────────────────────────────────────────────────────────────────────────


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """Return `live` with `config` laid over it; items of list-maps and sets keep their order as structured-merge-diff orders them."""
    if isinstance(live, dict) and isinstance(config, dict) and not shape.is_atomic:
        merged = {name: merge(value, config[name], shape.child(name)) if name in config else value for name, value in live.items()}
        return merged | {name: value for name, value in config.items() if name not in live}
    if isinstance(live, list) and isinstance(config, list) and shape.list_type != "atomic":
        return _merge_lists(live, config, shape)
    if config is None and isinstance(live, dict | list):
        return live
    return config


def _merge_lists(live: list[Any], config: list[Any], shape: Shape) -> list[Any]:
    left, right = dict(_items(live, shape, ())), dict(_items(config, shape, ()))
    shared = [element for element in right if element in left]
    lefts, rights = list(left), list(right)
    merged: list[Any] = []
    done: set[str] = set()
    i = j = 0

    def take(element: str) -> None:
        merged.append(merge(left[element], right[element], shape.item()) if element in left else right[element])
        done.add(element)
        if shared and shared[0] == element:
            shared.pop(0)

    while i < len(lefts) or j < len(rights):
        if i < len(lefts) and j < len(rights):
            if lefts[i] == rights[j]:
                take(lefts[i])
                i, j = i + 1, j + 1
                continue
            if lefts[i] in right and shared and shared[0] != lefts[i]:
                i += 1
                continue
        if i < len(lefts):
            if lefts[i] not in right:
                merged.append(left[lefts[i]])
                i += 1
                continue
            if lefts[i] in done:
                i += 1
        if j < len(rights):
            take(rights[j])
            j += 1
    return merged


def remove(value: Any, shape: Shape, paths: Paths) -> Any:
    """Return `value` without the fields at `paths`; maps and lists that become empty go too."""
    return _remove(value, shape, _tree(paths)) if paths else value


def _tree(paths: Iterable[Path]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path in paths:
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = True
    return root


def _remove(value: Any, shape: Shape, tree: Mapping[str, Any]) -> Any:
    if isinstance(value, dict) and value and not shape.is_atomic:
        pairs = ((name, inner, tree.get(f"f:{name}")) for name, inner in value.items())
        kept = (
            (name, inner if node is None else _remove(inner, shape.child(name), node)) for name, inner, node in pairs if not _ends(node)
        )
        return {name: inner for name, inner in kept if inner is not _MISSING} or _MISSING
    if isinstance(value, list) and value and shape.list_type != "atomic":
        items = ((inner, tree.get(element)) for element, inner in _items(value, shape, ()))
        left = [inner if node is None else _remove(inner, shape.item(), node) for inner, node in items if not _ends(node)]
        return [inner for inner in left if inner is not _MISSING] or _MISSING
    return value


def _ends(node: Mapping[str, Any] | None) -> bool:
    return node is not None and "." in node


def with_named_parents(paths: Paths, shape: Shape) -> Paths:
    """Return the paths with each declared field that leads to one of them (structured-merge-diff: EnsureNamedFieldsAreMembers)."""
    found = set(paths)
    for path in paths:
        place = shape
        for depth, element in enumerate(path[:-1], 1):
            kind, name = element[:2], element[2:]
            if kind != "f:":
                place = place.item()
                continue
            if place.knows(name):
                found.add(path[:depth])
            place = place.child(name)
    return found


# ── on the wire ─────────────────────────────────────────────────────────────────────────────────


def encode(paths: Paths) -> dict[str, Any]:
    """Return the set as `fieldsV1`: nested elements, `.` for a path that is a member and has members below."""
    return _encoded(_tree(paths))


def _encoded(tree: dict[str, Any]) -> dict[str, Any]:
    below = {element: _encoded(node) for element, node in sorted(tree.items()) if element != "."}
    return {".": {}, **below} if below and "." in tree else below


def decode(fields: Mapping[str, Any]) -> Paths:
    """Return the set that `fieldsV1` means."""
    found: Paths = set()
    _decode(fields, (), found)
    return found


def _decode(fields: Mapping[str, Any], path: Path, found: Paths) -> None:
    for element, below in fields.items():
        if element == ".":
            found.add(path)
        elif below:
            _decode(below, (*path, element), found)
        else:
            found.add((*path, element))


def in_order(path: Path) -> tuple[tuple[bool, str], ...]:
    """Return a key that sorts paths as structured-merge-diff lists them: at each place members first, then what is below."""
    return tuple((depth < len(path), element) for depth, element in enumerate(path, 1))


def path_text(path: Path) -> str:
    """Return a path as messages show it: `.spec.containers[name="main"].image`."""
    return "".join(_element_text(element) for element in path)


def _element_text(element: str) -> str:
    kind, rest = element[:2], element[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        return "[" + ",".join(f"{key}={_json(value)}" for key, value in orjson.loads(rest).items()) + "]"
    return f"[={rest}]" if kind == "v:" else f"[{rest}]"
