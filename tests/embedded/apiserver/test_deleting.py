"""Deletion: finalizers, grace, the three propagations, namespaces and definitions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backstay.local.apiserver.gc import expire_events
from tests.embedded.apiserver.harness import Api, until
from tests.embedded.apiserver.paths import CONFIG_MAPS, CORE, JOBS, NAMESPACES, PODS, WIDGETS
from tests.embedded.apiserver.widgets import CRDS_PATH, definition, widget

POD_SPEC = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}
HOLD = "example.com/hold"


def owned_by(owner: dict[str, Any], *, blocks: bool = False) -> dict[str, Any]:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {"ownerReferences": [reference | ({"blockOwnerDeletion": True} if blocks else {})]}


async def family(api: Api, *, blocks: bool = False) -> tuple[str, str, str]:
    """Create parent → child → grandchild; return their paths."""
    parent = await api.create(WIDGETS, widget("parent"))
    child = await api.create(WIDGETS, widget("child", metadata=owned_by(parent, blocks=blocks)))
    await api.create(CONFIG_MAPS, {"metadata": {"name": "grandchild", **owned_by(child, blocks=blocks)}})
    return f"{WIDGETS}/parent", f"{WIDGETS}/child", f"{CONFIG_MAPS}/grandchild"


async def let_go(api: Api, path: str) -> None:
    await api.merge(path, {"metadata": {"finalizers": None}})


# ── finalizers and preconditions ────────────────────────────────────────────────────────────────


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(api: Api) -> None:
    await api.create(WIDGETS, widget("one", metadata={"finalizers": [HOLD]}))
    marked = await api.delete(f"{WIDGETS}/one")
    assert marked["metadata"]["deletionTimestamp"]
    await api.merge(f"{WIDGETS}/one", {"spec": {"size": 2}})
    await let_go(api, f"{WIDGETS}/one")
    assert not await api.exists(f"{WIDGETS}/one")


async def test_a_deletion_cannot_be_taken_back_nor_new_finalizers_put_on(api: Api) -> None:
    await api.create(WIDGETS, widget("one", metadata={"finalizers": [HOLD]}))
    marked = await api.delete(f"{WIDGETS}/one")
    kept = await api.merge(f"{WIDGETS}/one", {"metadata": {"deletionTimestamp": None}})
    assert kept["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    body = {"metadata": {"finalizers": [HOLD, "example.com/more"]}}
    await api.refused(422, "PATCH", f"{WIDGETS}/one", body, type_="application/merge-patch+json")


async def test_a_deletion_with_conditions_happens_only_where_they_hold(api: Api) -> None:
    made = await api.create(WIDGETS, widget("one"))
    await api.merge(f"{WIDGETS}/one", {"spec": {"size": 2}})
    stale = {"preconditions": {"resourceVersion": made["metadata"]["resourceVersion"]}}
    await api.refused(409, "DELETE", f"{WIDGETS}/one", stale)
    await api.refused(409, "DELETE", f"{WIDGETS}/one", {"preconditions": {"uid": "another"}})
    await api.delete(f"{WIDGETS}/one", preconditions={"uid": made["metadata"]["uid"]})
    assert not await api.exists(f"{WIDGETS}/one")


async def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    for name, side in (("a", "left"), ("b", "left"), ("c", "right")):
        await api.create(WIDGETS, widget(name, metadata={"labels": {"side": side}}))
    await api.delete(f"{WIDGETS}?labelSelector=side=left")
    assert (await api.ask("GET", WIDGETS)).names == ["c"]


# ── pods ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_pod_without_a_node_goes_at_once(api: Api) -> None:
    await api.create(PODS, {"metadata": {"name": "pod"}, "spec": POD_SPEC})
    await api.delete(f"{PODS}/pod")
    assert not await api.exists(f"{PODS}/pod")


async def test_a_pod_on_a_node_stays_for_its_grace_until_the_node_lets_it_go(api: Api) -> None:
    await api.create(PODS, {"metadata": {"name": "pod"}, "spec": {**POD_SPEC, "terminationGracePeriodSeconds": 40}})
    await api.create(f"{PODS}/pod/binding", {"target": {"kind": "Node", "name": "n1"}})
    marked = await api.delete(f"{PODS}/pod")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 40
    sooner = await api.delete(f"{PODS}/pod", gracePeriodSeconds=10)
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 10
    assert sooner["metadata"]["deletionTimestamp"] < marked["metadata"]["deletionTimestamp"]
    assert (await api.delete(f"{PODS}/pod", gracePeriodSeconds=99))["metadata"]["deletionGracePeriodSeconds"] == 10
    await api.delete(f"{PODS}/pod", gracePeriodSeconds=0)
    assert not await api.exists(f"{PODS}/pod")


async def test_a_pod_that_has_ended_needs_no_grace(api: Api) -> None:
    await api.create(PODS, {"metadata": {"name": "pod"}, "spec": POD_SPEC})
    await api.create(f"{PODS}/pod/binding", {"target": {"kind": "Node", "name": "n1"}})
    await api.merge(f"{PODS}/pod/status", {"status": {"phase": "Succeeded"}})
    await api.delete(f"{PODS}/pod")
    assert not await api.exists(f"{PODS}/pod")


async def test_a_finalizer_holds_a_pod_after_its_grace(api: Api) -> None:
    await api.create(PODS, {"metadata": {"name": "pod", "finalizers": ["batch.kubernetes.io/job-tracking"]}, "spec": POD_SPEC})
    await api.delete(f"{PODS}/pod", gracePeriodSeconds=0)
    assert await api.exists(f"{PODS}/pod")
    await let_go(api, f"{PODS}/pod")
    assert not await api.exists(f"{PODS}/pod")


async def test_an_eviction_deletes_a_pod(api: Api) -> None:
    await api.create(PODS, {"metadata": {"name": "pod"}, "spec": POD_SPEC})
    await api.create(f"{PODS}/pod/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "pod"}})
    assert not await api.exists(f"{PODS}/pod")


# ── propagation ─────────────────────────────────────────────────────────────────────────────────


async def test_in_the_background_the_owner_goes_first_and_its_dependents_follow(api: Api) -> None:
    parent, child, grandchild = await family(api)
    await api.delete(parent, propagationPolicy="Background")
    assert not await api.exists(parent)
    await api.until_gone(child, grandchild)


async def test_background_is_what_happens_without_a_policy(api: Api) -> None:
    parent, child, grandchild = await family(api)
    await api.delete(parent)
    await api.until_gone(child, grandchild)


async def test_in_the_foreground_the_owner_waits_for_dependents_that_block_it(api: Api) -> None:
    parent, child, grandchild = await family(api, blocks=True)
    await api.merge(grandchild, {"metadata": {"finalizers": [HOLD]}})
    marked = await api.delete(parent, propagationPolicy="Foreground")
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
    await until(lambda: _is_marked(api, grandchild), "the grandchild is not being deleted")
    assert await api.exists(parent)
    assert await api.exists(child)
    await let_go(api, grandchild)
    await api.until_gone(grandchild, child, parent)


async def _is_marked(api: Api, path: str) -> bool:
    return "deletionTimestamp" in (await api.get(path))["metadata"]


async def test_in_the_foreground_dependents_that_do_not_block_follow_later(api: Api) -> None:
    parent, child, grandchild = await family(api)
    await api.merge(child, {"metadata": {"finalizers": [HOLD]}})
    await api.delete(parent, propagationPolicy="Foreground")
    await api.until_gone(parent)
    await until(lambda: _is_marked(api, child), "the child is not being deleted")
    await let_go(api, child)
    await api.until_gone(child, grandchild)


async def test_orphans_lose_their_reference_and_stay(api: Api) -> None:
    parent, child, grandchild = await family(api)
    await api.delete(parent, propagationPolicy="Orphan")
    await api.until_gone(parent)
    assert "ownerReferences" not in (await api.get(child))["metadata"]
    assert await api.exists(grandchild)


async def test_a_dependent_with_another_owner_stays_and_forgets_the_one_that_went(api: Api) -> None:
    one, two = await api.create(WIDGETS, widget("one")), await api.create(WIDGETS, widget("two"))
    references = owned_by(one)["ownerReferences"] + owned_by(two)["ownerReferences"]
    await api.create(CONFIG_MAPS, {"metadata": {"name": "shared", "ownerReferences": references}})
    await api.delete(f"{WIDGETS}/one")

    async def left() -> list[str]:
        owners = (await api.get(f"{CONFIG_MAPS}/shared"))["metadata"]["ownerReferences"]
        return ["two"] if [owner["name"] for owner in owners] == ["two"] else []

    await until(left, "the reference to the owner that went is still there")
    await api.delete(f"{WIDGETS}/two")
    await api.until_gone(f"{CONFIG_MAPS}/shared")


async def test_what_is_made_for_an_owner_that_is_not_there_is_collected(api: Api) -> None:
    gone = await api.create(WIDGETS, widget("gone"))
    await api.delete(f"{WIDGETS}/gone")
    await api.create(CONFIG_MAPS, {"metadata": {"name": "late", **owned_by(gone)}})
    await api.until_gone(f"{CONFIG_MAPS}/late")


async def test_a_new_owner_of_the_same_name_is_another_owner(api: Api) -> None:
    old = await api.create(WIDGETS, widget("one"))
    await api.delete(f"{WIDGETS}/one")
    await api.create(WIDGETS, widget("one"))
    await api.create(CONFIG_MAPS, {"metadata": {"name": "late", **owned_by(old)}})
    await api.until_gone(f"{CONFIG_MAPS}/late")


async def test_events_go_an_hour_after_they_were_last_seen(api: Api) -> None:
    now = datetime.now(UTC)
    about = {"kind": "Widget", "name": "one", "namespace": "default"}
    for name, minutes in (("seen-again", 30), ("long-ago", -300)):
        seen = (now + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        await api.create(f"{CORE}/events", {"metadata": {"name": name}, "involvedObject": about, "reason": "R", "lastTimestamp": seen})
    cluster = replace(api.server.cluster, clock=lambda: now + timedelta(minutes=70))
    expire_events(cluster)
    assert (await api.ask("GET", f"{CORE}/events")).names == ["seen-again"]


async def test_a_finalizer_of_the_dependent_is_honoured(api: Api) -> None:
    parent, child, _ = await family(api)
    await api.merge(child, {"metadata": {"finalizers": [HOLD]}})
    await api.delete(parent)
    await until(lambda: _is_marked(api, child), "the child is not being deleted")
    await let_go(api, child)
    await api.until_gone(child)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_a_job_takes_its_pods_along(api: Api, policy: str) -> None:
    job = await api.create(
        JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": {"spec": POD_SPEC}}}
    )
    for name in ("a", "b"):
        await api.create(PODS, {"metadata": {"name": name, **owned_by(job, blocks=True)}, "spec": POD_SPEC})
    await api.delete(f"{JOBS}/job", propagationPolicy=policy)
    await api.until_gone(f"{JOBS}/job", f"{PODS}/a", f"{PODS}/b")


# ── namespaces and definitions ──────────────────────────────────────────────────────────────────


async def test_a_namespace_is_emptied_refuses_what_is_new_and_then_goes(api: Api) -> None:
    await api.create(NAMESPACES, {"metadata": {"name": "team"}})
    theirs, core = WIDGETS.replace("default", "team"), CORE.replace("default", "team")
    await api.create(theirs, widget("held", metadata={"finalizers": [HOLD]}))
    await api.create(f"{core}/configmaps", {"metadata": {"name": "cm"}})
    marked = await api.delete(f"{NAMESPACES}/team")
    assert marked["status"]["phase"] == "Terminating"
    await api.until_gone(f"{core}/configmaps/cm", f"{core}/serviceaccounts/default")
    late = await api.refused(403, "POST", f"{core}/configmaps", {"metadata": {"name": "late"}})
    assert late.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    namespace = await until(lambda: _told(api, "team"), "the namespace does not tell what is left")
    assert HOLD in namespace["NamespaceFinalizersRemaining"]
    assert "widgets.example.com has 1 resource instances" in namespace["NamespaceContentRemaining"]
    await let_go(api, f"{theirs}/held")
    await api.until_gone(f"{NAMESPACES}/team")
    await api.create(NAMESPACES, {"metadata": {"name": "team"}})
    assert (await api.ask("GET", theirs)).names == []


async def _told(api: Api, name: str) -> dict[str, str]:
    status = (await api.get(f"{NAMESPACES}/{name}"))["status"]
    told = {each["type"]: each["message"] for each in status.get("conditions", []) if each["status"] == "True"}
    return told if "configmaps" not in str(told) else {}


async def test_what_is_in_a_namespace_that_ends_can_still_be_changed(api: Api) -> None:
    await api.create(NAMESPACES, {"metadata": {"name": "team"}})
    held = f"{WIDGETS.replace('default', 'team')}/held"
    await api.create(WIDGETS.replace("default", "team"), widget("held", metadata={"finalizers": [HOLD]}))
    await api.delete(f"{NAMESPACES}/team")
    await api.merge(f"{held}/status", {"status": {"phase": "Undoing"}})
    await let_go(api, held)
    await api.until_gone(f"{NAMESPACES}/team")


async def test_a_namespace_can_be_let_go_by_force(api: Api) -> None:
    await api.create(NAMESPACES, {"metadata": {"name": "team"}})
    await api.create(WIDGETS.replace("default", "team"), widget("held", metadata={"finalizers": [HOLD]}))
    namespace = await api.delete(f"{NAMESPACES}/team")
    namespace["spec"]["finalizers"] = []
    current = await api.get(f"{NAMESPACES}/team")
    namespace["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
    await api.ok("PUT", f"{NAMESPACES}/team/finalize", namespace)
    await api.until_gone(f"{NAMESPACES}/team")


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_the_systems_namespaces_stay(api: Api, name: str) -> None:
    answer = await api.refused(403, "DELETE", f"{NAMESPACES}/{name}")
    assert answer.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_a_definition_takes_its_objects_along_and_waits_for_their_finalizers(api: Api) -> None:
    crd = f"{CRDS_PATH}/widgets.example.com"
    await api.create(WIDGETS, widget("free"))
    await api.create(WIDGETS, widget("held", metadata={"finalizers": [HOLD]}))
    await api.delete(crd)
    await api.until_gone(f"{WIDGETS}/free")
    await api.refused(403, "POST", WIDGETS, widget("late"))
    await let_go(api, f"{WIDGETS}/held")
    await api.until_gone(crd)
    assert (await api.ask("GET", WIDGETS)).status == 404
    await api.create(CRDS_PATH, definition())
    assert (await api.ask("GET", WIDGETS)).names == []
