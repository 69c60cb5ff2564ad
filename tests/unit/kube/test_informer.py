"""The informer's picture is right whatever the server and the network do to its watch."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from backstay.kube.client import Client
from backstay.kube.informer import Informer
from backstay.kube.resources import PODS
from tests.support.tiny_api import Answer, TinyApi, drop, hang, page, status, status_object, stream

PATH = "/api/v1/pods"


@dataclass(frozen=True, slots=True)
class Pod:
    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    run_uid: str
    phase: str


def manifest(name: str, version: int, *, uid: str = "", run: str = "r1", phase: str = "Pending") -> dict[str, Any]:
    labels = {"backstay.dev/run": run}
    metadata = {"namespace": "shop", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, "status": {"phase": phase}}


def bookmark(version: int) -> tuple[str, dict[str, Any]]:
    return "BOOKMARK", {"metadata": {"resourceVersion": str(version)}}


def trim(found: dict[str, Any]) -> Pod | None:
    metadata = found["metadata"]
    pod = Pod(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        int(metadata["resourceVersion"]),
        metadata["labels"]["backstay.dev/run"],
        found["status"]["phase"],
    )
    return None if pod.phase == "Boring" else pod


class Heard:
    """What the informer told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, str]] = []
        self.informer: Informer[Pod]

    def on_change(self, event: str, new: Pod, old: Pod | None) -> None:
        self.changes.append((event, new.name, new.phase))

    async def wait(self, condition: Callable[[], bool], limit_seconds: float = 5.0) -> None:
        async with asyncio.timeout(limit_seconds):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def informed(client: Client, **options: Any) -> AsyncIterator[Heard]:
    heard = Heard()
    heard.informer = Informer(
        client, PODS, label_selector="backstay.dev/run", trim=trim, on_change=options.pop("on_change", heard.on_change), **options
    )
    task = asyncio.create_task(heard.informer.run())
    try:
        yield heard
    finally:
        assert not task.done(), "the informer must not end by itself"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_lists_then_watches_from_there_and_is_synced_after_the_list() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([manifest("a", 3), manifest("b", 5)], 9))
        api.answers("WATCH", PATH, stream(("ADDED", manifest("c", 11)), ("MODIFIED", manifest("a", 12, phase="Running")), then="stall"))
        async with informed(client) as heard:
            await asyncio.wait_for(heard.informer.synced.wait(), 5)
            await heard.wait(lambda: len(heard.changes) == 4)
            assert [event for event, _, _ in heard.changes] == ["ADDED", "ADDED", "ADDED", "MODIFIED"]
            assert len(heard.informer) == 3
            assert {pod.name for pod in heard.informer.of("r1")} == {"a", "b", "c"}
            assert heard.informer.silence_seconds < 5
        watch = api.asked_for("WATCH")[0]
        assert (watch.query["resourceVersion"], watch.query["labelSelector"]) == ("9", "backstay.dev/run")


async def test_a_large_collection_comes_in_pages() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([manifest("a", 3)], 9, more="next"), page([manifest("b", 4)], 9))
        api.answers("WATCH", PATH, hang)
        async with informed(client) as heard:
            await asyncio.wait_for(heard.informer.synced.wait(), 5)
            assert [pod.name for pod in heard.informer.objects()] == ["a", "b"]
        assert api.asked_for("GET")[1].query["continue"] == "next"


@pytest.mark.parametrize("then", ["end", "break"])
async def test_a_watch_that_ends_or_breaks_goes_on_from_the_last_version_heard_of(then: str) -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([], 9))
        api.answers("WATCH", PATH, stream(("ADDED", manifest("a", 11)), bookmark(20), then=then), hang)
        async with informed(client):
            asked = await api.wait_asked("WATCH", 2)
            assert [watch.query["resourceVersion"] for watch in asked] == ["9", "20"]
        assert len(api.asked_for("GET")) == 1


async def test_a_repeated_and_a_late_event_are_no_news() -> None:
    events = [
        ("ADDED", manifest("a", 11)),
        ("MODIFIED", manifest("a", 13, phase="Running")),
        ("MODIFIED", manifest("a", 12, phase="Pending")),
        ("ADDED", manifest("a", 11)),
        ("MODIFIED", manifest("a", 13, phase="Running")),
        ("DELETED", manifest("a", 15, phase="Succeeded")),
        ("MODIFIED", manifest("a", 14, phase="Running")),
        ("ADDED", manifest("z", 16)),
    ]
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([], 9))
        api.answers("WATCH", PATH, stream(*events, then="stall"))
        async with informed(client) as heard:
            await heard.wait(lambda: heard.informer.get("shop", "z") is not None)
            assert heard.changes == [
                ("ADDED", "a", "Pending"),
                ("MODIFIED", "a", "Running"),
                ("DELETED", "a", "Succeeded"),
                ("ADDED", "z", "Pending"),
            ]


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_version_that_is_too_old_means_a_new_list_and_deletions_that_nobody_saw(at_once: bool) -> None:
    gone = status(410, "Expired") if at_once else stream(("ERROR", status_object(410, "Expired")))
    async with TinyApi() as api, api.client() as client:
        api.answers(
            "GET", PATH, page([manifest("a", 3), manifest("b", 4)], 9), page([manifest("b", 14, phase="Running"), manifest("c", 15)], 20)
        )
        api.answers("WATCH", PATH, gone, hang)
        async with informed(client) as heard:
            await api.wait_asked("WATCH", 2)
            assert heard.changes[2:] == [("MODIFIED", "b", "Running"), ("ADDED", "c", "Pending"), ("DELETED", "a", "Pending")]
            assert heard.informer.lists == 2
        assert api.asked_for("WATCH")[1].query["resourceVersion"] == "20"


async def test_what_was_just_created_is_known_at_once_and_the_watch_does_not_tell_it_again() -> None:
    release = asyncio.Event()

    async def watch(request: Any) -> Any:
        await release.wait()
        return await stream(("ADDED", manifest("mine", 11)), ("ADDED", manifest("end", 12)), then="stall")(request)

    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([], 9))
        api.answers("WATCH", PATH, watch)
        async with informed(client) as heard:
            await api.wait_asked("WATCH", 1)
            heard.informer.remember(Pod("shop", "mine", "uid-mine", 11, "r1", "Pending"))
            assert [pod.name for pod in heard.informer.of("r1")] == ["mine"]
            release.set()
            await heard.wait(lambda: bool(heard.changes))
            assert heard.changes == [("ADDED", "end", "Pending")]


@pytest.mark.parametrize(("list_version", "stays"), [(10, True), (12, False)])
async def test_a_list_that_is_older_than_what_was_just_created_does_not_undo_it(list_version: int, stays: bool) -> None:
    release = asyncio.Event()

    async def relist(request: Any) -> Any:
        await release.wait()
        return await page([], list_version)(request)

    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([], 9), relist)
        api.answers("WATCH", PATH, status(410, "Expired"), hang)
        async with informed(client) as heard:
            await api.wait_asked("GET", 2)
            heard.informer.remember(Pod("shop", "mine", "uid-mine", 11, "r1", "Pending"))
            release.set()
            await heard.wait(lambda: heard.informer.lists == 2)
            assert (heard.informer.get("shop", "mine") is not None) == stays
            assert heard.changes == ([] if stays else [("DELETED", "mine", "Pending")])


async def test_a_watch_that_falls_silent_is_begun_again_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backstay.kube.client.WATCH_SLACK_SECONDS", 0.1)
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([], 9))
        api.answers("WATCH", PATH, stream(("ADDED", manifest("a", 11)), then="stall"), stream(("ADDED", manifest("b", 12)), then="stall"))
        started = time.monotonic()
        async with informed(client, watch_seconds=1) as heard:
            await heard.wait(lambda: len(heard.changes) == 2)
        assert time.monotonic() - started < 4
        assert api.asked_for("WATCH")[1].query["resourceVersion"] == "11"


async def test_it_lives_through_every_fault_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    faults = [status(500, "InternalError"), drop, status(503, "ServiceUnavailable"), status(403, "Forbidden"), status(403, "Forbidden")]
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, *faults, page([manifest("a", 3)], 9))
        api.answers("WATCH", PATH, drop, status(500, "InternalError"), stream(("ADDED", manifest("b", 11)), then="stall"))
        async with informed(client) as heard:
            await heard.wait(lambda: len(heard.changes) == 2, 10)
            assert heard.informer.failures >= 5  # the HTTP library repeats a GET whose connection was closed while idle, unseen
        assert {watch.query["resourceVersion"] for watch in api.asked_for("WATCH")} == {"9"}  # a fault is no reason to list again
    assert caplog.text.count("403 Forbidden") == 1


async def test_too_many_requests_waits_as_long_as_the_server_asks() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, status(429, "TooManyRequests", headers={"Retry-After": "1"}), page([], 9))
        api.answers("WATCH", PATH, hang)
        started = time.monotonic()
        async with informed(client):
            await api.wait_asked("WATCH", 1)
        assert time.monotonic() - started >= 1


async def test_watches_that_end_at_once_are_not_a_hot_loop() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([], 9))
        api.answers("WATCH", PATH, stream())
        async with informed(client):
            started = time.monotonic()
            await api.wait_asked("WATCH", 5)
            assert time.monotonic() - started > 0.5  # a hot loop does five in a few milliseconds


async def test_a_version_that_the_server_does_not_have_yet_means_a_new_list() -> None:
    too_large = status(504, "Timeout", "Too large resource version: 99", causes=[{"reason": "ResourceVersionTooLarge"}])
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([], 99), page([manifest("a", 3)], 9))
        api.answers("WATCH", PATH, too_large, hang)
        async with informed(client) as heard:
            await heard.wait(lambda: heard.changes == [("ADDED", "a", "Pending")])


@pytest.mark.parametrize("sign", [status(410, "Expired"), stream(bookmark(8), then="stall")])
async def test_history_that_was_turned_back_is_read_anew(sign: Answer, caplog: pytest.LogCaptureFixture) -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([manifest("a", 80, phase="Running"), manifest("b", 81)], 99), page([manifest("a", 7)], 9))
        api.answers("WATCH", PATH, sign, stream(("MODIFIED", manifest("a", 10, phase="Failed")), then="stall"))
        async with informed(client) as heard:
            await heard.wait(lambda: len(heard.changes) == 5)
            assert heard.changes[2:] == [("MODIFIED", "a", "Pending"), ("DELETED", "b", "Pending"), ("MODIFIED", "a", "Failed")]
    assert "its history was turned back" in caplog.text


async def test_an_object_that_cannot_be_understood_is_left_out_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    odd = manifest("odd", 4)
    del odd["status"]
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([odd, manifest("a", 3)], 9))
        api.answers("WATCH", PATH, stream(("MODIFIED", {**odd}), ("DELETED", {**odd}), ("ADDED", manifest("b", 11)), then="stall"))
        async with informed(client) as heard:
            await heard.wait(lambda: len(heard.changes) == 2)
            assert [name for _, name, _ in heard.changes] == ["a", "b"]
    assert "Pod odd is not as expected" in caplog.text


async def test_an_object_of_no_interest_any_more_counts_as_deleted() -> None:
    events = [
        ("MODIFIED", manifest("a", 11, phase="Boring")),
        ("MODIFIED", manifest("a", 12, phase="Running")),
        ("ADDED", manifest("z", 13)),
    ]
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([manifest("a", 3)], 9))
        api.answers("WATCH", PATH, stream(*events, then="stall"))
        async with informed(client) as heard:
            await heard.wait(lambda: heard.informer.get("shop", "z") is not None)
            assert [change[:2] for change in heard.changes] == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("ADDED", "z")]


async def test_a_fault_in_what_listens_does_not_end_the_watching(caplog: pytest.LogCaptureFixture) -> None:
    def listen(event: str, new: Pod, old: Pod | None) -> None:
        raise ZeroDivisionError

    caplog.set_level(logging.ERROR)
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PATH, page([manifest("a", 3)], 9))
        api.answers("WATCH", PATH, stream(("ADDED", manifest("b", 11)), then="stall"))
        async with informed(client, on_change=listen) as heard:
            await heard.wait(lambda: len(heard.informer) == 2)
    assert caplog.text.count("ZeroDivisionError") >= 2


async def test_a_server_that_restarts_is_found_again_within_seconds() -> None:
    async with TinyApi() as api:
        port = api.port
        client = api.client()
        await client.__aenter__()
        api.answers("GET", PATH, page([], 9))
        api.answers("WATCH", PATH, stream(("ADDED", manifest("a", 11)), then="stall"))
        heard = Heard()
        heard.informer = Informer(client, PODS, trim=trim, on_change=heard.on_change)
        task = asyncio.create_task(heard.informer.run())
        await heard.wait(lambda: len(heard.changes) == 1)
    try:
        await heard.wait(lambda: heard.informer.failures >= 3)
        async with TinyApi(port=port) as api:
            api.answers("WATCH", PATH, stream(("ADDED", manifest("b", 12)), then="stall"))
            await heard.wait(lambda: len(heard.changes) == 2, 8)
            assert api.asked[0].query["resourceVersion"] == "11"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.__aexit__(None, None, None)
