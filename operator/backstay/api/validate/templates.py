"""Templates: whether those that are used are there, are given what they ask for, and come to an end."""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from backstay.api.steps import Step
from backstay.api.validate.limits import MAX_STEPS
from backstay.api.validate.parameters import check_parameters
from backstay.api.validate.places import bodies_of, listings
from backstay.api.workflow import Template, WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.words import quoted, suggestion, there_are


def check_templates(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the templates of a workflow and with the steps that use them."""
    known = {template.name: template for template in spec.templates}
    users: dict[str, list[str]] = {}
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            if step.template is not None:
                users.setdefault(listing.home.path, []).append(step.template.name)
                yield from _check_use(step, listing.place(index), known, spec)
    circle = _circle({template.name: users.get(f"templates[{index}]", []) for index, template in enumerate(spec.templates)})
    if circle:
        words = f"the templates use each other in a circle: {' → '.join(circle)}; steps in place cannot repeat themselves, so call a workflow instead"
        yield Problem("templates", words)
    else:
        yield from _check_size(spec, known)


def _check_use(step: Step, path: str, known: Mapping[str, Template], spec: WorkflowSpec) -> Iterator[Problem]:
    assert step.template is not None
    name = step.template.name
    if name not in known:
        there = there_are(known) if known else "the workflow has none; add it to spec.templates"
        yield Problem(f"{path}.template.name", f"there is no template {quoted(name)}; {there}{suggestion(name, known)}")
        return
    as_workflow = spec.of_template(name)
    assert as_workflow is not None
    yield from (moved(problem, f"{path}.template", "the template") for problem in certain_mistakes(as_workflow, step.template.params))


def certain_mistakes(spec: WorkflowSpec, params: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with parameters whatever their expressions give: missing ones, unknown ones, and values without expressions."""
    _, problems = check_parameters(spec, params)
    evaluated = [name for name, value in params.items() if _has_expression(value)]
    for problem in problems:
        name = problem.path.removeprefix("parameters.").partition(".")[0].partition("[")[0]
        if name not in evaluated or "has no parameter" in problem.message:
            yield problem


def moved(problem: Problem, path: str, what: str) -> Problem:
    """Return what is wrong with parameters where they are called params, of something that is perhaps no workflow."""
    place = f"{path}.params{problem.path.removeprefix('parameters')}"
    return Problem(place, problem.message.replace("the workflow", what), problem.severity)


def _has_expression(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, Mapping):
        return any(map(_has_expression, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_expression, value))


def _circle(uses: Mapping[str, list[str]]) -> list[str]:
    """Return templates that use each other in a circle, the first one again at the end; empty where none do."""
    try:
        tuple(TopologicalSorter(uses).static_order())
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def _check_size(spec: WorkflowSpec, known: Mapping[str, Template]) -> Iterator[Problem]:
    """A template that uses others many times grows with every level: what is written in a page may be a million steps."""
    sizes: dict[str, int] = {}
    uses: dict[str, list[str]] = {}
    own: dict[str, int] = {}
    for listing in listings(spec):
        own[listing.home.path] = own.get(listing.home.path, 0) + len(listing.steps)
        uses.setdefault(listing.home.path, []).extend(step.template.name for step in listing.steps if step.template is not None)
    places = {template.name: f"templates[{index}]" for index, template in enumerate(spec.templates)}

    def size(path: str) -> int:
        if path not in sizes:
            sizes[path] = own.get(path, 0) + sum(size(places[name]) for name in uses.get(path, ()) if name in places)
        return sizes[path]

    for _, path, _ in bodies_of(spec):
        if size(path) > MAX_STEPS and any(name in known for name in uses.get(path, ())):
            words = f"with its templates written out it has {size(path):,} steps and may have {MAX_STEPS:,}; call workflows instead"
            yield Problem(path, words)
