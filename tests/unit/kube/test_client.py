"""The client against a server that misbehaves in every way that API servers and networks do."""

import asyncio
import logging
import time
from email.utils import formatdate

import pytest

from backstay import errors
from backstay.kube.client import Client
from backstay.kube.login import Access, LoginFailed
from backstay.kube.resources import EVENTS, JOBS, NAMESPACES, PODS, RUNS
from tests.support.tiny_api import TOKEN, TinyApi, drop, half, hang, page, reply, status, status_object, stream

POD = {"metadata": {"name": "a", "namespace": "shop", "resourceVersion": "5"}}
POD_PATH = "/api/v1/namespaces/shop/pods/a"
PODS_PATH = "/api/v1/namespaces/shop/pods"
RUN_PATH = "/apis/backstay.dev/v1alpha1/namespaces/shop/workflowruns/order-1"


def access(api: TinyApi, token: str, fresh_seconds: float | None = None) -> Access:
    return Access(server=api.url, headers=(("Authorization", f"Bearer {token}"),), fresh_seconds=fresh_seconds)


# ------------------------------------------------------------------------------------------------------------------- verbs


async def test_get_reads_one_object() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", POD_PATH, reply(POD))
        assert await client.get(PODS, "shop", "a") == POD
        assert api.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"
        assert api.asked[0].headers["User-Agent"].startswith("backstay/")


async def test_objects_without_a_namespace_have_paths_without_one() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", "/api/v1/namespaces/shop", reply({"metadata": {"name": "shop"}}))
        assert (await client.get(NAMESPACES, None, "shop"))["metadata"]["name"] == "shop"


async def test_create_names_the_field_manager_and_can_have_unknown_fields_refused() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("POST", "/apis/batch/v1/namespaces/shop/jobs", reply({"kind": "Job"}, 201))
        await client.create(JOBS, "shop", {"spec": {}}, strict=True)
        await client.create(JOBS, "shop", {"spec": {}})
        await client.create(JOBS, "shop", {"spec": {}}, dry_run=True)
        assert [asked.query for asked in api.asked] == [
            {"fieldManager": "backstay", "fieldValidation": "Strict"},
            {"fieldManager": "backstay"},
            {"fieldManager": "backstay", "dryRun": "All"},
        ]
        assert api.asked[0].body == {"spec": {}}


@pytest.mark.parametrize("ahead", [300, -300, 0])
async def test_how_far_this_clock_is_from_the_servers_is_known_from_its_answers(ahead: int) -> None:
    async with TinyApi() as api, api.client() as client:
        assert client.clock_skew_seconds is None
        told = formatdate(time.time() - ahead, usegmt=True)
        api.answers("GET", POD_PATH, reply(POD, headers={"Date": told}))
        await client.get(PODS, "shop", "a")
        assert client.clock_skew_seconds == pytest.approx(ahead, abs=1.5)


async def test_a_server_that_does_not_tell_the_time_is_no_trouble() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", POD_PATH, reply(POD, headers={"Date": "tomorrow"}))
        assert await client.get(PODS, "shop", "a") == POD
        assert client.clock_skew_seconds is None


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [("merge", "application/merge-patch+json"), ("json", "application/json-patch+json"), ("apply", "application/apply-patch+yaml")],
)
async def test_each_kind_of_patch_has_its_content_type(kind: str, content_type: str) -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("PATCH", f"{RUN_PATH}/status", reply({}))
        await client.patch(RUNS, "shop", "order-1", {"status": {}}, subresource="status", kind=kind, force=kind == "apply")  # type: ignore[arg-type]
        assert api.asked[0].headers["Content-Type"] == content_type
        assert ("force" in api.asked[0].query) == (kind == "apply")


async def test_delete_can_be_of_one_very_object_and_wait_for_its_children() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("DELETE", POD_PATH, reply({"kind": "Status"}))
        await client.delete(PODS, "shop", "a", uid="u-1", propagation="Foreground", grace_period_seconds=0)
        expected = {"preconditions": {"uid": "u-1"}, "propagationPolicy": "Foreground", "gracePeriodSeconds": 0}
        assert expected.items() <= api.asked[0].body.items()


async def test_list_pages_through_a_long_collection() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", PODS_PATH, page([{"n": 1}, {"n": 2}], 7, more="token/="), page([{"n": 3}], 7))
        found = await client.list(PODS, "shop", label_selector="a=b,c", limit=2)
        assert ([item["n"] for item in found.items], found.resource_version) == ([1, 2, 3], "7")
        assert api.asked[0].query == {"labelSelector": "a=b,c", "limit": "2"}
        assert api.asked[1].query == {"labelSelector": "a=b,c", "limit": "2", "continue": "token/="}


async def test_text_and_lines_read_logs() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", f"{POD_PATH}/log", reply("one\ntwo\nthree"))
        assert await client.text(f"{POD_PATH}/log", {"container": "main"}) == "one\ntwo\nthree"
        assert [line async for line in client.lines(f"{POD_PATH}/log")] == ["one", "two", "three"]
        assert api.asked[0].query == {"container": "main"}


@pytest.mark.parametrize("name", ["", ".", "..", "../secrets/x", "a/b", "a?x=1", "a#b", "a b", "%2e%2e"])
async def test_a_name_never_becomes_the_path_of_another_object(name: str) -> None:
    async with TinyApi() as api, api.client() as client:
        with pytest.raises(errors.Invalid, match="is no name of a WorkflowRun"):
            await client.get(RUNS, "shop", name)
        with pytest.raises(errors.Invalid, match="is no name of a namespace"):
            await client.list(RUNS, name)
        assert api.asked == []


async def test_an_object_of_a_namespace_cannot_be_asked_for_without_it() -> None:
    async with TinyApi() as api, api.client() as client:
        with pytest.raises(errors.Invalid, match="needs a namespace"):
            await client.get(EVENTS, None, "a")


# ----------------------------------------------------------------------------------------------------------- as somebody else


async def test_what_is_asked_for_a_service_account_is_asked_as_that_account_and_nothing_else_is() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", POD_PATH, reply(POD))
        api.answers("WATCH", PODS_PATH, stream())
        shop = client.impersonating("shop", "packer")
        await shop.get(PODS, "shop", "a")
        await client.get(PODS, "shop", "a")
        async for _ in shop.watch(PODS, "shop", resource_version="5", timeout_seconds=1):
            pass
        assert [asked.headers.get("Impersonate-User") for asked in api.asked] == [
            "system:serviceaccount:shop:packer",
            None,
            "system:serviceaccount:shop:packer",
        ]
        assert {asked.headers["Authorization"] for asked in api.asked} == {f"Bearer {TOKEN}"}
        assert not any(name.startswith("Impersonate-Group") for asked in api.asked for name in asked.headers)


@pytest.mark.parametrize("name", ["a:b", "../x", "", "a b", "a\nImpersonate-Group: system:masters"])
async def test_a_name_that_no_service_account_can_have_is_never_sent(name: str) -> None:
    async with TinyApi() as api, api.client() as client:
        with pytest.raises(errors.Invalid, match="no name of a"):
            client.impersonating("shop", name)
        assert api.asked == []


async def test_an_operator_that_acts_as_somebody_itself_acts_as_nobody_else() -> None:
    async with TinyApi() as api:
        login = Access(server=api.url, headers=(("Authorization", f"Bearer {TOKEN}"), ("Impersonate-User", "ada")))
        async with Client(login) as client:
            with pytest.raises(errors.Forbidden, match="acts as ada already; give the operator a login of its own"):
                await client.impersonating("shop", "packer").get(PODS, "shop", "a")
        assert api.asked == []


# ------------------------------------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (404, "NotFound", errors.NotFound),
        (409, "Conflict", errors.Conflict),
        (422, "Invalid", errors.Invalid),
        (500, "InternalError", errors.Unavailable),
    ],
)
async def test_a_refusal_is_an_error_with_the_servers_words(code: int, reason: str, expected: type[errors.ApiError]) -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("PATCH", POD_PATH, status(code, reason, "pods are tired"))
        with pytest.raises(expected, match="pods are tired"):
            await client.patch(PODS, "shop", "a", {})


async def test_429_is_not_repeated_but_says_when_to_come_back() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", POD_PATH, status(429, "TooManyRequests", headers={"Retry-After": "12"}))
        with pytest.raises(errors.TooManyRequests) as caught:
            await client.get(PODS, "shop", "a")
        assert caught.value.retry_after_seconds == 12
        assert len(api.asked) == 1


async def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    async with TinyApi() as api, api.client(timeout_seconds=0.2) as client:
        api.answers("PATCH", POD_PATH, hang)
        started = time.monotonic()
        with pytest.raises(errors.Unavailable, match=r"PATCH .*/pods/a: no whole answer came within 0.2 s"):
            await client.patch(PODS, "shop", "a", {})
        assert time.monotonic() - started < 3


async def test_a_dropped_write_is_unavailable_and_not_repeated_because_it_may_have_happened() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", POD_PATH, reply(POD))
        await client.get(PODS, "shop", "a")  # so that the connection is an old one, which the library likes to try again
        api.answers("PATCH", POD_PATH, drop)
        with pytest.raises(errors.Unavailable) as caught:
            await client.patch(PODS, "shop", "a", {})
        assert caught.value.status == 0
        assert len(api.asked_for("PATCH")) == 1


async def test_half_an_answer_is_no_answer() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("PATCH", POD_PATH, half(b'{"metadata": {}', of=500))
        with pytest.raises(errors.Unavailable):
            await client.patch(PODS, "shop", "a", {})


async def test_a_page_of_a_proxy_instead_of_json_is_unavailable() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", POD_PATH, reply("<html>sign in</html>"))
        with pytest.raises(errors.Unavailable, match="the answer is no JSON"):
            await client.get(PODS, "shop", "a")


async def test_a_redirect_is_not_followed_because_the_token_would_go_with_it() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", POD_PATH, reply("", 302, {"Location": f"{api.url}/elsewhere"}))
        with pytest.raises(errors.ApiError, match="302"):
            await client.get(PODS, "shop", "a")
        assert len(api.asked) == 1


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with TinyApi() as api:
        client = api.client()
    async with client:
        with pytest.raises(
            errors.Unavailable, match=r"GET /api/v1/namespaces/shop/pods/a: cannot connect to 127\.0\.0\.1:\d+: .*[Cc]onnect"
        ):
            await client.get(PODS, "shop", "a")


async def test_a_cancelled_request_stays_cancelled_and_the_client_goes_on() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", POD_PATH, hang, reply(POD))
        task = asyncio.create_task(client.get(PODS, "shop", "a"))
        await api.wait_asked("GET", 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await client.get(PODS, "shop", "a") == POD


async def test_a_client_that_was_not_opened_says_so() -> None:
    with pytest.raises(RuntimeError, match="async with client"):
        await Client(Access(server="http://127.0.0.1:1")).get(PODS, "shop", "a")


async def test_every_request_is_counted_whatever_became_of_it() -> None:
    async with TinyApi() as api, api.client() as client:
        counted: list[tuple[str, str, int]] = []
        client.calls = lambda verb, resource, code, seconds: counted.append((verb, resource, code)) if seconds > 0 else None
        api.answers("GET", POD_PATH, reply(POD), status(404, "NotFound"), drop)
        for _ in range(3):
            try:
                await client.get(PODS, "shop", "a")
            except errors.ApiError:
                continue
        api.answers("WATCH", PODS_PATH, stream(("ADDED", POD)))
        assert len([event async for event in client.watch(PODS, "shop", resource_version="1", timeout_seconds=1)]) == 1
        assert counted == [("get", "pods", 200), ("get", "pods", 404), ("get", "pods", 0), ("watch", "pods", 200)]


# ------------------------------------------------------------------------------------------------------------------- watch


async def watched(client: Client, seconds: int = 1) -> list[tuple[str, str]]:
    events = client.watch(PODS, "shop", resource_version="4", timeout_seconds=seconds, label_selector="a=b")
    return [(kind, manifest["metadata"]["resourceVersion"]) async for kind, manifest in events]


async def test_a_watch_yields_events_and_bookmarks_until_the_server_ends_it() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("WATCH", PODS_PATH, stream(("ADDED", POD), ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})))
        assert await watched(client) == [("ADDED", "5"), ("BOOKMARK", "9")]
        expected = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "4", "timeoutSeconds": "1", "labelSelector": "a=b"}
        assert api.asked[0].query == expected


async def test_an_object_larger_than_any_buffer_comes_whole() -> None:
    large = {"metadata": {**POD["metadata"], "annotations": {"x": "y" * 1_500_000}}}
    async with TinyApi() as api, api.client() as client:
        api.answers("WATCH", PODS_PATH, stream(("ADDED", large), ("MODIFIED", POD)))
        events = client.watch(PODS, "shop", resource_version="4", timeout_seconds=1)
        sizes = [len(str(manifest)) async for _, manifest in events]
        assert sizes[0] > 1_500_000
        assert len(sizes) == 2


async def test_a_version_that_is_too_old_is_gone_whether_said_at_once_or_in_the_stream() -> None:
    async with TinyApi() as api, api.client() as client:
        gone = status_object(410, "Expired", "too old resource version: 4 (77)")
        api.answers("WATCH", PODS_PATH, status(410, "Expired"), stream(("ADDED", POD), ("ERROR", gone)))
        for _ in range(2):
            with pytest.raises(errors.Gone):
                await watched(client)


async def test_a_watch_that_breaks_off_is_unavailable_after_what_it_told() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("WATCH", PODS_PATH, stream(("ADDED", POD), then="break"))
        seen = []
        with pytest.raises(errors.Unavailable):
            async for kind, _ in client.watch(PODS, "shop", resource_version="4", timeout_seconds=1):
                seen.append(kind)
        assert seen == ["ADDED"]


async def test_a_watch_that_falls_silent_is_left_once_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backstay.kube.client.WATCH_SLACK_SECONDS", 0.2)
    async with TinyApi() as api, api.client() as client:
        api.answers("WATCH", PODS_PATH, stream(("ADDED", POD), then="stall"))
        with pytest.raises(errors.Unavailable, match=r"within 1\.2 s"):
            await watched(client)


@pytest.mark.parametrize("event", [("ADDED", {}), ("ADDED", "text"), (7, POD), ("ADDED", {"metadata": {}})])
async def test_a_stream_of_something_else_is_unavailable(event: tuple[str, object]) -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("WATCH", PODS_PATH, stream(event))
        with pytest.raises(errors.Unavailable):
            await watched(client)


async def test_leaving_a_watch_early_leaves_nothing_behind() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("WATCH", PODS_PATH, stream(("ADDED", POD), then="stall"))
        api.answers("GET", POD_PATH, reply(POD))
        watch = client.watch(PODS, "shop", resource_version="4", timeout_seconds=60)
        assert (await anext(watch))[0] == "ADDED"
        await watch.aclose()
        assert await client.get(PODS, "shop", "a") == POD


# ------------------------------------------------------------------------------------------------------------------- login


async def test_a_refused_token_is_renewed_and_the_request_repeated_once() -> None:
    async with TinyApi() as api:
        logins: list[str] = []

        def login() -> Access:
            logins.append("in")
            return access(api, "new")

        async with Client(access(api, "old"), login) as client:
            api.answers("PATCH", POD_PATH, status(401, "Unauthorized"), reply(POD))
            assert await client.patch(PODS, "shop", "a", {"x": 1}) == POD
        assert [asked.headers["Authorization"] for asked in api.asked] == ["Bearer old", "Bearer new"]
        assert [asked.body for asked in api.asked] == [{"x": 1}, {"x": 1}]
        assert logins == ["in"]


async def test_many_refused_requests_renew_the_token_once() -> None:
    async with TinyApi() as api:
        logins: list[str] = []

        def login() -> Access:
            logins.append("in")
            return access(api, "new")

        async with Client(access(api, "old"), login) as client:
            api.answers("GET", POD_PATH, *[status(401, "Unauthorized")] * 5, reply(POD))
            found = await asyncio.gather(*[client.get(PODS, "shop", "a") for _ in range(5)])
        assert found == [POD] * 5
        assert logins == ["in"]


async def test_a_token_that_stays_refused_is_told_and_does_not_loop() -> None:
    async with TinyApi() as api:
        async with Client(access(api, "old"), lambda: access(api, "new")) as client:
            api.answers("GET", POD_PATH, status(401, "Unauthorized"))
            for _ in range(3):
                with pytest.raises(errors.ApiError, match="Unauthorized"):
                    await client.get(PODS, "shop", "a")
        assert len(api.asked) == 4  # twice at first, and then once each: logging in is not tried again so soon


async def test_a_stale_token_is_renewed_before_it_is_refused() -> None:
    async with TinyApi() as api, Client(access(api, "old", fresh_seconds=0), lambda: access(api, "new", fresh_seconds=60)) as client:
        api.answers("GET", POD_PATH, reply(POD))
        await client.get(PODS, "shop", "a")
        await client.get(PODS, "shop", "a")
        assert [asked.headers["Authorization"] for asked in api.asked] == ["Bearer new", "Bearer new"]


async def test_a_login_that_fails_keeps_the_old_token_in_use(caplog: pytest.LogCaptureFixture) -> None:
    def login() -> Access:
        raise LoginFailed("the plugin is out to lunch")

    async with TinyApi() as api, Client(access(api, "old", fresh_seconds=0), login) as client:
        api.answers("GET", POD_PATH, reply(POD))
        await client.get(PODS, "shop", "a")
        await client.get(PODS, "shop", "a")
        assert [asked.headers["Authorization"] for asked in api.asked] == ["Bearer old", "Bearer old"]
    assert caplog.text.count("out to lunch") == 1


async def test_no_token_and_no_body_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with TinyApi() as api, api.client() as client:
        api.answers("POST", PODS_PATH, drop)
        with pytest.raises(errors.Unavailable) as caught:
            await client.create(PODS, "shop", {"data": "hush-hush"})
        assert TOKEN not in repr(access(api, TOKEN))
    for text in (caplog.text, str(caught.value), repr(caught.value.__cause__)):
        assert TOKEN not in text
        assert "hush-hush" not in text
