"""What a real cluster does to the Jobs and pods of a run, and what its user then sees: docs/troubleshooting.md, case by case.

The node runs pods as processes; what needs a kubelet (memory, eviction by the node, nodes that die) is in tests/containers.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.manifests import run_of, shell, step
from tests.support.api import Object
from tests.support.cluster import Cluster, Place, condition_of, step_of
from tests.support.real_cluster import real_cluster
from tests.support.waiting import wait_for
from tests.support.webhook import Webhook

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with real_cluster(tmp_path_factory.mktemp("troubles")) as running:
        yield running


@pytest.fixture
def place(cluster: Cluster, request: pytest.FixtureRequest) -> Place:
    return cluster.place(request.node.name.removeprefix("test_"))


# ------------------------------------------------------------------------------------------------------- what a user sees


def message_of(run: Object, path: str = "a") -> str:
    """What the status says that a step waits for."""
    return next((item.get("message", "") for item in run.get("status", {}).get("steps", ()) if item["path"] == path), "")


def waits_for(place: Place, run: str, words: str, limit_seconds: float = 40) -> Object:
    """Wait until every place where a user looks says what a run waits for: status, column, conditions, `backstay why`."""
    found = place.until(run, lambda seen: words in message_of(seen), limit_seconds)
    assert found["status"]["status"] == "Waiting"
    assert words in (condition_of(found, "Reconciling") or {})["message"]
    assert "Waiting" in place.kubectl("get", "wfrun", run, "--no-headers").split()
    return found


def told(place: Place, run: str, reason: str) -> list[Object]:
    """The Events about a run with this reason."""
    return [event for event in place.events(run) if event["reason"] == reason]


def told_once(place: Place, run: str, reason: str, words: str) -> None:
    """One Event says it, and it is not said again and again."""
    wait_for(lambda: told(place, run, reason), what=f"no Event {reason}")
    found = told(place, run, reason)
    assert [words in event["message"] for event in found] == [True], [event["message"] for event in found]
    assert (found[0].get("series") or {}).get("count", 1) == 1


def why(place: Place, run: str) -> str:
    """What `backstay why` says."""
    command = [sys.executable, "-m", "backstay.cli.main", "why", run, "-n", place.name, "--kubeconfig", str(place.cluster.kubeconfig)]
    return " ".join(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split())


def patches(place: Place) -> int:
    """How often a run's status was written."""
    return sum(write.verb == "patch" and write.resource == "workflowruns" for write in place.cluster.writes(place.name))


def refused(place: Place) -> int:
    """How often a Job was asked for in vain."""
    return sum(write.verb == "create" and write.resource == "jobs" and write.code >= 400 for write in place.cluster.writes(place.name))


def ended_well(place: Place, run: str, limit_seconds: float = 60) -> Object:
    found = place.ended(run, limit_seconds)
    assert found["status"]["phase"] == "Succeeded", found["status"].get("error")
    assert step_of(found, "a")["attempt"] == 1
    return found


def failed_with(place: Place, run: str, type_: str, *words: str, limit_seconds: float = 40) -> Object:
    found = place.ended(run, limit_seconds)
    error = found["status"].get("error", {})
    assert (found["status"]["phase"], error.get("type")) == ("Failed", type_), error
    for word in words:
        assert word in error["detail"], error
    return found


def pods(place: Place) -> list[Object]:
    return place.cluster.api.list("pods", place.name)


def a_pod(place: Place, phase: str = "Running", but: str = "") -> str:
    """Wait until a pod is in a phase, and return its name; `but` is one that is not meant."""

    def look() -> str | None:
        return next(
            (pod["metadata"]["name"] for pod in pods(place) if pod["status"]["phase"] == phase and pod["metadata"]["name"] != but), None
        )

    return wait_for(look, 40, what=lambda: [(pod["metadata"]["name"], pod["status"]["phase"]) for pod in pods(place)])


def quota(place: Place, **hard: str) -> None:
    """Limit a namespace, and wait until the API server enforces it."""
    spec = {name.replace("__", "/").replace("_", "."): value for name, value in hard.items()}
    manifest = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": spec}}
    place.cluster.api.create("resourcequotas", place.name, manifest)

    def is_known() -> bool:
        found = place.cluster.api.get("resourcequotas", place.name, "small") or {}
        return (found.get("status") or {}).get("hard") == spec

    wait_for(is_known, what="the quota is not enforced")


def raise_quota(place: Place, name: str, value: str) -> None:
    place.cluster.api.patch("resourcequotas", place.name, "small", {"spec": {"hard": {name: value}}})


def limit_range(place: Place, **limits: Any) -> None:
    spec = {"limits": [{"type": "Container", **limits}]}
    manifest = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"}, "spec": spec}
    place.cluster.api.create("limitranges", place.name, manifest)


def entries(run: Object, kind: str) -> list[Object]:
    return [entry for entry in run["status"]["journal"]["entries"] if entry["kind"] == kind]


# ------------------------------------------------------------------------------------------------------ a quota is used up


def test_a_quota_on_jobs_is_waited_for_whatever_its_start_timeout_and_costs_no_write_meanwhile(place: Place) -> None:
    quota(place, count__jobs_batch="0")
    place.apply(run_of("r", step(job=shell(startTimeout="1s"))))
    waits_for(place, "r", "Waiting for quota: exceeded quota: small, requested: count/jobs.batch=1")
    assert "is held back" in why(place, "r") and "raise the quota" in why(place, "r")
    written = patches(place)
    wait_for(lambda: refused(place) >= 4, what=lambda: f"only {refused(place)} tries")
    assert patches(place) == written
    told_once(place, "r", "Waiting", "exceeded quota: small")
    raise_quota(place, "count/jobs.batch", "5")
    run = ended_well(place, "r", 20)
    assert (len(place.jobs("r")), step_of(run, "a").get("message"), patches(place) <= written + 2) == (1, None, True)


def test_a_job_that_goes_makes_room_for_a_run_that_waits(place: Place) -> None:
    quota(place, count__jobs_batch="1")
    place.apply(run_of("first", step(job=shell())))
    ended_well(place, "first")
    place.apply(run_of("second", step(job=shell())))
    waits_for(place, "second", "exceeded quota: small")
    wait_for(lambda: refused(place) >= 6, what="the pauses are still short")
    # From now on a try by itself is ten seconds away. Deleted itself, not with its run: the garbage collector of a young cluster learns of our
    # kinds only after half a minute.
    place.kubectl("delete", "jobs", "--all")
    ended_well(place, "second", 9)


def test_many_runs_that_wait_for_a_quota_ask_as_one_and_all_go_on(place: Place) -> None:
    quota(place, count__jobs_batch="0")
    names = [f"r{index}" for index in range(20)]
    place.apply(*(run_of(name, step(job=shell())) for name in names))
    for name in names:
        place.until(name, lambda seen: "exceeded quota" in message_of(seen))
    before, written = refused(place), patches(place)
    wait_for(lambda: refused(place) >= before + 2, 40, what="nobody tries")
    assert refused(place) <= before + 4, "each run tries for itself"
    assert patches(place) == written == 40
    raise_quota(place, "count/jobs.batch", "100")
    for name in names:
        ended_well(place, name, 30)


def test_a_quota_on_jobs_outlasts_a_restart_of_the_operator_without_being_told_anew(place: Place) -> None:
    quota(place, count__jobs_batch="0")
    place.apply(run_of("r", step(job=shell())))
    before = waits_for(place, "r", "exceeded quota: small")
    tries = refused(place)
    place.cluster.operator.restart()
    wait_for(lambda: refused(place) > tries, what="the new operator does not try")
    assert place.run("r")["status"]["steps"] == before["status"]["steps"]
    raise_quota(place, "count/jobs.batch", "5")
    ended_well(place, "r", 20)


def test_a_quota_on_pods_is_waited_for_and_told_in_its_own_words_though_only_the_job_controller_hears_them(place: Place) -> None:
    quota(place, pods="0")
    place.apply(run_of("r", step(job=shell(startTimeout="1s"))))
    waits_for(place, "r", "Waiting for quota: exceeded quota: small, requested: pods=1")
    raise_quota(place, "pods", "5")
    told_once(place, "r", "Waiting", "exceeded quota: small")
    ended_well(place, "r", 70)  # the Job controller tries again by itself, after at most a minute


def test_the_timeout_of_a_step_holds_also_while_a_quota_holds_it_back(place: Place) -> None:
    quota(place, count__jobs_batch="0")
    place.apply(run_of("r", step(job=shell(), timeout="3s")))
    run = failed_with(place, "r", "Timeout")
    assert place.jobs("r") == []
    assert entries(run, "JobHeld")


# -------------------------------------------------------------------------------------------------- admission says no


def test_a_webhook_that_denies_our_job_fails_the_step_at_once_in_its_own_words(place: Place, cluster: Cluster) -> None:
    with Webhook(cluster.folder, place, "jobs", "no Jobs on Sundays") as webhook:
        place.apply(run_of("r", step(job=shell(), retry={"maxAttempts": 3, "interval": "1s"})))
        run = failed_with(place, "r", "AdmissionDenied", "denied the request: no Jobs on Sundays", "somebody.else")
        assert step_of(run, "a")["attempt"] == 1, "Permanent: another attempt would be refused as well"
        assert webhook.asked == 1
    told_once(place, "r", "RunFailing", "no Jobs on Sundays")


@pytest.mark.parametrize("code", [409, 422, 429, 500])
def test_a_denial_is_one_whatever_status_the_webhook_chooses(place: Place, cluster: Cluster, code: int) -> None:
    with Webhook(cluster.folder, place, "jobs", "not like this", code) as webhook:
        place.apply(run_of("r", step(job=shell())))
        failed_with(place, "r", "AdmissionDenied", "not like this")
        assert webhook.asked == 1


def test_a_webhook_that_is_down_is_waited_for(place: Place, cluster: Cluster) -> None:
    with Webhook(cluster.folder, place, "jobs") as webhook:
        webhook.down()
        place.apply(run_of("r", step(job=shell(startTimeout="1s"))))
        waits_for(place, "r", "Waiting for an admission webhook: failed calling webhook")
        assert "when the webhook answers" in why(place, "r")
        written = patches(place)
        wait_for(lambda: refused(place) >= 3, what="nobody tries")
        assert patches(place) == written
        webhook.up()
        ended_well(place, "r", 20)
    told_once(place, "r", "Waiting", "failed calling webhook")


# -------------------------------------------------------------------------------------------------------------- LimitRange


def test_the_defaults_of_a_limit_range_are_the_jobs_own_where_it_has_none(place: Place) -> None:
    limit_range(place, default={"cpu": "200m", "memory": "128Mi"}, defaultRequest={"cpu": "10m", "memory": "16Mi"})
    quota(place, limits_cpu="1")
    place.apply(run_of("r", step(job=shell())))
    ended_well(place, "r")
    (pod,) = pods(place)
    assert pod["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "200m", "memory": "128Mi"},
        "requests": {"cpu": "10m", "memory": "16Mi"},
    }


def test_a_service_account_that_comes_late_is_waited_for(place: Place) -> None:
    place.apply(run_of("r", step(job=shell(serviceAccountName="late"))))
    waits_for(place, "r", "InvalidJob: error looking up service account")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "late"}}
    place.cluster.api.create("serviceaccounts", place.name, account)
    ended_well(place, "r", 70)


def restrict(place: Place) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    place.cluster.api.patch("namespaces", None, place.name, {"metadata": {"labels": labels}})


@dataclass(frozen=True)
class Forbidden:
    """What keeps the Job controller from making a pod: how a namespace is prepared, which job is run in it, and the API server's words."""

    prepare: Callable[[Place], Any]
    job: Object
    words: str


FORBIDDEN = {
    "more than the maximum of a limit range": Forbidden(
        lambda place: limit_range(place, max={"cpu": "100m"}),
        {"resources": {"limits": {"cpu": "2"}}},
        "maximum cpu usage per Container is 100m, but limit is 2",
    ),
    "more than the default limit of a limit range": Forbidden(
        lambda place: limit_range(place, default={"cpu": "50m"}),
        {"resources": {"requests": {"cpu": "200m"}}},
        "must be less than or equal to cpu limit of 50m",
    ),
    "a quota wants limits that the job does not name": Forbidden(
        lambda place: quota(place, limits_cpu="1"), {}, "failed quota: small: must specify limits.cpu for: main"
    ),
    "it violates the pod security standard": Forbidden(
        restrict, {"template": {"spec": {"securityContext": {"runAsUser": 0}}}}, 'violates PodSecurity "restricted:latest"'
    ),
    "a webhook denies pods": Forbidden(lambda place: None, {}, "denied the request: pods need a cost centre"),
}


def test_what_admission_forbids_a_pod_is_told_in_its_words_and_fails_after_the_start_timeout(cluster: Cluster) -> None:
    places = {name: cluster.place(name) for name in FORBIDDEN}
    with Webhook(cluster.folder, places["a webhook denies pods"], "pods", "pods need a cost centre"):
        for name, case in FORBIDDEN.items():
            case.prepare(places[name])
            places[name].apply(run_of("r", step(job=shell(startTimeout="6s", **case.job))))
        for name, case in FORBIDDEN.items():
            failed_with(places[name], "r", "AdmissionDenied", case.words, "not started within 6s")


def test_our_own_jobs_fit_the_restricted_pod_security_standard(place: Place) -> None:
    restrict(place)
    place.apply(run_of("r", step(job=shell())))
    ended_well(place, "r")


# ----------------------------------------------------------------------------------------------- no place, no image


def test_a_pod_that_fits_no_node_says_why_and_fails_after_its_start_timeout(place: Place) -> None:
    nowhere = {"spec": {"nodeSelector": {"disk": "none"}}}
    place.apply(run_of("r", step(job=shell(template=nowhere, startTimeout="3s"))))
    waits_for(place, "r", "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector")
    failed_with(place, "r", "Unschedulable", "0/1 nodes are available", "not started within 3s")
    told_once(place, "r", "Waiting", "0/1 nodes are available")


def test_an_image_that_is_not_there_is_named_with_the_words_of_the_node(place: Place) -> None:
    place.apply(run_of("r", step(job={"image": "missing/pay:9", "startTimeout": "4s"})))
    waits_for(place, "r", "missing/pay:9")
    failed_with(place, "r", "ImagePull", "missing/pay:9", "not started within 4s")
    told_once(place, "r", "Waiting", "missing/pay:9")


# ----------------------------------------------------------------------------------------------- a pod is taken away


ONCE = "if mkdir {0} 2>/dev/null; then {1}sleep 60; fi"
"""A script that hangs the first time and succeeds the second: the folder tells."""


def hanging_once(folder: Path, place: Place, before: str = "", **fields: Any) -> Object:
    return shell(ONCE.format(folder / place.name, before), **fields)


def delete_pod(place: Place, name: str, grace: int | None = None) -> None:
    options = {"apiVersion": "v1", "kind": "DeleteOptions", **({} if grace is None else {"gracePeriodSeconds": grace})}
    place.cluster.api.call("DELETE", f"/api/v1/namespaces/{place.name}/pods/{name}", options)


def evict(place: Place, name: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": place.name}}
    place.cluster.api.call("POST", f"/api/v1/namespaces/{place.name}/pods/{name}/eviction", body)


def test_a_pod_that_is_deleted_by_hand_runs_again_without_using_up_an_attempt(place: Place, tmp_path: Path) -> None:
    place.apply(run_of("r", step(job=hanging_once(tmp_path, place))))
    lost = a_pod(place)
    delete_pod(place, lost)
    run = ended_well(place, "r")
    assert (step_of(run, "a")["disruptions"], len(place.jobs("r"))) == (1, 2)
    (entry,) = entries(run, "StepDisrupted")
    assert entry["reason"] == f"PodDeleted: pod {lost} was deleted before it had ended (1 disruption, at most 20)"
    told_once(place, "r", "StepDisrupted", "PodDeleted")


@pytest.mark.parametrize("trap", ["", "trap 'sleep 3; exit 3' TERM; sleep 60 & wait; "], ids=["killed", "leaves in its own time and way"])
@pytest.mark.parametrize("grace", [None, 0], ids=["gracefully", "by force"])
def test_it_does_not_matter_how_a_pod_is_deleted(place: Place, tmp_path: Path, trap: str, grace: int | None) -> None:
    place.apply(run_of("r", step(job=hanging_once(tmp_path, place, trap, template={"spec": {"terminationGracePeriodSeconds": 10}}))))
    delete_pod(place, a_pod(place), grace)
    assert step_of(ended_well(place, "r"), "a")["disruptions"] == 1


def test_a_pod_that_is_deleted_before_it_found_a_node_is_made_again(place: Place) -> None:
    nowhere = {"spec": {"nodeSelector": {"disk": "none"}}}
    place.apply(run_of("r", step(job=shell(template=nowhere))))
    waits_for(place, "r", "Unschedulable")
    first = a_pod(place, "Pending")
    delete_pod(place, first)
    run = place.until("r", lambda seen: step_of(seen, "a").get("disruptions") == 1)
    assert step_of(run, "a")["attempt"] == 1
    assert a_pod(place, "Pending", but=first)


def test_a_pod_that_is_evicted_is_waited_for_and_runs_again_in_the_same_job(place: Place, tmp_path: Path) -> None:
    place.apply(run_of("r", step(job=hanging_once(tmp_path, place, startTimeout="2s"))))
    evict(place, a_pod(place))
    waits_for(place, "r", "Waiting for another pod: Evicted: Eviction API: evicting (1 disruption, at most 20)")
    run = ended_well(place, "r")
    assert (step_of(run, "a")["disruptions"], len(place.jobs("r"))) == (1, 1)
    told_once(place, "r", "StepDisrupted", "Evicted: Eviction API: evicting")


def test_a_container_that_fails_by_itself_uses_up_an_attempt_also_when_its_pod_is_deleted_afterwards(place: Place) -> None:
    place.apply(run_of("r", step(job=shell("exit 3"), retry={"maxAttempts": 2, "interval": "1s", "jitter": "None"})))
    run = failed_with(place, "r", "ExitCode")
    assert (step_of(run, "a")["attempt"], step_of(run, "a").get("disruptions")) == (2, None)


def test_a_pod_that_is_deleted_while_no_operator_runs_is_made_again_by_the_next_one(place: Place, tmp_path: Path) -> None:
    place.apply(run_of("r", step(job=hanging_once(tmp_path, place))))
    lost = a_pod(place)
    place.cluster.operator.kill9()
    delete_pod(place, lost)
    wait_for(lambda: not pods(place), what="the pod is still there")
    wait_for(lambda: any(job["status"].get("failed") for job in place.jobs("r")), what="the Job has not failed")
    place.cluster.operator.start()
    run = ended_well(place, "r")
    assert (step_of(run, "a")["disruptions"], len(place.jobs("r"))) == (1, 2)


@pytest.mark.parametrize("take_away", [delete_pod, evict], ids=["deleted", "evicted"])
def test_an_undoing_that_is_disrupted_is_done_all_the_same(place: Place, tmp_path: Path, take_away: Callable[[Place, str], None]) -> None:
    undo = {"job": hanging_once(tmp_path, place)}
    place.apply(run_of("r", step(job=shell(), compensate=undo), step("b", fail={"error": "Stop"})))
    take_away(place, a_pod(place))
    run = place.ended("r")
    assert (run["status"]["phase"], step_of(run, "a")["phase"]) == ("Failed", "Compensated")
    assert step_of(run, "a:compensate")["disruptions"] == 1
