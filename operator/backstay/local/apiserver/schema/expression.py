"""The rules of `x-kubernetes-validations`, compiled: what they need, what they say when they fail.

Reference: Kubernetes' "Validation rules" for CustomResourceDefinitions and apiextensions-apiserver's schema/cel (v1.37).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backstay.local.apiserver.schema.cel_env import OLD, CelError, Expression, compile_expression

if TYPE_CHECKING:
    from backstay.local.apiserver.schema.node import Node

_STRINGS: Final = re.compile(r"""[rR]?("{3}.*?"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""", re.DOTALL)
_OLD_SELF: Final = re.compile(r"(?<![.\w])oldSelf\b")
_ROOT: Final = re.compile(r"(?<![.\w])(?:self|oldSelf)\b(?P<member>\s*\.\s*\w+\b(?!\s*\())?")
_CHAIN: Final = re.compile(r"(?P<has>\bhas\(\s*)?(?<![.\w])(?P<root>self|oldSelf)(?P<chain>(?:\.[A-Za-z_]\w*\b(?!\())+)")
_HAS: Final = re.compile(r"\bhas\(\s*(?:self|oldSelf)\.(?P<member>\w+)\s*\)")
_MESSAGE_LIMIT_BYTES: Final = 5 * 1024
_CASTS: Final = {"date": "timestamp", "datetime": "timestamp", "duration": "duration"}
_RESERVED: Final = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"}
    | {"namespace", "return", "var", "void", "while"}
)
_SCALARS: Final = {"string": "string", "integer": "int", "number": "double", "boolean": "bool"}
_META_MEMBERS: Final = frozenset({"apiVersion", "kind", "metadata"})


@dataclass(slots=True)
class Rule:
    """One rule; `error` holds the compiler's report where it does not compile (it then refuses every object)."""

    text: str
    message: str
    reason: str
    path: str
    optional_old: bool
    uses_old: bool
    members: frozenset[str] | None
    """The members of self and oldSelf that the rule looks at; None where it looks at them as a whole."""
    tested: frozenset[str]
    """Those of them that it only asks `has()` for."""
    program: Expression | None
    message_program: Expression | None
    error: str
    message_error: str

    @property
    def shown(self) -> str:
        """What stands for the rule in messages about its failure to run."""
        return self.message or self.text.strip()

    def holds(self, value: Any, old: tuple[Any, ...]) -> bool:
        """Evaluate; `old` holds the old value or nothing. Raises CelError."""
        if self.program is None:
            raise CelError(self.error)
        return self.program.run(self._variables(value, old)) is True

    def says(self, value: Any, old: tuple[Any, ...]) -> str:
        """Return the message for a value that breaks the rule: messageExpression's if it gives a good one, else message, else the rule."""
        if self.message_program is not None:
            try:
                text = self.message_program.run(self._variables(value, old))
            except CelError:
                text = None
            if isinstance(text, str) and (text := text.strip()) and "\n" not in text and len(text.encode()) <= _MESSAGE_LIMIT_BYTES:
                return text
        return self.message or f"failed rule: {self.text.strip()}"

    def _variables(self, value: Any, old: tuple[Any, ...]) -> dict[str, Any]:
        variables: dict[str, Any] = {"self": value}
        if self.optional_old:
            variables[OLD] = list(old)
        elif old:
            variables["oldSelf"] = old[0]
        return variables


def compile_rules(rules: Iterable[Mapping[str, Any]], node: Node) -> tuple[Rule, ...]:
    """Compile the rules that stand at a node, with the node's schema at hand."""
    return tuple(_compile(rule, node) for rule in rules)


def _compile(rule: Mapping[str, Any], node: Node) -> Rule:
    text: str = rule["rule"]
    optional = bool(rule.get("optionalOldSelf"))
    bare = _STRINGS.sub('""', text)
    program, error = _program(text, node, optional, "bool")
    message_text = rule.get("messageExpression") or ""
    message_program, message_error = _program(message_text, node, optional, "string") if message_text.strip() else (None, "")
    return Rule(
        text=text,
        message=(rule.get("message") or "").strip(),
        reason=rule.get("reason") or "FieldValueInvalid",
        path=rule.get("fieldPath") or "",
        optional_old=optional,
        uses_old=bool(_OLD_SELF.search(bare)),
        members=_members(_STRINGS.sub('""', f"{text} {message_text}")),
        tested=_tested(_STRINGS.sub('""', f"{text} {message_text}")),
        program=program,
        message_program=message_program,
        error=error,
        message_error=message_error,
    )


def _program(text: str, node: Node, optional: bool, wanted: str) -> tuple[Expression | None, str]:
    missing = unknown_member(text, node)
    if missing:
        return None, f"compilation failed: {missing}"
    source = _with_casts(text, node)
    if optional:
        source = f"cel.bind(oldSelf, {OLD}.size() > 0 ? optional.of({OLD}[0]) : optional.none(), {source}\n)"
    try:
        program = compile_expression(source)
    except CelError as error:
        return None, f"compilation failed: {error}"
    if program.result_type.lower() not in (wanted, "dyn"):
        return None, "cel expression must evaluate to a bool" if wanted == "bool" else "messageExpression must evaluate to a string"
    return program, ""


def _members(bare: str) -> frozenset[str] | None:
    found = [match.group("member") for match in _ROOT.finditer(bare)]
    if any(member is None for member in found):
        return None
    return frozenset(member.strip(" .\t\n") for member in found)


def _tested(bare: str) -> frozenset[str]:
    """Return the members that occur only as `has(self.member)`."""
    asked = {match.group("member") for match in _HAS.finditer(bare)}
    used = _members(_HAS.sub(" ", bare)) or frozenset()
    return frozenset(asked - used)


def unknown_member(text: str, node: Node) -> str:
    """Return the compiler's report on the first member in `self.a.b` that the schema does not have, or ""."""
    for match in _CHAIN.finditer(_blanked(text)):
        column = match.start("chain")
        place: Node | None = node
        names = match.group("chain")[1:].split(".")
        for index, name in enumerate(names):
            if match.group("has") and index == len(names) - 1:
                column = match.start("has") + match.group("has").index("(")
            if place is not None and (scalar := next((type_ for type_ in place.types if type_ in _SCALARS), "")) and len(place.types) == 1:
                return _report(text, column, f"type '{_SCALARS[scalar]}' does not support field selection")
            if place is None or not _is_closed(place):
                break
            if place.embedded and name in _META_MEMBERS:
                break
            seen = (member for member, sub in place.properties.items() if sub.has_cel_type)
            original = next((member for member in seen if escaped_name(member) == name), None)
            if original is None:
                return _report(text, column, f"undefined field '{name}'")
            column += len(name) + 1
            place = place.properties[original]
    return ""


def _is_closed(node: Node) -> bool:
    """Tell whether CEL knows all members; that the schema lets others be makes no difference to it."""
    return bool(node.properties) and node.additional is None


def _report(text: str, column: int, problem: str) -> str:
    before = text[:column]
    line_number, line_start = before.count("\n") + 1, before.rfind("\n") + 1
    line = text[line_start:].partition("\n")[0]
    dots = "." * (column - line_start)
    return f"ERROR: <input>:{line_number}:{column - line_start + 1}: {problem}\n | {line}\n | {dots}^"


def _blanked(text: str) -> str:
    """Blank out string literals, keeping every position."""
    return _STRINGS.sub(lambda match: '"' + " " * (len(match.group(0)) - 2) + '"', text)


def _with_casts(text: str, node: Node) -> str:
    """Wrap `self.a.b` into `timestamp()` or `duration()` where the schema says so: JSON has only strings, the server's CEL has types."""
    if not node.needs_casts:
        return text
    pieces, end = [], 0
    for match in _CHAIN.finditer(_blanked(text)):
        cast = _cast_of(node, match.group("chain")[1:].split("."))
        if cast and not match.group("has"):
            start = match.start("root")
            pieces += [text[end:start], f"{cast}({text[start : match.end()]})"]
            end = match.end()
    return "".join([*pieces, text[end:]])


def _cast_of(node: Node, names: list[str]) -> str:
    place: Node | None = node
    for name in names:
        place = place.child(name) if place is not None else None
    return _CASTS.get(place.format.replace("-", ""), "") if place is not None else ""


def escaped_name(name: str) -> str:
    """Return how CEL writes the name of a member: reserved words and `.`, `-`, `/`, `__` are escaped."""
    if name in _RESERVED:
        return f"__{name}__"
    if not re.search(r"__|[.\-/]", name):
        return name
    named = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
    return re.sub(r"__|[.\-/]", lambda match: named[match.group(0)], name)
