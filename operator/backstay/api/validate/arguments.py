"""Values that are handed to templates and to other workflows by an expression, against the types that those ask for."""

from collections.abc import Callable, Iterator

from backstay.api.steps import Step
from backstay.api.validate.places import listings
from backstay.api.validate.sites import Site
from backstay.api.validate.types import Types, type_of
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.words import field_path, quoted


def check_template_arguments(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is given to the templates of a workflow and can never be of the type that they ask for."""
    return check_arguments(spec, lambda step: spec.of_template(step.template.name) if step.template is not None else None)


def check_arguments(spec: WorkflowSpec, target_of: Callable[[Step], WorkflowSpec | None]) -> Iterator[Problem]:
    """Yield what is given and never fits; `target_of` gives what a step calls, None where it calls nothing, or nobody knows what."""
    types: Types | None = None
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            action = step.template or step.workflow
            target = target_of(step) if action is not None else None
            if action is None or target is None:
                continue
            types = types or Types(spec)
            here = Site("", None, listing.levels(index), listing.extra, listing.home)
            wanted = {parameter.name: type_of(parameter.schema_) for parameter in target.parameters}
            for name, value in action.params.items():
                if name not in wanted or "${" not in str(value) or not wanted[name].is_known:
                    continue
                given = types.of_template(value, here)
                if given.is_never(*wanted[name].kinds):
                    place = field_path(f"{listing.place(index)}.{step.kind}.params", name)
                    yield Problem(place, f"this gives {given}, and {quoted(name)} must be {wanted[name]}")
