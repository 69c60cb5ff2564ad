"""The status subresource, and what counts as a new generation."""

from tests.embedded.apiserver.harness import Api
from tests.embedded.apiserver.paths import JOBS, PODS, WIDGETS
from tests.embedded.apiserver.widgets import widget

POD_SPEC = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}


async def test_the_status_is_written_through_its_endpoint_and_nothing_else_is(api: Api) -> None:
    await api.create(WIDGETS, widget("one", spec={"size": 2}))
    change = {"metadata": {"labels": {"a": "b"}, "finalizers": ["example.com/x"]}, "spec": {"size": 9}, "status": {"phase": "Done"}}
    after = await api.merge(f"{WIDGETS}/one/status", change)
    assert (after["spec"], after["status"]) == ({"size": 2}, {"phase": "Done"})
    assert after["metadata"].keys().isdisjoint({"labels", "finalizers"})


async def test_the_object_endpoint_leaves_the_status_alone(api: Api) -> None:
    await api.create(WIDGETS, widget("one"))
    await api.merge(f"{WIDGETS}/one/status", {"status": {"phase": "Done"}})
    after = await api.merge(f"{WIDGETS}/one", {"spec": {"size": 2}, "status": {"phase": "Other"}})
    assert after["status"] == {"phase": "Done"}
    put = await api.ok("PUT", f"{WIDGETS}/one", {key: value for key, value in after.items() if key != "status"} | {"spec": {"size": 3}})
    assert put["status"] == {"phase": "Done"}


async def test_the_status_can_be_put_and_is_refused_when_stale(api: Api) -> None:
    made = await api.create(WIDGETS, widget("one"))
    after = await api.ok("PUT", f"{WIDGETS}/one/status", made | {"status": {"count": 1}})
    assert after["status"] == {"count": 1}
    await api.refused(409, "PUT", f"{WIDGETS}/one/status", made | {"status": {"count": 2}})


async def test_the_status_is_judged_by_the_schema(api: Api) -> None:
    await api.create(WIDGETS, widget("one"))
    answer = await api.refused(422, "PATCH", f"{WIDGETS}/one/status", {"status": {"count": "many"}}, type_="application/merge-patch+json")
    assert answer.body["details"]["causes"][0]["field"] == "status.count"


async def test_generations_count_changes_of_the_specification(api: Api) -> None:
    async def generation(change: dict[str, object], subresource: str = "") -> int:
        return int((await api.merge(f"{WIDGETS}/one{subresource}", change))["metadata"]["generation"])

    await api.create(WIDGETS, widget("one"))
    assert await generation({"metadata": {"labels": {"a": "b"}}}) == 1
    assert await generation({"status": {"phase": "x"}}, "/status") == 1
    assert await generation({"spec": {"size": 2}}) == 2
    assert await generation({"spec": {"size": 2}}) == 2
    assert await generation({"metadata": {"generation": 40}}) == 2
    assert await generation({"metadata": {"finalizers": ["example.com/x"]}}) == 2
    await api.delete(f"{WIDGETS}/one")
    assert (await api.get(f"{WIDGETS}/one"))["metadata"]["generation"] == 3


async def test_jobs_and_pods_keep_specification_and_status_apart(api: Api) -> None:
    await api.create(JOBS, {"metadata": {"name": "job"}, "spec": {"template": {"spec": POD_SPEC}}, "status": {"active": 4}})
    job = await api.get(f"{JOBS}/job")
    assert job.get("status", {}) == {}
    now = "2024-01-01T00:00:00Z"
    after = await api.merge(f"{JOBS}/job/status", {"spec": {"parallelism": 7}, "status": {"active": 1, "startTime": now}})
    assert (after["spec"]["parallelism"], after["status"]["active"], after["metadata"]["generation"]) == (1, 1, 1)
    await api.create(PODS, {"metadata": {"name": "pod"}, "spec": POD_SPEC})
    pod = await api.merge(f"{PODS}/pod/status", {"spec": {"nodeName": "n"}, "status": {"phase": "Running"}})
    assert (pod["status"]["phase"], "nodeName" in pod["spec"]) == ("Running", False)


async def test_a_binding_puts_a_pod_on_a_node_once(api: Api) -> None:
    await api.create(PODS, {"metadata": {"name": "pod"}, "spec": POD_SPEC})
    await api.create(f"{PODS}/pod/binding", {"target": {"kind": "Node", "name": "n1"}})
    pod = await api.get(f"{PODS}/pod")
    assert pod["spec"]["nodeName"] == "n1"
    assert {each["type"]: each["status"] for each in pod["status"]["conditions"]}["PodScheduled"] == "True"
    answer = await api.refused(409, "POST", f"{PODS}/pod/binding", {"target": {"kind": "Node", "name": "n2"}})
    assert "already assigned to node" in answer.message
