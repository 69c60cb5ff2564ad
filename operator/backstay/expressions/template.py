"""Values with expressions in them: `${ params.amount }` keeps its type, `order-${ params.id }` is text, `$${` is a literal `${`."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backstay.errors import EvaluationError, InvalidExpression
from backstay.expressions.cel import Program, compile_expression
from backstay.expressions.format import MAX_DEPTH, Json, to_text
from backstay.expressions.limits import check_size
from backstay.expressions.words import field_path

Render = Callable[[Mapping[str, Any]], Json]
Interpolated = Callable[[str], str] | None
_QUOTES = ('"""', "'''", '"', "'")


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value whose strings may hold expressions, compiled."""

    value: Json
    expressions: tuple[tuple[str, str], ...]
    """Where in the value each expression stands, and its source: ("args[1]", "params.orderId")."""
    _render: Render | None

    @property
    def is_constant(self) -> bool:
        """Whether it renders to the same value whatever the data."""
        return not self.expressions

    def render(self, data: Mapping[str, Any]) -> Json:
        """Return the value with its expressions evaluated.

        A string that is one whole `${ }`, white space around it aside, becomes what the expression gives. Other strings are put together:
        strings as they are, other values as JSON text. Raises EvaluationError, whose message begins with the place inside the value.
        """
        return self.value if self._render is None else self._render(data)

    def render_text(self, data: Mapping[str, Any]) -> str:
        """Render, and write what is no string as JSON text."""
        return to_text(self.render(data))


def compile_template(value: Json, variables: Collection[str], interpolated: Interpolated = None) -> Template:
    """Compile a JSON value whose strings may hold expressions over `variables`.

    Every string that an expression gives goes through `interpolated`, where it is there: for places that read more into a text than it says.

    Raises InvalidExpression, whose `path` says where in the value, as in `args[1]`, and is empty where the value is a string.
    """
    names = frozenset(variables)
    found: list[tuple[str, str]] = []
    render = _compile(value, "", names, found, 0, interpolated)
    if callable(render):
        return Template(value, tuple(found), _limited(render) if found else None) if found else Template(render({}), (), None)
    return Template(value, (), None)


def find_expressions(value: Json) -> Iterator[tuple[str, str]]:
    """Yield where in a value each expression stands, and its source. Raises InvalidExpression at a `${` that does not end."""
    for path, text in _strings(value, "", 0):
        for part in _located(path, text):
            if isinstance(part, _Source):
                yield path, part.text


def whole_expression(text: str) -> str | None:
    """Return the source of the only expression of a text that holds nothing else but white space, or None. Raises InvalidExpression as above."""
    parts = [part for part in _located("", text) if isinstance(part, _Source) or part.strip()]
    return parts[0].text if len(parts) == 1 and isinstance(parts[0], _Source) else None


def leading_expression(text: str) -> tuple[str, str]:
    """Split a text after the expression that it begins with: that one, and the rest; the first part is empty where it begins with none.

    Raises InvalidExpression at a `${` that does not end.
    """
    if not text.startswith("${"):
        return "", text
    try:
        end = _end_of_expression(text, 2) + 1
    except ValueError as error:
        raise InvalidExpression(str(error)) from None
    return text[:end], text[end:]


# ----------------------------------------------------------------------------------------------------------------------- structure


def _compile(
    value: Json, path: str, variables: frozenset[str], found: list[tuple[str, str]], depth: int, interpolated: Interpolated
) -> Render | None:
    """Return how to render a value, or None where it renders to itself."""
    if isinstance(value, str):
        return _compile_text(value, path, variables, found, interpolated)
    if not isinstance(value, (Mapping, list, tuple)):
        return None
    _check_depth(depth, path)
    if isinstance(value, Mapping):
        fields = {key: _compile(item, field_path(path, str(key)), variables, found, depth + 1, interpolated) for key, item in value.items()}
        if any(fields.values()):
            return lambda data: {key: value[key] if render is None else render(data) for key, render in fields.items()}
        return None
    items = [_compile(item, f"{path}[{index}]", variables, found, depth + 1, interpolated) for index, item in enumerate(value)]
    if any(items):
        return lambda data: [value[index] if render is None else render(data) for index, render in enumerate(items)]
    return None


def _strings(value: Json, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        _check_depth(depth, path)
        for key, item in value.items():
            yield from _strings(item, field_path(path, str(key)), depth + 1)
    elif isinstance(value, (list, tuple)):
        _check_depth(depth, path)
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]", depth + 1)


def _check_depth(depth: int, path: str) -> None:
    if depth >= MAX_DEPTH:
        raise InvalidExpression(f"the value nests deeper than {MAX_DEPTH} levels; make it flatter", path)


def _limited(render: Render) -> Render:
    def checked(data: Mapping[str, Any]) -> Json:
        result = render(data)
        check_size(result, "the value")
        return result

    return checked


# ---------------------------------------------------------------------------------------------------------------------------- text


@dataclass(frozen=True, slots=True)
class _Source:
    """The inside of one `${ }`."""

    text: str


def _compile_text(
    text: str, path: str, variables: frozenset[str], found: list[tuple[str, str]], interpolated: Interpolated
) -> Render | None:
    if "${" not in text:
        return None
    parts = _located(path, text)
    programs: list[str | Program] = []
    for part in parts:
        if isinstance(part, _Source):
            programs.append(_located_program(part.text, path, variables))
            found.append((path, part.text))
        else:
            programs.append(part)
    if whole := _whole(programs):
        return lambda data: _evaluate(whole, path, data, interpolated)
    return lambda data: "".join(part if isinstance(part, str) else to_text(_evaluate(part, path, data, interpolated)) for part in programs)


def _whole(parts: list[str | Program]) -> Program | None:
    """Return the only expression of a text that holds nothing else but white space."""
    programs = [part for part in parts if isinstance(part, Program)]
    others = "".join(part for part in parts if isinstance(part, str))
    return programs[0] if len(programs) == 1 and not others.strip() else None


def _evaluate(program: Program, path: str, data: Mapping[str, Any], interpolated: Interpolated) -> Json:
    try:
        value = program.evaluate(data)
        return value if interpolated is None else _with_strings(value, interpolated)
    except EvaluationError as error:
        raise EvaluationError(f"{path}: {error}" if path else str(error)) from None


def _with_strings(value: Json, change: Callable[[str], str]) -> Json:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _with_strings(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_strings(item, change) for item in value]
    return value


def _located_program(source: str, path: str, variables: frozenset[str]) -> Program:
    try:
        return compile_expression(source, variables)
    except InvalidExpression as error:
        raise InvalidExpression(error.message, path) from None


def _located(path: str, text: str) -> list[str | _Source]:
    try:
        return list(_split(text))
    except ValueError as error:
        raise InvalidExpression(str(error), path) from None


def _split(text: str) -> Iterator[str | _Source]:
    """Split a text into literal parts and expressions. Raises ValueError at a `${` that does not end."""
    position = 0
    while (start := text.find("${", position)) >= 0:
        if start > position and text[start - 1] == "$":
            yield text[position : start - 1] + "${"
            position = start + 2
            continue
        end = _end_of_expression(text, start + 2)
        if start > position:
            yield text[position:start]
        yield _Source(text[start + 2 : end].strip())
        position = end + 1
    if position < len(text):
        yield text[position:]


def _end_of_expression(text: str, start: int) -> int:
    """Return the index of the `}` that ends the expression beginning at `start`: not one in a string, a map or a comment."""
    depth, index = 0, start
    while index < len(text):
        character = text[index]
        if character in "\"'":
            index = _end_of_string(text, index)
            continue
        if text.startswith("//", index):
            newline = text.find("\n", index)
            index = len(text) if newline < 0 else newline
            continue
        if character == "}" and not depth:
            return index
        depth += (character == "{") - (character == "}")
        index += 1
    raise ValueError(f'"${{" at position {start - 1} has no end; close it with }}, or write $${{ for a literal ${{')


def _end_of_string(text: str, start: int) -> int:
    """Return the index after a string literal of CEL that begins at `start`, or after the text where the literal does not end."""
    quote = next(quote for quote in _QUOTES if text.startswith(quote, start))
    is_raw = (
        text[max(start - 2, 0) : start].lower().endswith(("r", "rb", "br"))
        and not text[max(start - 3, 0) : start - 1].rstrip("bBrR").isidentifier()
    )
    index = start + len(quote)
    while index < len(text):
        if text.startswith(quote, index):
            return index + len(quote)
        index += 2 if text[index] == "\\" and not is_raw else 1
    return len(text)
