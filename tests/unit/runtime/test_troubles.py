"""What the operator does when its Jobs are refused, and when pods are taken away: on a modelled API server, so that each request is counted."""

from typing import Any, cast

import pytest

from backstay.runtime import gates
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating

TWO = {
    "steps": [
        {
            "name": "p",
            "parallel": {
                "branches": [
                    {"name": "left", "steps": [{"name": "a", "job": {"image": "i", "startTimeout": "1s"}}]},
                    {"name": "right", "steps": [{"name": "b", "job": {"image": "i"}}]},
                ]
            },
        }
    ]
}
ONE = {"steps": [{"name": "a", "job": {"image": "i", "startTimeout": "1s"}}]}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(gates, "LONGEST_PAUSE_SECONDS", 0.05)


def refusing(fault: str | None) -> FakeApi:
    """A server that refuses every Job in one way, as long as `api.refuses` says so."""
    api = FakeApi(lambda job: (0, ""))
    api.refuses = fault  # type: ignore[attr-defined]
    api.fault = lambda number, verb, plural: api.refuses if (verb, plural) == ("create", "jobs") else None  # type: ignore[attr-defined]
    return api


def status(api: FakeApi) -> dict[str, Any]:
    return cast(dict[str, Any], (api.run() or {}).get("status") or {})


def messages(api: FakeApi) -> set[str]:
    return {item["message"] for item in status(api).get("steps", ()) if item.get("message")}


def count(api: FakeApi, verb: str, plural: str) -> int:
    return api.writes.count((verb, plural))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("quota", "Waiting for quota: exceeded quota: small, used: 5"),
        ("webhook is down", 'Waiting for an admission webhook: failed calling webhook "x": connection refused'),
    ],
)
async def test_a_run_whose_jobs_are_refused_for_now_waits_without_writing_and_goes_on(fault: str, words: str) -> None:
    api = refusing(fault)
    api.apply_run({"workflow": {"inline": TWO}})
    async with operating(api):
        await eventually(lambda: messages(api) == {words})
        assert status(api)["status"] == "Waiting"
        written, tried = count(api, "patch", "workflowruns"), count(api, "create", "jobs")
        await eventually(lambda: count(api, "create", "jobs") > tried + 3)
        assert count(api, "patch", "workflowruns") == written
        api.refuses = None  # type: ignore[attr-defined]
        await eventually(lambda: ended(api))
    assert status(api)["phase"] == "Succeeded"
    assert {item["attempt"] for item in status(api)["steps"] if item["kind"] == "job"} == {1}
    assert [event["note"] for event in api.all("events")] != []
    assert {event["reason"] for event in api.all("events")} == {"Waiting"}
    assert len(api.all("events")) == 2, "one for each step, however often it is tried"


async def test_a_job_that_is_denied_fails_its_step_at_once() -> None:
    api = refusing("denied")
    api.apply_run({"workflow": {"inline": ONE}})
    async with operating(api):
        await eventually(lambda: ended(api))
    assert status(api)["error"]["type"] == "AdmissionDenied"
    assert 'admission webhook "x" denied the request: not on Sundays' in status(api)["error"]["detail"]
    assert count(api, "create", "jobs") == 1


async def test_what_a_quota_refuses_does_not_keep_a_cancelled_run_from_ending() -> None:
    api = refusing("quota")
    api.apply_run({"workflow": {"inline": TWO}})
    async with operating(api):
        await eventually(lambda: messages(api))
        api.edit_run(lambda run: run["spec"].update(cancel={"reason": "enough"}))
        await eventually(lambda: ended(api))
    assert status(api)["phase"] == "Cancelled"


async def test_a_pod_that_is_let_go_before_its_job_has_failed_still_tells_why() -> None:
    """The order in which a real Job controller does it: the pod has failed, is gone, and then the Job has failed."""
    api = FakeApi(lambda job: None)
    api.apply_run({"workflow": {"inline": ONE}})
    async with operating(api):
        await eventually(lambda: api.created)
        job = api.all("jobs")[0]
        pod = api.put("pods", _deleted_pod(job))
        api.remove("pods", pod)
        failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": ""}
        api.put("jobs", {**job, "status": {"failed": 1, "conditions": [failed]}})
        await eventually(lambda: len(api.created) == 2)
        api.finish_job(1, (0, ""))
        await eventually(lambda: ended(api))
    step = next(item for item in status(api)["steps"] if item["path"] == "a")
    assert (status(api)["phase"], step["attempt"], step["disruptions"]) == ("Succeeded", 1, 1)
    reasons = [entry["reason"] for entry in status(api)["journal"]["entries"] if entry["kind"] == "StepDisrupted"]
    assert reasons == ["PodDeleted: pod lost was deleted before it had ended (1 disruption, at most 20)"]


def _deleted_pod(job: dict[str, Any]) -> dict[str, Any]:
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
    return {
        "metadata": {
            "name": "lost",
            "namespace": meta["namespace"],
            "uid": "pod-lost",
            "labels": job["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [owner],
            "creationTimestamp": "2026-11-23T09:00:00Z",
            "deletionTimestamp": "2026-11-23T09:01:00Z",
            "deletionGracePeriodSeconds": 0,
        },
        "status": {"phase": "Failed", "containerStatuses": []},
    }
