"""Which pods a Job gets, and when it is at its end: tables of Job and pods to what is done."""

from datetime import timedelta

import pytest

from backstay.local.controllers.job_plan import Backoff, pods_wanted, verdict
from backstay.local.controllers.job_view import JobView, format_indexes, parse_indexes
from backstay.local.node.api import Obj
from tests.unit.local.controllers.objects import NOW, job, names, pod, view

AT_ONCE = Backoff(base_seconds=0)
EXIT_3 = {"operator": "In", "values": [3]}


def rule(action: str, **matches: object) -> Obj:
    return {"rules": [{"action": action, **matches}]}


@pytest.mark.parametrize(
    ("manifest", "pods", "count"),
    [
        (job(), [], 1),
        (job(), [pod()], 0),
        (job(), [pod(phase="Pending")], 0),
        (job(completions=5, parallelism=3), [], 3),
        (job(completions=5, parallelism=3), [pod("a"), pod("b", "Succeeded")], 2),
        (job({"succeeded": 4}, completions=5, parallelism=3), [], 1),
        (job(backoffLimit=3), [pod("a", "Failed")], 1),
        (job(suspend=True), [], 0),
        (job(completions=None, parallelism=2), [], 2),
        (job(completions=None, parallelism=2), [pod("a", "Succeeded"), pod("b")], 0),
        (job(backoffLimit=3), [pod("a", deleted=True)], 1),
        (job(backoffLimit=3, podReplacementPolicy="Failed"), [pod("a", deleted=True)], 0),
        (job(backoffLimit=3, podReplacementPolicy="Failed"), [pod("a", "Failed", deleted=True)], 1),
        (job(backoffLimit=3, podFailurePolicy=rule("Ignore", onExitCodes=EXIT_3)), [pod("a", deleted=True)], 0),
        (job(completions=3, parallelism=3, completionMode="Indexed"), [pod("a", index=1)], 2),
    ],
)
def test_as_many_pods_are_made_as_are_missing(manifest: Obj, pods: list[Obj], count: int) -> None:
    seen = view(manifest, *pods)
    assert len(pods_wanted(seen, verdict(seen), AT_ONCE).create) == count


def test_a_job_that_is_being_deleted_gets_no_pods() -> None:
    manifest = job()
    manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert pods_wanted(view(manifest), None, AT_ONCE).create == []


def test_a_pod_is_named_made_and_owned_as_the_real_controller_does() -> None:
    [made] = pods_wanted(view(job()), None, AT_ONCE).create
    metadata = made["metadata"]
    assert metadata["name"].startswith("work-") and len(metadata["name"]) == 10
    assert metadata["labels"]["own"] == "label"
    assert metadata["labels"]["job-name"] == metadata["labels"]["batch.kubernetes.io/job-name"] == "work"
    assert metadata["labels"]["controller-uid"] == metadata["labels"]["batch.kubernetes.io/controller-uid"] == "job-uid"
    assert metadata["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert metadata["ownerReferences"][0]["uid"] == "job-uid"


def test_the_same_view_makes_the_same_names_so_that_a_repeat_is_no_second_pod() -> None:
    first, again = (pods_wanted(view(job(completions=3, parallelism=3)), None, AT_ONCE).create for _ in range(2))
    assert names(first) == names(again)
    assert len(set(names(first))) == 3


def test_a_replacement_has_another_name_than_what_it_replaces_even_if_that_is_gone() -> None:
    manifest = job(backoffLimit=3)
    [first] = names(pods_wanted(view(manifest), None, AT_ONCE).create)
    [second] = names(pods_wanted(view(manifest, pod(first, "Failed")), None, AT_ONCE).create)
    [third] = names(pods_wanted(JobView(manifest, [], NOW, frozenset({first, second})), None, AT_ONCE).create)
    assert len({first, second, third}) == 3


def test_a_name_at_the_length_limit_leaves_room_for_the_suffix() -> None:
    manifest = job()
    manifest["metadata"]["name"] = "x" * 63
    [name] = names(pods_wanted(view(manifest), None, AT_ONCE).create)
    assert len(name) == 63


def test_the_pods_of_an_indexed_job_know_their_index() -> None:
    manifest = job({"completedIndexes": "0"}, completions=3, parallelism=3, completionMode="Indexed")
    made = pods_wanted(view(manifest, pod("a", index=2)), None, AT_ONCE).create
    [one] = made
    assert one["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "1"
    assert one["spec"]["containers"][0]["env"] == [{"name": "JOB_COMPLETION_INDEX", "value": "1"}]
    assert one["spec"]["hostname"] == "work-1"


def test_the_pod_after_a_failure_waits_and_after_the_next_one_twice_as_long() -> None:
    manifest, backoff = job(backoffLimit=9), Backoff(base_seconds=10)
    once = pods_wanted(view(manifest, pod("a", "Failed")), None, backoff)
    twice = pods_wanted(view(manifest, pod("a", "Failed"), pod("b", "Failed")), None, backoff)
    assert (once.create, once.look_again) == ([], 5)
    assert (twice.create, twice.look_again) == ([], 15)
    later = view(manifest, pod("a", "Failed"), now=NOW + timedelta(seconds=5))
    assert len(pods_wanted(later, None, backoff).create) == 1


def test_a_success_ends_the_row_of_failures() -> None:
    manifest = job(backoffLimit=9, completions=2)
    succeeded = pod("b", "Succeeded", ended=NOW - timedelta(seconds=1))
    assert len(pods_wanted(view(manifest, pod("a", "Failed"), succeeded), None, Backoff()).create) == 1


@pytest.mark.parametrize(
    ("manifest", "pods", "reason"),
    [
        (job(), [], None),
        (job(), [pod()], None),
        (job(), [pod(phase="Succeeded")], "CompletionsReached"),
        (job(completions=2), [pod(phase="Succeeded")], None),
        (job({"succeeded": 1}, completions=2), [pod(phase="Succeeded")], "CompletionsReached"),
        (job(completions=None, parallelism=2), [pod("a", "Succeeded"), pod("b")], None),
        (job(completions=None, parallelism=2), [pod("a", "Succeeded"), pod("b", "Failed")], "BackoffLimitExceeded"),
        (job(), [pod(phase="Failed")], "BackoffLimitExceeded"),
        (job(backoffLimit=1), [pod(phase="Failed")], None),
        (job({"failed": 1}, backoffLimit=1), [pod(phase="Failed")], "BackoffLimitExceeded"),
        (job(), [pod(deleted=True)], "BackoffLimitExceeded"),
        (job(podReplacementPolicy="Failed"), [pod(deleted=True)], None),
        (job(), [pod(phase="Failed", tracked=False)], None),
        (job(activeDeadlineSeconds=30), [pod()], "DeadlineExceeded"),
        (job(activeDeadlineSeconds=31), [pod()], None),
        (job(activeDeadlineSeconds=30, suspend=True), [], None),
        (job(podFailurePolicy=rule("FailJob", onExitCodes=EXIT_3), backoffLimit=5), [pod(phase="Failed", code=3)], "PodFailurePolicy"),
        (job(podFailurePolicy=rule("FailJob", onExitCodes=EXIT_3), backoffLimit=5), [pod(phase="Failed", code=4)], None),
        (job(podFailurePolicy=rule("Ignore", onExitCodes=EXIT_3)), [pod(phase="Failed", code=3)], None),
        (job(podFailurePolicy=rule("Count", onExitCodes=EXIT_3)), [pod(phase="Failed", code=3)], "BackoffLimitExceeded"),
        (job(successPolicy={"rules": []}), [], "NotSupported"),
        (job({"conditions": [{"type": "FailureTarget", "status": "True", "reason": "Earlier"}]}), [pod(phase="Succeeded")], "Earlier"),
    ],
)
def test_a_job_is_at_its_end_for_a_reason(manifest: Obj, pods: list[Obj], reason: str | None) -> None:
    found = verdict(view(manifest, *pods))
    assert (found.reason if found else None) == reason


def test_a_disruption_is_not_a_failure_where_the_policy_says_so() -> None:
    policy = rule("Ignore", onPodConditions=[{"type": "DisruptionTarget", "status": "True"}])
    disrupted = pod(phase="Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}])
    seen = view(job(podFailurePolicy=policy), disrupted)
    assert verdict(seen) is None
    assert len(pods_wanted(seen, None, AT_ONCE).create) == 1
    assert verdict(view(job(podFailurePolicy=policy), pod(phase="Failed"))) is not None


def test_the_message_of_a_policy_names_container_pod_code_and_rule() -> None:
    found = verdict(view(job(podFailurePolicy=rule("FailJob", onExitCodes=EXIT_3)), pod("p1", "Failed", code=3)))
    assert found is not None
    assert found.message == "Container main for pod shop/p1 failed with exit code 3 matching FailJob rule at index 0"


@pytest.mark.parametrize(
    ("requirement", "code", "matches"),
    [
        ({"operator": "In", "values": [3]}, 3, True),
        ({"operator": "In", "values": [3]}, 4, False),
        ({"operator": "NotIn", "values": [3]}, 4, True),
        ({"operator": "NotIn", "values": [3]}, 3, False),
        ({"operator": "In", "values": [3], "containerName": "main"}, 3, True),
        ({"operator": "In", "values": [3], "containerName": "other"}, 3, False),
    ],
)
def test_exit_codes_match_by_operator_and_container(requirement: Obj, code: int, matches: bool) -> None:
    found = verdict(view(job(podFailurePolicy=rule("FailJob", onExitCodes=requirement), backoffLimit=9), pod(phase="Failed", code=code)))
    assert (found is not None) == matches


def test_a_job_that_ends_deletes_what_still_runs() -> None:
    seen = view(job(activeDeadlineSeconds=1), pod("a"), pod("b", "Succeeded"))
    assert names(pods_wanted(seen, verdict(seen), AT_ONCE).delete) == ["a"]


def test_a_suspended_job_withdraws_its_pods() -> None:
    assert names(pods_wanted(view(job(suspend=True), pod("a")), None, AT_ONCE).withdraw) == ["a"]


def test_of_too_many_pods_those_go_first_that_have_got_least_far() -> None:
    manifest = job({"succeeded": 1}, completions=3, parallelism=1)
    assert names(pods_wanted(view(manifest, pod("a"), pod("b", "Pending")), None, AT_ONCE).withdraw) == ["b"]


def test_of_two_pods_with_one_index_the_one_that_got_further_stays() -> None:
    manifest = job(completions=2, parallelism=2, completionMode="Indexed")
    pods = [pod("a", "Pending", index=0), pod("b", index=0), pod("c", index=7)]
    assert sorted(names(pods_wanted(view(manifest, *pods), None, AT_ONCE).withdraw)) == ["a", "c"]


def test_the_deadline_is_a_reason_to_look_again() -> None:
    assert pods_wanted(view(job(activeDeadlineSeconds=40), pod()), None, AT_ONCE).look_again == 10


@pytest.mark.parametrize(
    ("indexes", "text"), [(set(), ""), ({0}, "0"), ({0, 1}, "0,1"), ({0, 1, 2}, "0-2"), ({0, 2, 3, 5, 6, 7}, "0,2,3,5-7")]
)
def test_indexes_are_written_as_ranges(indexes: set[int], text: str) -> None:
    assert format_indexes(indexes) == text
    assert parse_indexes(text) == indexes
