"""The CRDs on a real API server: it takes them as structural, refuses what it can with a message that helps, and explains the rest."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api.steps import Compensate, Step, actions
from tests.cluster.control_plane import ControlPlane
from tests.support.kubectl import Kubectl
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PLURALS = ("workflows", "workflowruns")
JOB = {"image": "x"}
ONE_STEP = {"name": "a", "job": JOB}
KEEPS_WORKFLOW = "a run keeps the workflow it was created with; create another run for a different one"
KEEPS_PARAMETERS = "a run keeps the parameters it was created with; create another run for different ones"


@pytest.fixture(scope="module")
def kubectl(fresh_control_plane: ControlPlane) -> Iterator[Kubectl]:
    """kubectl on a control plane that has our CRDs and nothing else of ours."""
    kubectl = Kubectl(fresh_control_plane.kubeconfig, "default")
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    wait_for(lambda: all(_established(kubectl, plural) for plural in PLURALS), what="the CRDs are not established")
    wait_for(lambda: "workflowruns" in kubectl("api-resources", "--api-group=backstay.dev", "-o", "name"), what="the kinds are not served")
    yield kubectl


def _conditions(kubectl: Kubectl, plural: str) -> dict[str, str]:
    found = kubectl.json("get", "crd", f"{plural}.backstay.dev").get("status", {}).get("conditions") or []
    return {condition["type"]: condition["status"] for condition in found}


def _established(kubectl: Kubectl, plural: str) -> bool:
    return _conditions(kubectl, plural).get("Established") == "True"


def workflow(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec}


def run(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec}


def test_both_are_structural(kubectl: Kubectl) -> None:
    for plural in PLURALS:
        conditions = _conditions(kubectl, plural)
        assert conditions["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("wfrun.spec.workflow.inline.steps", ("job", "Run a container to its end.", "-required-")),
        ("wf.spec.dag.steps.job", ("The container image; may hold expressions in ${ }.", "enum: Always, IfNotPresent, Never")),
        ("workflow.spec.steps.retry.maxAttempts", ("Attempts in all, the first one included. Default: 3.",)),
        ("wfrun.status.conditions", ("When status last changed.",)),
    ],
)  # fmt: skip
def test_kubectl_explain_teaches(kubectl: Kubectl, path: str, words: tuple[str, ...]) -> None:
    shown = kubectl("explain", path)
    assert [word for word in words if word not in shown] == []


def test_the_examples_are_taken(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--dry-run=server", "-f", str(ROOT / "examples" / "hello.yaml"))
    kubectl("apply", "--server-side", "--dry-run=server", "-f", str(ROOT / "examples" / "steps"))
    kubectl("apply", "--server-side", "--dry-run=server", "-f", str(ROOT / "examples" / "order" / "workflow.yaml"))
    kubectl("apply", "--server-side", "--dry-run=server", "-f", str(ROOT / "examples" / "order" / "runs"))


def inline(*steps: dict[str, Any]) -> dict[str, Any]:
    return run("refused", {"workflow": {"inline": {"steps": list(steps)}}})


ACTIONS = f"a step has exactly one action: {', '.join(actions(Step))}"
BRANCHES = [{"name": "b", "steps": [ONE_STEP]}]

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (inline({"name": "a"}), "spec.workflow.inline.steps[0]", ACTIONS),
    (inline({"name": "a", "job": JOB, "set": {"x": 1}}), "spec.workflow.inline.steps[0]", ACTIONS),
    (inline(ONE_STEP, ONE_STEP), "spec.workflow.inline.steps[1]", "Duplicate value"),
    (inline({"name": "a", "jo": JOB}), "spec.workflow.inline.steps[0].jo", "unknown field"),
    (inline({"name": "A_b", "job": JOB}), "spec.workflow.inline.steps[0].name", "should match"),
    (inline({"name": "a", "job": JOB, "timeout": "10x"}), "spec.workflow.inline.steps[0].timeout", "should match"),
    (inline({"name": "a", "job": {"image": "x", "args": [1]}}), "spec.workflow.inline.steps[0].job.args[0]", "must be of type string"),
    (inline({"name": "a", "wait": {}}), "spec.workflow.inline.steps[0].wait", "wait needs exactly one of these: duration, until"),
    (inline({"name": "a", "fail": {"error": "*"}}), "spec.workflow.inline.steps[0].fail", "raise one type, as in PaymentOverdue"),
    (
        inline({"name": "a", "parallel": {"join": 2, "branches": BRANCHES}}),
        "steps[0].parallel",
        "write a number from 1 to the number of branches",
    ),
    (inline({"name": "a", "parallel": {"join": "150%", "branches": BRANCHES}}), "steps[0].parallel.join", "should match"),
    (run("refused", {}), "spec.workflow", "Required value"),
    (
        run("refused", {"workflow": {"name": "a", "inline": {"steps": [ONE_STEP]}}}),
        "spec.workflow",
        "a run needs exactly one of these: name, inline",
    ),
    (run("refused", {"workflow": {"revision": 1, "inline": {"steps": [ONE_STEP]}}}), "spec.workflow", "revision goes with name"),
    (workflow("refused", {}), "spec", "the body of a workflow is exactly one of these: steps, dag"),
    (
        workflow("refused", {"steps": [ONE_STEP], "dag": {"steps": [ONE_STEP]}}),
        "spec",
        "the body of a workflow is exactly one of these: steps, dag",
    ),
    (workflow("refused", {"steps": [{"name": "a", "steps": [ONE_STEP, ONE_STEP]}]}), "spec.steps[0].steps[1]", "Duplicate value"),
    (workflow("refused", {"steps": [{"name": "a", "steps": [{"name": "b", "jo": JOB}]}]}), "spec.steps[0].steps[0].jo", "unknown field"),
    (
        workflow("refused", {"steps": [{"name": "a", "steps": [{"name": "b", "steps": [ONE_STEP, ONE_STEP]}]}]}),
        "spec.steps[0].steps[0].steps[1]",
        "Duplicate value",
    ),
    (
        workflow("refused", {"steps": [{**ONE_STEP, "compensate": {}}]}),
        "spec.steps[0].compensate",
        f"compensate has exactly one action: {', '.join(actions(Compensate))}",
    ),
]


@pytest.mark.parametrize(("manifest", "path", "message"), REFUSED, ids=[f"{path}: {message}"[:90] for _, path, message in REFUSED])
def test_a_faulty_manifest_is_refused_with_its_path(kubectl: Kubectl, manifest: dict[str, Any], path: str, message: str) -> None:
    answer = kubectl.refused("create", "-f", "-", given=manifest)
    assert path in answer
    assert message in answer


def test_values_of_any_kind_are_kept_as_they_are(kubectl: Kubectl) -> None:
    spec = {
        "parameters": [{"name": "x", "schema": {"type": "object"}, "default": {"deep": [1, {"a": None}]}}],
        "steps": [
            {"name": "a", "set": {"n": 1, "list": [1, "b"], "none": None, "text": "${ params.x }"}},
            {"name": "b", "job": {"image": "x", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}, "template": {"spec": {"nodeSelector": {"a": "b"}}}}},
            {"name": "c", "parallel": {"join": 1, "branches": BRANCHES}},
            {"name": "d", "parallel": {"join": "50%", "branches": BRANCHES}},
            {"name": "e", "steps": [{"name": "f", "steps": [{"name": "g", "steps": [{"name": "h", "wait": {"duration": "1m"}}]}]}]},
        ],
    }  # fmt: skip
    kubectl("create", "-f", "-", given=workflow("kept", spec))
    assert kubectl.json("get", "workflow", "kept")["spec"] == spec


def test_the_order_of_the_steps_is_that_of_the_last_apply(kubectl: Kubectl) -> None:
    for names in (["a", "b", "c"], ["c", "a", "b"], ["d", "c", "b", "a"], ["a", "x"]):
        kubectl("apply", "--server-side", "-f", "-", given=workflow("ordered", {"steps": [{"name": name, "job": JOB} for name in names]}))
        assert [step["name"] for step in kubectl.json("get", "wf", "ordered")["spec"]["steps"]] == names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workflow": {"name": "other"}}, KEEPS_WORKFLOW),
        ({"workflow": {"revision": 2}}, KEEPS_WORKFLOW),
        ({"parameters": {"a": {"b": [1, 3]}}}, KEEPS_PARAMETERS),
        ({"parameters": {"c": 1}}, KEEPS_PARAMETERS),
        ({"parameters": None}, KEEPS_PARAMETERS),
        ({"cancel": None}, "a cancellation cannot be taken back"),
    ],
)
def test_what_a_run_was_created_with_cannot_change(
    kubectl: Kubectl, change: dict[str, Any], message: str, request: pytest.FixtureRequest
) -> None:
    name = f"fixed-{request.node.callspec.indices['change']}"
    spec = {"workflow": {"name": "order"}, "parameters": {"a": {"b": [1, 2]}}, "cancel": {"reason": "x"}}
    kubectl("create", "-f", "-", given=run(name, spec))
    patch = yaml.safe_dump({"spec": change})
    assert message in kubectl.refused("patch", "wfrun", name, "--type=merge", "-p", patch)
    kubectl("patch", "wfrun", name, "--type=merge", "-p", yaml.safe_dump({"spec": {"suspend": True}}))


def test_a_definition_inside_a_run_cannot_change_however_deep(kubectl: Kubectl) -> None:
    manifest = inline({"name": "a", "steps": [{"name": "b", "steps": [ONE_STEP]}]})
    manifest["metadata"]["name"] = "fixed-inline"
    kubectl("create", "-f", "-", given=manifest)
    changed = copy.deepcopy(manifest)
    changed["spec"]["workflow"]["inline"]["steps"][0]["steps"][0]["steps"][0]["job"]["image"] = "y"
    assert KEEPS_WORKFLOW in kubectl.refused("apply", "--server-side", "--force-conflicts", "-f", "-", given=changed)


def test_runs_are_listed_with_columns_and_selected_by_workflow_and_phase(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", given=run("listed", {"workflow": {"name": "listing"}}))
    status = {"status": {"phase": "Running", "status": "Waiting", "progress": "1/3", "step": "charge"}}
    kubectl("patch", "wfrun", "listed", "--subresource=status", "--type=merge", "-p", yaml.safe_dump(status))
    shown = kubectl("get", "wfrun", "--field-selector", "spec.workflow.name=listing,status.phase=Running")
    header, row = shown.splitlines()
    assert header.split() == ["NAME", "WORKFLOW", "STATUS", "PROGRESS", "STEP", "AGE"]
    assert row.split()[:5] == ["listed", "listing", "Waiting", "1/3", "charge"]
    assert "listed" in kubectl("get", "backstay", "-o", "name")
