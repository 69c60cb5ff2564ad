"""The way back on a cluster: what a person decides of a compensation that is stuck, part of a run undone, and work whose outcome nobody knows."""

from typing import Any

from tests.scenarios.fixtures import journal_kinds
from tests.scenarios.manifests import run_of, shell, step
from tests.support.cluster import Place, condition, condition_of, phase_of
from tests.support.waiting import wait_for

TOLD = 'printf "{\\"told\\": \\"%s\\"}" "$BACKSTAY_COMPENSATES_OUTCOME" > "$BACKSTAY_OUTPUT"'


def ask(place: Place, name: str, path: str, action: str, **more: Any) -> None:
    """A person asks something of a step."""
    request = {"id": "r1", "step": path, "action": action, **more}
    place.cluster.api.patch("workflowruns", place.name, name, {"spec": {"requests": [request]}})


def made_for(place: Place, name: str, path: str) -> list[str]:
    """The Jobs that were made for a step."""
    jobs = place.jobs(name)
    return [job["metadata"]["name"] for job in jobs if job["metadata"]["annotations"]["backstay.dev/path"] == path]


def test_a_compensation_that_is_stuck_is_tried_again_with_other_inputs_or_skipped_by_a_person(place: Place) -> None:
    stubborn = {"job": shell("exit 1"), "retry": {"maxAttempts": 1}}
    trip = (step("hotel", set={"room": 12}, compensate=stubborn), step("flight", fail={"error": "NoFlight"}))
    place.apply(run_of("retried", *trip), run_of("skipped", *trip))
    for name in ("retried", "skipped"):
        run = place.until(name, lambda run: condition(run, "Stalled") == "True")
        assert (run["status"]["status"], phase_of(run, "hotel:compensate")) == ("Stalled", "Paused")
    ask(place, "retried", "hotel:compensate", "Retry", edit={"command": ["true"]}, reason="released by telephone")
    ask(place, "skipped", "hotel:compensate", "Skip", reason="the hotel has closed")
    run = place.ended("retried")
    assert (phase_of(run, "hotel"), condition(run, "Compensated")) == ("Compensated", "True")
    run = place.ended("skipped")
    assert (phase_of(run, "hotel"), condition_of(run, "Compensated")["reason"]) == ("Succeeded", "PartlyUndone")
    wait_for(lambda: any(event["reason"] == "NotUndone" for event in place.events("skipped")), what="no Event tells of it")


def test_what_was_cut_off_is_undone_and_its_compensation_is_told_that_nobody_knows(place: Place) -> None:
    slow = shell("trap 'exit 1' TERM; sleep 600 & wait", template={"spec": {"terminationGracePeriodSeconds": 1}})
    place.apply(run_of("cut", step("book", job=slow, compensate={"job": shell(TOLD)})))
    place.until("cut", lambda run: _runs(place, "cut"))
    place.kubectl("patch", "wfrun", "cut", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "rain"}}}')
    run = place.ended("cut")
    undone = next(item for item in run["status"]["steps"] if item["path"] == "book:compensate")
    assert (run["status"]["phase"], undone["outputs"]) == ("Cancelled", {"told": "Unknown"})
    assert len(made_for(place, "cut", "book:compensate")) == 1


def _runs(place: Place, name: str) -> bool:
    pods = place.cluster.api.list("pods", place.name)
    return any(pod["status"].get("phase") == "Running" and pod["metadata"]["name"].startswith(name) for pod in pods)


def test_a_part_of_a_run_is_undone_and_the_run_goes_on_by_another_way(place: Place) -> None:
    undo = {"job": shell("true")}
    back = [step("back", undo={"to": "begin"}), step("again", goto={"step": "hotel", "maxVisits": 2})]
    flight = step("flight", steps=[step("full", **{"if": "${ vars.tries == 1 }"}, fail={"error": "NoSeat"})], catch=[{"steps": back}])
    count = step("count", set={"tries": "${ vars.tries + 1 }"})
    place.apply(run_of("forward", step("begin", set={"tries": 0}), step("hotel", job=shell(), compensate=undo), count, flight))
    run = place.ended("forward")
    assert (run["status"]["phase"], phase_of(run, "hotel"), phase_of(run, "hotel~2")) == ("Succeeded", "Compensated", "Succeeded")
    assert [len(made_for(place, "forward", path)) for path in ("hotel", "hotel:compensate", "hotel~2", "hotel~2:compensate")] == [
        1,
        1,
        1,
        0,
    ]


def test_a_run_past_its_pivot_is_not_undone_when_it_is_cancelled_and_says_so(place: Place) -> None:
    taken = step("take", set={"stock": 1}, compensate={"job": shell("true")})
    place.apply(run_of("past", taken, step("send", set={"sent": True}, pivot=True), step("wait", wait={"duration": "1h"})))
    place.reached("past", "wait", "Waiting")
    place.kubectl("patch", "wfrun", "past", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "rain"}}}')
    run = place.ended("past")
    told = condition_of(run, "Compensated")
    assert (phase_of(run, "take"), told["reason"], "send" in told["message"]) == ("Succeeded", "PivotPassed", True)
    assert "PivotPassed" in journal_kinds(run)
