"""Workspaces: what a job gets of them, as references, and how its pod looks then."""

from typing import Any

from backstay.engine.model import CreateJob
from backstay.kube.manifests import RunRef, claim, job
from tests.support.world import World

RUN = RunRef("uid-1", "order-7f2", "shop", workflow_name="order")
WORKFLOW = """
parameters: [{name: size}, {name: archive}]
workspaces:
- {name: data, claim: {storage: "${params.size}", storageClassName: fast}}
- {name: archive, existingClaim: "${params.archive}"}
- {name: keys, secret: {name: pay, items: [{key: token, path: t.txt}]}}
- {name: conf, configMap: {name: "conf-${run.name}", optional: true}}
steps:
- name: first
  job:
    image: x
    envFrom: [{prefix: S_, secretRef: {name: pay}}]
    workspaces:
    - {name: data, mountPath: /data}
    - {name: data, mountPath: /part, subPath: "${run.name}"}
    - {name: keys, mountPath: /keys}
    - {name: conf, mountPath: /conf}
- name: second
  job: {image: x, workspaces: [{name: data, mountPath: /in, readOnly: true}, {name: archive, mountPath: /archive}]}
"""
PARAMETERS = {"size": "2Gi", "archive": "old"}


def pod_of(effect: CreateJob) -> Any:
    return job(RUN, effect)["spec"]["template"]["spec"]


def test_both_steps_mount_the_one_claim_of_the_run_which_goes_with_it() -> None:
    world = World(WORKFLOW, PARAMETERS)
    first = world.made[0]
    world.succeed("first")
    second = world.made[1]
    (wanted,) = first.inputs["claims"]
    assert second.inputs["claims"] == first.inputs["claims"]
    assert wanted["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}},
        "storageClassName": "fast",
    }
    made = claim(RUN, wanted)
    assert made["metadata"]["name"].startswith("order-7f2-workspace-data-")
    assert made["metadata"]["labels"]["backstay.dev/made-by-run"] == "uid-1"
    assert "backstay.dev/run" not in made["metadata"]["labels"], "the operator takes what has that label for a Job of the run"
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["blockOwnerDeletion"]) == ("uid-1", False)
    for effect in (first, second):
        claimed = [volume["persistentVolumeClaim"] for volume in pod_of(effect)["volumes"] if volume["name"] == "workspace-data"]
        assert claimed == [{"claimName": wanted["name"]}]


def test_the_pod_has_each_volume_once_and_mounts_it_where_the_job_says() -> None:
    world = World(WORKFLOW, PARAMETERS)
    pod = pod_of(world.made[0])
    assert [volume["name"] for volume in pod["volumes"]] == ["workspace-data", "workspace-keys", "workspace-conf"]
    assert pod["volumes"][1]["secret"] == {"secretName": "pay", "items": [{"key": "token", "path": "t.txt"}]}
    assert pod["volumes"][2]["configMap"] == {"name": "conf-order-7f2", "optional": True}
    assert pod["containers"][0]["volumeMounts"] == [
        {"name": "workspace-data", "mountPath": "/data"},
        {"name": "workspace-data", "mountPath": "/part", "subPath": "order-7f2"},
        {"name": "workspace-keys", "mountPath": "/keys", "readOnly": True},
        {"name": "workspace-conf", "mountPath": "/conf", "readOnly": True},
    ]
    assert pod["containers"][0]["envFrom"] == [{"prefix": "S_", "secretRef": {"name": "pay"}}]
    assert (pod["securityContext"]["fsGroup"], pod["securityContext"]["runAsNonRoot"]) == (65532, True)
    world.succeed("first")
    later = pod_of(world.made[1])
    assert later["volumes"][1] == {"name": "workspace-archive", "persistentVolumeClaim": {"claimName": "old"}}


def test_what_only_mounts_what_is_somebody_elses_leaves_its_group_alone() -> None:
    world = World(
        "workspaces: [{name: d, existingClaim: old}]\nsteps: [{name: a, job: {image: x, workspaces: [{name: d, mountPath: /d}]}}]"
    )
    assert "fsGroup" not in pod_of(world.made[0])["securityContext"]
    assert "claims" not in world.made[0].inputs


def test_a_template_keeps_its_volumes_and_its_own_group() -> None:
    world = World(
        """
workspaces: [{name: d, claim: {storage: 1Gi, name: "d-${run.name}"}}]
steps:
- name: a
  job:
    image: x
    workspaces: [{name: d, mountPath: /d}]
    template:
      spec:
        securityContext: {fsGroup: 7}
        volumes: [{name: own, emptyDir: {}}]
        containers: [{name: main, volumeMounts: [{name: own, mountPath: /own}, {name: own, mountPath: /d}]}]
"""
    )
    pod = pod_of(world.made[0])
    assert [volume["name"] for volume in pod["volumes"]] == ["own", "workspace-d"]
    assert [(mount["name"], mount["mountPath"]) for mount in pod["containers"][0]["volumeMounts"]] == [
        ("own", "/own"),
        ("workspace-d", "/d"),
    ]
    assert pod["securityContext"]["fsGroup"] == 7
    assert pod["volumes"][1]["persistentVolumeClaim"] == {"claimName": "d-order-7f2"}


def test_a_sub_path_that_leaves_the_workspace_fails_the_step() -> None:
    world = World(
        """
parameters: [{name: p}]
workspaces: [{name: d, existingClaim: old}]
steps: [{name: a, job: {image: x, workspaces: [{name: d, mountPath: /d, subPath: "${params.p}"}]}}]
""",
        {"p": "../etc"},
    )
    assert (world.phase, world.made) == ("Failed", [])
    assert "leaves the workspace" in world.status["error"]["detail"]
