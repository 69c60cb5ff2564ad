"""Workflows that call each other, as far as they are there to be looked at: names, templates, parameters, outputs, and calls without an end.

Which Workflows a cluster has when a step runs nobody can tell beforehand. Where several manifests are judged together, they are held against
each other; what is not among them stays unjudged.
"""

from collections.abc import Callable, Collection, Iterator, Mapping

from backstay.api.actions.structures import Dag, Parallel
from backstay.api.steps import Step
from backstay.api.validate.arguments import check_arguments
from backstay.api.validate.places import listings, structures
from backstay.api.validate.sites import sites
from backstay.api.validate.templates import certain_mistakes, moved
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidExpression, Problem
from backstay.expressions import find_expressions
from backstay.expressions.cel import references
from backstay.expressions.words import path_of, quoted, suggestion, there_are

Workflows = Mapping[str, WorkflowSpec]


def check_calls(name: str, spec: WorkflowSpec, workflows: Workflows) -> Iterator[Problem]:
    """Yield what is wrong with the calls of the workflow of a name, given those that it may call."""
    for step, path in _calls(spec):
        yield from _check_call(step, path, workflows)
    yield from check_arguments(spec, lambda step: _target(step, workflows) if step.workflow is not None else None)
    yield from check_outputs(spec, lambda step: _outputs_of(step, workflows))
    if circle := _endless(name, workflows):
        words = f"the workflow calls itself with no condition on the way ({' → '.join(circle)}), and goes on until child runs nest too deep; give a step an if"
        yield Problem(_certain_calls(spec)[circle[1]], words, "warning")


def unknown_calls(spec: WorkflowSpec, workflows: Workflows) -> list[str]:
    """Return the names of the workflows that are called and are not there to be looked at, each once."""
    names = (_called(step) for step, _ in _calls(spec))
    return list(dict.fromkeys(name for name in names if name and name not in workflows))


def check_outputs(spec: WorkflowSpec, outputs_of: Callable[[Step], Collection[str] | None]) -> Iterator[Problem]:
    """Yield references to outputs that a step does not have; `outputs_of` says which it has, None where nobody knows."""
    for site in sites(spec):
        try:
            found = list(find_expressions(site.value))
            chains = [(place, chain) for place, source in found for chain in references(source)]
        except InvalidExpression:
            continue  # it is told where expressions are judged
        for place, chain in chains:
            if len(chain) < 4 or chain[0] != "steps" or chain[2] != "outputs":
                continue
            level = next((level for level in site.levels if chain[1] in level.listing.index_of), None)
            step = level.listing.steps[level.listing.index_of[chain[1]]] if level is not None else None
            known = outputs_of(step) if step is not None else None
            if known is not None and chain[3] not in known:
                there = there_are(known) if known else "it leaves none behind"
                words = f"{path_of(chain[:4])}: there is no output {quoted(chain[3])}; {there}{suggestion(chain[3], known)}"
                yield Problem(f"{site.path}{place if place.startswith('[') or not place else f'.{place}'}", words)


def own_outputs(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield references to outputs that a template does not declare, or that a step that waits for nobody cannot have."""
    templates = {template.name: [output.name for output in template.outputs] for template in spec.templates}

    def outputs_of(step: Step) -> Collection[str] | None:
        if step.template is not None:
            return templates.get(step.template.name)
        return ("run",) if step.workflow is not None and not step.workflow.wait else None

    return check_outputs(spec, outputs_of)


# --------------------------------------------------------------------------------------------------------------------- calls


def _calls(spec: WorkflowSpec) -> Iterator[tuple[Step, str]]:
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            if step.workflow is not None:
                yield step, f"{listing.place(index)}.workflow"
            for place, _, phase in step.transaction.phases() if step.transaction is not None else ():
                if phase.workflow is not None:
                    yield Step(name=step.name, workflow=phase.workflow), f"{listing.place(index)}.transaction.{place}.workflow"
    yield from _recovery(spec)


def _recovery(spec: WorkflowSpec) -> Iterator[tuple[Step, str]]:
    if spec.on_failure.workflow is not None:
        yield Step(name="recovery", workflow=spec.on_failure.workflow.as_action()), "onFailure.workflow"


def _called(step: Step) -> str:
    """Return the name that a step calls; nothing where only the run will tell."""
    return step.workflow.name if step.workflow is not None and "${" not in step.workflow.name else ""


def _target(step: Step, workflows: Workflows) -> WorkflowSpec | None:
    """Return what a step runs, where that is known: an older version may be another."""
    assert step.workflow is not None
    found = workflows.get(_called(step)) if step.workflow.version is None else None
    return found.of_template(step.workflow.template) if found is not None and step.workflow.template is not None else found


def _check_call(step: Step, path: str, workflows: Workflows) -> Iterator[Problem]:
    assert step.workflow is not None
    action, found = step.workflow, workflows.get(_called(step))
    if found is None or action.version is not None:
        return
    templates = [template.name for template in found.templates]
    if action.template is not None and action.template not in templates:
        words = f"Workflow {quoted(action.name)} has no template {quoted(action.template)}; {there_are(templates)}{suggestion(action.template, templates)}"
        yield Problem(f"{path}.template", words)
    elif action.template is None and found.is_library:
        words = f"Workflow {quoted(action.name)} has templates and no body; say in template which one to run; {there_are(templates)}"
        yield Problem(path, words)
    elif (target := _target(step, workflows)) is not None:
        what = f"template {quoted(action.template)}" if action.template else f"Workflow {quoted(action.name)}"
        yield from (moved(problem, path, what) for problem in certain_mistakes(target, action.params))


def _outputs_of(step: Step, workflows: Workflows) -> Collection[str] | None:
    if step.workflow is None or not step.workflow.wait:
        return None
    target = _target(step, workflows)
    return None if target is None or target.is_library else [output.name for output in target.outputs]


# ----------------------------------------------------------------------------------------------------------------- recursion


def _certain_calls(spec: WorkflowSpec) -> dict[str, str]:
    """Return the workflows whose body is called whenever all goes well, and where: by steps that no condition can keep from running."""
    found: dict[str, str] = {}
    waiting = [(step, f"steps[{index}]") for index, step in enumerate(spec.steps or ())]
    waiting += [(step, f"dag.steps[{index}]") for index, step in enumerate(spec.dag.steps if spec.dag else ())]
    while waiting:
        step, path = waiting.pop(0)
        if step.if_ is not None:
            continue
        if step.workflow is not None and _called(step) and step.workflow.template is None:
            found.setdefault(_called(step), path)
        if isinstance(step.action, (tuple, Dag, Parallel)) and step.race is None:
            waiting += [(inner, f"{part.path}[{index}]") for part in structures(step, path) for index, inner in enumerate(part.steps)]
    return found


def _endless(name: str, workflows: Workflows) -> list[str]:
    """Return a circle of certain calls from a workflow back to itself; empty where there is none."""
    ways = [[name]]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        spec = workflows.get(way[-1])
        for called in _certain_calls(spec) if spec is not None else ():
            if called == name:
                return [*way, called]
            if called not in seen:
                seen.add(called)
                ways.append([*way, called])
    return []
