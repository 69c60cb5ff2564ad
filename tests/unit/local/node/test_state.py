"""What a pod's status says of its containers."""

from datetime import UTC, datetime, timedelta

import pytest

from backstay.local.node.api import Obj
from backstay.local.node.state import ContainerState, PodState, Running, Terminated, Waiting, status_of, unfinished_as_lost

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
WAITS, RUNS, DONE, FAILED = Waiting("ContainerCreating"), Running(NOW), Terminated(0, "Completed"), Terminated(1, "Error")


def pod(mains: int = 1, inits: int = 0, conditions: list[Obj] | None = None) -> Obj:
    spec: Obj = {"containers": [{"name": f"main-{n}", "image": "i"} for n in range(mains)]}
    if inits:
        spec["initContainers"] = [{"name": f"init-{n}", "image": "i"} for n in range(inits)]
    return {"metadata": {"name": "p"}, "spec": spec, "status": {"conditions": conditions or []}}


def state(manifest: Obj, *states: ContainerState, finished: bool = False) -> PodState:
    found = PodState.of(manifest)
    found.started_at = NOW
    found.finished = finished
    for container, each in zip(found.containers, states, strict=True):
        container.state = each
    return found


@pytest.mark.parametrize(
    ("inits", "states", "finished", "phase"),
    [
        (0, [WAITS], False, "Pending"),
        (0, [RUNS], False, "Running"),
        (0, [DONE], False, "Running"),
        (0, [DONE], True, "Succeeded"),
        (0, [FAILED], True, "Failed"),
        (0, [WAITS], True, "Failed"),
        (0, [DONE, RUNS], False, "Running"),
        (0, [DONE, FAILED], True, "Failed"),
        (0, [DONE, DONE], True, "Succeeded"),
        (1, [RUNS, WAITS], False, "Pending"),
        (1, [DONE, WAITS], False, "Pending"),
        (1, [DONE, RUNS], False, "Running"),
        (1, [FAILED, WAITS], True, "Failed"),
    ],
)
def test_the_phase_follows_from_the_containers(inits: int, states: list[ContainerState], finished: bool, phase: str) -> None:
    manifest = pod(mains=len(states) - inits, inits=inits)
    assert status_of(manifest, state(manifest, *states, finished=finished), NOW)["phase"] == phase


def conditions(status: Obj) -> dict[str, tuple[str, str]]:
    return {known["type"]: (known["status"], known.get("reason", "")) for known in status["conditions"]}


def test_conditions_tell_what_is_ready() -> None:
    manifest = pod(mains=2, inits=1)
    told = conditions(status_of(manifest, state(manifest, DONE, RUNS, WAITS), NOW))
    assert told["Initialized"] == ("True", "")
    assert told["Ready"] == told["ContainersReady"] == ("False", "ContainersNotReady")
    told = conditions(status_of(manifest, state(manifest, RUNS, WAITS, WAITS), NOW))
    assert told["Initialized"] == ("False", "ContainersNotInitialized")
    told = conditions(status_of(manifest, state(manifest, DONE, RUNS, RUNS), NOW))
    assert told["Ready"] == ("True", "")
    told = conditions(status_of(manifest, state(manifest, DONE, DONE, DONE, finished=True), NOW))
    assert told["Ready"] == ("False", "PodCompleted")


def test_conditions_of_others_stay_and_times_move_only_with_the_status() -> None:
    earlier = "2026-01-01T00:00:00Z"
    others = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": earlier},
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "lastTransitionTime": earlier},
        {"type": "Ready", "status": "False", "lastTransitionTime": earlier},
        {"type": "Initialized", "status": "False", "lastTransitionTime": earlier},
    ]
    manifest = pod(conditions=others)
    told = {known["type"]: known for known in status_of(manifest, state(manifest, WAITS), NOW)["conditions"]}
    assert told["PodScheduled"] == others[0]
    assert told["DisruptionTarget"] == others[1]
    assert told["Ready"]["lastTransitionTime"] == earlier
    assert told["Initialized"]["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def test_a_pod_that_the_node_ended_says_why_whatever_its_containers_did() -> None:
    manifest = pod()
    ended = state(manifest, DONE, finished=True)
    ended.failure = ("DeadlineExceeded", "too late")
    status = status_of(manifest, ended, NOW)
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", "too late")


def test_of_a_pod_whose_node_was_killed_the_known_ends_are_told_and_the_rest_is_unknown() -> None:
    manifest = pod(mains=2)
    manifest["status"]["startTime"] = "2026-01-01T00:00:00Z"
    manifest["status"]["containerStatuses"] = [
        {"name": "main-1", "restartCount": 2, "containerID": "backstay://x", "state": {"running": {}}}
    ]
    status = status_of(manifest, unfinished_as_lost(manifest, {"main-0": DONE}, NOW + timedelta(hours=1)), NOW)
    ends = {entry["name"]: entry["state"]["terminated"] for entry in status["containerStatuses"]}
    assert (ends["main-0"]["exitCode"], ends["main-0"]["reason"]) == (0, "Completed")
    assert (ends["main-1"]["exitCode"], ends["main-1"]["reason"]) == (137, "ContainerStatusUnknown")
    assert status["containerStatuses"][1]["restartCount"] == 2
    assert (status["phase"], status["startTime"]) == ("Failed", "2026-01-01T00:00:00Z")


def test_a_pod_that_was_done_before_its_node_was_killed_has_succeeded() -> None:
    manifest = pod()
    assert status_of(manifest, unfinished_as_lost(manifest, {"main-0": DONE}, NOW), NOW)["phase"] == "Succeeded"


def test_an_end_that_is_in_the_status_already_stays_as_it_was_told() -> None:
    manifest = pod(mains=2)
    end = {"exitCode": 5, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z", "message": "m"}
    manifest["status"]["containerStatuses"] = [{"name": "main-0", "restartCount": 0, "state": {"terminated": end}}]
    told = status_of(manifest, unfinished_as_lost(manifest, {}, NOW), NOW)["containerStatuses"][0]["state"]["terminated"]
    assert told == end
