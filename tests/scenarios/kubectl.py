"""What users type: the real kubectl on runs and workflows."""

import pytest

from tests.scenarios.fixtures import Market
from tests.scenarios.manifests import ONE, run_of, shell, steps, workflow_of
from tests.support.cluster import Place


def test_get_shows_what_a_run_does_now(market: Market) -> None:
    market.shop.close("charge")
    name = market.start("good")
    market.place.reached(name, "charge")
    header, row = market.place.kubectl("get", "wfrun").splitlines()
    assert header.split() == ["NAME", "WORKFLOW", "STATUS", "PROGRESS", "STEP", "AGE"]
    assert row.split()[:5] == ["good", "order", "Running", "1/5", "charge"]
    assert "workflowrun.backstay.dev/good" in market.place.kubectl("get", "backstay", "-o", "name")
    market.shop.open("charge")
    market.place.kubectl("wait", "--for=condition=Complete", "wfrun/good", "--timeout=60s")
    _, row = market.place.kubectl("get", "wfrun", "good").splitlines()
    assert row.split()[:4] == ["good", "order", "Succeeded", "5/5"]


def test_wait_returns_at_any_end(place: Place) -> None:
    place.apply(run_of("fails", {"name": "no", "fail": {"error": "Broken", "message": "it is broken"}}))
    place.kubectl("wait", "--for=condition=Complete", "wfrun/fails", "--timeout=60s")
    place.kubectl("wait", "--for=condition=Succeeded=False", "wfrun/fails", "--timeout=10s")
    assert place.kubectl("get", "wfrun", "fails", "-o", "jsonpath={.status.error.type}: {.status.error.detail}") == "Broken: it is broken"


def test_a_workflow_can_be_waited_for(place: Place) -> None:
    place.apply(workflow_of(steps(ONE), "fine"))
    place.kubectl("wait", "--for=condition=Ready", "workflow/fine", "--timeout=30s")
    header, row = place.kubectl("get", "workflow").splitlines()
    assert header.split()[0] == "NAME"
    assert row.split()[0] == "fine"


def test_describe_tells_what_went_wrong(place: Place) -> None:
    place.apply(run_of("fails", {"name": "crash", "job": shell("echo the disk is full > $BACKSTAY_OUTPUT; exit 3")}))
    place.ended("fails")
    described = place.kubectl.until("describe", "wfrun", "fails", shows=lambda text: "RunFailing" in text or "RunFailed" in text)
    assert "exit code 3; it left: the disk is full" in described
    assert "StepFailed" in described


def test_logs_of_a_step_are_read_through_its_job(place: Place) -> None:
    place.apply(run_of("talks", {"name": "say", "job": shell("echo hello from the step")}))
    run = place.ended("talks")
    job = next(step["job"] for step in run["status"]["steps"] if step["path"] == "say")
    assert place.kubectl("logs", f"job/{job}") == "hello from the step\n"


def test_labels_find_the_jobs_of_a_run(place: Place) -> None:
    place.apply(run_of("talks", {"name": "say", "job": shell("true")}, jobLabels={"team": "blue"}))
    uid = place.ended("talks")["metadata"]["uid"]
    (job,) = place.kubectl("get", "jobs", "-l", f"backstay.dev/run={uid},team=blue", "-o", "name").split()
    pods = place.kubectl.json("get", "pods", "-l", f"backstay.dev/run={uid},team=blue")["items"]
    assert [pod["metadata"]["ownerReferences"][0]["name"] for pod in pods] == [job.removeprefix("job.batch/")]


def test_unfinished_runs_can_be_asked_for(place: Place) -> None:
    place.apply(run_of("waits", {"name": "pause", "wait": {"duration": "1h"}}), run_of("ends", {"name": "one", "set": {"x": 1}}))
    place.ended("ends")
    place.reached("waits", "pause", "Waiting")
    assert place.kubectl("get", "wfrun", "--field-selector", "status.phase=Running", "-o", "name") == "workflowrun.backstay.dev/waits\n"


def test_a_finished_run_is_deleted_at_once_and_takes_its_jobs_along(place: Place) -> None:
    place.apply(run_of("done", {"name": "one", "job": shell("true"), "compensate": {"job": shell("true")}}))
    place.ended("done")
    place.kubectl("delete", "wfrun", "done", "--timeout=30s")
    place.kubectl.until("get", "jobs", "-o", "name", shows=lambda text: not text)


EXPLAINED = {
    "workflow": "Workflow",
    "workflow.spec.steps": "steps in order",
    "workflow.spec.steps.job.image": "The container image",
    "workflow.spec.steps.retry.maxAttempts": "Attempts in all, the first one included",
    "workflow.spec.steps.compensate": "How to undo this step once it has succeeded",
    "wfrun.spec.cancel.reason": "Why, in words",
    "wfrun.spec.suspend": "Start nothing new while this is true",
    "wfrun.status.conditions": "Succeeded, Complete, Suspended",
    "wfrun.status.steps.phase": "Where it stands",
}


@pytest.mark.parametrize("field", EXPLAINED)
def test_explain_teaches(cluster: object, field: str) -> None:
    told = " ".join(cluster.kubectl("explain", field, "--api-version=backstay.dev/v1alpha1").split())
    assert EXPLAINED[field] in told
