"""From a run to the program it runs: its pinned revision, the newest revision of its Workflow, or the definition in its own spec.

Programs are compiled once a revision and cached; a ControllerRevision never changes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from backstay.api.validate import check_workflow, parse_run, parse_workflow
from backstay.engine.model import Fault
from backstay.engine.program import Program, compile_program
from backstay.errors import InvalidDefinition, NotFound, Problem
from backstay.expressions.words import quoted, suggestion, there_are
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.names import LABEL_WORKFLOW, digest, label_value
from backstay.runtime.view import Object

CACHED: Final = 512
NOT_READY: Final = "WorkflowNotReady"
"""Type of what a run waits for whose workflow is there, and has not been judged yet."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """A program with the revision it is; or why there is none: `fault` for good, `missing` for as long as nobody applies it."""

    program: Program | None = None
    revision: tuple[str, int] = ("", 0)
    fault: Fault | None = None
    missing: Fault | None = None


class Programs:
    """The programs of all runs; `workflows` are the Workflow objects as kopf's watch brings them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._compiling = asyncio.Lock()
        self._cache: OrderedDict[str, Program] = OrderedDict()
        self.workflows: dict[tuple[str, str], Object] = {}

    async def resolve(self, run: Object) -> Resolution:
        """Return what a run runs. Raises ApiError when the API server cannot be asked."""
        reference = (run.get("spec") or {}).get("workflow") or {}
        pinned = ((run.get("status") or {}).get("revision") or {}).get("name")
        if not (run.get("status") or {}).get("startedAt") and (fault := _own_fault(run)):
            return Resolution(fault=fault)
        if reference.get("inline") is not None:
            return await self._inline(reference["inline"])
        template = reference.get("template")
        if pinned:
            number = run["status"]["revision"].get("number", 0)
            return await self._pinned(run["metadata"]["namespace"], pinned, number, template)
        return await self._newest(run["metadata"]["namespace"], str(reference.get("name") or ""), reference.get("revision"), template)

    async def _inline(self, spec: Mapping[str, Any]) -> Resolution:
        return await self._compiled(
            f"inline/{digest(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS).decode(), length=32)}", spec, ("", 0), "workflow.inline"
        )

    async def _pinned(self, namespace: str, name: str, number: int, template: str | None) -> Resolution:
        key = f"{namespace}/{name}/{template or ''}"
        cached = self._cached(key)
        if cached is not None:
            return Resolution(cached, (name, number))
        try:
            found = await self._client.get(resources.CONTROLLER_REVISIONS, namespace, name)
        except NotFound:
            detail = f"ControllerRevision {name}, which this run is pinned to, is gone; restore it from a backup, or delete the run"
            return Resolution(missing=Fault("WorkflowNotFound", "The pinned revision is gone", detail))
        return await self._compiled(key, found["data"], (name, number), template=template)

    async def _newest(self, namespace: str, name: str, number: int | None, template: str | None) -> Resolution:
        workflow = self.workflows.get((namespace, name))
        if workflow is None:
            detail = (
                f'spec.workflow.name: there is no Workflow "{name}" in namespace "{namespace}"; apply it, or make a run with another name'
            )
            return Resolution(missing=Fault("WorkflowNotFound", "The workflow is not there", detail))
        if number is not None:
            return await self._numbered(namespace, name, number, template)
        status = workflow.get("status") or {}
        valid = next((item for item in status.get("conditions") or () if item["type"] == "Valid"), None)
        if valid is None or status.get("observedGeneration") != workflow["metadata"].get("generation"):
            return Resolution(missing=Fault(NOT_READY, "", f'Workflow "{name}" has not been looked at yet'))
        if valid["status"] != "True":
            return Resolution(fault=Fault("InvalidWorkflow", "The workflow cannot be run", f'Workflow "{name}": {valid["message"]}'))
        return await self._pinned(namespace, status["revision"]["name"], status["revision"]["number"], template)

    async def _numbered(self, namespace: str, name: str, number: int, template: str | None) -> Resolution:
        page = await self._client.list(resources.CONTROLLER_REVISIONS, namespace, label_selector=f"{LABEL_WORKFLOW}={label_value(name)}")
        for item in page.items:
            if item.get("revision") == number:
                return await self._pinned(namespace, item["metadata"]["name"], number, template)
        known = ", ".join(sorted(str(item.get("revision")) for item in page.items)) or "none"
        detail = f'spec.workflow.revision: Workflow "{name}" has no revision {number}; there are: {known}'
        return Resolution(fault=Fault("WorkflowNotFound", "The revision is not there", detail))

    async def _compiled(
        self, key: str, spec: Mapping[str, Any], revision: tuple[str, int], prefix: str = "", template: str | None = None
    ) -> Resolution:
        async with self._compiling:
            program = self._cached(key)
            if program is None:
                try:
                    program = self._cache[key] = await asyncio.to_thread(build, spec, template)  # thousands of steps take seconds
                except InvalidDefinition as error:
                    return Resolution(fault=Fault("InvalidWorkflow", "The workflow cannot be run", _words(error, prefix)))
            while len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return Resolution(program, revision)

    def _cached(self, key: str) -> Program | None:
        program = self._cache.get(key)
        if program is not None:
            self._cache.move_to_end(key)
        return program


def _own_fault(run: Object) -> Fault | None:
    """Judge what the schema cannot of a run's own spec; a definition in it is judged when it is compiled."""
    spec = dict(run.get("spec") or {})
    if (spec.get("workflow") or {}).get("inline") is not None:
        spec["workflow"] = {"name": "inline"}
    try:
        parse_run(spec)
    except InvalidDefinition as error:
        return Fault("InvalidRun", "The run cannot be read", _words(error, "spec"))
    return None


def build(spec: Mapping[str, Any], template: str | None = None) -> Program:
    """Judge and compile a definition, or one of its templates as a workflow of its own. Raises InvalidDefinition."""
    parsed = parse_workflow(spec)
    problems = [problem for problem in check_workflow(parsed) if problem.severity == "error"]
    if problems:
        raise InvalidDefinition(problems)
    if template is None:
        return compile_program(parsed)
    found = parsed.of_template(template)
    if found is None:
        known = [item.name for item in parsed.templates]
        words = f"there is no template {quoted(template)}; {there_are(known)}{suggestion(template, known)}"
        raise InvalidDefinition([Problem("templates", words)])
    return compile_program(found)


def _words(error: InvalidDefinition, prefix: str) -> str:
    placed = (replace(problem, path=".".join(filter(None, (prefix, problem.path)))) for problem in error.problems)
    return "; ".join(map(str, placed))[:2048]
