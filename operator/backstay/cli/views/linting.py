"""Judging manifests as the operator would, and saying in which line of which file each problem stands. Pure."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from backstay.api.validate import check_parameters, parse_circuit_breaker, parse_run, parse_semaphore, parse_workflow
from backstay.api.validate.calling import check_calls, unknown_calls
from backstay.api.workflow import WorkflowSpec
from backstay.cli.yaml_reading import BadYaml, Document, Place, read_documents
from backstay.errors import InvalidDefinition, Problem
from backstay.expressions.words import described, quoted, suggestion, there_are
from backstay.handlers.workflows import judge
from backstay.names import API_VERSION, BREAKER, GROUP, RUN, SEMAPHORE, WORKFLOW

_KINDS: Final = (WORKFLOW, RUN, SEMAPHORE, BREAKER)
_PARSED: Final[Mapping[str, Callable[[Any], object]]] = {SEMAPHORE: parse_semaphore, BREAKER: parse_circuit_breaker}
"""Kinds whose own fields are all that there is to judge."""
_FIELDS: Final = ("apiVersion", "kind", "metadata", "spec", "status")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME: Final = 253


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: where it stands, and the words that the operator would use for it."""

    file: str
    line: int
    subject: str
    """The object, as `Workflow order`; empty where the text is none."""
    problem: Problem

    def __str__(self) -> str:
        severity = "warning: " if self.problem.severity == "warning" else ""
        return f"{self.file}:{self.line}: {severity}{self.problem}"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as data."""
        problem = self.problem
        where = {"file": self.file, "line": self.line, "object": self.subject, "path": problem.path}
        return {**where, "message": problem.message, "severity": problem.severity}


@dataclass(slots=True)
class Report:
    """What linting found."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    objects: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Kinds that are not Backstay's, and how many of each."""
    unchecked: list[str] = field(default_factory=list)
    """Runs whose parameters could not be checked, because their Workflow is not in these files."""

    @property
    def errors(self) -> int:
        return sum(1 for found in self.findings if found.problem.severity == "error")

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors

    def to_json(self) -> dict[str, Any]:
        """Return the report as data."""
        counts = {"files": self.files, "objects": self.objects, "errors": self.errors, "warnings": self.warnings}
        return {
            **counts,
            "problems": [found.to_json() for found in self.findings],
            "skipped": dict(self.skipped),
            "unchecked": self.unchecked,
        }


@dataclass(frozen=True, slots=True)
class _Manifest:
    """One object of ours, and where its parts stand."""

    file: str
    value: Mapping[str, Any]
    place: Place

    @property
    def kind(self) -> str:
        return str(self.value["kind"])

    @property
    def meta(self) -> Mapping[str, Any]:
        meta = self.value.get("metadata")
        return meta if isinstance(meta, Mapping) else {}

    @property
    def subject(self) -> str:
        name = self.meta.get("name") or f"{self.meta.get('generateName') or '?'}"
        return f"{self.kind} {name}"


@dataclass(frozen=True, slots=True)
class Source:
    """A text to judge. In one that somebody has `named`, everything must be a manifest; of a folder, other YAML is skipped."""

    file: str
    text: str
    named: bool = True


def lint(sources: Sequence[Source]) -> Report:
    """Judge all manifests in some texts. A run is held against its Workflow where that is among them."""
    report = Report(files=len(sources))
    manifests: list[_Manifest] = []
    for source in sources:
        manifests += _manifests(source, report)
    workflows = [manifest for manifest in manifests if manifest.kind == WORKFLOW]
    for manifest in manifests:
        report.objects += 1
        for problem in _judge_frame(manifest):
            report.findings.append(Finding(manifest.file, manifest.place.find(problem.path), manifest.subject, problem))
        for problem in _judge_spec(manifest, workflows, report):
            report.findings.append(Finding(manifest.file, manifest.place.find(f"spec.{problem.path}"), manifest.subject, problem))
    order = {source.file: index for index, source in enumerate(sources)}
    report.findings.sort(key=lambda found: (order[found.file], found.line))
    return report


# ---------------------------------------------------------------------------------------------------------------- documents


def _manifests(source: Source, report: Report) -> Iterator[_Manifest]:
    try:
        for document in read_documents(source.text):
            if not source.named and not (isinstance(document.value, Mapping) and {"apiVersion", "kind"} & document.value.keys()):
                report.skipped["no manifest"] += 1
                continue
            for fault in document.faults:
                report.findings.append(Finding(source.file, fault.line, "", Problem("", fault.message)))
            yield from _objects(source.file, document, report)
    except BadYaml as error:
        report.findings.append(Finding(source.file, error.line, "", Problem("", error.message)))


def _objects(file: str, document: Document, report: Report) -> Iterator[_Manifest]:
    value, place = document.value, document.place
    if isinstance(value, Mapping) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        items = place.inner["items"]
        for index, item in enumerate(value["items"]):
            yield from _objects(file, Document(item, items.inner.get(index, items)), report)
        return
    problem = _strange(value)
    if problem is not None:
        report.findings.append(Finding(file, place.find(problem.path), "", problem))
    elif str(value["apiVersion"]).partition("/")[0] != GROUP:
        report.skipped[str(value["kind"])] += 1
    else:
        yield _Manifest(file, value, place)


def _strange(value: Any) -> Problem | None:
    """Say why a document is no manifest, or none that this version knows."""
    if not isinstance(value, Mapping):
        return Problem("", f"a manifest is a map with apiVersion, kind, metadata and spec, and this is {described(value)}")
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            return Problem("", f"missing field {quoted(name)}: add it, as in apiVersion: {API_VERSION} and kind: {WORKFLOW}")
    version, kind = str(value["apiVersion"]), str(value["kind"])
    if version.partition("/")[0] != GROUP:
        return None
    if version != API_VERSION:
        return Problem("apiVersion", f"{quoted(version)} is unknown; write {API_VERSION}")
    if kind not in _KINDS:
        return Problem("kind", f"{quoted(kind)} is unknown; {there_are(_KINDS)}{suggestion(kind, _KINDS)}")
    return None


# ----------------------------------------------------------------------------------------------------------------- judging


def _judge_spec(manifest: _Manifest, workflows: Sequence[_Manifest], report: Report) -> Iterator[Problem]:
    """What the operator would say; paths begin inside the spec, as in the condition Valid."""
    spec = manifest.value.get("spec")
    if spec is None:
        return
    if manifest.kind == WORKFLOW:
        problems = judge(spec)
        yield from problems
        if not any(found.severity == "error" for found in problems):
            yield from _judge_calls(manifest, parse_workflow(spec), workflows, report)
    elif manifest.kind in _PARSED:
        try:
            _PARSED[manifest.kind](spec)
        except InvalidDefinition as error:
            yield from error.problems
    else:
        yield from _judge_run(manifest, spec, workflows, report)


def _judge_calls(manifest: _Manifest, spec: WorkflowSpec, workflows: Sequence[_Manifest], report: Report) -> Iterator[Problem]:
    """Hold the calls of a workflow, or of a definition in a run, against the Workflows in these files."""
    known: dict[str, WorkflowSpec] = {}
    for workflow in workflows:
        name = workflow.meta.get("name")
        if isinstance(name, str) and _workflow_of(manifest, name, workflows) is workflow:
            with suppress(InvalidDefinition):  # it has its own findings
                known[name] = parse_workflow(workflow.value.get("spec") or {})
    own = str(manifest.meta.get("name")) if manifest.kind == WORKFLOW else ""
    yield from check_calls(own, spec, known)
    for name in unknown_calls(spec, known):
        report.unchecked.append(f"{manifest.file}:{manifest.place.line}: {manifest.subject}: Workflow {name} is not in these files")


def _judge_frame(manifest: _Manifest) -> Iterator[Problem]:
    """What the API server would refuse whatever the spec."""
    for unknown in map(str, manifest.value):
        if unknown not in _FIELDS:
            yield Problem(unknown, f"unknown field {quoted(unknown)}{suggestion(unknown, _FIELDS) or '; ' + there_are(_FIELDS)}")
    if manifest.value.get("spec") is None:
        yield Problem("", 'missing field "spec": add it')
    name, generate = manifest.meta.get("name"), manifest.meta.get("generateName")
    if name is None and generate is None:
        yield Problem(
            "metadata", 'missing field "name": add it' + (", or generateName for a name with a random end" if manifest.kind == RUN else "")
        )
    elif name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME):
        words = f"is no name; write lower-case letters, digits, dashes and points, at most {_LONGEST_NAME} characters"
        yield Problem("metadata.name", f"{quoted(name)} {words}")


def _judge_run(manifest: _Manifest, spec: Any, workflows: Sequence[_Manifest], report: Report) -> Iterator[Problem]:
    try:
        run = parse_run(spec)
    except InvalidDefinition as error:
        yield from error.problems
        return
    if run.workflow.inline is not None:
        problems = list(judge(spec["workflow"]["inline"]))
        yield from (Problem(_inside(found.path), found.message, found.severity) for found in problems)
        if not any(found.severity == "error" for found in problems):
            yield from check_parameters(run.workflow.inline, run.parameters)[1]
            calls = _judge_calls(manifest, run.workflow.inline, workflows, report)
            yield from (Problem(_inside(found.path), found.message, found.severity) for found in calls)
        return
    workflow = _workflow_of(manifest, str(run.workflow.name), workflows)
    if workflow is None:
        report.unchecked.append(
            f"{manifest.file}:{manifest.place.line}: {manifest.subject}: Workflow {run.workflow.name} is not in these files"
        )
        return
    try:
        parsed = parse_workflow(workflow.value.get("spec") or {})
    except InvalidDefinition:
        return  # the workflow has its own findings
    template = run.workflow.template
    found = parsed if template is None else parsed.of_template(template)
    if found is None:
        known = [item.name for item in parsed.templates]
        yield Problem("workflow.template", f"Workflow {run.workflow.name} has no template {quoted(template)}; {there_are(known)}")
    elif found.is_library:
        yield Problem("workflow", f"Workflow {run.workflow.name} has templates and no body; say in template which one to run")
    else:
        yield from check_parameters(found, run.parameters)[1]


def _inside(path: str) -> str:
    return f"workflow.inline.{path}" if path else "workflow.inline"


def _workflow_of(run: _Manifest, name: str, workflows: Sequence[_Manifest]) -> _Manifest | None:
    """The Workflow of that name in the run's namespace; a manifest without a namespace may go anywhere."""
    here = run.meta.get("namespace")
    for workflow in workflows:
        there = workflow.meta.get("namespace")
        if workflow.meta.get("name") == name and (here == there or here is None or there is None):
            return workflow
    return None
