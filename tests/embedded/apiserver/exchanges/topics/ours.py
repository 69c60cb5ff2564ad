"""Our own definitions, as they are in crds/: what the API server itself says to workflows and runs, good and bad."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.embedded.apiserver.exchanges.differences import CONTROLLERS
from tests.embedded.apiserver.exchanges.exchange import (
    APPLY,
    JSON_PATCH,
    NAMESPACE,
    TABLE,
    Body,
    Exchange,
    asked,
    get,
    kubectl,
    patch,
    post,
    there,
)
from tests.embedded.apiserver.widgets import CRDS_PATH

_GROUP = f"/apis/backstay.dev/v1alpha1/namespaces/{NAMESPACE}"
WORKFLOWS, RUNS = f"{_GROUP}/workflows", f"{_GROUP}/workflowruns"
_CRDS = Path(__file__).parents[5] / "crds"
_JOB: Body = {"image": "x"}
_STEP: Body = {"name": "a", "job": _JOB}
_APPLIED = f"{WORKFLOWS}/applied?fieldManager="


def workflow(name: str, *steps: Body, **spec: Any) -> Body:
    body = {"steps": list(steps)} if steps else {}
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": {**body, **spec}}


def run(name: str, **spec: Any) -> Body:
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec}


WRONG_WORKFLOWS: dict[str, Body] = {
    "no body": workflow("x"),
    "two bodies": workflow("x", _STEP, dag={"steps": [_STEP]}),
    "no action": workflow("x", {"name": "a"}),
    "two actions": workflow("x", {**_STEP, "set": {"x": 1}}),
    "a step twice": workflow("x", _STEP, _STEP),
    "a bad name": workflow("x", {**_STEP, "name": "A_b"}),
    "no name": workflow("x", {"job": _JOB}),
    "a bad duration": workflow("x", {**_STEP, "timeout": "10x"}),
    "a bad number": workflow("x", {**_STEP, "retry": {"maxAttempts": 0}}),
    "a bad join": workflow("x", {"name": "p", "parallel": {"join": "150%", "branches": [{"name": "b", "steps": [_STEP]}]}}),
    "a join that is too large": workflow("x", {"name": "p", "parallel": {"join": 2, "branches": [{"name": "b", "steps": [_STEP]}]}}),
    "a wait for nothing": workflow("x", {"name": "w", "wait": {}}),
    "a wait for two things": workflow("x", {"name": "w", "wait": {"duration": "1m", "until": "2030-01-01T00:00:00Z"}}),
    "a compensation that does nothing": workflow("x", {**_STEP, "compensate": {}}),
    "arguments that are numbers": workflow("x", {"name": "a", "job": {"image": "x", "args": [1]}}),
    "an image that is none": workflow("x", {"name": "a", "job": {}}),
    "a fault deep down": workflow("x", {"name": "a", "steps": [{"name": "b", "steps": [{"name": "c"}]}]}),
    "several at once": workflow("x", {"name": "A_b", "job": {}, "timeout": "soon"}, {"name": "c", "wait": {}}),
    "a parameter twice": workflow("x", _STEP, parameters=[{"name": "p", "schema": {}}, {"name": "p", "schema": {}}]),
    "a parameter without a name": workflow("x", _STEP, parameters=[{"schema": {}}]),
}
WRONG_RUNS: dict[str, Body] = {
    "no workflow": run("x"),
    "two workflows": run("x", workflow={"name": "a", "inline": {"steps": [_STEP]}}),
    "neither workflow": run("x", workflow={}),
    "a revision of an inline workflow": run("x", workflow={"revision": 1, "inline": {"steps": [_STEP]}}),
    "parameters that are a list": run("x", workflow={"name": "a"}, parameters=[]),
    "a bad suspend": run("x", workflow={"name": "a"}, suspend="yes"),
    "a bad ttl": run("x", workflow={"name": "a"}, ttl="soon"),
}


def ours() -> Iterator[Exchange]:
    for file in sorted(_CRDS.glob("*.yaml")):
        plural = file.stem.partition("_")[2]
        made = patch(f"define {plural}", f"{CRDS_PATH}/{plural}.backstay.dev?fieldManager=test", file.read_bytes(), APPLY)
        yield made.part(CONTROLLERS, "kind")
        yield get(f"{plural} are served", f"{_GROUP}/{plural}", until=there)
    yield from _refused()
    yield from _taken()
    yield from _shared()
    yield from _shown()


def _refused() -> Iterator[Exchange]:
    for name, body in WRONG_WORKFLOWS.items():
        yield post(f"workflow: {name}", WORKFLOWS, body)
    for name, body in WRONG_RUNS.items():
        yield post(f"run: {name}", RUNS, body)
    typo = workflow("x", {"name": "a", "jo": _JOB, "job": _JOB})
    yield post("workflow: an unknown field", f"{WORKFLOWS}?fieldValidation=Strict", typo)
    yield post("workflow: an unknown field is warned of", f"{WORKFLOWS}?dryRun=All", typo)


def _taken() -> Iterator[Exchange]:
    deep = {"name": "d", "steps": [{"name": "e", "steps": [{"name": "f", "steps": [{"name": "g", "wait": {"duration": "1m"}}]}]}]}
    values = {"name": "v", "set": {"n": 1, "list": [1, "b", None], "none": None, "map": {"a": {"b": None}}, "text": "${ params.p }"}}
    parameters = [{"name": "p", "schema": {"type": "object"}, "default": {"deep": [1, {"a": None}]}}]
    yield post("workflow", WORKFLOWS, workflow("good", _STEP, deep, values, parameters=parameters))
    yield post("run", RUNS, run("good", workflow={"name": "good"}, parameters={"p": {"x": None}}))
    yield post("inline run", RUNS, run("inline", workflow={"inline": {"steps": [_STEP]}}))
    path = f"{RUNS}/good"
    yield patch("run: another workflow", path, {"spec": {"workflow": {"name": "other"}}})
    yield patch("run: other parameters", path, {"spec": {"parameters": {"p": 5}}})
    yield patch("run: suspend", path, {"spec": {"suspend": True}})
    yield patch("run: cancel", path, {"spec": {"cancel": {"reason": "enough"}}})
    yield patch("run: no longer cancelled", path, {"spec": {"cancel": None}})
    yield patch("run: a status elsewhere", path, {"status": {"phase": "Succeeded"}})
    yield patch("run: a phase", f"{path}/status", {"status": {"phase": "Running", "progress": "0/1"}})
    yield patch("run: a status by JSON patch", f"{path}/status", _STATUS, JSON_PATCH)
    yield patch("run: a stale status", f"{path}/status", [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}], JSON_PATCH)
    yield patch("run: a condition that is none", f"{path}/status", {"status": {"conditions": [{"type": "x"}]}})


_STATUS = [
    {"op": "add", "path": "/status/outputs", "value": {"a": [1, None]}},
    {
        "op": "add",
        "path": "/status/conditions",
        "value": [
            {"type": "Complete", "status": "False", "reason": "Running", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ],
    },
]


def _shared() -> Iterator[Exchange]:
    """Yield what two people apply to one workflow: its steps are a list by name."""
    yield patch("apply a workflow", f"{_APPLIED}ada", workflow("applied", _STEP, {"name": "b", "wait": {"duration": "1m"}}), APPLY)
    yield patch("apply to the same step", f"{_APPLIED}bob", workflow("applied", {"name": "a", "job": {"image": "y"}}), APPLY)
    yield patch("apply another step", f"{_APPLIED}bob", workflow("applied", {"name": "c", "wait": {"duration": "2m"}}), APPLY)
    yield patch("apply fewer steps", f"{_APPLIED}ada", workflow("applied", _STEP), APPLY)


def _shown() -> Iterator[Exchange]:
    yield get("runs as a table", f"{RUNS}/good?includeObject=None", accept=TABLE)
    yield get("workflows as a table", f"{WORKFLOWS}/good?includeObject=None", accept=TABLE)
    yield get("runs by phase", asked(RUNS, fieldSelector="status.phase=Running"), accept=TABLE)
    yield get("runs by a field that is none", asked(RUNS, fieldSelector="status.progress=0/1"))
    yield kubectl("get runs", f"get -n {NAMESPACE} wfrun good inline")
    yield kubectl("get everything of ours", f"get -n {NAMESPACE} backstay -o name")
    for path in ("wfrun.spec.workflow.inline.steps.job", "wf.spec.steps.retry.maxAttempts", "wfrun.status.conditions"):
        yield kubectl(f"explain {path}", f"explain {path}")
