"""Whether a workflow can be run as it is written: everything that only the whole of it can tell."""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final

from backstay.api.validate.arguments import check_template_arguments
from backstay.api.validate.boundaries import check_boundaries
from backstay.api.validate.calling import own_outputs
from backstay.api.validate.catches import check_rethrows
from backstay.api.validate.circuits import check_circuits
from backstay.api.validate.control import check_control
from backstay.api.validate.expressions import check_expressions
from backstay.api.validate.finishing import check_finally
from backstay.api.validate.graph import check_graph
from backstay.api.validate.http import check_http
from backstay.api.validate.limits import MAX_NESTING, MAX_STEPS
from backstay.api.validate.locks import check_locks
from backstay.api.validate.loops import check_loops
from backstay.api.validate.parameters import check_declarations
from backstay.api.validate.places import listings
from backstay.api.validate.policies import check_policies
from backstay.api.validate.produces import check_produced
from backstay.api.validate.reach import check_reached
from backstay.api.validate.resources import check_resources
from backstay.api.validate.sagas import check_sagas
from backstay.api.validate.templates import check_templates
from backstay.api.validate.times import check_times
from backstay.api.validate.transactions import check_transactions
from backstay.api.validate.unused import check_unused
from backstay.api.validate.workspaces import check_workspaces
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem

MAX_PROBLEMS: Final = 100
"""More help nobody, and would not fit into a condition's message."""

_CHECKS: Final[tuple[Callable[[WorkflowSpec], Iterator[Problem]], ...]] = (
    check_declarations,
    check_graph,
    check_reached,
    check_control,
    check_sagas,
    check_loops,
    check_times,
    check_policies,
    check_rethrows,
    check_boundaries,
    check_finally,
    check_produced,
    check_resources,
    check_workspaces,
    check_http,
    check_locks,
    check_circuits,
    check_transactions,
    check_templates,
    own_outputs,
    check_template_arguments,
    check_expressions,
)
"""Each check that a workflow goes through: adding one is a row here."""


def check_workflow(spec: WorkflowSpec, prefix: str = "") -> list[Problem]:
    """Return what is wrong with a workflow, errors before warnings, at most 100 problems. No error means that it can be run.

    `prefix` goes before all paths: `workflow.inline` for a definition inside a run.
    """
    found = list(_check_size(spec))
    if not found:
        found = list(islice(chain.from_iterable(check(spec) for check in _CHECKS), MAX_PROBLEMS))
    if not any(problem.severity == "error" for problem in found):
        found += check_unused(spec)
    ordered = sorted(found, key=lambda problem: problem.severity != "error")
    return [Problem(".".join(filter(None, (prefix, problem.path))), problem.message, problem.severity) for problem in ordered]


def _check_size(spec: WorkflowSpec) -> Iterator[Problem]:
    steps = 0
    for listing in listings(spec):
        steps += len(listing.steps)
        if listing.depth > MAX_NESTING:
            advice = "make it flatter, or start a run of its own for a part of it"
            yield Problem(listing.path, f"lists of steps nest {listing.depth} deep and may nest {MAX_NESTING}; {advice}")
            return
    if steps > MAX_STEPS:
        yield Problem("", f"the workflow has {steps:,} steps and may have {MAX_STEPS:,}; divide it into several workflows")
