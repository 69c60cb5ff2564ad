"""What went wrong with an expression, in words: where, what was found, what there is instead, and the mend.

The CEL library says what happened inside it; what a user needs to know is which of their names it happened to.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

from backstay.expressions import syntax
from backstay.expressions.words import described, path_of, quoted, shortened, suggestion, there_are

Path: TypeAlias = tuple[str | int, ...]

OPTIONAL_RESULT: Final = 'the result is an optional value; end it with .orValue(…), as in params.?note.orValue("")'

FUNCTIONS: Final = (
    "all", "bool", "bytes", "charAt", "contains", "double", "duration", "dyn", "endsWith", "exists", "exists_one", "filter", "format",
    "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes", "getMonth",
    "getSeconds", "has", "hasValue", "indexOf", "int", "join", "lastIndexOf", "lowerAscii", "map", "matches", "optFlatMap", "optMap",
    "or", "orValue", "replace", "reverse", "size", "split", "startsWith", "string", "substring", "timestamp", "trim", "type",
    "uint", "upperAscii", "value", "math.abs", "math.ceil", "math.floor", "math.greatest", "math.isFinite", "math.isInf", "math.isNaN",
    "math.least", "math.round", "math.sign", "math.trunc", "base64.decode", "base64.encode", "cel.bind", "optional.none", "optional.of",
    "optional.ofNonZeroValue", "strings.quote", "json.encode", "json.decode", "sum", "lists.range", "sort", "sortBy", "distinct", "flatten", "slice", "first", "last",
    "sets.contains", "sets.equivalent", "sets.intersects", "regex.replace", "regex.extract", "regex.extractAll", "math.sqrt",
    "math.bitAnd", "math.bitOr", "math.bitXor", "math.bitNot", "math.bitShiftLeft", "math.bitShiftRight",
)  # fmt: skip
"""What CEL and the extensions in use offer; for suggestions only, the compiler decides."""

_WORDS = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "True": "true",
    "False": "false",
    "None": "null",
    "nil": "null",
    "is": "==",
    "=": "==",
    "&": "&&",
    "|": "||",
}
_TYPES = {
    "int": "a whole number", "int64": "a whole number", "uint": "an unsigned number", "uint64": "an unsigned number", "double": "a decimal number",
    "string": "text", "bytes": "bytes", "bool": "true or false", "list": "a list", "map": "a map", "null_type": "null", "null": "null",
    "timestamp": "a timestamp", "duration": "a duration", "google.protobuf.Timestamp": "a timestamp", "google.protobuf.Duration": "a duration",
    "type": "a type", "dyn": "any value",
}  # fmt: skip
_NUMBERS = {"a whole number", "an unsigned number", "a decimal number"}


# --------------------------------------------------------------------------------------------------------------------- compilation


def compilation(source: str, variables: Collection[str], error: str) -> str:
    """Turn the compiler's first error into a message with position and mend."""
    if "recursion" in error:
        return "the expression nests too deeply (32 levels; each operator in a row counts as one); work part of it out in a set step before"
    found = re.search(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)", error)
    if not found:
        return error.removesuffix(" [INVALID_ARGUMENT]").removeprefix("INVALID_ARGUMENT: ")
    index = _index(source, int(found[1]), int(found[2]))
    if unknown := re.match(r"undeclared reference to '(.+?)'", found[3]):
        return _unknown_name(unknown[1], source, index, variables)
    return f"position {index + 1}: {_compiler_says(found[3].removesuffix(' [INVALID_ARGUMENT]'), source, index)}"


def _index(source: str, line: int, column: int) -> int:
    before = source.splitlines(keepends=True)[: max(line - 1, 0)]
    return min(sum(map(len, before)) + max(column - 1, 0), len(source))


def _compiler_says(text: str, source: str, index: int) -> str:
    if found := re.match(r"found no matching overload for '(.+?)' applied to '\((.*)\)'", text):
        return _no_overload(found[1], found[2])
    if "token recognition error" in text:
        return _strange_character(source, index)
    if found := re.match(r"Syntax error: (?:extraneous|mismatched) input '(.*?)' expecting", text):
        return _unexpected(found[1])
    if "no viable alternative" in text:
        return _unexpected(source[index:] or "<EOF>")
    if found := re.match(r"Syntax error: missing '(.+?)' at", text):
        return f'"{found[1]}" is missing here'
    return text.removeprefix("Syntax error: ")


def _unknown_name(name: str, source: str, index: int, variables: Collection[str]) -> str:
    """Speak of a name that is not declared; the compiler points to the end of `a.b.c`, or to the parenthesis of a function."""
    first = name.split(".")[0]
    if dashed := _dashed(first, source):
        return dashed
    if source[index : index + 1] == "(":
        return f'position {index + 1}: there is no function "{name}"{suggestion(name, FUNCTIONS)}'
    position = max(source.rfind(first, 0, index + len(first)), 0) + 1
    if name in _WORDS:
        return f'position {position}: "{name}" is unknown; write {_WORDS[name]}'
    return f'position {position}: there is no "{first}" here; {there_are(variables)}{suggestion(first, variables)}'


def _dashed(name: str, source: str) -> str:
    """Recognise `steps.card-check.outputs`, which CEL reads as `steps.card` minus `check.outputs`."""
    for found in re.finditer(r"\b((?:[A-Za-z_]\w*\.)+)([A-Za-z_]\w*(?:-\w+)+)", source, re.ASCII):
        if name in found[2].split("-")[1:]:
            path = f'{found[1].rstrip(".")}["{found[2]}"]'
            return f'position {found.start(2) + 1}: "{found[2]}" is read as a subtraction because of its dash; write {path}'
    return ""


def _strange_character(source: str, index: int) -> str:
    character = source[index : index + 1]
    if character in _WORDS:
        return f'"{character}" is no operator; write {_WORDS[character]}'
    if character in ("'", '"', "`"):
        return "the text that begins here does not end, or has a backslash that means nothing; write \\\\ for a backslash"
    return f"{character!r} means nothing here"


def _unexpected(found: str) -> str:
    if found == "<EOF>":
        return "the expression ends too early; something is missing at its end"
    if found in _WORDS:
        return f'"{found}" is no operator; write {_WORDS[found]}'
    return f'"{found}" is not expected here; is an operator such as && or + missing before it?'


# --------------------------------------------------------------------------------------------------------------------- evaluation


def evaluation(tree: syntax.Node, data: Mapping[str, Any], source: str, error: str) -> str:
    """Turn an error of the evaluation into a message that names the path, what is there, and the mend."""
    text = _stripped(error)
    if found := re.match(r'Key not found in map : "?(.*?)"?$', text, re.DOTALL):
        return _missing_key(tree, data, source, found[1])
    if text.startswith(("Applying SELECT", "Invalid container type")):
        return _not_a_map(tree, data, source)
    return f"{shortened(source)}: {engine_says(error)}"


def _stripped(error: str) -> str:
    return re.sub(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$", "", error.strip())


def _missing_key(tree: syntax.Node, data: Mapping[str, Any], source: str, key: str) -> str:
    for path in _paths(tree):
        container, failed = _follow(path, data)
        if failed and path[failed] == key and isinstance(container, Mapping):
            return f"{_written(path[: failed + 1])}: there is no {quoted(key)}{_instead(path[:failed], container, key, data)}"
    for variable, place, item in _items_without(tree, data, key):
        return f"{path_of((variable, key))}: there is no {quoted(key)} in {place}; {_known(item, key)}"
    return f"{shortened(source)}: there is no {quoted(key)}; test with {quoted(key)} in …, or has(…), before"


def _instead(path: Path, container: Mapping[str, Any], key: str, data: Mapping[str, Any]) -> str:
    """Say what there is where something is missing: other names, or why there are none."""
    if container:
        return f"; {_known(container, key)}"
    if path == ("vars",):
        return "; no variable has been given a value yet"
    if len(path) == 3 and path[0] == "steps" and path[2] == "outputs":
        step = data["steps"][path[1]]
        phase = str(step.get("phase", "")) if isinstance(step, Mapping) else ""
        return f": {path[1]} {_WITHOUT_OUTPUTS.get(phase, 'has no outputs yet')}; test with has({_written((*path, key))}) before"
    return "; there is nothing here"


_WITHOUT_OUTPUTS = {
    "Pending": "has not begun",
    "Skipped": "was skipped and has no outputs",
    "Failed": "failed and has no outputs",
    "Caught": "failed, which a handler dealt with, and has no outputs",
    "Cancelled": "was cancelled and has no outputs",
    "Succeeded": "left no outputs behind",
}
"""By phase: why a step has none."""


def _known(container: Mapping[str, Any], key: str) -> str:
    known = list(map(str, container))
    return f"{there_are(known)}{suggestion(key, known)}"


def _items_without(tree: syntax.Node, data: Mapping[str, Any], key: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the elements that a loop goes through and that lack a name: the loop's variable, where the element is, and the element."""
    for node in syntax.walk(tree):
        if isinstance(node, syntax.Comprehension) and (path := _path(node.iterated)):
            found, failed = _follow(path, data)
            is_asked = any(part == syntax.Select(syntax.Identifier(node.variable), key, False) for part in syntax.walk(node.step))
            for index, item in enumerate(found if not failed and is_asked and isinstance(found, (list, tuple)) else ()):
                if isinstance(item, Mapping) and key not in item:
                    yield node.variable, _written((*path, index)), item


def _not_a_map(tree: syntax.Node, data: Mapping[str, Any], source: str) -> str:
    for path in _paths(tree):
        container, failed = _follow(path, data)
        if failed and not isinstance(container, Mapping):
            return f'{_written(path[: failed + 1])}: {_written(path[:failed])} is {described(container)}, which has no "{path[failed]}"'
    return f"{shortened(source)}: a name after a dot, or an index, stands on something that is neither a map nor a list"


def _paths(node: syntax.Node) -> Iterator[Path]:
    """Yield the paths in an expression, the longest at each place: names from a variable downwards, and indexes that are written out."""
    if path := _path(node):
        yield path
        return
    for child in syntax.children(node):
        yield from _paths(child)


def _path(node: syntax.Node) -> Path:
    match node:
        case syntax.Identifier(name):
            return (name,)
        case syntax.Select(operand, field, _):
            return (*path, field) if (path := _path(operand)) else ()
        case syntax.Call("_[_]", (operand, syntax.Constant(str() | int() as index)), None):
            return (*path, index) if (path := _path(operand)) else ()
    return ()


def _written(path: Path) -> str:
    written = ""
    for part in path:
        written = f"{written}[{part}]" if isinstance(part, int) else path_of((written, part)) if written else part
    return written


def _follow(path: Path, data: Mapping[str, Any]) -> tuple[Any, int]:
    """Follow a path through the data; return the last value reached and the index of the part that it lacks, 0 where nothing is lacking."""
    value: Any = data
    for index, part in enumerate(path):
        if isinstance(part, int):
            if not isinstance(value, (list, tuple)) or not 0 <= part < len(value):
                return value, index
            value = value[part]
        elif not isinstance(value, Mapping) or part not in value:
            return value, index
        else:
            value = value[part]
    return value, 0


_SAYINGS = (
    (r"Index error: index=(-?\d+) size=(\d+)", "there is no [{0}]; the list has {1}, counted from 0"),
    (
        r"String to Timestamp conversion failed",
        "timestamp() was given text that is no RFC 3339 time; it should read like 2027-01-31T09:00:00Z",
    ),
    (r"String to Duration conversion failed", "duration() was given text that is no duration; it should read like 1h30m or 90s"),
    (r"cannot convert string to (\w+)", "{0}() was given text that is no number"),
    (r"(?:divide|division) by zero|modulus by zero", "division by zero; test for it before, as in x == 0 ? 0 : y / x"),
    (r".*overflow.*", "the result does not fit into 64 bits; use double(…)"),
    (r".*[Ii]teration budget exceeded.*", "the loops take more than 10,000 turns; work on a smaller list"),
    (r"Integer value '(-?\d+)' out of range.*", "{0} does not fit into 64 bits; pass it as text"),
    (r"invalid regular expression: (.*)", "the regular expression is invalid (RE2): {0}"),
    (r".*construction from null.*", "a text in the data holds half of a character (a lone surrogate); mend it where it comes from"),
    (r"Non-CEL value type for '(\S+) .*", "{0} is of a type that JSON does not have"),
    (r".*(?:optional|plain_value|function return value).*", "the result holds an optional value; end it with .orValue(…)"),
    (r".*(?:bad_alloc|[Mm]emory).*", "there is not enough memory for it; work on smaller values"),
)


def engine_says(error: str) -> str:
    """Say an error of the evaluation in plain words, without what it happened to."""
    text = _stripped(error)
    if found := re.match(r"No matching overloads found : \((.*?)\)\.(\w+)\((.*)\)$", text):
        return _no_overload(found[2], ", ".join(filter(None, (found[1], found[3]))))
    if found := re.match(r"No matching overloads found : (\S+?)(?:\((.*)\))?$", text):
        return _no_overload(found[1], found[2] or "")
    for pattern, saying in _SAYINGS:
        if found := re.match(pattern, text, re.DOTALL):
            return saying.format(*found.groups())
    return text


# --------------------------------------------------------------------------------------------------------------------------- types


def _no_overload(function: str, arguments: str) -> str:
    if function == "<jump_condition>":
        return "what stands before ? is neither true nor false"
    types = [type_in_words(argument) for argument in re.split(r",\s*(?![^(]*\))", arguments)] if arguments else []
    name = operator(function)
    if not types:
        return f"{name} works on true and false only" if name in ("&&", "||", "!") else f"{name} does not work on what it was given"
    joined = types[0] if len(types) == 1 else f"{', '.join(types[:-1])} and {types[-1]}"
    return f"{name} does not work on {joined}{conversion(name, types)}"


def operator(function: str) -> str:
    """Write a function of the syntax tree as people do: `+` for `_+_`, `size()` for `size`."""
    if function in ("_[_]", "_[?_]"):
        return "[ ]"
    symbol = re.sub(r"^_?([^_\w]+)_?$", r"\1", function)
    return "in" if function == "@in" else "? :" if function == "_?_:_" else symbol if symbol != function else f"{function}()"


def type_in_words(name: str) -> str:
    """Say a type of CEL: `int` is a whole number, `LIST<INT>` a list."""
    base = re.split(r"[(<]", name.strip())[0]
    return _TYPES.get(base) or _TYPES.get(base.lower(), base)


def conversion(name: str, types: list[str]) -> str:
    """Return the mend for a function that does not work on values of these types, in words; nothing where there is no common one."""
    kinds = set(types)
    if "null" in kinds:
        return "; test with != null before"
    if kinds <= _NUMBERS and len(kinds) > 1:
        return "; convert one of them with double(…) or int(…), or write 2.0 for 2"
    if "text" in kinds and kinds & _NUMBERS:
        return "; convert one of them with string(…), int(…) or double(…)"
    if name == "string()":
        return '; use "%s".format([…]), or a template without string()'
    return ""
