"""What `backstay operator` finds out before it begins."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from backstay.cli import preflight
from backstay.cli.failures import CommandFailed
from backstay.errors import Unavailable
from backstay.kube.backoff import Backoff
from backstay.kube.client import Client
from tests.support.tiny_api import TinyApi, reply, status

ROOT = Path(__file__).parents[3]
KINDS = {"resources": [{"name": "workflows/status"}, *({"name": plural} for plural in preflight.KINDS)]}
GROUP = "/apis/backstay.dev/v1alpha1"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def allowing(*refused: tuple[str, str]) -> Any:
    """Answer access reviews: all is allowed but these (resource, verb)."""

    async def answer(request: web.Request) -> web.StreamResponse:
        attributes = orjson.loads(await request.read())["spec"]["resourceAttributes"]
        allowed = (attributes["resource"], attributes["verb"]) not in refused
        return web.Response(body=orjson.dumps({"status": {"allowed": allowed}}), status=201, content_type="application/json")

    return answer


async def checked(
    api: TinyApi, namespaces: tuple[str, ...] = (), *, kinds: Any = None, version: str = "37", reviews: Any = None, leases_in: str = ""
) -> None:
    api.answers("GET", "/version", reply({"major": "1", "minor": version}))
    api.answers("GET", GROUP, *(kinds or [reply(KINDS)]))
    api.answers("POST", REVIEWS, reviews or allowing())
    async with api, api.client() as client:
        await preflight.check(client, namespaces, leases_in)


async def test_a_cluster_with_all_that_is_needed_is_fine() -> None:
    await checked(TinyApi())


async def test_custom_resources_that_come_a_moment_later_are_waited_for() -> None:
    await checked(TinyApi(), kinds=[status(404, "NotFound"), reply(KINDS)])


async def test_missing_custom_resources_say_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_PATIENCE_SECONDS", 0.1)
    with pytest.raises(
        CommandFailed, match=r"does not know workflows\.backstay\.dev and workflowruns.*kubectl apply --server-side -f crds/"
    ):
        await checked(TinyApi(), kinds=[status(404, "NotFound")])


async def test_an_old_cluster_is_refused() -> None:
    with pytest.raises(CommandFailed, match=r"runs Kubernetes 1\.31, and Backstay needs 1\.32 or newer"):
        await checked(TinyApi(), version="31+")


async def test_missing_rights_are_named_by_resource_and_namespace() -> None:
    refused = allowing(("jobs", "create"), ("jobs", "delete"), ("pods", "watch"))
    with pytest.raises(CommandFailed) as caught:
        await checked(TinyApi(), ("shop", "billing"), reviews=refused)
    text = str(caught.value)
    assert "create, delete jobs.batch in shop; watch pods in shop; create, delete jobs.batch in billing" in text
    assert "grant them as the chart does" in text


async def test_a_missing_right_on_leases_is_named_with_the_namespace_of_the_lease() -> None:
    refused = allowing(("leases", "patch"))
    with pytest.raises(
        CommandFailed, match=r"missing are: patch leases\.coordination\.k8s\.io in ops; .* another place for its Lease with --lease"
    ):
        await checked(TinyApi(), ("shop",), reviews=refused, leases_in="ops")
    await checked(TinyApi(), ("shop",), reviews=refused)


async def test_a_server_that_cannot_say_what_is_allowed_is_trusted() -> None:
    await checked(TinyApi(), reviews=status(404, "NotFound"))


async def test_a_right_that_only_some_clusters_ask_for_is_missed_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    await checked(TinyApi(), reviews=allowing(("workflowruns", "update")))
    assert "without the right to update workflowruns.backstay.dev/finalizers in all namespaces" in caplog.text


def test_the_chart_grants_every_right_that_is_needed() -> None:
    """`NEEDED` and the chart's rules are written apart, for people and for Helm: here they are held against each other."""
    text = (ROOT / "charts/backstay/templates/_helpers.tpl").read_text()
    for group, resource, subresource, verbs in (*preflight.NEEDED, *(right for right, _ in preflight.WANTED)):
        name = f"{resource}/{subresource}" if subresource else resource
        rules = [
            rule
            for rule in text.split("- apiGroups:")[1:]
            if group in rule.split("]")[0] and name in rule.split("resources:")[1].split("]")[0]
        ]
        granted = {verb.strip() for rule in rules for verb in rule.split("verbs: [")[1].split("]")[0].split(",")}
        assert set(verbs) <= granted, f"the chart does not grant {set(verbs) - granted} on {name}"


async def test_a_client_that_is_not_there_is_told_as_such() -> None:
    api = TinyApi()
    async with api:
        client: Client = api.client()
    with pytest.raises(Unavailable, match=r"cannot connect"):
        async with client:
            await preflight.check(client, ())


async def test_in_a_pod_a_server_that_does_not_serve_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "Backoff", lambda first, most: Backoff(0.01, 0.01))
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", "/version", status(503, "ServiceUnavailable"), status(429, "TooManyRequests", retryAfterSeconds=0), reply({}))
        await preflight.when_it_serves(lambda: asked(client), patience_seconds=30)
        assert len(api.asked) == 3


async def test_at_a_terminal_a_server_that_does_not_serve_is_told_at_once() -> None:
    async with TinyApi() as api, api.client() as client:
        api.answers("GET", "/version", status(503, "ServiceUnavailable"))
        with pytest.raises(Unavailable):
            await preflight.when_it_serves(lambda: asked(client), patience_seconds=0)
        assert len(api.asked) == 1


async def asked(client: Client) -> None:
    await client.text("/version")
