"""What a Job's status says, and that no crash between two writes counts a pod twice or never."""

import copy
from collections.abc import Iterator

import pytest

from backstay.local.controllers.job_plan import verdict
from backstay.local.controllers.job_status import account, announce
from backstay.local.controllers.job_view import TRACKING, is_finished
from backstay.local.node.api import Obj
from tests.unit.local.controllers.objects import job, names, pod, view


def conditions(status: Obj) -> dict[str, str]:
    return {known["type"]: known["status"] for known in status.get("conditions", ())}


def settle(manifest: Obj, pods: list[Obj], stop_after: int | None = None) -> Iterator[Obj]:
    """Do what the controller does, write by write, until nothing is left; `stop_after` writes it dies and begins anew."""
    done = 0
    while True:
        seen = view(manifest, *pods)
        end = verdict(seen)
        if is_finished(manifest):
            return
        accounting = account(seen, end, managed=end is None)
        release = [("release", each) for each in accounting.release]
        writes = [("status", accounting.last), *release] if accounting.last_before_release else [*release, ("status", accounting.last)]
        if accounting.first is not None:
            writes.insert(0, ("status", accounting.first))
        changed = False
        for kind, what in writes:
            if kind == "status" and what == manifest["status"]:
                continue
            if kind == "status":
                manifest["status"] = copy.deepcopy(what)
                yield manifest["status"]
            else:
                what["metadata"]["finalizers"].remove(TRACKING)
            changed = True
            done += 1
            if done == stop_after:
                break
        if not changed:
            return


PODS = {
    "one success": (job(), [pod("a", "Succeeded")]),
    "one failure": (job(), [pod("a", "Failed")]),
    "a failure before a success": (job({"failed": 1}, backoffLimit=3), [pod("a", "Succeeded")]),
    "some of several": (
        job(completions=5, parallelism=5, backoffLimit=5),
        [pod("a", "Succeeded"), pod("b", "Failed"), pod("c"), pod("d", "Succeeded")],
    ),
    "all of several": (
        job(completions=3, parallelism=3, backoffLimit=5),
        [pod("a", "Succeeded"), pod("b", "Failed"), pod("c", "Succeeded"), pod("d", "Succeeded")],
    ),
    "failed with one still going": (job(completions=3, parallelism=3), [pod("a", "Failed"), pod("b", "Succeeded"), pod("c", deleted=True)]),
    "indexed": (
        job(completions=3, parallelism=3, completionMode="Indexed", backoffLimit=5),
        [pod("a", "Succeeded", index=0), pod("b", "Failed", index=1), pod("c", index=2)],
    ),
}


@pytest.mark.parametrize("stop_after", [None, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("case", PODS)
def test_every_pod_is_counted_once_wherever_the_controller_dies(case: str, stop_after: int | None) -> None:
    manifest, pods = copy.deepcopy(PODS[case])
    before = manifest["status"]
    expected = {
        "succeeded": before.get("succeeded", 0) + sum(each["status"]["phase"] == "Succeeded" for each in pods),
        "failed": before.get("failed", 0) + sum(each["status"]["phase"] == "Failed" for each in pods),
    }
    if case == "failed with one still going":
        expected["failed"] += 1  # when a Job fails, all that did not succeed have failed
    list(settle(manifest, pods, stop_after))
    assert {key: manifest["status"].get(key, 0) for key in expected} == expected
    assert not manifest["status"].get("uncountedTerminatedPods")


def test_a_job_of_one_pod_is_ended_with_one_write() -> None:
    manifest = job()
    written = list(settle(manifest, [pod("a", "Succeeded")]))
    assert len(written) == 1
    assert conditions(written[0]) == {"SuccessCriteriaMet": "True", "Complete": "True"}
    assert (written[0]["succeeded"], written[0]["completionTime"]) == (1, "2026-01-02T03:04:00Z")


def test_a_failed_job_has_no_completion_time() -> None:
    manifest = job()
    [status] = settle(manifest, [pod("a", "Failed")])
    assert conditions(status) == {"FailureTarget": "True", "Failed": "True"}
    assert "completionTime" not in status


def test_a_job_is_not_finished_before_its_last_pod_is_gone() -> None:
    manifest = job(activeDeadlineSeconds=1)
    list(settle(manifest, [pod("a", deleted=True)]))
    assert conditions(manifest["status"]) == {"FailureTarget": "True"}
    assert manifest["status"]["terminating"] == 1
    list(settle(manifest, []))
    assert conditions(manifest["status"])["Failed"] == "True"


def test_why_a_job_ends_is_written_before_its_pods_are_deleted() -> None:
    seen = view(job(activeDeadlineSeconds=1), pod("a"))
    status = announce(seen, verdict(seen))  # type: ignore[arg-type]
    assert status is not None
    assert conditions(status) == {"FailureTarget": "True"}
    deleted = view(job(status, activeDeadlineSeconds=1), pod("a", deleted=True))
    assert verdict(deleted).reason == "DeadlineExceeded"  # type: ignore[union-attr]


def test_nothing_needs_to_be_announced_where_nothing_is_deleted() -> None:
    seen = view(job(), pod("a", "Succeeded"))
    assert announce(seen, verdict(seen)) is None  # type: ignore[arg-type]


def test_a_suspended_job_says_so_and_a_resumed_one_starts_its_clock_anew() -> None:
    manifest = job(suspend=True)
    list(settle(manifest, []))
    assert conditions(manifest["status"]) == {"Suspended": "True"}
    manifest["spec"]["suspend"] = False
    list(settle(manifest, []))
    assert conditions(manifest["status"]) == {"Suspended": "False"}
    assert manifest["status"]["startTime"] == "2026-01-02T03:04:00Z"


def test_a_job_that_begins_suspended_has_not_started() -> None:
    manifest = job(suspend=True)
    del manifest["status"]["startTime"]
    list(settle(manifest, []))
    assert "startTime" not in manifest["status"]


def test_what_is_no_news_is_not_written() -> None:
    manifest = job()
    assert len(list(settle(manifest, [pod("a")]))) == 1
    assert list(settle(manifest, [pod("a")])) == []


def test_only_pods_that_are_over_are_let_go() -> None:
    seen = view(
        job(completions=3, parallelism=3, backoffLimit=5),
        pod("a"),
        pod("b", "Failed"),
        pod("c", "Succeeded"),
        pod("d", "Failed", tracked=False),
    )
    assert names(account(seen, None, managed=True).release) == ["b", "c"]


def test_an_indexed_job_lists_its_indexes() -> None:
    manifest, pods = copy.deepcopy(PODS["indexed"])
    list(settle(manifest, pods))
    assert (manifest["status"]["completedIndexes"], manifest["status"]["succeeded"]) == ("0", 1)
