"""Why a Job has no pod: asked of the Job controller's Events, seldom, and forgotten once there is one."""

import time
from typing import Any

import pytest

from backstay.executors import job
from backstay.executors.job_seen import SeenJob, seen_job
from backstay.runtime import podless
from backstay.runtime.podless import PodlessJobs
from tests.support.operating import eventually
from tests.support.tiny_api import TinyApi, page, status
from tests.unit.executors.shapes import JOB_UID, RUN_UID, disrupted, pod
from tests.unit.executors.shapes import job as job_manifest

PATH = "/apis/events.k8s.io/v1/namespaces/shop/events"
QUOTA = 'Error creating: pods "order-1-charge-x" is forbidden: exceeded quota: small, requested: pods=1'


def event(note: str, at: str = "2026-11-23T10:00:01Z") -> dict[str, Any]:
    return {"reason": "FailedCreate", "type": "Warning", "note": note, "deprecatedLastTimestamp": at}


def old_job(**status_: Any) -> SeenJob:
    """A Job that was noticed long ago."""
    seen = seen_job(job_manifest(**status_))
    object.__setattr__(seen, "noticed_at", time.monotonic() - 3600)
    return seen


class Asking:
    """The Events of a Job and who is woken for it."""

    def __init__(self, api: TinyApi, client: Any) -> None:
        self.api = api
        self.woken: list[str] = []
        self.jobs = PodlessJobs(client, lambda uid: bool(self.woken.append(uid)) or True)

    @property
    def count(self) -> int:
        return len(self.api.asked)

    def words(self) -> str:
        found = self.jobs.why([JOB_UID]).get(JOB_UID)
        return f"{found.type}: {found.detail}" if found else ""


async def test_the_events_of_a_job_without_a_pod_say_why_and_are_read_once() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([event("older", "2026-11-23T10:00:00Z"), event(QUOTA)], 30))
        asking = Asking(api, client)
        for _ in range(5):
            await asking.jobs.look(old_job(), [])
        assert (asking.count, asking.words()) == (1, "Quota: exceeded quota: small, requested: pods=1")
        assert api.asked[0].query["fieldSelector"] == f"regarding.uid={JOB_UID},reason=FailedCreate"


async def test_a_job_is_given_time_and_then_its_run_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "NO_POD_AFTER", job.NO_POD_AFTER / 100)
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([event(QUOTA)], 30))
        asking, seen = Asking(api, client), seen_job(job_manifest())
        await asking.jobs.look(seen, [])
        assert (asking.count, asking.words(), asking.woken) == (0, "", [])
        await eventually(lambda: asking.woken == [RUN_UID])
        await asking.jobs.look(seen, [])
        assert asking.words().startswith("Quota")


async def test_it_is_asked_again_later_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podless, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(podless, "SPACING_SECONDS", 0.0)
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([event(QUOTA)], 30))
        asking = Asking(api, client)
        began = time.monotonic()
        while asking.count < 4:
            await asking.jobs.look(old_job(), [])
            seen = len(asking.woken)
            await eventually(lambda seen=seen: len(asking.woken) > seen)
        assert time.monotonic() - began >= podless.FIRST_PAUSE_SECONDS * (1 + 2 + 4)


async def test_many_jobs_are_not_asked_about_at_once() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([event(QUOTA)], 30))
        asking = Asking(api, client)
        for index in range(50):
            seen = old_job()
            object.__setattr__(seen, "uid", f"job-{index}")
            await asking.jobs.look(seen, [])
        assert asking.count <= 3
        for index in range(50):
            asking.jobs.forget(f"job-{index}")


@pytest.mark.parametrize(
    "answer", [page([], 30), status(403, "Forbidden"), status(503, "ServiceUnavailable")], ids=["none", "no right", "down"]
)
async def test_where_nothing_tells_the_words_say_where_to_look(answer: Any) -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, answer)
        asking = Asking(api, client)
        await asking.jobs.look(old_job(), [])
        assert asking.words().startswith("StartTimeout: the Job has no pod yet")


async def test_what_was_said_before_the_last_pod_was_made_does_not_count_any_more() -> None:
    lost = job.trim_pod(pod("Failed", created="2026-11-23T10:05:00Z", **disrupted("EvictionByEvictionAPI")))
    assert lost is not None
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([event(QUOTA)], 30))
        asking = Asking(api, client)
        await asking.jobs.look(old_job(), [lost])
        assert (asking.count, asking.words()) == (1, "")


async def test_once_there_is_a_pod_all_is_forgotten() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([event(QUOTA)], 30))
        asking = Asking(api, client)
        await asking.jobs.look(old_job(), [])
        await asking.jobs.look(old_job(active=1), [])
        assert (asking.words(), len(asking.jobs)) == ("", 0)
