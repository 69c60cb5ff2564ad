"""Starting and stopping attempts, whatever the API server answers, or does not."""

from typing import Any

import pytest

from backstay import errors
from backstay.engine.model import CreateJob, DeleteJob
from backstay.executors.job import belongs, look, start, stop, trim_job
from backstay.kube.manifests import RunRef
from tests.support.tiny_api import Answer, TinyApi, drop, page, reply, status
from tests.unit.executors.shapes import JOB_UID, RUN_UID, ended, job, pod

RUN = RunRef(uid=RUN_UID, name="order-1", namespace="shop", workflow_name="order")
CREATE = CreateJob("order-1-charge", "charge", 1, {"image": "shop/pay:3"})
JOBS_PATH = "/apis/batch/v1/namespaces/shop/jobs"
JOB_PATH = f"{JOBS_PATH}/order-1-charge"
EXISTS = status(409, "AlreadyExists", 'jobs.batch "order-1-charge" already exists')
NOT_THERE = status(404, "NotFound")


def foreign(**metadata: Any) -> dict[str, Any]:
    manifest = job()
    manifest["metadata"].update(metadata)
    return manifest


async def started(post: Answer, get: Answer = NOT_THERE) -> str:
    """Return the UID of the Job that `start` answers with."""
    async with TinyApi() as api, api.client() as client:
        api.answers("POST", JOBS_PATH, post)
        api.answers("GET", JOB_PATH, get)
        return (await start(client, RUN, CREATE)).uid


async def test_a_job_is_created_and_unknown_fields_in_a_template_are_refused_by_the_server() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("POST", JOBS_PATH, reply(job(), 201))
        seen = await start(client, RUN, CREATE)
        assert (seen.uid, seen.run_uid, seen.resource_version) == (JOB_UID, RUN_UID, 10)
        assert api.asked[0].query["fieldValidation"] == "Strict"
        assert api.asked[0].body["metadata"]["name"] == "order-1-charge"
        assert len(api.asked) == 1


async def test_a_job_that_exists_and_is_ours_is_success() -> None:
    assert await started(EXISTS, reply(job())) == JOB_UID


@pytest.mark.parametrize(
    "in_the_way",
    [
        foreign(labels={}),
        foreign(labels={"backstay.dev/run": "run-2"}),
        foreign(ownerReferences=[{"kind": "CronJob", "name": "x", "uid": "cron-1", "controller": True}]),
    ],
)
async def test_a_job_that_exists_and_is_not_ours_is_told_as_what_stands_in_the_way(in_the_way: dict[str, Any]) -> None:
    with pytest.raises(errors.Invalid, match=r"the Job shop/order-1-charge \(UID job-1.*is not of run order-1 \(run-1\); delete it"):
        await started(EXISTS, reply(in_the_way))


async def test_a_job_that_exists_and_is_gone_again_is_looked_at_anew() -> None:
    with pytest.raises(errors.Conflict, match="deleted just now"):
        await started(EXISTS)


async def test_no_answer_and_the_job_is_there_is_success() -> None:
    assert await started(drop, reply(job())) == JOB_UID


async def test_no_answer_and_no_job_leaves_it_open() -> None:
    with pytest.raises(errors.Unavailable):
        await started(drop)


async def test_a_webhook_that_is_down_leaves_nothing_open() -> None:
    down = status(500, "InternalError", 'Internal error occurred: failed calling webhook "x": connection refused')
    async with TinyApi() as api, api.client() as client:
        api.answers("POST", JOBS_PATH, down)
        with pytest.raises(errors.Unavailable, match="failed calling webhook"):
            await start(client, RUN, CREATE)
        assert [asked.method for asked in api.asked] == ["POST"]


async def test_no_answer_twice_leaves_it_open() -> None:
    with pytest.raises(errors.Unavailable):
        await started(status(500, "InternalError"), status(503, "ServiceUnavailable"))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (status(403, "Forbidden", "exceeded quota: small"), errors.Forbidden),
        (status(422, "Invalid", 'Job "x" is invalid'), errors.Invalid),
        (status(403, "Forbidden", 'admission webhook "x" denied the request: no'), errors.Denied),
        (status(400, "BadRequest", 'strict decoding error: unknown field "spec.template.spec.nodeSelecter"'), errors.Invalid),
        (status(429, "TooManyRequests"), errors.TooManyRequests),
        (status(404, "NotFound", 'namespaces "shop" not found'), errors.NotFound),
    ],
)
async def test_a_refusal_is_handed_on_as_it_is(answer: Answer, expected: type[errors.ApiError]) -> None:
    with pytest.raises(expected):
        await started(answer)


async def test_a_template_that_is_none_is_refused_without_asking_the_server() -> None:
    async with TinyApi() as api, api.client() as client:
        with pytest.raises(errors.Invalid, match=r"job\.template\.spec: is str; write an object"):
            await start(client, RUN, CreateJob("n", "charge", 1, {"image": "i", "template": {"spec": "x"}}))
        assert api.asked == []


@pytest.mark.parametrize("answer", [reply({"kind": "Status"}), status(404, "NotFound"), status(409, "Conflict", "the UID does not match")])
async def test_a_job_that_is_deleted_gone_or_another_has_been_stopped(answer: Answer) -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("DELETE", JOB_PATH, answer)
        await stop(client, "shop", DeleteJob("order-1-charge", JOB_UID))
        assert api.asked[0].body["preconditions"] == {"uid": JOB_UID}
        assert api.asked[0].body["propagationPolicy"] == "Foreground"


async def test_a_stop_that_failed_says_so() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("DELETE", JOB_PATH, status(500, "InternalError"))
        with pytest.raises(errors.Unavailable):
            await stop(client, "shop", DeleteJob("order-1-charge", JOB_UID))


async def test_a_look_at_the_server_finds_the_pods_of_a_job() -> None:
    seen = trim_job(job(condition="Complete"))
    assert seen is not None
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", "/api/v1/namespaces/shop/pods", page([pod("Succeeded", ended(0, "{}"))], 30))
        assert [found.output for found in await look(client, seen)] == ["{}"]
        assert api.asked[0].query["labelSelector"] == "batch.kubernetes.io/job-name=order-1-charge"


def test_a_job_belongs_by_its_label_and_its_controller() -> None:
    assert belongs(job(), RUN_UID)
    assert not belongs(job(), "run-2")
    assert belongs(foreign(ownerReferences=[]), RUN_UID)
    assert belongs(foreign(ownerReferences=[{"kind": "Run", "uid": "someone", "controller": False}]), RUN_UID)
    assert not belongs(foreign(ownerReferences=[{"kind": "Run", "uid": "someone", "controller": True}]), RUN_UID)
    assert not belongs(foreign(labels=None), RUN_UID)
