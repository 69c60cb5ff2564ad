"""All that the operator does for its users, told once: every right that it has is used, so that none is given for nothing."""

from tests.scenarios.manifests import ONE, run_by_name, run_of, shell, step, workflow_of
from tests.support.api import Object
from tests.support.cluster import EXAMPLES, Place, condition
from tests.support.waiting import wait_for

UNDONE = step("do", job=shell(), compensate={"job": shell()})
HOLD = step("hold", wait={"duration": "1h"})


def live_through_everything(place: Place) -> None:
    """A success, timeouts, failures that are undone, an end by hand, a deletion that is undone, a pause, a quota, revisions, time to live."""
    for example in ("hello.yaml", "steps/compensate.yaml", "steps/timeout.yaml"):
        place.apply(EXAMPLES / example)
    place.apply(run_of("deleted", UNDONE, HOLD), run_of("cancelled", UNDONE, HOLD), run_of("held", HOLD), _in_the_way(place))
    _undo(place)
    _pause_twice(place)
    _stand_in_the_way(place)
    assert condition(place.ended("hello"), "Succeeded") == "True"
    assert condition(place.ended("timeout"), "Succeeded") == "True"
    assert condition(place.ended("compensate"), "Compensated") == "True"
    _leave(place)
    _wait_for_quota(place)
    _forget_revisions(place)


def _undo(place: Place) -> None:
    for name in ("deleted", "cancelled"):
        place.reached(name, "hold", "Waiting")
    place.kubectl("delete", "wfrun", "deleted", "--wait=false")
    place.kubectl("patch", "wfrun", "cancelled", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "x"}}}')
    place.gone("deleted")
    assert condition(place.ended("cancelled"), "Compensated") == "True"


def _pause_twice(place: Place) -> None:
    for _ in range(2):
        for suspend, holds in (("true", "True"), ("false", "False")):
            place.kubectl("patch", "wfrun", "held", "--type=merge", "-p", f'{{"spec": {{"suspend": {suspend}}}}}')
            place.until("held", lambda run, holds=holds: condition(run, "Suspended") == holds)
    wait_for(
        lambda: any(event.get("series") for event in place.events("held")), what=lambda: f"no Event was counted: {place.events('held')}"
    )


def _in_the_way(place: Place) -> Object:
    return run_of("in-the-way", step(job=shell()), suspend=True)


def foreign_job(place: Place, run: str, step_path: str = "a") -> Object:
    """Make a Job of somebody else that has the name which the first attempt of a run's step needs."""
    from backstay.names import job_name

    meta = {"name": job_name(run, place.run(run)["metadata"]["uid"], step_path, 1), "annotations": {"backstay.dev/run-name": "none"}}
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1.36"}]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"suspend": True, "template": {"spec": pod}}}
    return place.create(job)


def _stand_in_the_way(place: Place) -> None:
    place.until("in-the-way", lambda run: condition(run, "Suspended") == "True")
    foreign_job(place, "in-the-way")
    place.kubectl("patch", "wfrun", "in-the-way", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert "has the name that this attempt needs" in place.ended("in-the-way")["status"]["error"]["detail"]


def _leave(place: Place) -> None:
    place.kubectl("patch", "wfrun", "hello", "--type=merge", "-p", '{"spec": {"ttl": {"succeeded": "1s"}}}')
    place.gone("hello")


def obstruct(place: Place, **hard: str) -> None:
    """Have a quota refuse what its limits say, until it is deleted."""
    place.kubectl(
        "create", "-f", "-", given={"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
    )
    wait_for(lambda: place.kubectl.json("get", "quota", "none").get("status", {}).get("hard") == hard, what="the quota is not in force")


def _wait_for_quota(place: Place) -> None:
    obstruct(place, pods="0")
    place.apply(run_of("obstructed", step(job=shell())))
    place.until("obstructed", lambda run: "exceeded quota" in str(run.get("status", {}).get("steps")))
    place.kubectl("delete", "quota", "none")
    place.kubectl("patch", "wfrun", "obstructed", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "x"}}}')
    place.ended("obstructed")


def _forget_revisions(place: Place) -> None:
    place.apply(workflow_of({"steps": [ONE]}, "brief"), run_by_name("brief", "brief"))
    place.ended("brief")
    for kind in ("wfrun", "wf"):
        place.kubectl("delete", kind, "brief")
    wait_for(lambda: not _revisions(place, "brief"), what="the revision of a workflow that is gone stays")


def _revisions(place: Place, workflow: str) -> list[Object]:
    return place.cluster.api.list("controllerrevisions", place.name, labelSelector=f"backstay.dev/workflow={workflow}")
