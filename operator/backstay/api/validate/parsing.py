"""From a manifest to its model; what the models refuse, in plain words with the path as it reads in YAML and the mend."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from backstay.api.actions.job import ENV_NAME_PATTERN
from backstay.api.base import ERROR_TYPE_PATTERN, IDENTIFIER_PATTERN, NAME_PATTERN, Model
from backstay.api.circuit import SHARE_PATTERN as CIRCUIT_SHARE_PATTERN
from backstay.api.circuit import CircuitBreakerSpec
from backstay.api.run import WorkflowRunSpec
from backstay.api.semaphore import SemaphoreSpec
from backstay.api.validate.fields import fields_of, model_at, owner_of
from backstay.api.validate.limits import MAX_PARAMETERS_BYTES, MAX_SPEC_BYTES, check_json
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidDefinition, Problem
from backstay.expressions.words import described, field_path, quoted, suggestion, there_are

Spec = TypeVar("Spec", bound=Model)
Location = tuple[str | int, ...]


def parse_workflow(manifest_spec: Mapping[str, Any]) -> WorkflowSpec:
    """Read the `spec` of a Workflow. Raises InvalidDefinition with everything that the models refuse, in the order of the fields."""
    return _parse(WorkflowSpec, manifest_spec, "Workflow")


def parse_run(manifest_spec: Mapping[str, Any]) -> WorkflowRunSpec:
    """Read the `spec` of a WorkflowRun; paths inside an inline definition begin with `workflow.inline`. Raises InvalidDefinition."""
    return _parse(WorkflowRunSpec, manifest_spec, "WorkflowRun")


def parse_semaphore(manifest_spec: Mapping[str, Any]) -> SemaphoreSpec:
    """Read the `spec` of a Semaphore. Raises InvalidDefinition."""
    return _parse(SemaphoreSpec, manifest_spec, "Semaphore")


def parse_circuit_breaker(manifest_spec: Mapping[str, Any]) -> CircuitBreakerSpec:
    """Read the `spec` of a CircuitBreaker. Raises InvalidDefinition."""
    return _parse(CircuitBreakerSpec, manifest_spec, "CircuitBreaker")


def _parse(model: type[Spec], manifest: Mapping[str, Any], kind: str) -> Spec:
    if not isinstance(manifest, Mapping):
        raise InvalidDefinition([Problem("", f"the spec of a {kind} is a map of fields, and this is {described(manifest)}")])
    parameters = manifest.get("parameters") if kind == "WorkflowRun" else None
    rest = {name: value for name, value in manifest.items() if name != "parameters"} if parameters is not None else manifest
    problems = [*check_json(rest, "", MAX_SPEC_BYTES), *check_json(parameters, "parameters", MAX_PARAMETERS_BYTES)]
    if problems:
        raise InvalidDefinition(problems)
    try:
        return model.model_validate_json(orjson.dumps(manifest, default=dict), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidDefinition(_problems(model, manifest, error)) from None


def _problems(model: type[Model], manifest: Mapping[str, Any], error: ValidationError) -> list[Problem]:
    """Translate what pydantic found. A value that fits none of several types is one problem, not one for each type."""
    found: dict[tuple[str, str], Problem] = {}
    wanted: dict[Location, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        location = _real_location(manifest, detail["loc"])
        if detail["type"] == "missing":
            name = str(detail["loc"][-1])
            found[path_of(location), name] = Problem(path_of(location), f"missing field {quoted(name)}: add it")
            continue
        if words := _WANTED.get(detail["type"]):
            wanted.setdefault(location, []).append(words)
            detail_path = path_of(location)
            message = _wrong_type(wanted[location], _value_at(manifest, location))
            found[detail_path, "type"] = Problem(detail_path, message)
        elif problem := _translated(model, manifest, location, detail):
            found[problem.path, problem.message] = problem
    return list(found.values())


def path_of(location: Location) -> str:
    """Write a location as a path in YAML: ("steps", 0, "job") is `steps[0].job`."""
    path = ""
    for part in location:
        path = f"{path}[{part}]" if isinstance(part, int) else field_path(path, part)
    return path


def _real_location(manifest: Any, location: Location) -> Location:
    """Leave out what pydantic puts into a location besides the manifest's own names: tags of unions, marks of keys."""
    real: list[str | int] = []
    value = manifest
    for part in location:
        is_there = (
            part in value
            if isinstance(value, Mapping)
            else isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value)
        )
        if is_there:
            real.append(part)
            value = value[part]
    return tuple(real)


def _value_at(manifest: Any, location: Location) -> Any:
    value = manifest
    for part in location:
        value = value[part]
    return value


# --------------------------------------------------------------------------------------------------------------------------- words

_WANTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
}

_PATTERNS: Final = {
    ERROR_TYPE_PATTERN: "is no error type; write letters, digits, dots, dashes and underscores, as in CardDeclined",
    ENV_NAME_PATTERN: "is no name of a variable; write letters, digits, dots, dashes and underscores, as in SHOP_DB",
    CIRCUIT_SHARE_PATTERN: 'is no percentage; write 1% to 100%, as in "50%"',
    NAME_PATTERN: "is no name; write lower-case letters, digits and dashes, as in card-check",
    IDENTIFIER_PATTERN: "is no name that expressions can use; write letters, digits and underscores, as in orderId",
}

_BOUNDS: Final = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _translated(model: type[Model], manifest: Any, location: Location, detail: ErrorDetails) -> Problem | None:
    kind, context, path = detail["type"], detail.get("ctx", {}), path_of(location)
    if kind == "extra_forbidden":
        return Problem(path_of(location[:-1]), _unknown_field(model_at(model, location[:-1]), str(location[-1])))
    value = _value_at(manifest, location)
    if kind == "value_error":
        return Problem(path, str(context["error"]))
    if kind in ("literal_error", "enum"):
        known = re.findall(r"'([^']*)'", str(context["expected"]))
        return Problem(path, f"{quoted(value)} is unknown; {there_are(known)}{suggestion(str(value), known)}")
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return Problem(path, f"is {value} and must be {words} {context[bound]:g}")
    if kind == "string_pattern_mismatch":
        return Problem(path, f"{quoted(value)} {_PATTERNS.get(context['pattern'], 'has characters that are not allowed here')}")
    if kind in _LENGTHS:
        return _LENGTHS[kind](path, value, context)
    return Problem(path, f"{quoted(value)} is not allowed here")


def _unknown_field(model: type[Model] | None, name: str) -> str:
    known = list(fields_of(model)) if model else []
    if name in ("true", "false"):
        return f"unknown field {quoted(name)}: YAML reads a bare on, yes, off or no as true or false; write the field's name in quotes"
    if model and (owner := owner_of(model, name)):
        return f"unknown field {quoted(name)}; it belongs into {owner}, as in {owner}: {{{name}: …}}"
    meant = suggestion(name, known)
    return f"unknown field {quoted(name)}{meant or '; ' + there_are(known)}"


def _wrong_type(wanted: list[str], value: Any) -> str:
    message = f"expected {' or '.join(wanted)}, found {described(value)}"
    if wanted == ["text"] and isinstance(value, (bool, int, float)):
        return f'{message}; write it in quotes: "{str(value).lower() if isinstance(value, bool) else value}"'
    if wanted == ["a list"] and not isinstance(value, (Mapping, type(None))):
        return f"{message}; write it as a list: [{quoted(value)}]"
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?|true|false", value) and "text" not in wanted:
        return f"{message}; write {value} without quotes"
    return message


def _too_long(path: str, value: Any, context: Mapping[str, Any]) -> Problem | None:
    unit = "characters" if isinstance(value, str) else "items"
    return Problem(path, f"has {len(value):,} {unit} and may have {context['max_length']:,}; shorten it")


def _too_short(path: str, value: Any, _context: Mapping[str, Any]) -> Problem | None:
    """A list counts as too short, for pydantic, when its items are wrong: those are told already."""
    if value:
        return None
    return Problem(path, "is empty; write something" if isinstance(value, str) else "is empty; it needs at least one item")


_LENGTHS: Final = {
    "string_too_long": _too_long,
    "too_long": _too_long,
    "string_too_short": _too_short,
    "too_short": _too_short,
}
