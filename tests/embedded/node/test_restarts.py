"""A node that is killed: nothing of its pods survives it, and no pod is begun a second time."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from backstay.local.node.api import Obj
from tests.embedded.node.harness import (
    Daemon,
    Namespace,
    condition,
    container,
    end,
    is_running,
    parent_of,
    phase,
    processes_with,
    until,
    waiting,
)

TWICE = "echo ran >> {file}; sleep 100"


async def running_on_second(ns: Namespace, script: str, **changes: object) -> Obj:
    pod = await ns.run(script, nodeName="second", **changes)
    return await ns.until("pods", pod["metadata"]["name"], is_running)


async def test_containers_die_with_a_killed_node(ns: Namespace, second_node: Daemon) -> None:
    await running_on_second(ns, "trap '' TERM HUP INT; (setsid sleep 100 &) ; sleep 100 & wait; sleep 100")
    await ns.until_processes(3)
    second_node.kill()
    await ns.until_no_process(limit=3)


async def test_a_pod_that_ran_on_a_killed_node_fails_and_is_not_run_again(ns: Namespace, second_node: Daemon, tmp_path: Path) -> None:
    pod = await running_on_second(ns, TWICE.format(file=tmp_path / "runs"))
    second_node.kill()
    second_node.start()
    pod = await ns.ended(pod)
    assert phase(pod) == "Failed"
    assert (end(pod)["exitCode"], end(pod)["reason"]) == (137, "ContainerStatusUnknown")
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert ns.processes() == []


async def test_an_end_that_a_killed_node_could_not_report_is_reported_by_the_next(
    ns: Namespace, second_node: Daemon, tmp_path: Path
) -> None:
    pod = await running_on_second(ns, f"until [ -e {tmp_path}/go ]; do sleep 0.02; done; printf done > $BACKSTAY_OUTPUT; exit 3")
    second_node.process.send_signal(signal.SIGSTOP)
    (tmp_path / "go").touch()
    await ns.until_no_process()
    second_node.kill()
    second_node.start()
    pod = await ns.ended(pod)
    assert (end(pod)["exitCode"], end(pod)["reason"], end(pod)["message"]) == (3, "Error", "done")


async def test_a_pod_that_was_not_begun_yet_is_begun_after_the_restart(ns: Namespace, second_node: Daemon) -> None:
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "later", "key": "key"}}}]
    pod = await ns.run('echo "$KEY" > $BACKSTAY_OUTPUT', nodeName="second", container={"env": env})
    await ns.until("pods", pod["metadata"]["name"], lambda pod: waiting(pod).get("reason") == "CreateContainerConfigError")
    second_node.kill()
    second_node.start()
    await ns.create("secrets", {"metadata": {"name": "later"}, "stringData": {"key": "value"}})
    pod = await ns.ended(pod)
    assert (phase(pod), end(pod)["message"]) == ("Succeeded", "value\n")


async def test_a_pod_that_was_deleted_while_the_node_was_away_is_let_go(ns: Namespace, second_node: Daemon) -> None:
    pod = await running_on_second(ns, "sleep 100")
    second_node.kill()
    await ns.delete("pods", pod["metadata"]["name"])
    second_node.start()
    await ns.until_gone("pods", pod["metadata"]["name"])


async def test_a_node_that_is_asked_to_end_reports_its_pods_as_disrupted(ns: Namespace, second_node: Daemon) -> None:
    pod = await running_on_second(ns, "sleep 100")
    assert second_node.stop() == 0
    assert ns.processes() == []
    pod = await ns.get("pods", pod["metadata"]["name"])
    assert (phase(pod), pod["status"]["reason"], end(pod)["exitCode"]) == ("Failed", "Terminated", 143)
    assert condition(pod, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    ready = next(c for c in (await ns.api.get("/api/v1/nodes/second"))["status"]["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "False"


async def test_a_killed_spawner_is_replaced_and_costs_no_pod(ns: Namespace, second_node: Daemon) -> None:
    first = await running_on_second(ns, "until [ -e $BACKSTAY_ROOT/go ]; do sleep 0.02; done")
    os.kill(parent_of(parent_of(top_process(ns))), signal.SIGKILL)
    second = await ns.run("exit 0", nodeName="second")
    assert phase(await ns.ended(second)) == "Succeeded"
    assert is_running(await ns.get("pods", first["metadata"]["name"]))
    await ns.delete("pods", first["metadata"]["name"])
    await ns.until_gone("pods", first["metadata"]["name"])
    assert ns.processes() == []


async def test_two_nodes_cannot_share_a_folder(ns: Namespace, second_node: Daemon) -> None:
    process = await asyncio.create_subprocess_exec(*second_node.command, stderr=asyncio.subprocess.PIPE)
    _, told = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"another node works in this folder" in told


async def test_what_a_pod_left_is_removed_with_its_object(ns: Namespace, second_node: Daemon) -> None:
    pod = await ns.ended(await ns.run("echo hello", nodeName="second"))
    node = second_node.log.parent / "node"
    folder = node / "pods" / pod["metadata"]["uid"]
    assert folder.exists()
    await ns.delete("pods", pod["metadata"]["name"])
    await ns.until_gone("pods", pod["metadata"]["name"])
    await until(lambda: not folder.exists() and not (node / "begun" / pod["metadata"]["uid"]).exists())


@pytest.mark.parametrize("kills", [3])
async def test_no_kill_makes_a_pod_run_twice(ns: Namespace, second_node: Daemon, tmp_path: Path, kills: int) -> None:
    pods = [await ns.run(f"echo $HOSTNAME >> {tmp_path}/runs; sleep 0.2", nodeName="second", name=f"pod-{number}") for number in range(12)]
    for _ in range(kills):
        second_node.kill()
        second_node.start()
    ends = [await ns.ended(pod) for pod in pods]
    runs = (tmp_path / "runs").read_text().split() if (tmp_path / "runs").exists() else []
    assert sorted(runs) == sorted(set(runs))
    for pod in ends:
        name = pod["metadata"]["name"]
        assert phase(pod) == "Failed" or name in runs, name
        assert container(pod)["restartCount"] == 0


def top_process(ns: Namespace) -> int:
    """Return the command of the container: the one of its processes whose parent is not one of them."""
    pids = processes_with(f"TEST_MARKER={ns.marker}")
    return next(pid for pid in pids if parent_of(pid) not in pids)
