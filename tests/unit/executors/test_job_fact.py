"""What Jobs and Pods mean for an attempt: the whole classification as tables."""

from dataclasses import replace
from typing import Any

import pytest

from backstay.engine.model import Fault, Hold, JobFact, JobState
from backstay.executors.job import fact, facts, is_podless, needs_look, trim_job, trim_pod, unexplained
from tests.unit.executors.shapes import disrupted, ended, job, pod, running, unscheduled, waiting

FAILED = job(condition="Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit", failed=1)
ACTIVE = job(active=1)


def limited(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "spec": {"containers": [{"name": "main", "resources": {"limits": {"memory": "64Mi"}}}]}}


def judged(job_: dict[str, Any], *pods: dict[str, Any], without_pod: Fault | None = None) -> JobFact:
    seen = trim_job(job_)
    assert seen is not None
    return fact(seen, [found for found in map(trim_pod, pods) if found is not None], without_pod)


# ------------------------------------------------------------------------------------------------------------ it went well


def test_success_is_taken_from_the_pod_before_the_job_says_so() -> None:
    found = judged(ACTIVE, pod("Succeeded", ended(0, '{"payment": "p-1"}')))
    assert (found.state, found.output, found.started, found.uid) == (JobState.SUCCEEDED, '{"payment": "p-1"}', True, "job-1")


def test_a_pod_that_wrote_nothing_has_an_empty_output() -> None:
    assert judged(ACTIVE, pod("Succeeded", ended(0))).output == ""


def test_main_ended_well_but_another_container_still_runs_so_the_attempt_goes_on() -> None:
    assert judged(ACTIVE, pod("Running", ended(0, "{}"), running("side"))).state is JobState.ACTIVE


def test_the_output_is_that_of_main_whatever_the_others_say() -> None:
    assert judged(ACTIVE, pod("Succeeded", ended(0, "of side", name="side"), ended(0, "of main"))).output == "of main"


def test_a_complete_job_whose_pod_is_gone_has_succeeded_without_output() -> None:
    found = judged(job(condition="Complete", succeeded=1))
    assert (found.state, found.output) == (JobState.SUCCEEDED, None)


def test_work_that_was_done_counts_even_where_the_job_ran_out_of_time_meanwhile() -> None:
    found = judged(job(condition="Failed", reason="DeadlineExceeded", failed=1), pod("Succeeded", ended(0, "{}")))
    assert found.state is JobState.SUCCEEDED


# ------------------------------------------------------------------------------------------------------------- it goes on


def test_a_failed_pod_is_not_believed_before_the_job_has_given_up() -> None:
    found = judged(ACTIVE, pod("Failed", ended(1)))
    assert (found.state, found.fault) == (JobState.ACTIVE, None)


@pytest.mark.parametrize("condition", ["FailureTarget", "SuccessCriteriaMet", "Suspended"])
def test_a_verdict_that_is_only_on_its_way_ends_nothing(condition: str) -> None:
    assert judged(job(condition=condition, active=1), pod("Running", running())).state is JobState.ACTIVE


def test_a_condition_that_does_not_hold_ends_nothing() -> None:
    manifest = job()
    manifest["status"]["conditions"] = [{"type": "Failed", "status": "False"}]
    assert judged(manifest).state is JobState.ACTIVE


@pytest.mark.parametrize(
    ("pods", "started"),
    [
        ([], False),
        ([pod("Pending")], False),
        ([pod("Pending", waiting("ContainerCreating"))], False),
        ([pod("Pending", waiting("PodInitializing"), initContainerStatuses=[running("prepare")])], True),
        ([pod("Pending", waiting("PodInitializing"), initContainerStatuses=[ended(0, name="prepare")])], True),
        ([pod("Running", running())], True),
        ([pod("Running", ended(0), running("side"))], True),
    ],
)
def test_an_attempt_has_started_once_any_container_has_begun(pods: list[dict[str, Any]], started: bool) -> None:
    assert judged(ACTIVE, *pods).started == started


def test_a_job_that_is_being_deleted_says_so() -> None:
    manifest = job(active=1)
    manifest["metadata"]["deletionTimestamp"] = "2026-11-23T10:00:00Z"
    assert judged(manifest).deleting


def test_whether_the_run_owns_a_job_is_known() -> None:
    free = job(active=1)
    del free["metadata"]["ownerReferences"]
    made_so = {**free, "metadata": {**free["metadata"], "annotations": {"backstay.dev/leaves-with-run": "true"}}}
    assert (judged(ACTIVE).owned, judged(made_so).owned) == (True, False)
    assert judged(free).owned, "one that somebody orphaned is not ours to delete"


def test_of_a_replaced_pod_only_the_newer_counts() -> None:
    lost = pod("Failed", ended(137), **disrupted("DeletionByTaintManager"))
    found = judged(ACTIVE, lost, pod("Pending", waiting("ErrImagePull", "no such image"), name="p2", created="2026-11-23T10:01:00Z"))
    assert found.stuck is not None
    assert found.stuck.type == "ImagePull"


# ------------------------------------------------------------------------------------------------------- it does not start


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        (pod("Pending", waiting("ErrImagePull", "pull access denied")), "ImagePull", "container main: ErrImagePull: pull access denied"),
        (pod("Pending", waiting("ImagePullBackOff", "Back-off pulling")), "ImagePull", "Back-off pulling"),
        (
            pod("Pending", {**waiting("ErrImagePull", "not found"), "image": "shop/pay:9"}),
            "ImagePull",
            "container main: image shop/pay:9: ErrImagePull: not found",
        ),
        (
            pod("Pending", {**waiting("ImagePullBackOff", 'Back-off pulling image "shop/pay:9"'), "image": "shop/pay:9"}),
            "ImagePull",
            'container main: ImagePullBackOff: Back-off pulling image "shop/pay:9"',
        ),
        (pod("Pending", waiting("InvalidImageName", "couldn't parse image")), "ImagePull", "couldn't parse image"),
        (pod("Pending", waiting("ErrImageNeverPull")), "ImagePull", "container main: ErrImageNeverPull"),
        (pod("Pending", waiting("CreateContainerConfigError", 'secret "pay" not found')), "InvalidJob", 'secret "pay" not found'),
        (pod("Pending", waiting("CreateContainerError", "bad mount")), "InvalidJob", "bad mount"),
        (
            pod("Pending", waiting("PodInitializing"), initContainerStatuses=[waiting("ErrImagePull", "x", name="prep")]),
            "ImagePull",
            "container prep",
        ),
        (
            pod("Pending", waiting("PodInitializing"), initContainerStatuses=[waiting("CrashLoopBackOff", "back-off 10s", name="proxy")]),
            "InvalidJob",
            "container proxy: CrashLoopBackOff",
        ),
        (pod("Pending", **unscheduled("0/3 nodes are available: 3 Insufficient cpu.")), "Unschedulable", "3 Insufficient cpu"),
        (pod("Pending", **unscheduled("", "SchedulingGated")), "Unschedulable", "SchedulingGated"),
        (pod("Running", running(), waiting("ImagePullBackOff", "gone", name="side")), "ImagePull", "container side"),
    ],
)
def test_what_keeps_a_pod_from_starting_is_told_in_the_words_that_help(found: dict[str, Any], expected: str, words: str) -> None:
    seen = judged(ACTIVE, found)
    assert seen.stuck is not None
    assert seen.stuck.type == expected
    assert words in seen.stuck.detail
    assert not seen.started, "what is stuck counts as not started, so that its time to start runs"


def test_an_image_that_cannot_be_pulled_after_the_preparation_is_stuck_too() -> None:
    seen = judged(ACTIVE, pod("Pending", waiting("ImagePullBackOff", "gone"), initContainerStatuses=[ended(0, name="prepare")]))
    assert seen.stuck is not None
    assert not seen.started


def test_a_pod_that_has_failed_is_not_stuck_any_more() -> None:
    evicted = pod("Failed", waiting("ErrImagePull", "no such image"), reason="Evicted")
    assert judged(ACTIVE, evicted).stuck is None


def test_a_sidecar_that_crashes_beside_a_running_main_is_not_stuck() -> None:
    seen = judged(ACTIVE, pod("Running", running(), initContainerStatuses=[waiting("CrashLoopBackOff", name="proxy")]))
    assert (seen.stuck, seen.started) == (None, True)


REFUSED = Fault("AdmissionDenied", "the pod is refused", "violates PodSecurity")


@pytest.mark.parametrize(
    ("manifest", "pods", "expected"),
    [
        (job(), [], True),
        (job(active=1), [], False),
        (job(terminating=1), [], False),
        (job(suspend=True), [], False),
        (job(condition="Complete", succeeded=1), [], False),
        (job(), [pod("Pending")], False),
        (job(), [pod("Succeeded", ended(0))], False),
        (job(), [pod("Failed", **disrupted("EvictionByEvictionAPI"))], True),
    ],
)
def test_a_job_is_podless_while_nothing_could_do_its_work(manifest: dict[str, Any], pods: list[dict[str, Any]], expected: bool) -> None:
    seen = trim_job(manifest)
    assert seen is not None
    assert is_podless(seen, [found for found in map(trim_pod, pods) if found]) == expected


def test_a_job_without_a_pod_says_why_there_is_none_and_otherwise_where_to_look() -> None:
    assert (judged(job()).stuck, judged(job()).unexplained) == (None, True)
    told = judged(job(), without_pod=REFUSED)
    assert (told.stuck, told.unexplained) == (REFUSED, False)
    assert not judged(ACTIVE).unexplained, "its controller says that there is one"
    seen = trim_job(job())
    assert seen is not None
    assert "kubectl describe job -n shop order-1-charge" in unexplained(seen).detail


def test_why_there_was_no_pod_does_not_count_once_there_is_one() -> None:
    assert judged(ACTIVE, pod("Pending"), without_pod=REFUSED).stuck is None


def test_a_job_that_somebody_suspended_says_so_at_once() -> None:
    seen = judged(job(suspend=True), pod("Failed", **disrupted("EvictionByEvictionAPI")))
    assert isinstance(seen.stuck, Hold)
    assert "spec.suspend" in seen.stuck.detail
    assert seen.lost is None, "pods of a suspended Job are taken away on purpose"


# ---------------------------------------------------------------------------------------------------------------- it failed


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        (pod("Failed", ended(3)), "ExitCode", "exit code 3"),
        (pod("Failed", ended(3, "first\nno stock left\n")), "ExitCode", "exit code 3; it left: first\nno stock left"),
        (pod("Failed", ended(3, '{"error": {"type": "CardDeclined"}}')), "ExitCode", "exit code 3"),
        (pod("Failed", ended(137, reason="OOMKilled")), "OOMKilled", "more memory than the node has; it has no limit of its own"),
        (
            limited(pod("Failed", ended(137, reason="OOMKilled"))),
            "OOMKilled",
            "exit code 137: the container used more memory than its limit of 64Mi",
        ),
        (pod("Failed", ended(128, "exec: pay: not found in $PATH", reason="StartError")), "InvalidJob", "exec: pay: not found"),
        (pod("Failed", ended(127, "no such file", reason="ContainerCannotRun")), "InvalidJob", "no such file"),
        (pod("Failed", ended(137, "could not be located", reason="ContainerStatusUnknown")), "NodeLost", "could not be located"),
        (pod("Failed", ended(137), reason="Evicted", message="The node was low on memory"), "Evicted", "low on memory"),
        (
            pod("Failed", ended(137), reason="Evicted", message='Container main exceeded its local ephemeral storage limit "8Mi". '),
            "StorageExceeded",
            'Container main exceeded its local ephemeral storage limit "8Mi".',
        ),
        (
            pod(
                "Failed",
                ended(137),
                reason="Evicted",
                message="Pod ephemeral local storage usage exceeds the total limit of containers 8Mi. ",
            ),
            "StorageExceeded",
            "exceeds the total limit of containers 8Mi.",
        ),
        (
            pod("Failed", ended(137), reason="Evicted", message='Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '),
            "StorageExceeded",
            'volume "scratch"',
        ),
        (pod("Failed", ended(143), reason="Terminated", message="imminent node shutdown"), "NodeLost", "node shutdown"),
        (pod("Failed", reason="NodeShutdown"), "NodeLost", ""),
        (pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource"), "Unschedulable", "enough resource"),
        (pod("Failed", reason="UnexpectedAdmissionError", message="no device"), "Unschedulable", "no device"),
        (pod("Failed", ended(143), reason="DeadlineExceeded", message="Pod was active too long"), "Timeout", "active too long"),
        (pod("Failed", ended(143), **disrupted("PreemptionByScheduler", "preempted by big/job")), "Evicted", "preempted by big/job"),
        (pod("Failed", ended(143), **disrupted("EvictionByEvictionAPI", "drained")), "Evicted", "drained"),
        (pod("Failed", **disrupted("DeletionByTaintManager", "node not-ready")), "NodeLost", "not-ready"),
        (pod("Failed", **disrupted("DeletionByPodGC", "no node found")), "NodeLost", "no node found"),
        (
            pod("Failed", waiting("PodInitializing"), initContainerStatuses=[ended(2, name="prepare")]),
            "ExitCode",
            "container prepare: exit code 2",
        ),
        (pod("Failed", ended(0), ended(9, name="side")), "ExitCode", "container side: exit code 9"),
        (pod("Failed", ended(1), ended(9, name="side")), "ExitCode", "exit code 1"),
        (pod("Failed"), "ExitCode", "kubectl describe pod -n shop p1"),
    ],
)
def test_why_an_attempt_failed_is_named_as_the_workflow_can_catch_it(found: dict[str, Any], expected: str, words: str) -> None:
    seen = judged(FAILED, found)
    assert seen.state is JobState.FAILED
    assert seen.fault is not None
    assert seen.fault.type == expected
    assert seen.fault.detail.startswith(words) or words in seen.fault.detail
    assert seen.fault.title


def test_a_business_error_in_the_output_is_handed_on_unread() -> None:
    seen = judged(FAILED, pod("Failed", ended(1, '{"error": {"type": "CardDeclined", "message": "no funds"}}')))
    assert seen.output == '{"error": {"type": "CardDeclined", "message": "no funds"}}'
    assert seen.fault is not None
    assert seen.fault.detail == "exit code 1"


@pytest.mark.parametrize("reason", ["StartError", "ContainerCannotRun", "ContainerStatusUnknown"])
def test_words_of_the_container_runtime_are_not_the_containers_output(reason: str) -> None:
    assert judged(FAILED, pod("Failed", ended(128, "runc: oops", reason=reason))).output is None


def test_only_the_end_of_a_long_output_is_in_the_error() -> None:
    seen = judged(FAILED, pod("Failed", ended(1, "x" * 4000 + " and then it broke")))
    assert seen.fault is not None
    assert seen.fault.detail.endswith("and then it broke")
    assert len(seen.fault.detail) < 500


def test_a_job_that_ran_out_of_time_is_a_timeout() -> None:
    message = "Job was active longer than specified deadline"
    seen = judged(job(condition="Failed", reason="DeadlineExceeded", message=message, failed=1))
    assert seen.fault is not None
    assert (seen.state, seen.fault.type, seen.fault.detail) == (JobState.FAILED, "Timeout", message)


def test_a_failed_job_whose_pods_are_all_gone_was_robbed_of_them() -> None:
    seen = judged(FAILED)
    assert seen.fault is not None
    assert seen.fault.type == "Evicted"
    assert "BackoffLimitExceeded: Job has reached the specified backoff limit" in seen.fault.detail


# ----------------------------------------------------------------------------------------------------------- it was disrupted


def deleted(found: dict[str, Any], at: str, grace: int = 0) -> dict[str, Any]:
    """The pod was asked to go at `at`; `grace` is what is left of the time that it was given."""
    found["metadata"] |= {"deletionTimestamp": at, "deletionGracePeriodSeconds": grace}
    return found


def killed(code: int, at: str) -> dict[str, Any]:
    found = ended(code)
    found["state"]["terminated"]["finishedAt"] = at
    return found


@pytest.mark.parametrize(
    "found",
    [
        deleted(pod("Failed", killed(143, "2026-11-23T10:01:05Z")), "2026-11-23T10:01:00Z"),
        deleted(pod("Failed", killed(3, "2026-11-23T10:01:05Z")), "2026-11-23T10:01:30Z", grace=30),
        deleted(pod("Failed", killed(137, "2026-11-23T10:00:59Z")), "2026-11-23T10:01:00Z"),
        deleted(pod("Failed"), "2026-11-23T10:01:00Z"),
        deleted(pod("Failed", killed(0, "2026-11-23T10:00:01Z"), killed(143, "2026-11-23T10:01:01Z")), "2026-11-23T10:01:00Z"),
    ],
    ids=["after its grace", "exits its own way", "by a clock that is behind", "before it began", "beside one that was done"],
)
def test_a_pod_that_was_deleted_before_it_ended_did_not_fail_by_itself(found: dict[str, Any]) -> None:
    seen = judged(FAILED, found)
    assert seen.fault is not None
    assert (seen.fault.type, seen.fault.detail) == ("PodDeleted", "pod p1 was deleted before it had ended")


def test_a_pod_that_failed_and_was_deleted_afterwards_failed() -> None:
    seen = judged(FAILED, deleted(pod("Failed", killed(3, "2026-11-23T10:00:00Z")), "2026-11-23T10:01:00Z"))
    assert seen.fault is not None
    assert seen.fault.type == "ExitCode"


@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_a_pod_that_is_taken_away_by_a_disruption_is_waited_for_and_counted(phase: str) -> None:
    seen = judged(job(), pod(phase, running(), **disrupted("EvictionByEvictionAPI", "Eviction API: evicting")))
    assert (seen.state, seen.started, seen.lost_pod) == (JobState.ACTIVE, False, "uid-p1")
    assert isinstance(seen.stuck, Hold)
    assert (seen.stuck.title, seen.stuck.detail) == ("Waiting for another pod", "Evicted: Eviction API: evicting")


def test_the_pod_after_a_disruption_goes_on_and_the_lost_one_stays_counted() -> None:
    lost = pod("Failed", ended(137), **disrupted("DeletionByTaintManager"))
    seen = judged(ACTIVE, lost, pod("Running", running(), name="p2", created="2026-11-23T10:01:00Z"))
    assert (seen.started, seen.stuck, seen.lost_pod) == (True, None, "uid-p1")
    assert seen.lost is not None
    assert seen.lost.type == "NodeLost"


def test_a_pod_whose_replacement_is_refused_says_what_refuses_it() -> None:
    quota = Hold("Quota", "Waiting for quota", "exceeded quota: small")
    assert judged(job(), pod("Failed", **disrupted("PreemptionByScheduler")), without_pod=quota).stuck == quota


def test_a_pod_that_was_seen_last_before_it_vanished_still_says_what_it_died_of() -> None:
    manifest, last = trim_job(FAILED), trim_pod(deleted(pod("Failed", killed(143, "2026-11-23T10:01:00Z")), "2026-11-23T10:01:00Z"))
    assert manifest is not None and last is not None
    found = fact(manifest, [replace(last, gone=True)])
    assert found.fault is not None
    assert found.fault.type == "PodDeleted"


# ------------------------------------------------------------------------------------------------------------ whose it is


def test_pods_of_another_job_and_of_another_namespace_do_not_count() -> None:
    stranger, elsewhere = pod("Succeeded", ended(0, "forged")), pod("Succeeded", ended(0, "forged"))
    stranger["metadata"]["ownerReferences"][0]["uid"] = "job-2"
    elsewhere["metadata"]["namespace"] = "evil"
    assert judged(ACTIVE, stranger, elsewhere) == judged(ACTIVE)


def test_a_pod_that_no_job_controls_is_not_kept() -> None:
    manifest = pod("Succeeded", ended(0, "forged"))
    manifest["metadata"]["ownerReferences"][0]["controller"] = False
    assert trim_pod(manifest) is None


def test_a_job_with_our_label_that_something_else_controls_is_not_kept() -> None:
    manifest = job(condition="Complete")
    manifest["metadata"]["ownerReferences"][0]["uid"] = "another"
    assert trim_job(manifest) is None
    del manifest["metadata"]["ownerReferences"]
    assert trim_job(manifest) is not None, "made while the run was being deleted"
    del manifest["metadata"]["labels"]
    assert trim_job(manifest) is None


def test_the_facts_of_a_run_leave_out_what_only_pretends_to_be_of_it() -> None:
    forged = job(condition="Complete", succeeded=1)
    forged["metadata"].update(namespace="evil", uid="job-9")
    jobs = [seen for seen in map(trim_job, (ACTIVE, forged)) if seen]
    found = facts("shop", jobs, [seen for seen in [trim_pod(pod("Running", running()))] if seen])
    assert {name: (one.uid, one.state, one.started) for name, one in found.items()} == {"order-1-charge": ("job-1", JobState.ACTIVE, True)}


# ------------------------------------------------------------------------------------------------------- when it is behind


@pytest.mark.parametrize(
    ("manifest", "pods", "expected"),
    [
        (ACTIVE, [], False),
        (job(condition="Complete", succeeded=1), [], True),
        (job(condition="Complete", succeeded=1), [pod("Running", running())], True),
        (job(condition="Complete", succeeded=1), [pod("Succeeded", ended(0))], False),
        (FAILED, [], True),
        (FAILED, [pod("Running", running())], True),
        (FAILED, [pod("Failed", ended(1))], False),
        (FAILED, [pod("Failed", ended(137), **disrupted("DeletionByTaintManager"))], True),
        (job(condition="Failed", reason="DeadlineExceeded", failed=1), [], False),
    ],
)
def test_an_ended_job_without_the_pod_that_ended_it_needs_a_look_at_the_server(
    manifest: dict[str, Any], pods: list[dict[str, Any]], expected: bool
) -> None:
    seen = trim_job(manifest)
    assert seen is not None
    assert needs_look(seen, [found for found in map(trim_pod, pods) if found]) == expected


def test_what_is_of_no_interest_makes_no_difference_to_what_is_kept() -> None:
    first, second = job(active=1), job(active=1)
    second["metadata"]["resourceVersion"] = "99"
    second["status"]["ready"] = 1
    assert trim_job(first) == trim_job(second)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (pod("Failed", ended(3)), 3),
        (pod("Failed", ended(255, '{"error": {"type": "CardDeclined"}}')), 255),
        (pod("Failed", ended(137)), 137),
        (pod("Failed", ended(137, reason="OOMKilled")), None),
        (pod("Failed", ended(143), **disrupted("EvictionByEvictionAPI", "drained")), None),
        (pod("Failed", ended(128, "exec: pay: not found", reason="StartError")), None),
        (pod("Failed", ended(0), ended(9, name="side")), None),
        (pod("Failed", waiting("PodInitializing"), initContainerStatuses=[ended(2, name="prepare")]), None),
        (pod("Failed"), None),
    ],
)
def test_the_exit_code_of_the_steps_own_container_is_told_where_it_is_why_the_job_failed(found: dict[str, Any], code: int | None) -> None:
    assert judged(FAILED, found).exit_code == code
    assert judged(job(condition="Failed", reason="DeadlineExceeded"), found).exit_code is None
