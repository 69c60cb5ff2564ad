"""finally, recovery runs, and timeouts, as a user sees them: what is tidied up although somebody deletes, kills or times out."""

import re

from tests.scenarios.manifests import run_of, shell, step
from tests.support.cluster import EXAMPLES, Place, condition_of, phase_of, step_of
from tests.support.waiting import wait_for

TIDY = [step("tidy", job=shell("sleep 0.5"))]


def made(place: Place, run: str) -> list[str]:
    """Return the steps that Jobs were made for, in order."""
    jobs = sorted(place.jobs(run), key=lambda job: job["metadata"]["creationTimestamp"])
    return [job["metadata"]["annotations"]["backstay.dev/path"] for job in jobs]


def test_a_run_that_is_deleted_is_there_until_it_has_tidied_up(place: Place) -> None:
    last = [step("bye", wait={"duration": "1h"})]
    place.apply(run_of("closing", step("hold", wait={"duration": "1h"}, **{"finally": TIDY}), **{"finally": last}))
    place.reached("closing", "hold", "Waiting")
    place.kubectl("delete", "wfrun", "closing", "--wait=false")
    run = place.reached("closing", "/:finally/bye", "Waiting")
    assert (run["status"]["phase"], phase_of(run, "hold"), phase_of(run, "hold:finally/tidy")) == ("Finishing", "Cancelled", "Succeeded")
    place.kubectl("annotate", "wfrun", "closing", "backstay.dev/release-finalizer=true")
    place.gone("closing")


def test_an_operator_that_is_killed_during_a_finally_goes_on_with_it_and_does_nothing_twice(place: Place) -> None:
    place.apply(run_of("twice", step("a", job=shell("true"), **{"finally": [step("tidy", job=shell("sleep 2"))]}), **{"finally": TIDY}))
    place.reached("twice", "a:finally/tidy")
    place.cluster.operator.kill9()
    place.cluster.operator.start()
    run = place.ended("twice")
    assert run["status"]["phase"] == "Succeeded"
    assert sorted(made(place, "twice")) == ["/:finally/tidy", "a", "a:finally/tidy"]


def test_a_failed_run_starts_its_recovery_which_is_told_of_it_and_outlives_it(place: Place) -> None:
    place.apply(EXAMPLES / "failures" / "recovery.yaml")
    failed = place.ended("recovery")
    name = failed["status"]["recovery"]
    recovery = place.ended(name)
    assert recovery["status"]["outputs"] == {"about": "o-7: CardDeclined, Compensated"}
    assert "ownerReferences" not in recovery["metadata"]
    assert (condition_of(failed, "Recovery") or {})["reason"] == "Started"
    place.kubectl.until("describe", "wfrun", "recovery", shows=lambda text: re.search(rf"RecoveryStarted .*run {name} was started", text))
    place.kubectl("delete", "wfrun", "recovery", "--timeout=30s")
    assert place.has_run(name)


def test_a_recovery_whose_workflow_is_not_there_is_told_and_the_failed_run_has_ended(place: Place) -> None:
    fails = step("a", fail={"error": "Broken"})
    place.apply(run_of("alone", fails, onFailure={"workflow": {"name": "nobody-wrote-it"}}))
    name = place.ended("alone")["status"]["recovery"]
    run = place.until(name, lambda run: (condition_of(run, "Succeeded") or {}).get("reason") == "WorkflowNotFound")
    assert "nobody-wrote-it" in (condition_of(run, "Succeeded") or {})["message"]


def test_what_times_out_is_told_to_end_and_given_its_time_and_what_it_comes_to_is_not_believed(place: Place) -> None:
    script = "trap 'sleep 1; echo {\\\"late\\\": true} > $BACKSTAY_OUTPUT; exit 0' TERM; sleep 60 & wait"
    slow = {**shell(script), "template": {"spec": {"terminationGracePeriodSeconds": 20}}}
    place.apply(run_of("late", step("a", job=slow, attemptTimeout="2s")))
    run = place.ended("late")
    kinds = [entry["kind"] for entry in run["status"]["journal"]["entries"] if entry.get("path") == "a"]
    assert kinds[-3:] == ["StepStopping", "LateResult", "StepFailed"]
    assert (run["status"]["error"]["type"], step_of(run, "a").get("outputs")) == ("Timeout", None)
    assert wait_for(lambda: not place.jobs("late"), what="the Job is still there")
