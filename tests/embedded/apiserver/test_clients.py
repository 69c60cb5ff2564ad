"""The clients that people use: kubectl, helm, kopf; each the real one."""

import asyncio
import base64
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.embedded.apiserver.harness import Api, until
from tests.embedded.apiserver.paths import CONFIG_MAPS, CORE, JOBS, WIDGETS
from tests.embedded.apiserver.widgets import widget
from tests.support.tools import helm

LIMIT_SECONDS = 60


# ── kubectl ─────────────────────────────────────────────────────────────────────────────────────


async def test_kubectl_applies_changes_shows_the_difference_and_prunes_fields(api: Api) -> None:
    body = widget("one", spec={"color": "red", "labels": {"a": "1", "b": "2"}})
    assert "created" in await api.kubectl("apply", "-f", "-", given=body)
    assert "unchanged" in await api.kubectl("apply", "-f", "-", given=body)
    body["spec"]["labels"] = {"a": "3"}
    assert "configured" in await api.kubectl("apply", "-f", "-", given=body)
    assert await api.kubectl("diff", "-f", "-", given=body) == ""
    assert (await api.get(f"{WIDGETS}/one"))["spec"]["labels"] == {"a": "3"}


async def test_kubectl_gets_by_short_name_category_and_selector(api: Api) -> None:
    await api.create(WIDGETS, widget("one", spec={"color": "red"}, metadata={"labels": {"side": "left"}}))
    await api.create(WIDGETS, widget("two"))
    assert (await api.kubectl("get", "wd", "-o", "name")).split() == ["widget.example.com/one", "widget.example.com/two"]
    assert (await api.kubectl("get", "things", "-l", "side=left", "-o", "name")).split() == ["widget.example.com/one"]
    assert (await api.kubectl("get", "widgets", "--field-selector", "spec.color=red", "-o", "name")).split() == ["widget.example.com/one"]
    header, first, _ = (await api.kubectl("get", "widgets", "-o", "wide")).splitlines()
    assert header.split() == ["NAME", "COLOR", "SIZE", "READY", "SINCE", "PARTS"]
    assert first.split() == ["one", "red", "1"]
    assert "one" in await api.kubectl("get", "widgets", "--chunk-size", "1")


async def test_kubectl_describes_with_the_objects_events(api: Api) -> None:
    made = await api.create(WIDGETS, widget("one", spec={"color": "red"}))
    about = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "one", "namespace": "default", "uid": made["metadata"]["uid"]}
    when = made["metadata"]["creationTimestamp"]
    told = {"reason": "Painted", "message": "It is red now.", "type": "Normal", "firstTimestamp": when, "lastTimestamp": when}
    await api.create(f"{CORE}/events", {"metadata": {"name": "e1"}, "involvedObject": about, **told})
    shown = await api.kubectl("describe", "widget", "one")
    assert "Color:  red" in shown
    assert "It is red now." in shown
    assert "Painted" in await api.kubectl("events", "--for", "widget/one")


async def test_kubectl_waits_for_a_condition_and_for_deletion(api: Api) -> None:
    await api.create(WIDGETS, widget("one"))
    waiting = asyncio.create_task(api.kubectl("wait", "--for=condition=Ready", "widget/one", "--timeout=30s"))
    await until(lambda: _is_watched(api), "kubectl does not watch")
    await api.merge(f"{WIDGETS}/one/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    assert "condition met" in await waiting
    gone = asyncio.create_task(api.kubectl("wait", "--for=delete", "widget/one", "--timeout=30s"))
    await until(lambda: _is_watched(api), "kubectl does not watch")
    await api.delete(f"{WIDGETS}/one")
    await gone


async def _is_watched(api: Api) -> bool:
    return api.server.metrics.watches > 0


async def test_kubectl_explains_fields(api: Api) -> None:
    shown = await api.kubectl("explain", "widgets.spec.parts")
    assert "KIND:       Widget" in shown
    assert "name\t<string> -required-" in shown
    assert "backoffLimit" in await api.kubectl("explain", "jobs.spec")


async def test_kubectl_edits_in_its_many_ways(api: Api) -> None:
    await api.kubectl("create", "-f", "-", given=widget("one"))
    await api.kubectl("label", "widget", "one", "a=b")
    await api.kubectl("annotate", "widget", "one", "c=d")
    await api.kubectl("patch", "widget", "one", "--type=json", "-p", '[{"op": "add", "path": "/spec", "value": {"size": 4}}]')
    await api.kubectl("patch", "widget", "one", "--subresource=status", "--type=merge", "-p", '{"status": {"phase": "P"}}')
    await api.kubectl("replace", "-f", "-", given=(await api.get(f"{WIDGETS}/one")) | {"spec": {"size": 5}})
    found = await api.get(f"{WIDGETS}/one")
    assert (found["metadata"]["labels"], found["metadata"]["annotations"]) == ({"a": "b"}, {"c": "d"})
    assert (found["spec"], found["status"]) == ({"size": 5}, {"phase": "P"})
    await api.kubectl("delete", "widget", "one")
    assert not await api.exists(f"{WIDGETS}/one")


async def test_kubectl_deletes_in_the_foreground_and_all_of_a_kind(api: Api) -> None:
    for name in ("a", "b"):
        await api.create(WIDGETS, widget(name))
    await api.kubectl("delete", "widget", "a", "--cascade=foreground", "--timeout=20s")
    await api.kubectl("delete", "widgets", "--all", "--timeout=20s")
    assert (await api.ask("GET", WIDGETS)).names == []


async def test_what_kubectl_sends_as_protobuf_is_read(api: Api) -> None:
    await api.kubectl("create", "configmap", "cm", "--from-literal=a=1", "--from-literal=b=")
    assert (await api.get(f"{CONFIG_MAPS}/cm"))["data"] == {"a": "1", "b": ""}
    await api.kubectl("create", "secret", "generic", "s", "--from-literal=password=hush")
    assert base64.b64decode((await api.get(f"{CORE}/secrets/s"))["data"]["password"]) == b"hush"
    await api.kubectl("create", "job", "job", "--image=busybox", "--", "sh", "-c", "exit 3")
    job = await api.get(f"{JOBS}/job")
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["sh", "-c", "exit 3"]
    assert job["spec"]["backoffLimit"] == 6
    await api.kubectl("create", "role", "r", "--verb=get,list", "--resource=pods")
    await api.kubectl("create", "rolebinding", "rb", "--role=r", "--serviceaccount=default:default")
    assert (await api.kubectl("auth", "can-i", "delete", "nodes")).strip() == "yes"
    assert "backstay-admin" in await api.kubectl("auth", "whoami")
    await api.kubectl("create", "namespace", "team")
    await api.kubectl("delete", "namespace", "team", "--timeout=20s")


async def test_kubectl_is_told_of_unknown_fields(api: Api) -> None:
    with pytest.raises(AssertionError, match=r'strict decoding error: unknown field "spec.colour"'):
        await api.kubectl("create", "-f", "-", given=widget("one", spec={"colour": "red"}))


# ── helm ────────────────────────────────────────────────────────────────────────────────────────

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: tiny\nversion: 1.0.0\nkubeVersion: '>=1.32.0-0'\n",
    "values.yaml": "greeting: hello\n",
    "templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  greeting: {{ .Values.greeting }}\n",
}


def run_helm(kubeconfig: Path, home: Path, *arguments: str) -> str:
    environment = os.environ | {"KUBECONFIG": str(kubeconfig), "HOME": str(home)}
    result = subprocess.run([str(helm()), *arguments], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


async def test_helm_installs_upgrades_rolls_back_and_uninstalls(api: Api, tmp_path: Path) -> None:
    chart = tmp_path / "tiny"
    (chart / "templates").mkdir(parents=True)
    for name, text in CHART.items():
        (chart / name).write_text(text)

    async def call(*arguments: str) -> str:
        return await asyncio.to_thread(run_helm, api.server.kubeconfig, tmp_path, *arguments)

    async def greeting() -> str:
        return str((await api.get(f"{CONFIG_MAPS}/demo"))["data"]["greeting"])

    await call("install", "demo", str(chart), "--wait")
    assert await greeting() == "hello"
    await call("upgrade", "demo", str(chart), "--set", "greeting=hi")
    assert await greeting() == "hi"
    assert "demo" in await call("list")
    await call("rollback", "demo", "1")
    assert await greeting() == "hello"
    await call("uninstall", "demo", "--wait")
    assert not await api.exists(f"{CONFIG_MAPS}/demo")
    assert (await api.ask("GET", f"{CORE}/secrets")).names == []


# ── kopf ────────────────────────────────────────────────────────────────────────────────────────

OPERATOR = """
import kopf

@kopf.on.startup()
def configure(settings, **_):
    settings.posting.enabled = True
    settings.persistence.finalizer = "example.com/kopf"

@kopf.on.create("widgets")
def created(spec, patch, body, **_):
    patch.status["phase"] = f"made with size {spec.get('size')}"
    kopf.info(body, reason="Made", message="It was made.")

@kopf.on.update("widgets", field="spec.size")
def resized(new, patch, **_):
    patch.status["count"] = new

@kopf.on.delete("widgets")
def deleted(name, **_):
    pass
"""


@asynccontextmanager
async def kopf_running(api: Api, folder: Path) -> AsyncIterator[None]:
    script = folder / "handlers.py"
    script.write_text(OPERATOR)
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", "default", "--quiet", str(script)]
    environment = os.environ | {"KUBECONFIG": str(api.server.kubeconfig)}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@pytest.mark.embedded
async def test_kopf_connects_watches_patches_posts_events_and_finalizes(api: Api, tmp_path: Path) -> None:
    async def status(name: str, wanted: object) -> bool:
        return (await api.get(f"{WIDGETS}/one")).get("status", {}).get(name) == wanted

    async with kopf_running(api, tmp_path):
        await api.create(WIDGETS, widget("one", spec={"size": 3}))
        await until(lambda: status("phase", "made with size 3"), "kopf did not handle the creation", LIMIT_SECONDS)
        assert (await api.get(f"{WIDGETS}/one"))["metadata"]["finalizers"] == ["example.com/kopf"]
        await api.merge(f"{WIDGETS}/one", {"spec": {"size": 4}})
        await until(lambda: status("count", 4), "kopf did not handle the update", LIMIT_SECONDS)
        await api.delete(f"{WIDGETS}/one")
        await api.until_gone(f"{WIDGETS}/one")
        events = await api.get(f"{CORE}/events?fieldSelector=involvedObject.name=one,reason=Made")
        assert [event["message"] for event in events["items"]] == ["It was made."]


async def test_the_python_client_library_lists_and_watches(api: Api) -> None:
    await api.create(WIDGETS, widget("one"))
    names = await asyncio.to_thread(_names_by_library, api.server.kubeconfig)
    assert names == ["one"]


def _names_by_library(kubeconfig: Path) -> list[str]:
    from kubernetes import client, config

    with config.new_client_from_config(str(kubeconfig)) as connection:
        custom = client.CustomObjectsApi(connection)
        found = custom.list_namespaced_custom_object("example.com", "v1", "default", "widgets")
        assert client.VersionApi(connection).get_code().git_version.startswith("v1.37")
        (certificate,) = client.CoreV1Api(connection).list_namespaced_config_map("default").items
        assert certificate.metadata.name == "kube-root-ca.crt"
        return [item["metadata"]["name"] for item in found["items"]]


async def test_kubectl_applies_a_list_and_says_which_kind_is_unknown(api: Api) -> None:
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in ("one", "two")]
    said = await api.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": items})
    assert said.count("created") == 2
    with pytest.raises(AssertionError, match='no matches for kind "ConfigMop" in version "v1"'):
        await api.kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "ConfigMop", "metadata": {"name": "x"}})
