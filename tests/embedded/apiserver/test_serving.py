"""The server itself: who may reach it, how it tells that it is well, what it counts."""

import json
import ssl
from pathlib import Path

import aiohttp
import pytest
import yaml

from backstay.local.apiserver.server import NotLoopback, serve
from tests.embedded.apiserver.harness import Api, client, running
from tests.embedded.apiserver.paths import CONFIG_MAPS, WIDGETS
from tests.embedded.apiserver.widgets import widget


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
async def test_it_refuses_to_listen_where_others_could_reach_it(tmp_path: Path, host: str) -> None:
    with pytest.raises(NotLoopback, match="on loopback only"):
        async with serve(tmp_path, host=host):
            pass


async def test_it_answers_nobody_without_the_token(api: Api) -> None:
    for token in ("", "wrong", api.server.token[:-1]):
        async with client(api.server, token) as session, session.get(api.server.url + CONFIG_MAPS) as response:
            assert response.status == 401
            assert (await response.json())["reason"] == "Unauthorized"


async def test_its_certificate_is_its_own_authoritys_and_names_loopback(api: Api) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{api.server.url}/version")
    trust = ssl.create_default_context(cafile=api.server.credentials.ca_file)
    url = api.server.url.replace("127.0.0.1", "localhost")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session, session.get(f"{url}/version") as response:
        assert (await response.json())["gitVersion"].startswith("v1.37")


async def test_health_and_version_need_no_token(api: Api) -> None:
    async with client(api.server, "") as session:
        for path in ("/healthz", "/livez", "/readyz"):
            async with session.get(api.server.url + path) as response:
                assert (response.status, await response.text()) == (200, "ok")


async def test_secrets_are_for_this_user_only(api: Api) -> None:
    data = api.server.credentials.ca_file.parent
    private = [path for path in data.iterdir() if path.suffix in (".key", "") and path.name != "cluster.sqlite3"]
    assert {path.name for path in private} >= {"token", "kubeconfig", "ca.key", "server.key"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


async def test_the_kubeconfig_goes_where_it_is_wanted(tmp_path: Path) -> None:
    wanted = tmp_path / "elsewhere" / "config"
    async with running(tmp_path / "data", kubeconfig=wanted) as api:
        config = yaml.safe_load(wanted.read_text())
        assert config["clusters"][0]["cluster"]["server"] == api.server.url


async def test_requests_are_counted_where_they_arrive(api: Api) -> None:
    await api.create(WIDGETS, widget("one"))
    for number in range(3):
        await api.merge(f"{WIDGETS}/one/status", {"status": {"count": number}})
    await api.refused(404, "GET", f"{WIDGETS}/nobody")
    lines = (await api.ask("GET", "/metrics")).body.splitlines()
    counted = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("apiserver_request_total{")}
    found = {
        tuple(part in labels for part in ('verb="PATCH"', 'resource="widgets"', 'subresource="status"', 'code="200"')): count
        for labels, count in counted.items()
    }
    assert found[(True, True, True, True)] == 3
    missing = next(labels for labels in counted if 'code="404"' in labels)
    assert 'verb="GET"' in missing
    assert 'group="example.com"' in missing


async def test_writes_are_audited_with_who_did_what(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    async with running(tmp_path / "data", audit_log=log) as api:
        await api.create(CONFIG_MAPS, {"metadata": {"name": "cm"}})
        await api.get(f"{CONFIG_MAPS}/cm")
        await api.refused(409, "POST", CONFIG_MAPS, {"metadata": {"name": "cm"}})
        await api.delete(f"{CONFIG_MAPS}/cm")
        entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(entry["verb"], entry["responseStatus"]["code"]) for entry in entries] == [("create", 201), ("create", 409), ("delete", 200)]
    assert entries[2]["objectRef"] == {"resource": "configmaps", "namespace": "default", "name": "cm", "apiVersion": "v1"}
    assert entries[0]["userAgent"].startswith("Python")


async def test_whose_token_it_is_and_what_one_may_do(api: Api) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    assert (await api.create(path, review | {"spec": {"token": api.server.token}}))["status"]["authenticated"]
    assert not (await api.create(path, review | {"spec": {"token": "x"}}))["status"].get("authenticated")
    rules = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"}}
    answered = await api.create("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules)
    assert answered["status"]["resourceRules"][0]["verbs"] == ["*"]


async def test_a_fault_of_the_server_is_told_as_one_and_the_next_request_is_served(api: Api) -> None:
    await api.create(CONFIG_MAPS, {"metadata": {"name": "cm"}})
    api.server.cluster.store.close()
    answer = await api.refused(500, "POST", CONFIG_MAPS, {"metadata": {"name": "other"}})
    assert answer.body["reason"] == "InternalError"
    assert (await api.ask("GET", CONFIG_MAPS)).names == ["cm", "kube-root-ca.crt"]
