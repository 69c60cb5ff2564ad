"""Merge, JSON and strategic patches; what server-side apply does to ownership is in test_applying.py."""

from typing import Any

import pytest

from tests.embedded.apiserver.harness import JSON_PATCH, STRATEGIC, Api
from tests.embedded.apiserver.paths import CONFIG_MAPS, JOBS, PODS, WIDGETS
from tests.embedded.apiserver.widgets import widget

POD = {
    "metadata": {"name": "pod", "finalizers": ["example.com/a", "example.com/b"]},
    "spec": {
        "nodeSelector": {"a": "1", "b": "2"},
        "containers": [
            {"name": "main", "image": "x:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["run"]},
            {"name": "side", "image": "y:1"},
        ],
    },
}


async def test_a_merge_patch_merges_maps_replaces_lists_and_removes_with_null(api: Api) -> None:
    await api.create(WIDGETS, widget("one", spec={"size": 2, "color": "red", "tags": ["a", "b"], "labels": {"k": "1", "l": "2"}}))
    patched = await api.merge(f"{WIDGETS}/one", {"spec": {"tags": ["c"], "labels": {"k": None, "m": "3"}}})
    assert patched["spec"] == {"size": 2, "color": "red", "tags": ["c"], "labels": {"l": "2", "m": "3"}}


async def test_a_patch_with_a_version_is_refused_when_it_is_stale(api: Api) -> None:
    made = await api.create(WIDGETS, widget("one"))
    condition = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}
    await api.merge(f"{WIDGETS}/one", condition | {"spec": {"size": 2}})
    await api.refused(409, "PATCH", f"{WIDGETS}/one", condition | {"spec": {"size": 3}}, type_="application/merge-patch+json")
    await api.merge(f"{WIDGETS}/one", {"spec": {"size": 4}})


OPERATIONS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "add": ([{"op": "add", "path": "/spec/labels", "value": {"x": "y"}}], {"size": 2, "tags": ["a", "b"], "labels": {"x": "y"}}),
    "append": ([{"op": "add", "path": "/spec/tags/-", "value": "c"}], {"size": 2, "tags": ["a", "b", "c"]}),
    "insert": ([{"op": "add", "path": "/spec/tags/0", "value": "c"}], {"size": 2, "tags": ["c", "a", "b"]}),
    "remove": ([{"op": "remove", "path": "/spec/tags/0"}], {"size": 2, "tags": ["b"]}),
    "replace": ([{"op": "replace", "path": "/spec/size", "value": 9}], {"size": 9, "tags": ["a", "b"]}),
    "move": ([{"op": "move", "from": "/spec/tags/1", "path": "/spec/tags/0"}], {"size": 2, "tags": ["b", "a"]}),
    "copy": ([{"op": "copy", "from": "/spec/tags/0", "path": "/spec/color"}, {"op": "replace", "path": "/spec/color", "value": "red"}],
             {"size": 2, "tags": ["a", "b"], "color": "red"}),
    "test": ([{"op": "test", "path": "/spec/size", "value": 2}, {"op": "remove", "path": "/spec/size"}], {"size": 1, "tags": ["a", "b"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_json_patch_does_what_rfc_6902_says(api: Api, name: str) -> None:
    operations, wanted = OPERATIONS[name]
    await api.create(WIDGETS, widget("one", spec={"size": 2, "tags": ["a", "b"]}))
    assert (await api.ok("PATCH", f"{WIDGETS}/one", operations, type_=JSON_PATCH))["spec"] == wanted


async def test_a_json_patch_whose_test_fails_changes_nothing(api: Api) -> None:
    made = await api.create(WIDGETS, widget("one", spec={"size": 2}))
    operations = [{"op": "replace", "path": "/spec/size", "value": 3}, {"op": "test", "path": "/spec/size", "value": 2}]
    await api.refused(422, "PATCH", f"{WIDGETS}/one", operations, type_=JSON_PATCH)
    assert await api.get(f"{WIDGETS}/one") == made


async def strategic(api: Api, spec: dict[str, Any], metadata: dict[str, Any] | None = None) -> Any:
    """Return what a strategic merge patch of the pod would come to."""
    await api.create(PODS, POD)
    body = {"spec": spec} | ({"metadata": metadata} if metadata else {})
    return await api.ok("PATCH", f"{PODS}/pod?dryRun=All", body, type_=STRATEGIC)


async def test_a_strategic_patch_merges_containers_by_name(api: Api) -> None:
    patched = await strategic(api, {"containers": [{"name": "side", "image": "y:2"}]})
    assert [(each["name"], each["image"]) for each in patched["spec"]["containers"]] == [("main", "x:1"), ("side", "y:2")]


async def test_a_strategic_patch_adds_to_lists_of_scalars_that_merge(api: Api) -> None:
    patched = await strategic(api, {}, {"finalizers": ["example.com/c", "example.com/a"]})
    assert patched["metadata"]["finalizers"] == ["example.com/c", "example.com/a", "example.com/b"]


async def test_a_strategic_patch_deletes_from_lists_of_scalars(api: Api) -> None:
    patched = await strategic(api, {}, {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]})
    assert patched["metadata"]["finalizers"] == ["example.com/b"]


async def test_the_template_of_a_cron_job_is_patched_deep_down(api: Api) -> None:
    pod = {"restartPolicy": "Never", "containers": POD["spec"]["containers"]}
    path = JOBS.replace("/jobs", "/cronjobs")
    await api.create(
        path, {"metadata": {"name": "cron"}, "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}}
    )
    env = [{"name": "A", "$patch": "delete"}, {"name": "B", "value": "9"}, {"name": "C", "value": "3"}]
    change = {
        "containers": [{"name": "main", "env": env, "args": None}],
        "$setElementOrder/containers": [{"name": "side"}, {"name": "main"}],
    }
    body = {"spec": {"jobTemplate": {"spec": {"template": {"spec": change}}}}}
    patched = await api.ok("PATCH", f"{path}/cron", body, type_=STRATEGIC)
    side, main = patched["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert (side["name"], main["name"]) == ("side", "main")
    assert main["env"] == [{"name": "B", "value": "9"}, {"name": "C", "value": "3"}]
    assert "args" not in main


async def test_a_list_can_be_replaced_whole(api: Api) -> None:
    path = JOBS.replace("/jobs", "/cronjobs")
    pod = {"restartPolicy": "Never", "containers": POD["spec"]["containers"]}
    await api.create(
        path, {"metadata": {"name": "cron"}, "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}}
    )
    change = {"containers": [{"$patch": "replace"}, {"name": "only", "image": "z"}]}
    body = {"spec": {"jobTemplate": {"spec": {"template": {"spec": change}}}}}
    patched = await api.ok("PATCH", f"{path}/cron", body, type_=STRATEGIC)
    assert [each["name"] for each in patched["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]] == ["only"]


async def test_a_strategic_patch_of_maps_merges_keys(api: Api) -> None:
    await api.create(CONFIG_MAPS, {"metadata": {"name": "cm"}, "data": {"a": "1", "b": "2"}})
    patched = await api.ok("PATCH", f"{CONFIG_MAPS}/cm", {"data": {"a": None, "c": "3"}}, type_=STRATEGIC)
    assert patched["data"] == {"b": "2", "c": "3"}
    replaced = await api.ok("PATCH", f"{CONFIG_MAPS}/cm", {"data": {"$patch": "replace", "d": "4"}}, type_=STRATEGIC)
    assert replaced["data"] == {"d": "4"}


async def test_an_item_without_its_key_is_refused(api: Api) -> None:
    await api.create(PODS, POD)
    answer = await api.refused(500, "PATCH", f"{PODS}/pod", {"spec": {"containers": [{"image": "z"}]}}, type_=STRATEGIC)
    assert "does not contain declared merge key: name" in answer.message
