"""What people ask of a run while it goes: cancel, suspend, resume, let go."""

from tests.scenarios.fixtures import Market, journal_kinds, undone
from tests.scenarios.manifests import run_of, shell
from tests.support.api import Object
from tests.support.cluster import Place, condition, condition_of, phase_of, step_of
from tests.support.waiting import wait_for


def test_a_cancelled_run_is_undone(market: Market) -> None:
    market.shop.close("ship")
    name = market.start("large")
    market.at_work(name, "ship")
    market.place.kubectl("patch", "wfrun", name, "--type=merge", "-p", '{"spec": {"cancel": {"reason": "customer changed her mind"}}}')
    run = market.place.ended(name)
    assert run["status"]["phase"] == "Cancelled"
    assert run["status"]["error"]["detail"] == "cancelled: customer changed her mind"
    assert phase_of(run, "ship") == "Cancelled"
    # The carrier was stopped before it said whether it had taken the parcels: they are recalled, too.
    assert (len(undone(run)), undone(run)[0]) == (7, "ship")
    assert market.shop.books() == market.before
    assert condition_of(run, "Compensated")["reason"] == "AllUndone"


def test_a_run_that_is_cancelled_without_compensation_stops_and_keeps_what_was_done(market: Market) -> None:
    market.shop.close("ship")
    name = market.start("good")
    market.place.reached(name, "ship")
    kept = market.shop.books()
    market.place.kubectl("patch", "wfrun", name, "--type=merge", "-p", '{"spec": {"cancel": {"compensate": false}}}')
    run = market.place.ended(name)
    assert run["status"]["phase"] == "Cancelled"
    assert undone(run) == []
    assert market.shop.books() == kept
    wait_for(lambda: not _running(market.place), what="the Job of the cancelled step still runs")


def _running(place: Place) -> list[str]:
    return [pod["metadata"]["name"] for pod in place.cluster.api.list("pods", place.name) if pod["status"].get("phase") == "Running"]


def test_while_a_run_is_suspended_what_runs_goes_on_and_nothing_new_starts(market: Market) -> None:
    market.shop.close("charge")
    name = market.start("good")
    market.place.reached(name, "charge")
    market.place.kubectl("patch", "wfrun", name, "--type=merge", "-p", '{"spec": {"suspend": true}}')
    market.place.until(name, lambda run: condition(run, "Suspended") == "True")
    market.shop.open("charge")
    run = market.place.reached(name, "charge", "Succeeded")
    assert run["status"]["status"] == "Suspended"
    # Another run goes all its way meanwhile: there was time to start something.
    market.place.ended(market.start("good", "another"))
    assert {job["metadata"]["annotations"]["backstay.dev/path"] for job in market.place.jobs(name)} == {"reserve", "charge"}
    market.place.kubectl("patch", "wfrun", name, "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert market.place.ended(name)["status"]["phase"] == "Succeeded"
    market.assert_each_job_ran_once()


def test_a_timer_that_falls_due_while_its_run_is_suspended_waits_for_the_end_of_it(place: Place) -> None:
    place.apply(run_of("timer", {"name": "pause", "wait": {"duration": "1s"}}, {"name": "after", "set": {"x": 1}}))
    place.reached("timer", "pause", "Waiting")
    place.kubectl("patch", "wfrun", "timer", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    place.until("timer", lambda run: condition(run, "Suspended") == "True")
    place.apply(run_of("longer", {"name": "pause", "wait": {"duration": "2s"}}))
    place.ended("longer")
    assert phase_of(place.run("timer"), "pause") == "Waiting"
    place.kubectl("patch", "wfrun", "timer", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert place.ended("timer")["status"]["phase"] == "Succeeded"


def test_a_run_that_is_created_suspended_begins_when_it_is_resumed(place: Place) -> None:
    place.apply(run_of("later", {"name": "only", "set": {"x": 1}}, suspend=True))
    place.until("later", lambda run: condition(run, "Suspended") == "True")
    assert phase_of(place.run("later"), "only") == ""
    place.kubectl("patch", "wfrun", "later", "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert place.ended("later")["status"]["phase"] == "Succeeded"


STUBBORN = (
    {"name": "hotel", "set": {"room": 12}, "compensate": {"job": shell("echo no; exit 1"), "retry": {"maxAttempts": 1}}},
    {"name": "flight", "fail": {"error": "NoFlight"}},
)


def test_a_compensation_that_cannot_succeed_stalls_the_run_visibly_until_somebody_lets_it_go(place: Place) -> None:
    place.apply(run_of("stuck", *STUBBORN))
    run = place.until("stuck", lambda run: condition(run, "Stalled") == "True")
    told = condition_of(run, "Stalled")["message"]
    assert "hotel:compensate failed after 1 attempt" in told
    assert "backstay.dev/release-finalizer" in told
    assert condition(run, "Complete") == "False"
    place.kubectl("annotate", "wfrun", "stuck", "backstay.dev/release-finalizer=true")
    run = place.ended("stuck")
    assert run["status"]["phase"] == "Failed"
    assert condition(run, "Compensated") == "False"
    assert "CompensationAbandoned" in journal_kinds(run)
    assert "not undone: hotel" in _reason(run, "CompensationAbandoned")
    place.kubectl("delete", "wfrun", "stuck", "--timeout=30s")


def _reason(run: Object, kind: str) -> str:
    return next(entry["reason"] for entry in run["status"]["journal"]["entries"] if entry["kind"] == kind)


def test_a_stuck_run_that_is_being_deleted_can_be_let_go_and_an_event_tells(place: Place) -> None:
    place.apply(run_of("stuck", *STUBBORN))
    place.until("stuck", lambda run: condition(run, "Stalled") == "True")
    place.kubectl("delete", "wfrun", "stuck", "--wait=false")
    assert place.has_run("stuck")
    place.kubectl("annotate", "wfrun", "stuck", "backstay.dev/release-finalizer=true")
    place.gone("stuck")
    (told,) = wait_for(lambda: [event["message"] for event in place.events("stuck") if event["reason"] == "CompensationAbandoned"])
    assert told == "released by annotation; not undone: hotel"


def test_undoing_that_takes_too_long_is_given_up_and_recorded(place: Place) -> None:
    slow = {"name": "hotel", "set": {"room": 12}, "compensate": {"job": shell("trap 'exit 1' TERM; sleep 600 & wait")}}
    place.apply(run_of("slow", slow, {"name": "flight", "fail": {"error": "NoFlight"}}, compensationTimeout="2s"))
    run = place.ended("slow")
    assert run["status"]["phase"] == "Failed"
    assert condition_of(run, "Compensated")["reason"] == "Abandoned"
    assert _reason(run, "CompensationAbandoned") == "the compensation timeout is over; not undone: hotel"
    wait_for(lambda: not _running(place), what="the Job of the abandoned compensation still runs")


def test_a_status_that_somebody_edits_is_not_believed_and_is_put_back(market: Market) -> None:
    market.shop.close("charge")
    name = market.start("good")
    before = market.place.reached(name, "charge")["status"]
    edit = '{"status": {"steps": [], "vars": {"paid": true}, "outputs": {"payment": "p-none"}}}'
    market.place.kubectl("patch", "wfrun", name, "--subresource=status", "--type=merge", "-p", edit)
    run = market.place.until(name, lambda run: "StatusRestored" in journal_kinds(run))
    assert [step["path"] for step in run["status"]["steps"]] == [step["path"] for step in before["steps"]]
    assert "outputs" not in run["status"]
    wait_for(lambda: any(event["reason"] == "StatusRestored" for event in market.place.events(name)), what="no Event tells of it")
    market.shop.open("charge")
    assert market.place.ended(name)["status"]["phase"] == "Succeeded"
    market.assert_each_job_ran_once()


def test_a_run_whose_status_is_edited_to_look_finished_goes_on(market: Market) -> None:
    market.shop.close("charge")
    name = market.start("good")
    market.place.reached(name, "charge")
    edit = '{"status": {"phase": "Succeeded", "finishedAt": "2026-01-01T00:00:00Z"}}'
    market.place.kubectl("patch", "wfrun", name, "--subresource=status", "--type=merge", "-p", edit)
    market.place.until(name, lambda run: "StatusRestored" in journal_kinds(run))
    market.shop.open("charge")
    run = market.place.ended(name)
    assert step_of(run, "ship")["phase"] == "Succeeded"
    assert market.shop.balance("ada") == 10000 - 121


def test_a_namespace_that_is_deleted_takes_its_runs_along(place: Place) -> None:
    hotel = {"name": "hotel", "set": {"room": 12}, "compensate": {"job": shell("true")}}
    place.apply(run_of("lost", hotel, {"name": "wait", "wait": {"duration": "1h"}}))
    place.until("lost", lambda run: run["metadata"].get("finalizers"))
    place.cluster.kubectl("delete", "namespace", place.name, "--timeout=60s")
    assert place.cluster.api.get("namespaces", None, place.name) is None
