"""Jobs, from their pods to their conditions. The same on the embedded cluster, whose Job controller is ours, and on a real control plane."""

import asyncio

import pytest

from backstay.local.node.api import Obj
from tests.embedded.node.harness import JOB_BACKOFF_SECONDS, Namespace, condition, is_running, phase

IGNORE_DISRUPTIONS = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}


async def test_a_job_whose_pod_succeeds_is_complete(ns: Namespace) -> None:
    await ns.job("exit 0")
    job = await ns.finished()
    assert condition(job, "Complete")["reason"] == "CompletionsReached"
    assert condition(job, "SuccessCriteriaMet")
    assert job["status"]["succeeded"] == 1
    assert job["status"].get("failed", 0) == job["status"].get("active", 0) == 0
    assert not job["status"].get("uncountedTerminatedPods")
    assert job["status"]["startTime"] <= job["status"]["completionTime"]


async def test_a_job_names_labels_and_owns_its_pod(ns: Namespace) -> None:
    job = await ns.job("exit 0")
    await ns.finished()
    [pod] = await ns.pods("job-name=work")
    metadata, uid = pod["metadata"], job["metadata"]["uid"]
    assert metadata["name"].startswith("work-") and len(metadata["name"]) == len("work-xxxxx")
    assert {
        key: metadata["labels"][key]
        for key in ("batch.kubernetes.io/job-name", "controller-uid", "batch.kubernetes.io/controller-uid", "test")
    } == {
        "batch.kubernetes.io/job-name": "work",
        "controller-uid": uid,
        "batch.kubernetes.io/controller-uid": uid,
        "test": "work",
    }
    [owner] = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == ("Job", uid, True, True)


async def test_a_counted_pod_is_not_held_by_the_controller_any_more(ns: Namespace) -> None:
    await ns.job("exit 0")
    await ns.finished()
    [pod] = await ns.pods("job-name=work")
    pod = await ns.until("pods", pod["metadata"]["name"], lambda pod: not pod["metadata"].get("finalizers"))
    await ns.delete("pods", pod["metadata"]["name"])
    await ns.until_gone("pods", pod["metadata"]["name"])
    assert (await ns.get("jobs", "work"))["status"]["succeeded"] == 1


async def test_a_job_without_retries_fails_with_its_first_pod(ns: Namespace) -> None:
    await ns.job("exit 3")
    job = await ns.finished()
    assert condition(job, "Failed")["reason"] == "BackoffLimitExceeded"
    assert condition(job, "FailureTarget")
    assert job["status"]["failed"] == 1
    assert "completionTime" not in job["status"]
    assert len(await ns.pods("job-name=work")) == 1


async def test_retries_go_up_to_the_limit_with_a_growing_pause(ns: Namespace) -> None:
    began = asyncio.get_running_loop().time()
    await ns.job("exit 3", backoffLimit=1)
    job = await ns.finished(limit=30)
    assert job["status"]["failed"] == 2
    assert len(await ns.pods("job-name=work")) == 2
    assert asyncio.get_running_loop().time() - began >= JOB_BACKOFF_SECONDS - 1


async def test_parallel_pods_are_as_many_as_wanted_and_no_more(ns: Namespace) -> None:
    await ns.job("sleep 0.3", completions=5, parallelism=2)
    most = 0
    while True:
        most = max(most, sum(phase(pod) in ("Pending", "Running") for pod in await ns.pods("job-name=work")))
        job = await ns.get("jobs", "work")
        if condition(job, "Complete"):
            break
    assert most == 2
    assert job["status"]["succeeded"] == len(await ns.pods("job-name=work")) == 5


async def test_an_indexed_job_gives_each_pod_its_index(ns: Namespace) -> None:
    await ns.job("echo $JOB_COMPLETION_INDEX > $BACKSTAY_OUTPUT", completions=3, parallelism=3, completionMode="Indexed")
    job = await ns.finished()
    assert (job["status"]["succeeded"], job["status"]["completedIndexes"]) == (3, "0-2")
    told = {pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"].strip() for pod in await ns.pods("job-name=work")}
    assert told == {"0", "1", "2"}


async def test_a_work_queue_is_done_with_the_first_success(ns: Namespace) -> None:
    await ns.job("exit 0", parallelism=2, completions=None)
    job = await ns.finished()
    assert condition(job, "Complete")
    assert job["status"]["succeeded"] == len(await ns.pods("job-name=work")) == 2


async def test_a_deadline_ends_the_job_and_its_pods(ns: Namespace) -> None:
    await ns.job("sleep 100", activeDeadlineSeconds=1)
    job = await ns.finished()
    assert condition(job, "Failed")["reason"] == "DeadlineExceeded"
    assert job["status"]["failed"] == 1
    await ns.until_no_process()


async def test_an_exit_code_can_fail_the_job_at_once(ns: Namespace) -> None:
    rules = {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}
    await ns.job("exit 42", backoffLimit=5, podFailurePolicy=rules)
    job = await ns.finished()
    [pod] = await ns.pods("job-name=work")
    assert condition(job, "Failed")["reason"] == "PodFailurePolicy"
    told = f"Container main for pod {ns.name}/{pod['metadata']['name']} failed with exit code 42 matching FailJob rule at index 0"
    assert condition(job, "Failed")["message"] == told


async def test_a_disruption_is_rerun_without_using_up_a_retry(ns: Namespace) -> None:
    await ns.job("sleep 100", podFailurePolicy=IGNORE_DISRUPTIONS, podReplacementPolicy="Failed")
    pod = await running_pod(ns)
    await disrupt(ns, pod)
    second = await running_pod(ns, but=pod)
    job = await ns.get("jobs", "work")
    assert second["metadata"]["name"] != pod["metadata"]["name"]
    assert job["status"].get("failed", 0) == 0
    assert not condition(job, "FailureTarget")


async def test_a_pod_deleted_by_hand_counts_as_a_failure(ns: Namespace) -> None:
    await ns.job("sleep 100")
    pod = await running_pod(ns)
    await ns.delete("pods", pod["metadata"]["name"])
    job = await ns.finished()
    assert condition(job, "Failed")["reason"] == "BackoffLimitExceeded"
    assert job["status"]["failed"] == 1
    await ns.until_no_process()


async def test_a_replacement_waits_until_the_deleted_pod_has_ended(ns: Namespace) -> None:
    changes = {"terminationGracePeriodSeconds": 3}
    await ns.job("trap '' TERM; while :; do sleep 0.05; done", pod_changes=changes, backoffLimit=3, podReplacementPolicy="Failed")
    pod = await running_pod(ns)
    await ns.delete("pods", pod["metadata"]["name"])
    job = await ns.until("jobs", "work", lambda job: job["status"].get("terminating"))
    assert job["status"].get("active", 0) == 0
    assert len(await ns.pods("job-name=work")) == 1
    await ns.until("jobs", "work", lambda job: job["status"].get("failed") == 1)


async def test_a_suspended_job_has_no_pods_until_it_is_resumed(ns: Namespace) -> None:
    await ns.job("exit 0", suspend=True)
    await ns.until("jobs", "work", lambda job: condition(job, "Suspended"))
    assert await ns.pods("job-name=work") == []
    await ns.api.patch(ns.path("jobs", "work"), {"spec": {"suspend": False}})
    assert condition(await ns.finished(), "Complete")


async def test_suspending_a_job_ends_its_pods_without_counting_them(ns: Namespace) -> None:
    await ns.job("sleep 100")
    await running_pod(ns)
    await ns.api.patch(ns.path("jobs", "work"), {"spec": {"suspend": True}})
    job = await ns.until("jobs", "work", lambda job: condition(job, "Suspended"))
    await ns.until_no_process()
    assert not condition(job, "FailureTarget")
    assert (await ns.get("jobs", "work"))["status"].get("failed", 0) == 0


async def test_a_finished_job_is_deleted_when_its_time_is_over(ns: Namespace) -> None:
    await ns.job("exit 0", ttlSecondsAfterFinished=2)
    await ns.finished()
    [pod] = await ns.pods("job-name=work")
    await ns.until_gone("jobs", "work")
    await ns.until_gone("pods", pod["metadata"]["name"])


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_deleting_a_job_ends_and_removes_its_pods(ns: Namespace, propagation: str) -> None:
    await ns.job("sleep 100")
    pod = await running_pod(ns)
    await ns.delete("jobs", "work", propagationPolicy=propagation)
    await ns.until_gone("jobs", "work")
    await ns.until_gone("pods", pod["metadata"]["name"])
    assert ns.processes() == []


async def test_a_pod_that_asks_for_more_than_any_node_has_says_so(ns: Namespace) -> None:
    pod = await ns.run("exit 0", container={"resources": {"requests": {"cpu": "100000"}}})
    pod = await ns.until("pods", pod["metadata"]["name"], lambda pod: scheduled(pod).get("status") == "False")
    assert scheduled(pod)["reason"] == "Unschedulable"
    assert scheduled(pod)["message"].startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert phase(pod) == "Pending"


async def test_a_pod_goes_only_where_its_selector_fits(ns: Namespace) -> None:
    pod = await ns.run("exit 0", nodeSelector={"disk": "ssd"})
    pod = await ns.until("pods", pod["metadata"]["name"], lambda pod: scheduled(pod).get("status") == "False")
    assert "1 node(s) didn't match Pod's node affinity/selector" in scheduled(pod)["message"]
    node = f"/api/v1/nodes/{ns.cluster.node}"
    await ns.api.patch(node, {"metadata": {"labels": {"disk": "ssd"}}})
    try:
        assert phase(await ns.ended(pod)) == "Succeeded"
    finally:
        await ns.api.patch(node, {"metadata": {"labels": {"disk": None}}})


async def test_the_outcome_does_not_depend_on_how_many_jobs_there_are(ns: Namespace) -> None:
    names = [f"job-{number}" for number in range(30)]
    await asyncio.gather(*(ns.job(f"exit {number % 2}", name) for number, name in enumerate(names)))
    jobs = await asyncio.gather(*(ns.finished(name, limit=40) for name in names))
    assert [bool(condition(job, "Complete")) for job in jobs] == [number % 2 == 0 for number in range(30)]
    assert len(await ns.pods("job-name")) == 30


def scheduled(pod: Obj) -> Obj:
    return next((c for c in pod["status"].get("conditions") or () if c["type"] == "PodScheduled"), {})


async def running_pod(ns: Namespace, but: Obj | None = None) -> Obj:
    """Wait for the Job's pod to run; not the one that is given."""
    async with asyncio.timeout(20):
        while True:
            for pod in await ns.pods("job-name=work"):
                if is_running(pod) and (but is None or pod["metadata"]["uid"] != but["metadata"]["uid"]):
                    return pod
            await asyncio.sleep(0.02)


async def disrupt(ns: Namespace, pod: Obj) -> None:
    """End a pod as an eviction does: marked as a disruption, then deleted."""
    disruption = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "test"}
    conditions = [*pod["status"]["conditions"], disruption | {"lastTransitionTime": pod["metadata"]["creationTimestamp"]}]
    await ns.api.patch(ns.path("pods", pod["metadata"]["name"]) + "/status", {"status": {"conditions": conditions}})
    await ns.delete("pods", pod["metadata"]["name"])
