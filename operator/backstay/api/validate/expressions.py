"""Every place where a workflow may hold expressions, and what is wrong with those that stand there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from backstay.api.base import parse_duration
from backstay.api.steps import JobAction, Step
from backstay.api.validate.places import ALWAYS, Level, Listing, body_of, listings
from backstay.api.validate.references import World
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidExpression, Problem
from backstay.expressions import compile_expression, find_expressions, whole_expression
from backstay.expressions.words import quoted, shortened

CONDITION = ("true or false", "any value")


@dataclass(frozen=True)
class Site:
    """One value that may hold expressions: where it is, and what they see there."""

    path: str
    value: Any
    levels: tuple[Level, ...]
    extra: tuple[str, ...] = ()
    is_condition: bool = False
    is_duration: bool = False
    is_moment: bool = False


def check_expressions(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the expressions of a workflow: they do not parse, refer to nothing, or give what is not wanted there."""
    world = World.of(spec)
    for site in sites(spec):
        yield from _check(site, world)


def sites(spec: WorkflowSpec) -> Iterator[Site]:
    """Yield every value that may hold expressions, in the order of the manifest as far as steps go; then the outputs."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            yield from _of_step(step, listing.place(index), listing, index)
    body = body_of(spec)
    for index, output in enumerate(spec.outputs):
        yield Site(f"outputs[{index}].value", output.value, body.everything())


def _of_step(step: Step, path: str, listing: Listing, index: int) -> Iterator[Site]:
    here = Site(path, None, listing.levels(index), listing.extra)
    if step.if_ is not None:
        yield replace(here, path=f"{path}.if", value=step.if_, is_condition=True)
    yield from _of_action(step, path, here)
    if step.compensate is not None and step.compensate.job is not None:
        undoing = replace(here, levels=listing.everything(), extra=(*listing.extra, "self", "error"))
        yield from _of_job(step.compensate.job, f"{path}.compensate.job", undoing)


def _of_action(step: Step, path: str, here: Site) -> Iterator[Site]:
    if step.job is not None:
        yield from _of_job(step.job, f"{path}.job", here)
    elif step.set is not None:
        yield replace(here, path=f"{path}.set", value=step.set)
    elif step.wait is not None and step.wait.duration is not None:
        yield replace(here, path=f"{path}.wait.duration", value=step.wait.duration, is_duration=True)
    elif step.wait is not None:
        yield replace(here, path=f"{path}.wait.until", value=step.wait.until, is_moment=True)
    elif step.switch is not None:
        for index, case in enumerate(step.switch.cases):
            yield replace(here, path=f"{path}.switch.cases[{index}].when", value=case.when, is_condition=True)
    elif step.fail is not None:
        yield replace(here, path=f"{path}.fail.message", value=step.fail.message)
    elif step.end is not None:
        yield replace(here, path=f"{path}.end.message", value=step.end.message)


def _of_job(job: JobAction, path: str, here: Site) -> Iterator[Site]:
    yield replace(here, path=f"{path}.image", value=job.image)
    yield replace(here, path=f"{path}.command", value=job.command)
    yield replace(here, path=f"{path}.args", value=job.args)
    for index, variable in enumerate(job.env):
        yield replace(here, path=f"{path}.env[{index}].value", value=variable.value)
    yield replace(here, path=f"{path}.workingDir", value=job.working_dir)
    yield replace(here, path=f"{path}.template", value=job.template)


# -------------------------------------------------------------------------------------------------------------------------- checks


def _check(site: Site, world: World) -> Iterator[Problem]:
    try:
        found = list(find_expressions(site.value))
        if site.is_condition and whole_expression(site.value) is None:
            yield Problem(site.path, f"{quoted(site.value)} is more than one expression; write one ${{ … }} with nothing around it")
            return
    except InvalidExpression as error:
        yield Problem(_joined(site.path, error.path), error.message)
        return
    for place, source in found:
        yield from _check_source(site, _joined(site.path, place), source, world)
    if not found and (mistake := _constant_mistake(site)):
        yield Problem(site.path, mistake)


def _check_source(site: Site, path: str, source: str, world: World) -> Iterator[Problem]:
    try:
        program = compile_expression(source, (*ALWAYS, *site.extra))
    except InvalidExpression as error:
        yield Problem(path, f"${{ {shortened(source, 60)} }}: {error.message}{_only_there(source, error.message)}")
        return
    for chain in program.references:
        if mistake := world.mistake(chain, site.levels, site.extra):
            yield Problem(path, mistake)
    if site.is_condition and program.result not in CONDITION:
        yield Problem(path, f"the condition gives {program.result}, and must give true or false; compare it with something, as in … == 1")


def _only_there(source: str, message: str) -> str:
    """Add where a variable is to be had that is not there everywhere."""
    if 'there is no "self"' in message:
        return "; self is there in compensate only"
    if 'there is no "error"' in message:
        return "; error is there in catch and compensate only"
    if 'there is no "outputs"' in message:
        return "; write steps.NAME.outputs, or self.outputs in compensate" if "self" not in source else ""
    return ""


def _constant_mistake(site: Site) -> str:
    """Look at a duration or a moment that holds no expression: it is the same at each run."""
    try:
        if site.is_duration:
            parse_duration(site.value)
        elif site.is_moment and datetime.fromisoformat(site.value).tzinfo is None:
            return f"{quoted(site.value)} has no time zone; write it as in 2027-01-31T09:00:00Z"
    except ValueError as error:
        return str(error) if site.is_duration else f"{quoted(site.value)} is no moment in time; write it as in 2027-01-31T09:00:00Z"
    return ""


def _joined(path: str, suffix: str) -> str:
    return f"{path}.{suffix}" if suffix and not suffix.startswith("[") else path + suffix
