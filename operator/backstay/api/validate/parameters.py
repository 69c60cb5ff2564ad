"""What a run is started with, against what its workflow asks for."""

from collections.abc import Iterator, Mapping
from typing import Any

from backstay.api.validate.limits import MAX_PARAMETERS_BYTES, check_json
from backstay.api.validate.schemas import InvalidSchema, compile_schema
from backstay.api.workflow import Parameter, WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.words import described, field_path, quoted, suggestion, there_are


def check_parameters(spec: WorkflowSpec, given: Any) -> tuple[dict[str, Any], list[Problem]]:
    """Return the parameters with the workflow's defaults filled in, and what is wrong with those that were given.

    Paths begin with `parameters`, as in `parameters.address.zip`. The first value is of use only where the second is empty.
    """
    if not isinstance(given, Mapping):
        return {}, [Problem("parameters", f"expected a map of names and values, found {described(given)}")]
    if problems := check_json(given, "parameters", MAX_PARAMETERS_BYTES):
        return {}, problems
    known = {parameter.name: parameter for parameter in spec.parameters}
    resolved = {name: parameter.default for name, parameter in known.items() if not parameter.is_required} | dict(given)
    return resolved, [*_missing(known, given), *_mistakes(known, given)]


def check_declarations(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the parameters as a workflow declares them: schemas that are none, defaults that their schema refuses."""
    for index, parameter in enumerate(spec.parameters):
        path = f"parameters[{index}]"
        try:
            schema = compile_schema(parameter.schema_)
        except InvalidSchema as error:
            yield Problem(f"{path}.schema{_below(error.path)}", error.message)
            continue
        if not parameter.is_required:
            for problem in schema.mistakes(parameter.default, f"{path}.default"):
                yield Problem(problem.path, f"{problem.message}; a default must satisfy the parameter's own schema")


def _missing(known: Mapping[str, Parameter], given: Mapping[str, Any]) -> Iterator[Problem]:
    missing = [name for name, parameter in known.items() if parameter.is_required and name not in given]
    if missing:
        names = ", ".join(map(quoted, missing[:10])) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        yield Problem("parameters", f"missing {names}: add {'it' if len(missing) == 1 else 'them'}; the workflow gives no default")


def _mistakes(known: Mapping[str, Parameter], given: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in given.items():
        path = field_path("parameters", name)
        if name not in known:
            there = there_are(known) if known else "it has none"
            yield Problem(path, f"the workflow has no parameter {quoted(name)}; {there}{suggestion(name, known)}")
            continue
        try:
            yield from compile_schema(known[name].schema_).mistakes(value, path)
        except InvalidSchema as error:
            yield Problem(path, f"the workflow's schema for it is no JSON Schema ({error}); mend the workflow")


def _below(path: str) -> str:
    return f".{path}" if path and not path.startswith("[") else path
