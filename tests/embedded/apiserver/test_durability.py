"""What was answered is kept: through kill -9, through restarts, through compaction."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

from backstay.local.apiserver.store import Compacted, InUse, Key, Store
from tests.embedded.apiserver.harness import running, until
from tests.embedded.apiserver.paths import CONFIG_MAPS, CORE, WIDGETS
from tests.embedded.apiserver.widgets import CRDS_PATH, definition, widget

START_LIMIT_SECONDS = 30
WRITERS = 8


def token_of(kubeconfig: Path) -> str:
    return str(yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"])


@asynccontextmanager
async def process(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, dict[str, str]]]:
    """Run the server as its own process; yields it with its URL and the headers to send."""
    command = [sys.executable, "-m", "backstay.local.apiserver.server", "--data", str(data), "--port", "0"]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        line = await asyncio.wait_for(server.stdout.readline(), START_LIMIT_SECONDS)
        url, kubeconfig = line.decode().split()
        yield server, url, {"Authorization": f"Bearer {token_of(Path(kubeconfig))}"}
    finally:
        if server.returncode is None:
            server.kill()
        await asyncio.wait_for(server.wait(), START_LIMIT_SECONDS)


async def write_for_ever(session: aiohttp.ClientSession, url: str, name: str, answered: dict[str, int]) -> None:
    """Create a ConfigMap and count up in it; `answered` gets the number of each write that was answered."""
    path = f"{url}{CONFIG_MAPS}"
    body = {"metadata": {"name": name}, "data": {"n": "0"}}
    async with session.post(path, json=body) as response:
        response.raise_for_status()
    for number in range(1, 1_000_000):
        headers = {"Content-Type": "application/merge-patch+json"}
        async with session.patch(f"{path}/{name}", data=f'{{"data": {{"n": "{number}"}}}}', headers=headers) as response:
            response.raise_for_status()
        answered[name] = number


async def enough(answered: dict[str, int]) -> bool:
    return len(answered) == WRITERS and min(answered.values()) >= 20


@pytest.mark.embedded
async def test_a_server_killed_while_it_is_written_to_has_lost_nothing_that_it_answered(tmp_path: Path) -> None:
    answered: dict[str, int] = {}
    async with process(tmp_path) as (server, url, headers):
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=False)) as session:
            writers = [asyncio.create_task(write_for_ever(session, url, f"cm{number}", answered)) for number in range(WRITERS)]
            await until(lambda: enough(answered), f"too few writes were answered: {answered}")
            server.send_signal(signal.SIGKILL)
            await asyncio.gather(*writers, return_exceptions=True)
        await server.wait()
    async with running(tmp_path) as api:
        found = {name: int((await api.get(f"{CONFIG_MAPS}/{name}"))["data"]["n"]) for name in answered}
    assert all(answered[name] <= found[name] <= answered[name] + 1 for name in answered), (answered, found)


@pytest.mark.embedded
async def test_sigterm_ends_the_server_in_order(tmp_path: Path) -> None:
    async with process(tmp_path) as (server, _, _):
        server.terminate()
        assert await asyncio.wait_for(server.wait(), START_LIMIT_SECONDS) == 0


async def test_a_restart_keeps_objects_definitions_versions_token_and_certificates(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await first.create(CRDS_PATH, definition())
        made = await first.create(WIDGETS, widget("one", spec={"size": 2}))
        token, authority = first.server.token, first.server.credentials.ca_file.read_bytes()
    async with running(tmp_path) as second:
        assert await second.get(f"{WIDGETS}/one") == made
        assert (second.server.token, second.server.credentials.ca_file.read_bytes()) == (token, authority)
        changed = await second.merge(f"{WIDGETS}/one", {"spec": {"size": 3}})
        assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_a_watch_resumes_across_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await first.create(CRDS_PATH, definition())
        made = await first.create(WIDGETS, widget("one", metadata={"labels": {"on": "yes"}}))
        await first.merge(f"{WIDGETS}/one", {"metadata": {"labels": {"on": "no"}}})
        await first.create(WIDGETS, widget("two"))
    async with (
        running(tmp_path) as second,
        second.watch(WIDGETS, resourceVersion=made["metadata"]["resourceVersion"]) as every,
        second.watch(WIDGETS, resourceVersion=made["metadata"]["resourceVersion"], labelSelector="on=yes") as selected,
    ):
        assert await every.take(2) == [("MODIFIED", "one"), ("ADDED", "two")]
        assert await selected.next_named() == ("DELETED", "one")


async def test_garbage_that_a_stop_left_behind_is_collected_after_the_start(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        owner = await first.create(CONFIG_MAPS, {"metadata": {"name": "owner"}})
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        await first.create(CONFIG_MAPS, {"metadata": {"name": "child", "ownerReferences": [reference]}})
        await first.create("/api/v1/namespaces", {"metadata": {"name": "ending"}})
        cluster = first.server.cluster
        cluster.store.listeners.clear()  # the controllers see nothing from here on, as if the process had been killed
        await first.delete(f"{CONFIG_MAPS}/owner")
        await first.delete("/api/v1/namespaces/ending")
        assert await first.exists(f"{CONFIG_MAPS}/child")
    async with running(tmp_path) as second:
        await second.until_gone(f"{CONFIG_MAPS}/child", "/api/v1/namespaces/ending")


async def test_two_servers_cannot_share_a_directory(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(InUse, match="in use by another process"):
            async with running(tmp_path):
                pass


async def test_a_long_life_keeps_the_log_and_the_file_small(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        store = api.server.cluster.store
        before = store.version
        for number in range(300):
            await api.ok("PUT", f"{CORE}/endpoints/e", {"metadata": {"name": "e", "annotations": {"n": str(number)}}})
        store.compact(store.version - 10)
        assert store.version == before + 300
        rows = store._db.execute("SELECT count(*) FROM changes").fetchone()[0]
        live = sum(store.count(*key) for key in store.resources())
        assert rows <= live + 11


def test_the_log_keeps_within_its_limits_and_still_knows_what_was_before(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", log_limit=50)
    key = Key("", "configmaps", "ns", "one")
    for number in range(200):
        store.put(key, {"metadata": {}, "data": number})
    assert store.version - store.oldest <= 60
    with pytest.raises(Compacted):
        store.since(1, "", "configmaps")
    store.close()
    again = Store(tmp_path / "db", log_limit=50)
    changes = again.since(again.oldest, "", "configmaps")
    assert [change.stored.object["data"] for change in changes] == list(range(200 - len(changes), 200))
    assert all(change.previous is not None and change.previous.object["data"] == change.stored.object["data"] - 1 for change in changes)
    again.close()


def test_a_write_that_fails_leaves_neither_trace_nor_gap(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    key = Key("", "configmaps", "ns", "one")
    store.put(key, {"metadata": {}, "data": 1})
    version = store.version
    with pytest.raises(TypeError):
        store.put(key, {"metadata": {}, "data": object()})
    assert (store.version, store.get(key).object["data"]) == (version, 1)  # type: ignore[union-attr]
    assert store.put(key, {"metadata": {}, "data": 2}).version == version + 1
    store.close()
