"""Logs as `kubectl logs` shows them, through the API server, from the node's endpoint."""

import asyncio
import os
import subprocess
from pathlib import Path

from tests.embedded.node.harness import Namespace, is_running


async def test_logs_hold_both_outputs(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("echo out; echo err >&2"))
    assert sorted(ns.kubectl("logs", pod["metadata"]["name"]).stdout.splitlines()) == ["err", "out"]


async def test_a_last_line_without_a_newline_is_shown_as_it_is(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("echo one; printf two"))
    assert ns.kubectl("logs", pod["metadata"]["name"]).stdout == "one\ntwo"


async def test_the_last_lines_can_be_asked_for(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("seq 1000"))
    assert ns.kubectl("logs", "--tail", "2", pod["metadata"]["name"]).stdout == "999\n1000\n"
    assert ns.kubectl("logs", "--tail", "0", pod["metadata"]["name"]).stdout == ""


async def test_timestamps_and_limits_are_respected(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("echo hello"))
    name = pod["metadata"]["name"]
    stamp, _, text = ns.kubectl("logs", "--timestamps", name).stdout.partition(" ")
    assert text == "hello\n" and stamp.endswith("Z") and stamp.startswith("20")
    assert ns.kubectl("logs", "--limit-bytes", "3", name).stdout == "hel"
    assert ns.kubectl("logs", "--since-time", "2999-01-01T00:00:00Z", name).stdout == ""


async def test_a_log_is_followed_to_the_end_of_its_container(ns: Namespace) -> None:
    pod = await ns.run(
        "echo first; until [ -e $BACKSTAY_ROOT/go ]; do sleep 0.02; done; echo last", container={"env": [{"name": "D", "value": "/work"}]}
    )
    name = pod["metadata"]["name"]
    await ns.until("pods", name, is_running)
    command = ["kubectl", "--kubeconfig", str(ns.cluster.kubeconfig), "-n", ns.name, "logs", "-f", name]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert await asyncio.wait_for(process.stdout.readline(), 10) == b"first\n"
    assert process.returncode is None
    [root] = {root for pid in ns.processes() if (root := variable_of(pid, "BACKSTAY_ROOT"))}
    os.mknod(f"{root}/go")
    rest, _ = await asyncio.wait_for(process.communicate(), 10)
    assert rest == b"last\n"
    assert process.returncode == 0


async def test_a_container_that_waits_has_no_log_and_says_so(ns: Namespace) -> None:
    pod = await ns.run("true", container={"image": "backstay.test/missing:1"})
    await ns.until("pods", pod["metadata"]["name"], lambda pod: pod["status"].get("containerStatuses"))
    answer = ns.kubectl("logs", pod["metadata"]["name"])
    assert answer.returncode == 1
    assert "is waiting to start" in answer.stderr


async def test_a_log_keeps_its_newest_ten_megabytes(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("seq -f 'line %09.0f of a log that is much too long for its own good' 300000"))
    lines = ns.kubectl("logs", pod["metadata"]["name"]).stdout.splitlines()
    assert lines[-1].startswith("line 000300000")
    assert 40_000 < len(lines) < 200_000
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == list(range(numbers[0], 300_001)), "no line is missing between the first that is kept and the last"


async def test_the_endpoint_listens_on_loopback_only(ns: Namespace) -> None:
    node = await ns.api.get(f"/api/v1/nodes/{ns.cluster.node}")
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    assert listening_addresses(port) == {"0100007F"}


def variable_of(pid: int, name: str) -> str:
    variables = dict(entry.partition(b"=")[::2] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return variables.get(name.encode(), b"").decode()


def listening_addresses(port: int) -> set[str]:
    """Return the addresses that a port is open on, as the kernel writes them; 0100007F is 127.0.0.1."""
    listen = "0A"
    rows = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == listen and int(row[1].rpartition(":")[2], 16) == port}
