"""What a pod's own status tells of it, and that nothing of it outlives it. The same on the embedded cluster and on a real control plane."""

import asyncio
import base64
import os
import signal
from datetime import datetime

import pytest

from tests.embedded.node.harness import Namespace, condition, container, end, is_running, parent_of, phase, program_of, waiting


async def test_a_command_that_succeeds_makes_the_pod_succeed(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("exit 0"))
    assert phase(pod) == "Succeeded"
    assert (end(pod)["exitCode"], end(pod)["reason"]) == (0, "Completed")
    assert not condition(pod, "Ready")


async def test_an_exit_code_is_told(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("exit 42"))
    assert phase(pod) == "Failed"
    assert (end(pod)["exitCode"], end(pod)["reason"]) == (42, "Error")


async def test_a_signal_is_told_as_128_more(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("kill -9 $$$$"))
    assert end(pod)["exitCode"] == 137


async def test_the_termination_message_is_what_the_file_holds(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("""printf '{"v":1}' > $BACKSTAY_OUTPUT"""))
    assert end(pod)["message"] == '{"v":1}'


async def test_a_long_termination_message_keeps_its_last_4096_bytes(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("{ head -c 5000 /dev/zero | tr '\\0' a; printf END; } > $BACKSTAY_OUTPUT"))
    assert len(end(pod)["message"]) == 4096
    assert end(pod)["message"].endswith("aEND")


async def test_a_failed_container_can_show_the_end_of_its_log_instead(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("echo went wrong; exit 1", container={"terminationMessagePolicy": "FallbackToLogsOnError"}))
    assert end(pod)["message"] == "went wrong\n"


async def test_a_command_that_does_not_exist_is_told_as_a_start_error(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run(container={"command": ["no-such-command"]}))
    assert phase(pod) == "Failed"
    assert (end(pod)["exitCode"], end(pod)["reason"]) == (128, "StartError")
    assert '"no-such-command": executable file not found in $PATH' in end(pod)["message"]


async def test_a_pod_past_its_deadline_fails_with_the_reason(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("sleep 100", activeDeadlineSeconds=1))
    assert (phase(pod), pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    await ns.until_no_process(limit=1)


async def test_deletion_ends_the_command_and_whatever_it_started(ns: Namespace) -> None:
    pod = await ns.run("(setsid sh -c 'trap \"\" TERM; sleep 100 & wait; sleep 100' &) ; sh -c 'sleep 100 & wait' & wait")
    name = pod["metadata"]["name"]
    await ns.until_processes(5)
    await ns.delete("pods", name)
    await ns.until_gone("pods", name)
    assert ns.processes() == []


async def test_a_command_has_its_grace_period_to_finish_in_order(ns: Namespace) -> None:
    script = "trap 'echo bye > $BACKSTAY_OUTPUT; exit 3' TERM; touch ready; while :; do sleep 0.05; done"
    pod = await ns.run(script, terminationGracePeriodSeconds=15)
    pod = await ns.until("pods", pod["metadata"]["name"], is_running)
    await ns.api.patch(ns.path("pods", pod["metadata"]["name"]), {"metadata": {"finalizers": ["test/keep"]}})
    await ns.delete("pods", pod["metadata"]["name"])
    pod = await ns.ended(pod)
    await ns.api.patch(ns.path("pods", pod["metadata"]["name"]), {"metadata": {"finalizers": None}})
    assert (phase(pod), end(pod)["exitCode"], end(pod)["message"]) == ("Failed", 3, "bye\n")
    await ns.until_gone("pods", pod["metadata"]["name"])


async def test_a_command_that_ignores_sigterm_is_killed_after_its_grace_period(ns: Namespace) -> None:
    pod = await ns.run("trap '' TERM; while :; do sleep 0.05; done", terminationGracePeriodSeconds=1)
    await ns.until("pods", pod["metadata"]["name"], is_running)
    began = asyncio.get_running_loop().time()
    await ns.delete("pods", pod["metadata"]["name"])
    await ns.until_gone("pods", pod["metadata"]["name"])
    assert 0.9 < asyncio.get_running_loop().time() - began < 10
    assert ns.processes() == []


async def test_a_second_deletion_can_shorten_the_grace_period(ns: Namespace) -> None:
    pod = await ns.run("trap '' TERM; while :; do sleep 0.05; done", terminationGracePeriodSeconds=60)
    name = pod["metadata"]["name"]
    await ns.until("pods", name, is_running)
    await ns.delete("pods", name)
    await ns.until("pods", name, lambda pod: pod["metadata"].get("deletionTimestamp"))
    await ns.delete("pods", name, gracePeriodSeconds=1)
    await ns.until_gone("pods", name, limit=10)


async def test_a_force_deleted_pod_leaves_no_process(ns: Namespace) -> None:
    pod = await ns.run("sleep 100")
    await ns.until_processes(1)
    await ns.delete("pods", pod["metadata"]["name"], gracePeriodSeconds=0)
    await ns.until_gone("pods", pod["metadata"]["name"])
    await ns.until_no_process()


async def test_background_processes_end_with_the_command(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("(setsid sleep 100 &) ; exit 0"))
    assert phase(pod) == "Succeeded"
    assert ns.processes() == []


async def test_killing_the_supervisor_of_a_container_kills_the_container_and_is_told(ns: Namespace) -> None:
    pod = await ns.run("(setsid sleep 100 &) ; sleep 100")
    await ns.until_processes(3)
    shell = next(pid for pid in ns.processes() if program_of(pid) != "sleep")
    os.kill(parent_of(shell), signal.SIGKILL)
    pod = await ns.ended(pod)
    assert (end(pod)["exitCode"], end(pod)["reason"]) == (137, "ContainerStatusUnknown")
    await ns.until_no_process(limit=2)


async def test_variables_come_from_secrets_config_maps_and_the_pod_itself(ns: Namespace) -> None:
    await ns.create("secrets", {"metadata": {"name": "s"}, "data": {"password": base64.b64encode(b"hunter2").decode()}})
    await ns.create("configmaps", {"metadata": {"name": "c"}, "data": {"colour": "red", "shape": "round"}})
    env = [
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['missing']"}}},
        {"name": "NOTHING", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": True}}},
        {"name": "COMPOSED", "value": "$(POD)-$(UNKNOWN)-$$(POD)"},
    ]
    script = 'echo "$PASSWORD $POD [$LABEL] [${NOTHING-unset}] $COMPOSED $CM_colour $0" > $BACKSTAY_OUTPUT'
    changes = {"env": env, "envFrom": [{"prefix": "CM_", "configMapRef": {"name": "c"}}], "command": ["sh", "-c", script, "$(CM_shape)"]}
    pod = await ns.ended(await ns.run(container=changes))
    name = pod["metadata"]["name"]
    assert end(pod)["message"] == f"hunter2 {name} [] [unset] {name}-$(UNKNOWN)-$(POD) red round\n"


async def test_a_missing_secret_is_waited_for_and_named(ns: Namespace) -> None:
    env = [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "later", "key": "password"}}}]
    pod = await ns.run('echo "$PASSWORD" > $BACKSTAY_OUTPUT', container={"env": env})
    pod = await ns.until("pods", pod["metadata"]["name"], lambda pod: waiting(pod).get("reason") == "CreateContainerConfigError")
    assert (phase(pod), waiting(pod)["message"]) == ("Pending", 'secret "later" not found')
    await ns.create("secrets", {"metadata": {"name": "later"}, "stringData": {"password": "here"}})
    assert end(await ns.ended(pod))["message"] == "here\n"


async def test_a_missing_key_of_a_config_map_is_named(ns: Namespace) -> None:
    await ns.create("configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    env = [{"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "b"}}}]
    pod = await ns.run("true", container={"env": env})
    pod = await ns.until("pods", pod["metadata"]["name"], lambda pod: waiting(pod).get("reason") == "CreateContainerConfigError")
    assert waiting(pod)["message"] == f"couldn't find key b in ConfigMap {ns.name}/c"


async def test_volumes_are_folders_below_the_root_of_the_container(ns: Namespace) -> None:
    await ns.create("configmaps", {"metadata": {"name": "c"}, "data": {"app.ini": "size=3\n"}})
    volumes = [{"name": "config", "configMap": {"name": "c"}}, {"name": "scratch", "emptyDir": {}}]
    mounts = [{"name": "config", "mountPath": "/etc/app"}, {"name": "scratch", "mountPath": "/work"}]
    init = {
        "name": "prepare",
        "image": "busybox",
        "command": ["sh", "-c", 'cp "$0" "$1"', "/etc/app/app.ini", "/work/copy"],
        "volumeMounts": mounts,
    }
    script = 'cat "$COPY" "$BACKSTAY_ROOT/etc/app/app.ini" > $BACKSTAY_OUTPUT'
    changes = {"volumeMounts": mounts, "env": [{"name": "COPY", "value": "/work/copy"}]}
    pod = await ns.ended(await ns.run(script, container=changes, volumes=volumes, initContainers=[init]))
    assert end(pod)["message"] == "size=3\nsize=3\n"


async def test_a_volume_whose_secret_is_missing_is_waited_for(ns: Namespace) -> None:
    volumes, mounts = [{"name": "v", "secret": {"secretName": "later"}}], [{"name": "v", "mountPath": "/v"}]
    pod = await ns.run('cat "$BACKSTAY_ROOT/v/key" > $BACKSTAY_OUTPUT', container={"volumeMounts": mounts}, volumes=volumes)
    pod = await ns.until("pods", pod["metadata"]["name"], lambda pod: waiting(pod).get("message"))
    assert (waiting(pod)["reason"], waiting(pod)["message"]) == ("ContainerCreating", 'secret "later" not found')
    await ns.create("secrets", {"metadata": {"name": "later"}, "stringData": {"key": "open"}})
    assert end(await ns.ended(pod))["message"] == "open"


async def test_init_containers_run_in_order_and_the_first_failure_ends_the_pod(ns: Namespace) -> None:
    inits = [
        {"name": name, "image": "busybox", "command": ["sh", "-c", f"exit {code}"]} for name, code in (("one", 0), ("two", 7), ("three", 0))
    ]
    pod = await ns.ended(await ns.run("true", initContainers=inits))
    codes = [status["state"].get("terminated", {}).get("exitCode") for status in pod["status"]["initContainerStatuses"]]
    assert (phase(pod), codes) == ("Failed", [0, 7, None])


async def test_a_claim_is_a_folder_that_all_pods_share_and_that_goes_with_it(ns: Namespace) -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    script = "(cat $BACKSTAY_ROOT/data/note || echo nothing) > $BACKSTAY_OUTPUT; echo first > $BACKSTAY_ROOT/data/note"
    for _ in range(2):  # the second claim of that name is another: it begins with nothing
        await ns.create("persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": spec})
        for seen in ("nothing", "first"):
            pod = await ns.ended(await ns.run(script, container=mounts, volumes=volumes))
            assert end(pod)["message"] == f"{seen}\n"
            await ns.delete("pods", pod["metadata"]["name"], gracePeriodSeconds=0)
        claim = await ns.get("persistentvolumeclaims", "data")
        assert (claim["status"]["phase"], claim["status"]["capacity"]) == ("Bound", {"storage": "1Mi"})
        await ns.delete("persistentvolumeclaims", "data")
        await ns.until_gone("persistentvolumeclaims", "data")


async def test_a_sidecar_runs_beside_and_ends_with_the_others(ns: Namespace) -> None:
    sidecar = {"name": "side", "image": "busybox", "restartPolicy": "Always", "command": ["sh", "-c", "touch $SHARED/up; sleep 100"]}
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    sidecar |= {"env": [{"name": "SHARED", "value": "/shared"}, {"name": "TEST_MARKER", "value": ns.marker}], "volumeMounts": mounts}
    script = "until [ -e $BACKSTAY_ROOT/shared/up ]; do sleep 0.02; done"
    pod = await ns.ended(
        await ns.run(script, container={"volumeMounts": mounts}, volumes=[{"name": "shared", "emptyDir": {}}], initContainers=[sidecar])
    )
    assert phase(pod) == "Succeeded"
    assert ns.processes() == []


async def test_an_image_that_cannot_be_pulled_is_waited_for_as_a_kubelet_does(ns: Namespace) -> None:
    pod = await ns.run("true", container={"image": "backstay.test/missing:1"})
    name = pod["metadata"]["name"]
    pod = await ns.until("pods", name, lambda pod: waiting(pod).get("reason") in ("ErrImagePull", "ImagePullBackOff"))
    assert 'failed to pull image "backstay.test/missing:1"' in waiting(pod)["message"]
    pod = await ns.until("pods", name, lambda pod: waiting(pod).get("reason") == "ImagePullBackOff")
    assert phase(pod) == "Pending"
    await ns.delete("pods", name)
    await ns.until_gone("pods", name)


async def test_an_image_without_a_known_command_says_what_to_do(ns: Namespace) -> None:
    pod = await ns.run(container={"image": "nobody/knows:1", "command": None})
    pod = await ns.until("pods", pod["metadata"]["name"], lambda pod: waiting(pod).get("reason") in ("ErrImagePull", "ImagePullBackOff"))
    assert "give the container a command, or add it to" in waiting(pod)["message"]


async def test_a_malformed_image_name_is_told(ns: Namespace) -> None:
    pod = await ns.run(container={"image": "Not An Image"})
    await ns.until("pods", pod["metadata"]["name"], lambda pod: waiting(pod).get("reason") == "InvalidImageName")


@pytest.mark.parametrize(("args", "told"), [(None, "mapped usual\n"), (["special"], "mapped special\n")])
async def test_a_mapped_image_brings_its_command_files_and_variables(ns: Namespace, args: list[str] | None, told: str) -> None:
    pod = await ns.ended(await ns.run(container={"image": "shop/tool:1", "command": None, "args": args}))
    assert phase(pod) == "Succeeded"
    assert ns.kubectl("logs", pod["metadata"]["name"]).stdout == told


async def test_a_container_that_fails_is_restarted_where_the_policy_says_so(ns: Namespace) -> None:
    volumes, mounts = [{"name": "v", "emptyDir": {}}], [{"name": "v", "mountPath": "/v"}]
    script = "n=$(cat $BACKSTAY_ROOT/v/n 2>/dev/null || echo 0); echo $((n+1)) > $BACKSTAY_ROOT/v/n; echo run $n; exit $((1-n))"
    pod = await ns.run(script, container={"volumeMounts": mounts}, volumes=volumes, restartPolicy="OnFailure")
    pod = await ns.ended(pod)
    assert (phase(pod), container(pod)["restartCount"]) == ("Succeeded", 1)
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 1
    assert ns.kubectl("logs", pod["metadata"]["name"]).stdout == "run 1\n"
    assert ns.kubectl("logs", "--previous", pod["metadata"]["name"]).stdout == "run 0\n"


async def test_a_pod_that_runs_for_a_while_is_running_and_ready(ns: Namespace) -> None:
    pod = await ns.run("sleep 100")
    pod = await ns.until("pods", pod["metadata"]["name"], lambda pod: condition(pod, "Ready"))
    assert phase(pod) == "Running"
    assert container(pod)["ready"]
    assert datetime.fromisoformat(container(pod)["state"]["running"]["startedAt"]).tzinfo is not None


async def test_a_variable_that_is_too_long_for_the_system_is_told(ns: Namespace) -> None:
    pod = await ns.ended(await ns.run("true", container={"env": [{"name": "LONG", "value": "x" * 200_000}]}))
    assert end(pod)["reason"] == "StartError"
    assert "argument list too long" in end(pod)["message"]
