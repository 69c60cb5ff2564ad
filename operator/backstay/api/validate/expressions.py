"""What is wrong with the expressions of a workflow: they do not parse, refer to nothing, or cannot succeed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from backstay.api.base import parse_duration
from backstay.api.validate.references import World
from backstay.api.validate.sees import CONDITION, COUNT, DURATION, ITEMS, LIST, MOMENT
from backstay.api.validate.sites import Site, sites
from backstay.api.validate.types import Types
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidExpression, Problem
from backstay.expressions import Program, compile_expression, find_expressions, types, whole_expression
from backstay.expressions.words import quoted, shortened


def check_expressions(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the expressions of a workflow: they do not parse, refer to nothing, or cannot succeed."""
    checker = _Checker(World.of(spec), Types(spec))
    for site in sites(spec):
        yield from checker.check(site)


# -------------------------------------------------------------------------------------------------------------------------- checks


@dataclass(frozen=True)
class _Checker:
    """Looks at one site after the other."""

    world: World
    types: Types

    def check(self, site: Site) -> Iterator[Problem]:
        try:
            found = list(find_expressions(site.value))
            if site.gives == CONDITION and whole_expression(site.value) is None:
                yield Problem(site.path, f"{quoted(site.value)} is more than one expression; write one ${{ … }} with nothing around it")
                return
        except InvalidExpression as error:
            yield Problem(_joined(site.path, error.path), error.message)
            return
        for place, source in found:
            yield from self._source(site, _joined(site.path, place), source, is_whole=isinstance(site.value, str) and _is_whole(site.value))
        if not found and (mistake := _constant_mistake(site)):
            yield Problem(site.path, mistake)

    def _source(self, site: Site, path: str, source: str, *, is_whole: bool) -> Iterator[Problem]:
        try:
            program = compile_expression(source, site.variables)
        except InvalidExpression as error:
            yield Problem(path, f"{_shown(source)}: {error.message}{_only_there(source, error.message)}")
            return
        mistakes = [mistake for chain in program.references if (mistake := self.world.mistake(chain, site))]
        yield from (Problem(path, mistake) for mistake in mistakes)
        if not mistakes:
            yield from self._typed(site, path, program, is_whole=is_whole)

    def _typed(self, site: Site, path: str, program: Program, *, is_whole: bool) -> Iterator[Problem]:
        given, complaints = types.infer(program, self.types.scope(site, program.references))
        for complaint in complaints:
            severity = "error" if complaint.is_certain else "warning"
            yield Problem(path, f"{_shown(program.source)}: {complaint.message}", severity)
        if is_whole and site.gives and given.is_never(*_WANTED[site.gives]):
            yield Problem(path, _UNWANTED[site.gives].format(given))


_WANTED: Final = {
    CONDITION: ("bool",),
    DURATION: ("string",),
    MOMENT: ("string",),
    ITEMS: ("list", "map"),
    LIST: ("list",),
    COUNT: ("int", "double"),
}
"""The kinds of JSON that may come of a site."""
_UNWANTED: Final = {
    CONDITION: "the condition gives {}, and must give true or false; compare it with something, as in … == 1",
    DURATION: "the duration is {}, and must be text such as 90s or 1h30m",
    MOMENT: "the moment is {}, and must be text such as 2027-01-31T09:00:00Z",
    ITEMS: "the items are {}, and must be a list or a map",
    LIST: "this gives {}, and must give a list",
    COUNT: "the count is {}, and must be a whole number",
}


def _is_whole(text: str) -> bool:
    return whole_expression(text) is not None


def _shown(source: str) -> str:
    return f"${{ {shortened(source, 60)} }}"


_THERE: Final = {
    "self": "compensate",
    "ending": "finally",
    "state": "onFailure.workflow",
    "error": "catch and compensate",
    "item": "forEach",
    "index": "forEach and while",
    "done": "completeWhen and until of a forEach",
    "total": "completeWhen and until of a forEach",
    "escalation": "boundary events that hear one",
    "object": "the conditions and outputs of a resource step",
    "response": "the errors and the output of an http step",
    "attempt": "the action of a step that does work",
    "lastError": "the action of a step that does work",
    "participants": "commit and confirm of a transaction",
}
"""Where variables are to be had that are not there everywhere."""


def _only_there(source: str, message: str) -> str:
    for name, place in _THERE.items():
        if f'there is no "{name}"' in message:
            return f"; {name} is there in {place} only"
    if 'there is no "outputs"' in message:
        return "; write steps.NAME.outputs, or self.outputs in compensate" if "self" not in source else ""
    return ""


def _constant_mistake(site: Site) -> str:
    """Look at a duration or a moment that holds no expression: it is the same at each run."""
    try:
        if site.gives == DURATION:
            parse_duration(site.value)
        elif site.gives == MOMENT and datetime.fromisoformat(site.value).tzinfo is None:
            return f"{quoted(site.value)} has no time zone; write it as in 2027-01-31T09:00:00Z"
        elif site.gives == ITEMS and isinstance(site.value, str):
            return f"the items are the text {quoted(site.value)}, and must be a list or a map; write them out, or an expression in ${{ }}"
    except ValueError as error:
        return str(error) if site.gives == DURATION else f"{quoted(site.value)} is no moment in time; write it as in 2027-01-31T09:00:00Z"
    return ""


def _joined(path: str, suffix: str) -> str:
    return f"{path}.{suffix}" if suffix and not suffix.startswith("[") else path + suffix
