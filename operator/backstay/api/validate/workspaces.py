"""What is wrong with workspaces: mounts of nothing, workspaces that nobody mounts, and expressions that no step could agree on."""

import re
from collections.abc import Iterator
from typing import Final

from backstay.api.actions.job import JobAction
from backstay.api.base import QUANTITY_PATTERN
from backstay.api.validate.places import listings
from backstay.api.workflow import WorkflowSpec
from backstay.errors import InvalidExpression, Problem
from backstay.expressions import find_expressions, references
from backstay.expressions.words import quoted, suggestion, there_are

NOT_SEEN: Final = ("vars", "steps")
"""What may be another thing for each step that mounts a workspace; all of them must find the same one."""


def check_workspaces(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with a workflow's workspaces, and with the mounts of its jobs."""
    known = {workspace.name for workspace in spec.workspaces}
    mounted: set[str] = set()
    for path, job in _jobs(spec):
        for index, mount in enumerate(job.workspaces):
            mounted.add(mount.name)
            if mount.name not in known:
                there = f"{there_are(known)}{suggestion(mount.name, known)}" if known else "the workflow has none; declare it in workspaces"
                yield Problem(f"{path}.workspaces[{index}].name", f"there is no workspace {quoted(mount.name)}; {there}")
    for index, workspace in enumerate(spec.workspaces):
        path = f"workspaces[{index}]"
        if workspace.name not in mounted:
            yield Problem(path, f"no job mounts {quoted(workspace.name)}; mount it in job.workspaces, or remove it", "warning")
        if workspace.claim is not None and "${" not in workspace.claim.storage and not re.match(QUANTITY_PATTERN, workspace.claim.storage):
            yield Problem(f"{path}.claim.storage", f"{quoted(workspace.claim.storage)} is no size; write it as in 1Gi")
        yield from _check_expressions(workspace.model_dump(mode="json", by_alias=True, exclude_none=True), path)


def _jobs(spec: WorkflowSpec) -> Iterator[tuple[str, JobAction]]:
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            if step.job is not None:
                yield f"{listing.place(index)}.job", step.job
            for place, _, phase in step.transaction.phases() if step.transaction is not None else ():
                if phase.job is not None:
                    yield f"{listing.place(index)}.transaction.{place}.job", phase.job
            if step.compensate is not None and step.compensate.job is not None:
                yield f"{listing.place(index)}.compensate.job", step.compensate.job


def _check_expressions(written: dict[str, object], path: str) -> Iterator[Problem]:
    """What else is wrong with an expression is told with all the others."""
    try:
        found = [(place, chain[0]) for place, source in find_expressions(written) for chain in references(source)]
    except InvalidExpression:
        return
    for place, name in found:
        if name in NOT_SEEN:
            yield Problem(f"{path}.{place}", f"refers to {name}; a workspace sees params and run only, which are the same for every step")
