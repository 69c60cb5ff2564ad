"""The Job of an attempt is restricted, has one pod at a time, and takes from the user's template what it may."""

from typing import Any

import pytest

from backstay import errors
from backstay.engine.model import CreateJob
from backstay.kube.manifests import RunRef, job

RUN = RunRef(uid="uid-1", name="order-7f2", namespace="shop", workflow_name="order")


def built(
    run: RunRef = RUN, *, template: Any = None, timeout_seconds: float | None = None, owned: bool = True, **action: Any
) -> dict[str, Any]:
    inputs = {"image": "shop/pay:3", **action, **({} if template is None else {"template": template})}
    return job(run, CreateJob("order-7f2-charge-abc", "charge", 2, inputs, timeout_seconds, owned))


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return found


def main(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod(manifest)["containers"][0]
    return found


def variables(manifest: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in main(manifest)["env"]}


def test_the_whole_job_of_a_plain_step() -> None:
    labels = {"app.kubernetes.io/managed-by": "backstay", "backstay.dev/run": "uid-1", "backstay.dev/workflow": "order"}
    annotations = {"backstay.dev/run-name": "order-7f2", "backstay.dev/path": "charge", "backstay.dev/attempt": "2"}
    owner = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "WorkflowRun",
        "name": "order-7f2",
        "uid": "uid-1",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    manifest = built(command=["pay"], args=["charge", "a-17"], timeout_seconds=29.2)
    key = variables(manifest)["BACKSTAY_IDEMPOTENCY_KEY"]
    assert manifest == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "order-7f2-charge-abc",
            "namespace": "shop",
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 30,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [
                        {
                            "name": "main",
                            "image": "shop/pay:3",
                            "command": ["pay"],
                            "args": ["charge", "a-17"],
                            "env": [
                                {"name": "BACKSTAY_OUTPUT", "value": "/dev/termination-log"},
                                {"name": "BACKSTAY_RUN", "value": "order-7f2"},
                                {"name": "BACKSTAY_STEP", "value": "charge"},
                                {"name": "BACKSTAY_ATTEMPT", "value": "2"},
                                {"name": "BACKSTAY_IDEMPOTENCY_KEY", "value": key},
                            ],
                            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File",
                        }
                    ],
                },
            },
        },
    }


def test_retries_share_the_idempotency_key() -> None:
    first, second = (job(RUN, CreateJob("n", "charge", attempt, {"image": "i"})) for attempt in (1, 2))
    assert variables(first)["BACKSTAY_IDEMPOTENCY_KEY"] == variables(second)["BACKSTAY_IDEMPOTENCY_KEY"]
    assert variables(first)["BACKSTAY_ATTEMPT"] != variables(second)["BACKSTAY_ATTEMPT"]


def test_a_job_made_while_the_run_is_being_deleted_is_not_owned_by_it() -> None:
    metadata = built(owned=False)["metadata"]
    assert "ownerReferences" not in metadata
    assert metadata["annotations"]["backstay.dev/leaves-with-run"] == "true"
    assert "backstay.dev/leaves-with-run" not in built()["metadata"]["annotations"]


@pytest.mark.parametrize(("seconds", "deadline"), [(0.2, 1), (30, 30), (30.01, 31), (None, None)])
def test_the_deadline_is_never_shorter_than_the_timeout(seconds: float | None, deadline: int | None) -> None:
    assert built(timeout_seconds=seconds)["spec"].get("activeDeadlineSeconds") == deadline


def test_a_users_labels_reach_job_and_pod_and_cannot_replace_ours() -> None:
    run = RunRef("uid-1", "order-7f2", "shop", job_labels={"team": "a", "backstay.dev/run": "another"})
    manifest = built(run, template={"metadata": {"labels": {"app": "x", "team": "b", "backstay.dev/run": "third"}}})
    assert manifest["metadata"]["labels"] == {"team": "a", "backstay.dev/run": "uid-1", "app.kubernetes.io/managed-by": "backstay"}
    assert manifest["spec"]["template"]["metadata"]["labels"] == {**manifest["metadata"]["labels"], "app": "x"}


def test_a_workflow_name_longer_than_a_label_is_shortened() -> None:
    manifest = built(RunRef("uid-1", "r", "shop", workflow_name="w" * 200))
    assert len(manifest["metadata"]["labels"]["backstay.dev/workflow"]) <= 63


@pytest.mark.parametrize(
    ("action", "template", "run", "expected"),
    [
        (None, None, "", None),
        (None, None, "of-run", "of-run"),
        (None, "of-template", "of-run", "of-template"),
        ("of-action", "of-template", "of-run", "of-action"),
    ],
)
def test_the_nearest_service_account_counts(action: str | None, template: str | None, run: str, expected: str | None) -> None:
    given = {"serviceAccountName": action} if action else {}
    shape = {"spec": {"serviceAccountName": template}} if template else None
    manifest = built(RunRef("u", "r", "shop", service_account=run), template=shape, **given)
    assert pod(manifest).get("serviceAccountName") == expected


def test_the_template_brings_volumes_placement_and_other_containers() -> None:
    template = {
        "metadata": {"annotations": {"note": "x", "backstay.dev/path": "lie"}},
        "spec": {
            "volumes": [{"name": "data", "emptyDir": {}}],
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"operator": "Exists"}],
            "initContainers": [{"name": "proxy", "image": "p", "restartPolicy": "Always"}],
            "containers": [
                {"name": "log", "image": "l"},
                {"name": "main", "image": "ignored", "volumeMounts": [{"name": "data", "mountPath": "/data"}], "args": ["from-template"]},
            ],
        },
    }
    manifest = built(template=template)
    spec = pod(manifest)
    assert (spec["volumes"], spec["nodeSelector"], spec["tolerations"]) == (
        template["spec"]["volumes"],
        template["spec"]["nodeSelector"],
        template["spec"]["tolerations"],
    )
    assert [container["name"] for container in spec["containers"]] == ["main", "log"]
    assert main(manifest)["image"] == "shop/pay:3"
    assert main(manifest)["args"] == ["from-template"]
    assert main(manifest)["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert manifest["spec"]["template"]["metadata"]["annotations"]["note"] == "x"
    assert manifest["spec"]["template"]["metadata"]["annotations"]["backstay.dev/path"] == "charge"
    for container in (*spec["containers"], *spec["initContainers"]):
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_the_template_cannot_take_our_variables_our_output_or_our_restart_policy() -> None:
    container = {
        "name": "main",
        "terminationMessagePath": "/tmp/x",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": [{"name": "BACKSTAY_RUN", "value": "lie"}, {"name": "BACKSTAY_OTHER", "value": "lie"}, {"name": "A", "value": "template"}],
    }
    reference = {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    manifest = built(
        template={"spec": {"restartPolicy": "Always", "containers": [container]}}, env=[{"name": "A", "value": "action"}, reference]
    )
    assert pod(manifest)["restartPolicy"] == "Never"
    assert main(manifest)["terminationMessagePath"] == "/dev/termination-log"
    assert main(manifest)["terminationMessagePolicy"] == "File"
    given = variables(manifest)
    assert given["BACKSTAY_RUN"] == "order-7f2"
    assert "BACKSTAY_OTHER" not in given
    assert (given["A"], given["SECRET"]) == ("action", reference["valueFrom"])
    assert next(iter(given)).startswith("BACKSTAY_"), "ours come first, so that $(BACKSTAY_RUN) works in the others"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"runAsUser": 1000}, {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}),
        ({"fsGroup": 7}, {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 7, "seccompProfile": {"type": "RuntimeDefault"}}),
        ({"runAsUser": 0}, {"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}}),
        ({"runAsNonRoot": False}, {"runAsNonRoot": False, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}),
        (
            {"seccompProfile": {"type": "Localhost", "localhostProfile": "p"}},
            {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "Localhost", "localhostProfile": "p"}},
        ),
        ({"runAsUser": None}, {"runAsNonRoot": True, "runAsUser": None, "seccompProfile": {"type": "RuntimeDefault"}}),
    ],
)
def test_what_a_template_says_about_the_pods_security_holds_and_the_rest_stays(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert pod(built(template={"spec": {"securityContext": given}}))["securityContext"] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}),
        (
            {"capabilities": {"add": ["NET_BIND_SERVICE"]}},
            {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
        ),
        ({"capabilities": {"drop": ["KILL"]}}, {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["KILL"]}}),
        ({"privileged": True}, {"privileged": True, "capabilities": {"drop": ["ALL"]}}),
        ({"capabilities": {"add": ["CAP_SYS_ADMIN"]}}, {"capabilities": {"drop": ["ALL"], "add": ["CAP_SYS_ADMIN"]}}),
        (
            {"readOnlyRootFilesystem": True},
            {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True},
        ),
    ],
)
def test_what_a_template_says_about_a_containers_security_holds_and_the_rest_stays(given: dict[str, Any], expected: dict[str, Any]) -> None:
    template = {"spec": {"containers": [{"name": "main", "securityContext": given}, {"name": "side", "securityContext": given}]}}
    assert [container["securityContext"] for container in pod(built(template=template))["containers"]] == [expected, expected]


def test_a_token_is_mounted_only_where_the_template_says_so() -> None:
    assert pod(built(template={"spec": {"automountServiceAccountToken": True}}))["automountServiceAccountToken"] is True


def test_building_a_job_does_not_change_what_it_is_built_from() -> None:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "main", "securityContext": {"capabilities": {"add": ["X"]}}}]},
    }
    before = repr(template)
    assert built(template=template) == built(template=template)
    assert repr(template) == before


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("text", "job.template"),
        ({"spec": []}, "job.template.spec"),
        ({"metadata": {"labels": "x"}}, "job.template.metadata.labels"),
        ({"spec": {"containers": {"name": "main"}}}, "job.template.spec.containers"),
        ({"spec": {"containers": ["main"]}}, r"job.template.spec.containers\[0\]"),
        ({"spec": {"initContainers": "main"}}, "job.template.spec.initContainers"),
        ({"spec": {"securityContext": 1}}, "job.template.spec.securityContext"),
        ({"spec": {"containers": [{"name": "main", "env": {"A": "b"}}]}}, r"job.template.spec.containers\[main\].env"),
        ({"spec": {"containers": [{"name": "main", "securityContext": {"capabilities": ["ALL"]}}]}}, "capabilities of container 'main'"),
    ],
)
def test_a_template_of_another_shape_is_told_with_its_path(template: Any, path: str) -> None:
    with pytest.raises(errors.InvalidDefinition, match=f"^{path}: is .*; write "):
        built(template=template)
