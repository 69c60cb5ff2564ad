"""Parameters that nothing reads. Variables that nothing reads are no mistake: they stand in the run's status, for people and programs to see."""

from collections.abc import Iterator

from backstay.api.validate.places import bodies_of
from backstay.api.validate.sites import Site, sites
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidExpression, Problem
from backstay.expressions import find_expressions, references


def check_unused(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield a warning for each parameter that no expression refers to; one that looks at all of them refers to each."""
    read = {(site.home.path, *chain[:2]) for site in sites(spec) for chain in _chains(site)}
    for body, path, _ in bodies_of(spec):
        for index, parameter in enumerate(body.home.parameters):
            if not {(path, "params"), (path, "params", parameter.name)} & read:
                place = f"{path}.parameters[{index}]" if path else f"parameters[{index}]"
                yield Problem(place, f"nothing reads params.{parameter.name}; remove the parameter, or use it", "warning")


def _chains(site: Site) -> Iterator[tuple[str, ...]]:
    try:
        for _, source in find_expressions(site.value):
            yield from references(source)
    except InvalidExpression:
        return
