"""What builtin kinds get and may become, beyond the table that both servers are held against."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from backstay.local.apiserver.admission import defaulted, prepare_create, prepare_update
from backstay.local.apiserver.resources import Registry, Resource
from backstay.local.apiserver.status import StatusError

_NOW = datetime(2026, 1, 2, tzinfo=UTC)
_UID = "7d3c2a51-0000-4000-8000-000000000001"
_CONTAINER = {"name": "main", "image": "busybox"}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def _resource(registry: Registry, group: str, plural: str) -> Resource:
    found = registry.find(group, "v1", plural)
    assert found is not None
    return found


def _job(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [_CONTAINER]}}
    return {"kind": "Job", "metadata": {"name": "pack", "namespace": "shop", "uid": _UID}, "spec": {"template": template, **spec}}


def _created(registry: Registry, job: dict[str, Any]) -> dict[str, Any]:
    return prepare_create(_resource(registry, "batch", "jobs"), job, _NOW)


def test_a_job_gets_its_defaults_and_a_selector_that_no_other_job_has(registry: Registry) -> None:
    spec = _created(registry, _job())["spec"]
    template = spec.pop("template")
    assert spec == {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "podReplacementPolicy": "TerminatingOrFailed",
        "manualSelector": False,
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": _UID}},
    }
    assert template["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": _UID,
        "batch.kubernetes.io/job-name": "pack",
        "controller-uid": _UID,
        "job-name": "pack",
    }
    assert template["spec"]["containers"] == [
        {
            **_CONTAINER,
            "imagePullPolicy": "Always",
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        }
    ]
    assert template["spec"]["terminationGracePeriodSeconds"] == 30
    assert template["spec"]["dnsPolicy"] == "ClusterFirst"


def test_a_job_without_labels_takes_those_of_its_template(registry: Registry) -> None:
    job = _job()
    job["spec"]["template"]["metadata"] = {"labels": {"app": "shop"}}
    made = _created(registry, job)
    assert made["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"]
    assert made["metadata"]["labels"]["app"] == "shop"


def test_the_writer_of_a_job_manages_the_defaults_and_not_what_the_server_generates(registry: Registry) -> None:
    made = defaulted(_resource(registry, "batch", "jobs"), _job(paralellism=1))
    assert made["spec"]["backoffLimit"] == 6
    assert "selector" not in made["spec"]
    assert "paralellism" not in made["spec"]
    assert "labels" not in made["spec"]["template"]["metadata"]
    assert "status" not in made


def test_a_job_without_any_labels_has_the_generated_ones(registry: Registry) -> None:
    made = _created(registry, _job())
    assert made["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"]


def test_a_job_with_a_failure_policy_replaces_only_failed_pods_and_awaits_true_conditions(registry: Registry) -> None:
    policy = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
    spec = _created(registry, _job(podFailurePolicy=policy))["spec"]
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["podFailurePolicy"]["rules"][0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


def test_a_label_that_contradicts_the_generated_one_is_refused(registry: Registry) -> None:
    job = _job()
    job["spec"]["template"]["metadata"] = {"labels": {"batch.kubernetes.io/job-name": "other"}}
    with pytest.raises(StatusError, match=r"spec\.template\.metadata\.labels\[batch\.kubernetes\.io/job-name\].*must be 'pack'"):
        _created(registry, job)


def test_what_is_written_again_unchanged_is_unchanged(registry: Registry) -> None:
    job = _created(registry, _job())
    assert prepare_update(_resource(registry, "batch", "jobs"), copy.deepcopy(job), job, None) == job


def test_the_template_of_a_job_never_changes(registry: Registry) -> None:
    job = _created(registry, _job())
    changed = copy.deepcopy(job)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    with pytest.raises(StatusError, match=r"spec\.template\.spec: Invalid value: .*: field is immutable"):
        prepare_update(_resource(registry, "batch", "jobs"), changed, job, None)


def test_a_suspended_job_may_be_sent_to_other_nodes(registry: Registry) -> None:
    job = _created(registry, _job(suspend=True))
    changed = copy.deepcopy(job)
    changed["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    made = prepare_update(_resource(registry, "batch", "jobs"), changed, job, None)
    assert made["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}


_STARTED = {"startTime": "2026-01-02T00:00:00Z"}
_COMPLETE = {
    **_STARTED,
    "completionTime": "2026-01-02T00:00:01Z",
    "succeeded": 1,
    "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}],
}
STATUSES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("a job that completes", _STARTED, _COMPLETE, ""),
    (
        "a job that completes without having met its criteria",
        _STARTED,
        {**_COMPLETE, "conditions": [{"type": "Complete", "status": "True"}]},
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
    ),
    (
        "a job that completes without a time",
        _STARTED,
        {**_COMPLETE, "completionTime": None},
        "completionTime is required for Complete jobs",
    ),
    ("a job that is finished and goes on", _COMPLETE, _STARTED | {"succeeded": 1}, "cannot disable the terminal Complete=True condition"),
    (
        "a job that fails without saying so before",
        _STARTED,
        {**_STARTED, "conditions": [{"type": "Failed", "status": "True"}]},
        "FailureTarget",
    ),
    ("a job that is finished while pods run", _STARTED, {**_COMPLETE, "active": 1}, "active>0 is invalid for finished job"),
    ("a job that forgets a success", {**_STARTED, "succeeded": 2}, {**_STARTED, "succeeded": 1}, "cannot decrease the succeeded counter"),
    ("a job that starts anew", _STARTED, {"startTime": "2026-01-03T00:00:00Z"}, "field is immutable for unsuspended job once set"),
]


@pytest.mark.parametrize(("before", "after", "said"), [case[1:] for case in STATUSES], ids=[case[0] for case in STATUSES])
def test_the_status_of_a_job(registry: Registry, before: dict[str, Any], after: dict[str, Any], said: str) -> None:
    job = _created(registry, _job())
    old, new = {**job, "status": before}, {**job, "status": after}
    if not said:
        assert prepare_update(_resource(registry, "batch", "jobs"), new, old, "status")["status"] == after
        return
    with pytest.raises(StatusError) as refused:
        prepare_update(_resource(registry, "batch", "jobs"), new, old, "status")
    assert said in refused.value.message


def _pod(**spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "a", "namespace": "shop"}, "spec": {"containers": [_CONTAINER], **spec}}


QUALITIES: list[tuple[str, dict[str, Any], str]] = [
    ("no resources", {}, "BestEffort"),
    ("limits alone, which are the requests too", {"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
    ("a request without a limit", {"requests": {"cpu": "1"}}, "Burstable"),
    (
        "the same amounts written otherwise",
        {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}},
        "Guaranteed",
    ),
    ("a request below its limit", {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}, "Burstable"),
]


@pytest.mark.parametrize(("resources", "quality"), [case[1:] for case in QUALITIES], ids=[case[0] for case in QUALITIES])
def test_a_new_pod_is_pending_with_its_quality_of_service(registry: Registry, resources: dict[str, Any], quality: str) -> None:
    pod = _pod(containers=[{**_CONTAINER, "resources": resources}])
    made = prepare_create(_resource(registry, "", "pods"), pod, _NOW)
    assert made["status"] == {"phase": "Pending", "qosClass": quality}


IMAGES = [
    ("busybox", "Always"),
    ("busybox:latest", "Always"),
    ("busybox:1.36", "IfNotPresent"),
    ("host:5000/busybox", "Always"),
    ("a@sha256:00", "IfNotPresent"),
]


@pytest.mark.parametrize(("image", "policy"), IMAGES)
def test_only_the_latest_image_is_pulled_every_time(registry: Registry, image: str, policy: str) -> None:
    made = prepare_create(_resource(registry, "", "pods"), _pod(containers=[{"name": "a", "image": image}]), _NOW)
    assert made["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_pod_waits_five_minutes_for_a_lost_node_unless_it_says_otherwise(registry: Registry) -> None:
    keys = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    made = prepare_create(_resource(registry, "", "pods"), _pod(), _NOW)
    assert {(each["key"], each["tolerationSeconds"]) for each in made["spec"]["tolerations"]} == {(key, 300) for key in keys}
    made = prepare_create(_resource(registry, "", "pods"), _pod(tolerations=[{"operator": "Exists"}]), _NOW)
    assert made["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_a_deadline_of_a_pod_may_come_nearer_and_not_recede(registry: Registry) -> None:
    pods = _resource(registry, "", "pods")
    pod = prepare_create(pods, _pod(activeDeadlineSeconds=60), _NOW)
    nearer = {**pod, "spec": {**pod["spec"], "activeDeadlineSeconds": 30}}
    assert prepare_update(pods, nearer, pod, None)["spec"]["activeDeadlineSeconds"] == 30
    with pytest.raises(StatusError, match="must be less than or equal to previous value"):
        prepare_update(pods, {**pod, "spec": {**pod["spec"], "activeDeadlineSeconds": 90}}, pod, None)


def test_a_namespace_is_active_with_its_finalizer_and_its_name_for_a_label(registry: Registry) -> None:
    made = prepare_create(_resource(registry, "", "namespaces"), {"kind": "Namespace", "metadata": {"name": "shop"}}, _NOW)
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}


def test_texts_of_a_secret_become_its_data(registry: Registry) -> None:
    secret = {"kind": "Secret", "metadata": {"name": "a", "namespace": "shop"}, "data": {"a": "MQ=="}, "stringData": {"b": "2"}}
    made = prepare_create(_resource(registry, "", "secrets"), secret, _NOW)
    assert made["data"] == {"a": "MQ==", "b": "Mg=="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made


def test_a_role_binding_binds_to_one_role_for_ever(registry: Registry) -> None:
    bindings = _resource(registry, "rbac.authorization.k8s.io", "rolebindings")
    body = {
        "kind": "RoleBinding",
        "metadata": {"name": "a", "namespace": "shop"},
        "roleRef": {"kind": "Role", "name": "a"},
        "subjects": [{"kind": "User", "name": "u"}],
    }
    made = prepare_create(bindings, body, _NOW)
    assert made["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
    with pytest.raises(StatusError, match="cannot change roleRef"):
        prepare_update(bindings, {**made, "roleRef": {**made["roleRef"], "name": "b"}}, made, None)


def test_unknown_fields_and_nulls_of_a_builtin_kind_are_not_stored(registry: Registry) -> None:
    job = _job(paralellism=2, ttlSecondsAfterFinished=None)
    spec = _created(registry, job)["spec"]
    assert not {"paralellism", "ttlSecondsAfterFinished"} & spec.keys()
