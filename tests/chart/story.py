"""All that the operator does for its users, told once: every right that it has is used, so that none is given for nothing."""

import json

from tests.scenarios.manifests import ONE, run_by_name, run_of, shell, step, workflow_of
from tests.scenarios.resource import allow, as_manager, manifest
from tests.support.api import Object
from tests.support.cluster import EXAMPLES, Place, condition
from tests.support.waiting import wait_for

UNDONE = step("do", job=shell(), compensate={"job": shell()})
HOLD = step("hold", wait={"duration": "1h"})


def live_through_everything(place: Place) -> None:
    """A success, timeouts, failures that are undone, an end by hand, a deletion that is undone, a pause, a quota, revisions, time to live."""
    for example in ("hello.yaml", "steps/compensate.yaml", "steps/timeout.yaml", "steps/recursion.yaml"):
        place.apply(EXAMPLES / example)
    place.apply(run_of("deleted", UNDONE, HOLD), run_of("cancelled", UNDONE, HOLD), run_of("held", HOLD), _in_the_way(place))
    _undo(place)
    _pause_twice(place)
    _stand_in_the_way(place)
    _take_a_claim(place)
    _make_and_mount(place)
    _take_turns(place)
    _ask_a_breaker(place)
    _give_up(place)
    _grow_long(place)
    assert condition(place.ended("hello"), "Succeeded") == "True"
    assert condition(place.ended("timeout"), "Succeeded") == "True"
    assert condition(place.ended("compensate"), "Compensated") == "True"
    assert condition(place.ended("factorial"), "Succeeded") == "True"
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


def limited(limit: int) -> Object:
    """A workflow of which so many runs may go on at the same time."""
    return workflow_of({"steps": [HOLD], "concurrency": {"limit": limit}}, "limited")


def _take_turns(place: Place) -> None:
    """A limit is kept, raised, and its slots go when nobody needs them any more."""
    place.apply(limited(1), run_by_name("turn-1", "limited"))
    place.reached("turn-1", "hold", "Waiting")
    place.apply(run_by_name("turn-2", "limited"))
    place.until("turn-2", lambda run: run.get("status", {}).get("status") == "Queued")
    place.apply(limited(2))
    place.reached("turn-2", "hold", "Waiting")
    for name in ("turn-1", "turn-2"):
        place.kubectl("patch", "wfrun", name, "--type=merge", "-p", '{"spec": {"cancel": {"reason": "x"}}}')
        place.ended(name)
    wait_for(lambda: not place.cluster.api.list("semaphores", place.name), what="the slots of a workflow stay")


def _ask_a_breaker(place: Place) -> None:
    """One that nobody has made is made, and its state is written."""
    place.apply(run_of("guarded", step(job=shell(), circuit="bank")))
    assert condition(place.ended("guarded"), "Succeeded") == "True"
    place.kubectl("wait", "circuitbreaker/bank", "--for=condition=Closed", "--timeout=20s")


GIVES_UP: Object = step("charge", job=shell("exit 1"), onExhausted="DeadLetter")


def letter_of(place: Place, run: str) -> str:
    """Return the name of the DeadLetter of a run's step, once it is there and its status is written."""

    def found() -> str:
        letters = place.cluster.api.list("deadletters", place.name)
        return next((one["metadata"]["name"] for one in letters if one["spec"]["run"]["name"] == run and one.get("status")), "")

    return str(wait_for(found, what="there is no DeadLetter"))


def resolved(place: Place, letter: str, action: str = "Replay", id_: str = "r1") -> None:
    """Say what is to become of a DeadLetter."""
    wanted = {"spec": {"resolution": {"id": id_, "action": action, "reason": "over"}}}
    place.kubectl("patch", "deadletter", letter, "--type=merge", "-p", json.dumps(wanted))


def _give_up(place: Place) -> None:
    """A step gives up; its run is deleted, and the letter replayed by a new run, which is discarded. Settled letters leave soon."""
    place.apply(workflow_of({"steps": [GIVES_UP]}, "pay"), run_by_name("gives-up", "pay"))
    letter = letter_of(place, "gives-up")
    place.kubectl("delete", "wfrun", "gives-up")
    resolved(place, letter)
    runs = wait_for(lambda: place.kubectl("get", "wfrun", "-l", "backstay.dev/replays", "-o", "name").split(), what="no new run")
    again = runs[0].rpartition("/")[2]
    resolved(place, letter_of(place, again), "Discard")
    place.ended(again)
    wait_for(lambda: not place.cluster.api.list("deadletters", place.name), what="settled letters stay")


WORKSPACE: Object = {"name": "data", "claim": {"name": "shared", "storage": "1Mi"}}


def mounting() -> Object:
    """A job that mounts the workspace."""
    return shell(workspaces=[{"name": "data", "mountPath": "/data"}])


def foreign_claim() -> Object:
    """A claim of somebody else that has the name which the workspace needs."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shared"}, "spec": spec}


def _take_a_claim(place: Place) -> None:
    place.create(foreign_claim())
    place.apply(run_of("claimed", step(job=mounting()), workspaces=[WORKSPACE]))
    assert "is there already, not made by a run" in place.ended("claimed")["status"]["error"]["detail"]


def _make_and_mount(place: Place) -> None:
    allow(place, "create")
    place.apply(as_manager(run_of("maker", step(resource={"create": manifest()}))))
    assert condition(place.ended("maker"), "Succeeded") == "True"


def long_run(name: str = "long") -> Object:
    """A run whose journal grows too long for its status; it begins suspended."""
    return run_of(name, *({"name": f"s{number}", "set": {"x": number}} for number in range(300)), suspend=True)


def foreign_journal(place: Place, run: str) -> Object:
    """Make a WorkflowJournal of somebody else that has the name which the first of a run's needs."""
    from backstay.names import journal_name

    uid = place.run(run)["metadata"]["uid"]
    entry = {"sequence": 1, "time": "2026-11-23T09:00:00Z", "kind": "RunStarted"}
    spec = {"run": {"name": run, "uid": uid}, "first": 1, "last": 1, "count": 1, "head": "none", "entries": [entry]}
    name = journal_name(run, uid, 1)
    return place.create({"apiVersion": "backstay.dev/v1alpha1", "kind": "WorkflowJournal", "metadata": {"name": name}, "spec": spec})


def _grow_long(place: Place) -> None:
    place.apply(long_run())
    place.until("long", lambda run: condition(run, "Suspended") == "True")
    foreign = foreign_journal(place, "long")
    place.kubectl("patch", "wfrun", "long", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    wait_for(
        lambda: any(event["reason"] == "JournalIncomplete" for event in place.events("long")), what="nobody says that it is in the way"
    )
    place.cluster.api.delete("workflowjournals", place.name, foreign["metadata"]["name"])
    place.kubectl("annotate", "wfrun", "long", "looked-at=yes")
    assert place.ended("long")["status"]["journal"]["archived"] >= 200


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
