"""Limits: locks across runs, how many runs of a workflow go on at once, and that nothing is left behind when somebody dies."""

from datetime import datetime
from itertools import pairwise

from tests.scenarios.fixtures import journal_kinds
from tests.scenarios.manifests import run_by_name, run_of, shell, step, workflow_of
from tests.support.api import Object
from tests.support.cluster import EXAMPLES, Place, condition, step_of
from tests.support.waiting import wait_for

LIMITS = EXAMPLES / "limits"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def shown(run: Object) -> str:
    return str(run.get("status", {}).get("status"))


def most_at_once(runs: list[Object]) -> int:
    """Return how many runs went on at the same time at most, by their own record."""
    begins = [(moment(run["status"]["startedAt"]), 1) for run in runs]
    ends = [(moment(run["status"]["finishedAt"]), -1) for run in runs]
    most = now = 0
    for _, change in sorted(begins + ends):
        now += change
        most = max(most, now)
    return most


def holders(place: Place, semaphore: str) -> list[str]:
    found = place.cluster.api.get("semaphores", place.name, semaphore) or {}
    return [holder["run"] for holder in found.get("status", {}).get("holders", ())]


def test_six_runs_with_a_limit_of_two_go_two_at_a_time_and_in_order_though_the_operator_is_killed(place: Place) -> None:
    spec = {"steps": [step("hold", wait={"duration": "700ms"})], "concurrency": {"limit": 2}}
    place.apply(workflow_of(spec, "order"))
    names = [f"run-{number}" for number in range(1, 7)]
    for name in names:
        place.apply(run_by_name(name, "order"))
    run = place.until("run-6", lambda run: shown(run) == "Queued")
    assert "that wait for Workflow order (limit 2)" in run["status"]["conditions"][0]["message"]
    place.cluster.operator.kill9()
    place.cluster.operator.start()
    runs = [place.ended(name) for name in names]
    assert [run["status"]["phase"] for run in runs] == ["Succeeded"] * 6
    assert most_at_once(runs) == 2
    began = [moment(run["status"]["startedAt"]) for run in runs]
    assert all(began[number] <= began[number + 2] for number in range(4)), "somebody was overtaken"
    wait_for(lambda: holders(place, "workflow.order") == [], what="slots are held although every run has ended")


def test_a_lock_keeps_the_steps_of_different_runs_apart_and_says_who_holds_it(place: Place) -> None:
    locked = step("print", job=shell("sleep 1"), lock={"name": "printer", "key": "floor-2", "timeout": "5m"})
    names = ("run-1", "run-2", "run-3")
    place.apply(*(run_of(name, locked) for name in names))
    waiting = wait_for(lambda: next((name for name in names if "held by run" in str(place.run(name).get("status", {}).get("steps"))), ""))
    assert shown(place.run(waiting)) == "Waiting"
    wait_for(
        lambda: _columns(place, "printer")[1] == "1" and _columns(place, "printer")[2] > "0", what=lambda: str(_columns(place, "printer"))
    )
    place.kubectl.until("describe", "wfrun", waiting, shows=lambda text: "LockWaiting" in text)
    steps = [step_of(place.ended(name), "print") for name in names]
    for before, after in pairwise(sorted(steps, key=lambda found: found["lockedAt"])):
        assert moment(before["finishedAt"]) <= moment(after["lockedAt"])
    wait_for(lambda: _columns(place, "printer") == ["1", "0", "0"], what=lambda: str(_columns(place, "printer")))


def _columns(place: Place, semaphore: str) -> list[str]:
    """Return LIMIT, HELD and WAITING as kubectl shows them."""
    return place.kubectl("get", "semaphores", semaphore, "--ignore-not-found", "--no-headers").split()[1:4] or ["", "", ""]


def test_a_holder_that_dies_while_no_operator_is_there_frees_its_lock(place: Place) -> None:
    hold = step("hold", wait={"duration": "1h"}, lock={"name": "printer"})
    place.apply(run_of("dies", hold))
    place.until("dies", lambda run: "lockedAt" in str(run.get("status", {}).get("steps")))
    place.apply(run_of("next", step("hold", wait={"duration": "100ms"}, lock={"name": "printer"})))
    place.until("next", lambda run: "held by run dies (step hold)" in str(run.get("status", {}).get("steps")))
    place.cluster.operator.kill9()
    place.kubectl("delete", "wfrun", "dies", "--force", "--grace-period=0", "--wait=false")
    place.gone("dies")
    place.cluster.operator.start()
    assert place.ended("next")["status"]["phase"] == "Succeeded"
    wait_for(lambda: holders(place, "printer") == [], what="the lock is held although nobody is there")


def test_a_lock_that_is_not_to_be_had_in_time_is_an_error_that_can_be_caught(place: Place) -> None:
    place.apply({"apiVersion": "backstay.dev/v1alpha1", "kind": "Semaphore", "metadata": {"name": "closed"}, "spec": {"limit": 0}})
    caught = {"errors": ["LockTimeout"], "steps": [{"name": "tell", "set": {"late": True}}]}
    place.apply(run_of("late", step("a", set={"x": 1}, lock={"name": "closed", "timeout": "1s"}, catch=[caught])))
    run = place.ended("late")
    assert (run["status"]["phase"], run["status"]["vars"]) == ("Succeeded", {"late": True})
    assert {"LockWanted", "StepCatching", "StepCaught"} <= set(journal_kinds(run))


def test_the_example_of_a_limit_lets_two_run_and_the_urgent_one_first(place: Place) -> None:
    place.apply(LIMITS / "concurrency.yaml")
    names = ["report-1", "report-2", "report-3", "report-urgent"]
    runs = {name: place.ended(name) for name in names}
    assert most_at_once(list(runs.values())) == 2
    began = sorted(names, key=lambda name: moment(runs[name]["status"]["startedAt"]))
    assert began.index("report-urgent") < began.index("report-3") or began.index("report-3") < 2


def test_the_example_of_a_preview_lets_the_newest_win(place: Place) -> None:
    place.apply(LIMITS / "newest-wins.yaml")
    place.reached("preview-1", "render", "Waiting")
    newest = {**run_by_name("preview-2", "preview")}
    newest["spec"]["parameters"] = {"page": "home"}
    place.apply(newest)
    place.reached("preview-2", "render", "Waiting")
    old = place.run("preview-1")
    assert (old["status"]["phase"], condition(old, "Complete")) == ("Cancelled", "True")
    assert old["spec"]["cancel"]["reason"] == "run preview-2 takes its place (concurrency of Workflow preview: CancelOldest)"


def test_the_example_of_a_semaphore_runs(place: Place) -> None:
    place.apply(LIMITS / "semaphore.yaml")
    assert place.ended("remittance")["status"]["phase"] == "Succeeded"
    assert place.kubectl("get", "sem", "bank", "-o", "jsonpath={.spec.rate.limit} {.status.held}") == "10 0"
