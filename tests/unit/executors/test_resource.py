"""Resource steps where the API server refuses, is slow, or is away: which error it is, what is waited for, and as whom everything is asked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from backstay.engine.model import CallState
from backstay.executors.resource import doing, waiting
from backstay.executors.resource.doing import shared_by
from tests.support.resource_calls import Steps
from tests.support.tiny_api import Asked, TinyApi, drop, reply, status, status_object, stream

V1 = reply({"kind": "APIResourceList", "resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]})
MAPS = "/api/v1/namespaces/shop/configmaps"
CART = f"{MAPS}/cart"
FOUND = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cart", "namespace": "shop", "uid": "u", "resourceVersion": "7"}}
OPEN = {**FOUND, "metadata": {**FOUND["metadata"], "resourceVersion": "9"}, "data": {"state": "open"}}
CREATE = "{create: {apiVersion: v1, kind: ConfigMap, metadata: {name: cart}}}"
APPLY = "{apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: cart}}}"
GET = "{get: {apiVersion: v1, kind: ConfigMap, name: cart}}"
WAIT = "{wait: {apiVersion: v1, kind: ConfigMap, name: cart, condition: \"${ object.data.state == 'open' }\"}}"
PATCH = "{patch: {apiVersion: v1, kind: ConfigMap, name: cart, json: [{op: add, path: /data/x, value: y}]}}"


@pytest.fixture
async def api() -> AsyncIterator[TinyApi]:
    async with TinyApi() as server:
        server.answers("GET", "/api/v1", V1)
        yield server


@pytest.fixture
async def steps(api: TinyApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Steps]:
    monkeypatch.setattr(doing, "TELL_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(doing, "TELL_EVERY_SECONDS", 0.0)
    async with api.client(timeout_seconds=2) as client:
        yield Steps(client)


def listed(*items: Any, version: str = "8") -> Any:
    return reply({"kind": "List", "metadata": {"resourceVersion": version}, "items": list(items)})


def event(kind: str, found: Any) -> tuple[str, Any]:
    return kind, found


def paths(api: TinyApi) -> list[str]:
    """What was asked, discovery aside."""
    return [f"{asked.method} {asked.path}" for asked in api.asked if asked.path != "/api/v1"]


# -------------------------------------------------------------------------------------------------------------------- rights


@pytest.mark.parametrize(("account", "user"), [("", "default"), ("packer", "packer")])
async def test_everything_is_asked_as_the_runs_service_account(api: TinyApi, steps: Steps, account: str, user: str) -> None:
    api.answers("POST", MAPS, reply(FOUND, 201))
    api.answers("GET", CART, reply(FOUND))
    api.answers("GET", MAPS, listed())
    api.answers("WATCH", MAPS, stream(event("ADDED", OPEN)))
    steps.run = replace(steps.run, service_account=account)
    for action in (CREATE, GET, WAIT):
        await steps.done(action)
    assert len(api.asked) == 5
    assert {asked.headers.get("Impersonate-User") for asked in api.asked} == {f"system:serviceaccount:shop:{user}"}


async def test_a_right_that_the_account_lacks_is_named_with_the_role_that_gives_it(api: TinyApi, steps: Steps) -> None:
    words = 'configmaps is forbidden: User "system:serviceaccount:shop:default" cannot create resource "configmaps" in API group "" in the namespace "shop"'
    api.answers("POST", MAPS, reply(status_object(403, "Forbidden", words), 403))
    fault = await steps.refused(CREATE)
    assert (fault.type, fault.title) == ("Forbidden", "The service account may not do that")
    assert fault.detail == (
        "service account shop/default may not create configmaps in namespace shop; a Role that allows it is missing: "
        "kubectl -n shop create role default-create-configmaps --verb=create --resource=configmaps && "
        "kubectl -n shop create rolebinding default-create-configmaps --role=default-create-configmaps --serviceaccount=shop:default"
    )


async def test_an_installation_without_impersonation_says_so(api: TinyApi, steps: Steps) -> None:
    words = (
        'serviceaccounts "default" is forbidden: User "system:serviceaccount:backstay:backstay" cannot impersonate resource "serviceaccounts" '
        'in API group "" in the namespace "shop"'
    )
    api.answers("GET", "/api/v1", reply(status_object(403, "Forbidden", words), 403))
    fault = await steps.refused(CREATE)
    assert fault.type == "Forbidden"
    assert fault.detail.startswith("the operator may not act as service account shop/default, so this installation has no resource steps")


# -------------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("code", "reason", "message", "type_"),
    [
        (403, "Forbidden", 'admission webhook "w" denied the request: no', "AdmissionDenied"),
        (404, "NotFound", 'configmaps "cart" not found', "NotFound"),
        (409, "Conflict", "the object has been modified", "Conflict"),
        (422, "Invalid", "data: must be text", "InvalidResource"),
        (400, "BadRequest", "no", "InvalidResource"),
        (500, "InternalError", "a conversion failed", "Unavailable"),
    ],
)
async def test_an_answer_becomes_an_error_of_its_type(api: TinyApi, steps: Steps, code: int, reason: str, message: str, type_: str) -> None:
    api.answers("GET", CART, reply(status_object(code, reason, message), code))
    fault = await steps.refused(GET)
    assert (fault.type, fault.detail) == (type_, f"ConfigMap cart: {message}")


async def test_an_error_of_the_server_is_cut_to_what_people_read(api: TinyApi, steps: Steps) -> None:
    api.answers("GET", CART, reply(status_object(422, "Invalid", "x" * 100_000), 422))
    assert len((await steps.refused(GET)).detail) < 2000


@pytest.mark.parametrize("name", ["../secrets/x", "a b", "a/b"])
async def test_a_name_that_is_none_is_never_asked_for(api: TinyApi, steps: Steps, name: str) -> None:
    fault = await steps.refused("{get: {apiVersion: v1, kind: ConfigMap, name: '${params.name}'}}", {"name": name})
    assert (fault.type, "is no name of a ConfigMap" in fault.detail) == ("InvalidResource", True)
    assert paths(api) == []


async def test_a_service_account_that_cannot_be_one_is_told(steps: Steps) -> None:
    steps.run = replace(steps.run, service_account="a:b")
    fault = await steps.refused(GET)
    assert (fault.type, "is no name of a service account" in fault.detail) == ("InvalidResource", True)


# ------------------------------------------------------------------------------------------------------------ what passes


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (status(503, "ServiceUnavailable"), "Waiting for the API server: "),
        (drop, "Waiting for the API server: "),
        (
            reply(status_object(403, "Forbidden", 'configmaps "cart" is forbidden: exceeded quota: small, used: count/configmaps=1'), 403),
            "Waiting for quota: exceeded quota: small",
        ),
        (
            reply(status_object(500, "InternalError", 'Internal error occurred: failed calling webhook "w": refused'), 500),
            'Waiting for an admission webhook: failed calling webhook "w"',
        ),
    ],
    ids=["busy", "cut off", "quota", "webhook"],
)
async def test_what_passes_by_itself_is_sat_out(api: TinyApi, steps: Steps, trouble: Any, words: str) -> None:
    api.answers("POST", MAPS, trouble, reply(FOUND, 201))
    await steps.done(CREATE)
    assert str(steps.said[0]).startswith(words)
    assert paths(api) == [f"POST {MAPS}", f"POST {MAPS}"]


async def test_a_server_that_asks_to_slow_down_is_left_alone_for_so_long(api: TinyApi, steps: Steps) -> None:
    api.answers("GET", CART, reply(status_object(429, "TooManyRequests", "slower"), 429, headers={"Retry-After": "1"}), reply(FOUND))
    began = asyncio.get_running_loop().time()
    await steps.done(GET)
    assert asyncio.get_running_loop().time() - began >= 1.0


async def test_a_creation_whose_answer_was_lost_finds_what_it_made(api: TinyApi, steps: Steps) -> None:
    taken = reply(status_object(409, "AlreadyExists", 'configmaps "cart" already exists'), 409)
    marks = {"labels": {"backstay.dev/made-by-run": "uid-1"}, "annotations": {"backstay.dev/path": "a"}}
    api.answers("POST", MAPS, drop, taken)
    api.answers("GET", CART, reply({**FOUND, "metadata": {**FOUND["metadata"], **marks}}))
    assert (await steps.done(CREATE))["uid"] == "u"


async def test_operations_whose_answer_was_lost_are_not_repeated(api: TinyApi, steps: Steps) -> None:
    api.answers("PATCH", CART, drop)
    assert (await steps.refused(PATCH)).type == "Unavailable"
    assert paths(api) == [f"PATCH {CART}"]


async def test_an_applied_object_that_is_new_is_looked_for_first(api: TinyApi, steps: Steps) -> None:
    api.answers("GET", CART, status(404, "NotFound"))
    api.answers("PATCH", CART, reply(FOUND))
    await steps.done(APPLY)
    (patched,) = api.asked_for("PATCH")
    assert patched.query == {"fieldManager": "backstay-run:order", "fieldValidation": "Strict"}
    assert patched.headers["Content-Type"] == "application/apply-patch+yaml"
    assert patched.body["metadata"]["ownerReferences"] == [
        {"apiVersion": "backstay.dev/v1alpha1", "kind": "WorkflowRun", "name": "order-7f2", "uid": "uid-1"}
    ]


# ------------------------------------------------------------------------------------------------------------------ waiting


def watches(api: TinyApi) -> list[Asked]:
    return api.asked_for("WATCH")


async def test_a_watch_goes_on_where_it_broke_off_and_lists_again_only_where_that_is_too_old(api: TinyApi, steps: Steps) -> None:
    later = {**FOUND, "metadata": {**FOUND["metadata"], "resourceVersion": "12"}}
    gone = event("ERROR", status_object(410, "Expired", "too old"))
    api.answers("GET", MAPS, listed(FOUND), listed(FOUND, version="20"))
    api.answers("WATCH", MAPS, stream(event("MODIFIED", later)), drop, stream(gone), stream(event("MODIFIED", OPEN)))
    await steps.done(WAIT)
    assert [asked.query["resourceVersion"] for asked in watches(api)] == ["8", "12", "12", "20"]
    assert {asked.query["fieldSelector"] for asked in watches(api)} == {"metadata.name=cart"}
    assert len([asked for asked in api.asked_for("GET") if asked.path == MAPS]) == 2


async def test_an_account_that_may_not_watch_looks_now_and_then(api: TinyApi, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answers("GET", MAPS, listed(), listed(OPEN))
    api.answers("WATCH", MAPS, status(403, "Forbidden"))
    await steps.done(WAIT)
    assert len(watches(api)) == 1


async def test_an_account_that_may_only_get_looks_now_and_then(api: TinyApi, steps: Steps) -> None:
    api.answers("GET", MAPS, status(403, "Forbidden"))
    api.answers("GET", CART, status(404, "NotFound"), reply(OPEN))
    await steps.done(WAIT)
    assert paths(api) == [f"GET {MAPS}", f"GET {CART}", f"GET {CART}"]


async def test_an_account_that_may_not_even_look_fails(api: TinyApi, steps: Steps) -> None:
    for path in (MAPS, CART):
        api.answers("GET", path, status(403, "Forbidden"))
    assert (await steps.refused(WAIT)).type == "Forbidden"
    assert (await steps.refused(WAIT.replace("name: cart", "selector: app=web"))).type == "Forbidden"


async def test_a_selector_that_finds_more_than_a_step_looks_at_is_refused(
    api: TinyApi, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST_OBJECTS", 1)
    api.answers("GET", MAPS, listed(FOUND, {**OPEN, "metadata": {**OPEN["metadata"], "name": "b"}}))
    fault = await steps.refused(WAIT.replace("name: cart", "selector: app=web"))
    assert (fault.type, "finds 2 objects of at most 1" in fault.detail) == ("LimitExceeded", True)


async def test_a_wait_survives_an_outage_and_says_so(steps: Steps, api: TinyApi) -> None:
    api.answers("GET", MAPS, status(503, "ServiceUnavailable"), listed(OPEN))
    fact = await steps.do(WAIT)
    assert fact.state is CallState.SUCCEEDED
    assert str(steps.said[0]).startswith("Waiting for the API server: ")
    assert shared_by(steps.client).watches == 0


async def test_kinds_are_asked_for_once_and_again_where_one_is_missing(api: TinyApi, steps: Steps) -> None:
    api.answers("GET", CART, reply(FOUND))
    for _ in range(3):
        await steps.done(GET)
    assert len([asked for asked in api.asked if asked.path == "/api/v1"]) == 1
    assert (await steps.refused(GET.replace("ConfigMap", "Gadget"))).type == "UnknownKind"
    assert len([asked for asked in api.asked if asked.path == "/api/v1"]) == 2
