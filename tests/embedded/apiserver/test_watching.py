"""Watches: where they begin, what they show, and how they end."""

import time
from pathlib import Path
from typing import Any

from backstay.local.apiserver.creating import create_object
from tests.embedded.apiserver.harness import TABLE, Api, running
from tests.embedded.apiserver.paths import CORE, WIDGETS
from tests.embedded.apiserver.widgets import CRDS_PATH, definition, widget


async def version(api: Api) -> str:
    return str((await api.get(WIDGETS))["metadata"]["resourceVersion"])


async def test_a_watch_without_a_version_begins_with_what_is_there(api: Api) -> None:
    await api.create(WIDGETS, widget("a"))
    async with api.watch(WIDGETS) as stream:
        assert await stream.next_named() == ("ADDED", "a")
        await api.create(WIDGETS, widget("b"))
        await api.merge(f"{WIDGETS}/a", {"spec": {"size": 2}})
        await api.delete(f"{WIDGETS}/b")
        assert await stream.take(3) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_a_watch_resumes_after_the_version_it_is_given(api: Api) -> None:
    made = await api.create(WIDGETS, widget("a"))
    await api.create(WIDGETS, widget("b"))
    async with api.watch(WIDGETS, resourceVersion=made["metadata"]["resourceVersion"]) as stream:
        assert await stream.next_named() == ("ADDED", "b")


async def test_a_deleted_object_is_shown_as_it_was_last_with_the_version_of_its_deletion(api: Api) -> None:
    made = await api.create(WIDGETS, widget("a", spec={"size": 7}))
    async with api.watch(WIDGETS, resourceVersion=made["metadata"]["resourceVersion"]) as stream:
        await api.delete(f"{WIDGETS}/a")
        event = await stream.next()
        assert event["object"]["spec"]["size"] == 7
        assert int(event["object"]["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_a_version_that_was_compacted_ends_the_watch_with_410(api: Api) -> None:
    made = await api.create(WIDGETS, widget("a"))
    await api.merge(f"{WIDGETS}/a", {"spec": {"size": 2}})
    api.server.cluster.store.compact(api.server.cluster.store.version)
    async with api.watch(WIDGETS, resourceVersion=int(made["metadata"]["resourceVersion"]) - 1) as stream:
        (event,) = await stream.rest()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert event["object"]["message"].startswith("too old resource version")


async def test_a_slow_watch_that_falls_behind_the_log_is_told_so(api: Api) -> None:
    cluster = api.server.cluster
    resource = cluster.registry.find("example.com", "v1", "widgets")
    assert resource is not None
    async with api.watch(WIDGETS) as stream:
        await api.create(WIDGETS, widget("a"))
        assert await stream.next_named() == ("ADDED", "a")
        for name in ("b", "c"):  # in one turn of the event loop, so that the watch cannot follow
            create_object(cluster, resource, widget(name, metadata={"namespace": "default"}), dry_run=False)
        cluster.store.compact(cluster.store.version)
        (event,) = await stream.rest()
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_initial_events_end_with_a_bookmark(api: Api) -> None:
    await api.create(WIDGETS, widget("a"))
    await api.create(WIDGETS, widget("b"))
    options: dict[str, Any] = {"sendInitialEvents": True, "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": True}
    async with api.watch(WIDGETS, **options) as stream:
        assert await stream.take(2) == [("ADDED", "a"), ("ADDED", "b")]
        bookmark = await stream.next()
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert bookmark["object"]["metadata"]["resourceVersion"] == await version(api)
        await api.create(WIDGETS, widget("c"))
        assert await stream.next_named() == ("ADDED", "c")


async def test_bookmarks_tell_how_far_a_quiet_watch_has_come(tmp_path: Path) -> None:
    async with running(tmp_path, bookmark_seconds=0.05) as api:
        await api.create(CRDS_PATH, definition())
        async with api.watch(WIDGETS, allowWatchBookmarks=True) as stream:
            made = await api.create(f"{CORE}/configmaps", {"metadata": {"name": "elsewhere"}})
            bookmark = await stream.next()
            while int(bookmark["object"]["metadata"]["resourceVersion"]) < int(made["metadata"]["resourceVersion"]):
                bookmark = await stream.next()
            assert (bookmark["type"], bookmark["object"]["kind"]) == ("BOOKMARK", "Widget")


async def test_without_asking_there_are_no_bookmarks(tmp_path: Path) -> None:
    async with running(tmp_path, bookmark_seconds=0.01) as api:
        await api.create(CRDS_PATH, definition())
        async with api.watch(WIDGETS, timeoutSeconds=1) as stream:
            await api.create(f"{CORE}/configmaps", {"metadata": {"name": "elsewhere"}})
            assert await stream.rest() == []


async def test_a_watch_ends_after_its_timeout(api: Api) -> None:
    started = time.monotonic()
    async with api.watch(WIDGETS, timeoutSeconds=1) as stream:
        assert await stream.rest() == []
    assert 0.9 < time.monotonic() - started < 10


async def test_objects_that_come_to_match_are_added_and_those_that_cease_are_deleted(api: Api) -> None:
    await api.create(WIDGETS, widget("a", metadata={"labels": {"on": "no"}}))
    async with api.watch(WIDGETS, labelSelector="on=yes", resourceVersion=await version(api)) as stream:
        for on in ("yes", "yes", "no"):
            await api.merge(f"{WIDGETS}/a", {"metadata": {"labels": {"on": on}}, "spec": {"size": 1 if on == "no" else 2}})
        await api.merge(f"{WIDGETS}/a", {"spec": {"size": 5}})
        await api.create(WIDGETS, widget("b", metadata={"labels": {"on": "yes"}}))
        added, deleted = await stream.next(), await stream.next()
        assert (added["type"], added["object"]["metadata"]["labels"]["on"]) == ("ADDED", "yes")
        assert (deleted["type"], deleted["object"]["metadata"]["labels"]["on"]) == ("DELETED", "yes")
        assert await stream.next_named() == ("ADDED", "b")


async def test_the_same_holds_for_fields(api: Api) -> None:
    await api.create(WIDGETS, widget("a"))
    async with api.watch(WIDGETS, fieldSelector="spec.color=red", resourceVersion=await version(api)) as stream:
        await api.merge(f"{WIDGETS}/a", {"spec": {"color": "red"}})
        await api.delete(f"{WIDGETS}/a")
        assert await stream.take(2) == [("ADDED", "a"), ("DELETED", "a")]


async def test_one_object_is_watched_by_its_name(api: Api) -> None:
    await api.create(WIDGETS, widget("a"))
    await api.create(WIDGETS, widget("b"))
    async with api.watch(WIDGETS, fieldSelector="metadata.name=b") as stream:
        assert await stream.next_named() == ("ADDED", "b")
        await api.merge(f"{WIDGETS}/a", {"spec": {"size": 2}})
        await api.merge(f"{WIDGETS}/b", {"spec": {"size": 2}})
        assert await stream.next_named() == ("MODIFIED", "b")


async def test_a_namespace_is_watched_alone(api: Api) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": "other"}})
    async with api.watch(WIDGETS) as stream:
        await api.create(WIDGETS.replace("default", "other"), widget("there"))
        await api.create(WIDGETS, widget("here"))
        assert await stream.next_named() == ("ADDED", "here")


async def test_a_watch_for_tables_shows_headers_once(api: Api) -> None:
    await api.create(WIDGETS, widget("a", spec={"color": "red"}))
    async with api.watch(WIDGETS, accept=TABLE) as stream:
        first = (await stream.next())["object"]
        await api.merge(f"{WIDGETS}/a", {"spec": {"size": 3}})
        second = (await stream.next())["object"]
    assert [column["name"] for column in first["columnDefinitions"]][:3] == ["Name", "Color", "Size"]
    assert second["columnDefinitions"] is None
    assert second["rows"][0]["cells"][:3] == ["a", "red", 3]


async def test_many_changes_are_shown_in_order_and_completely(api: Api) -> None:
    async with api.watch(WIDGETS) as stream:
        for number in range(450):
            await api.create(WIDGETS, widget(f"w{number}"))
        assert await stream.take(450) == [("ADDED", f"w{number}") for number in range(450)]


async def test_the_watches_of_a_definition_end_with_it(api: Api) -> None:
    async with api.watch(WIDGETS) as stream:
        await api.delete(f"{CRDS_PATH}/widgets.example.com")
        assert await stream.rest() == []


async def test_stopping_the_server_ends_its_watches_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as api, api.watch(f"{CORE}/pods") as stream:
        started = time.monotonic()
        await api.server.stop()
        assert await stream.rest() == []
        assert time.monotonic() - started < 3
