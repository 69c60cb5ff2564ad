"""Creating, reading, listing and updating objects."""

import asyncio
from typing import Any

from tests.embedded.apiserver.harness import Api
from tests.embedded.apiserver.paths import CONFIG_MAPS, CORE, WIDGETS
from tests.embedded.apiserver.widgets import widget


async def make(api: Api, *names: str, **parts: Any) -> None:
    for name in names:
        await api.create(WIDGETS, widget(name, **parts))


async def test_a_new_object_gets_what_the_server_gives_and_the_schema_defaults(api: Api) -> None:
    made = await api.create(WIDGETS, widget("one", spec={"parts": [{"name": "a"}], "colour": "dropped"}, status={"phase": "dropped"}))
    assert made["spec"] == {"size": 1, "parts": [{"name": "a", "note": "none"}]}
    assert "status" not in made
    assert made["metadata"]["generation"] == 1
    assert {"uid", "creationTimestamp", "resourceVersion", "namespace"} <= made["metadata"].keys()
    assert await api.get(f"{WIDGETS}/one") == made


async def test_generated_names_begin_with_the_prefix_and_differ(api: Api) -> None:
    names = {(await api.create(WIDGETS, widget(metadata={"generateName": "run-"})))["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("run-") and len(name) == len("run-") + 5 for name in names)


async def test_a_long_prefix_is_cut_so_that_the_generated_name_fits(api: Api) -> None:
    made = await api.create(WIDGETS, widget(metadata={"generateName": "x" * 200}))
    assert len(made["metadata"]["name"]) == 63


async def test_what_a_client_may_not_set_is_ignored_on_create(api: Api) -> None:
    forged = {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7, "deletionTimestamp": "2001-01-01T00:00:00Z"}
    made = (await api.create(WIDGETS, widget("one", metadata=forged)))["metadata"]
    assert made["uid"] != "mine"
    assert made["generation"] == 1
    assert "deletionTimestamp" not in made
    assert not made["creationTimestamp"].startswith("2001")


async def test_of_two_writers_with_the_same_version_the_second_is_refused(api: Api) -> None:
    made = await api.create(WIDGETS, widget("one"))
    changed = await api.ok("PUT", f"{WIDGETS}/one", made | {"spec": {"size": 2}})
    late = await api.refused(409, "PUT", f"{WIDGETS}/one", made | {"spec": {"size": 3}})
    assert late.body["reason"] == "Conflict"
    assert (await api.get(f"{WIDGETS}/one"))["spec"]["size"] == 2
    await api.ok("PUT", f"{WIDGETS}/one", changed | {"spec": {"size": 3}})


async def test_of_many_creations_of_one_name_at_once_one_succeeds(api: Api) -> None:
    answers = await asyncio.gather(*(api.ask("POST", WIDGETS, widget("one")) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19


async def test_versions_rise_with_every_change_and_only_with_changes(api: Api) -> None:
    first = await api.create(WIDGETS, widget("one", spec={"size": 5}))
    same = await api.merge(f"{WIDGETS}/one", {"spec": {"size": 5}})
    other = await api.merge(f"{WIDGETS}/one", {"spec": {"size": 6}})
    assert same["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert int(other["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


async def test_a_dry_run_answers_as_if_and_changes_nothing(api: Api) -> None:
    made = await api.create(f"{WIDGETS}?dryRun=All", widget("dry", spec={"parts": [{"name": "a"}]}))
    assert made["spec"]["size"] == 1
    assert not await api.exists(f"{WIDGETS}/dry")
    await make(api, "one")
    patched = await api.merge(f"{WIDGETS}/one?dryRun=All", {"spec": {"size": 9}})
    assert patched["spec"]["size"] == 9
    await api.delete(f"{WIDGETS}/one", dryRun=["All"])
    assert "spec" not in await api.get(f"{WIDGETS}/one")


async def test_a_list_is_in_order_of_namespace_and_name_and_tells_its_version(api: Api) -> None:
    await make(api, "b", "c", "a")
    await api.create("/api/v1/namespaces", {"metadata": {"name": "aaa"}})
    await api.create(WIDGETS.replace("default", "aaa"), widget("z"))
    everywhere = await api.get("/apis/example.com/v1/widgets")
    assert [item["metadata"]["name"] for item in everywhere["items"]] == ["z", "a", "b", "c"]
    assert everywhere["kind"] == "WidgetList"
    assert int(everywhere["metadata"]["resourceVersion"]) >= max(int(item["metadata"]["resourceVersion"]) for item in everywhere["items"])


async def test_pages_show_one_moment_though_objects_come_and_go_between_them(api: Api) -> None:
    await make(api, *(f"w{number:02}" for number in range(10)))
    page = await api.get(f"{WIDGETS}?limit=4")
    assert page["metadata"]["remainingItemCount"] == 6
    await api.delete(f"{WIDGETS}/w05")
    await make(api, "w04b")
    await api.merge(f"{WIDGETS}/w07", {"spec": {"size": 50}})
    seen = list(page["items"])
    while token := page["metadata"].get("continue"):
        page = await api.get(f"{WIDGETS}?limit=4&continue={token}")
        seen += page["items"]
    assert [item["metadata"]["name"] for item in seen] == [f"w{number:02}" for number in range(10)]
    assert not any("spec" in item for item in seen)


async def test_a_page_whose_moment_is_forgotten_is_gone_and_offers_to_go_on_anyway(api: Api) -> None:
    await make(api, "a", "b", "c")
    token = (await api.get(f"{WIDGETS}?limit=1"))["metadata"]["continue"]
    await make(api, "d")
    api.server.cluster.store.compact(api.server.cluster.store.version)
    gone = await api.refused(410, "GET", f"{WIDGETS}?limit=1&continue={token}")
    assert gone.body["reason"] == "Expired"
    rest = await api.ask("GET", f"{WIDGETS}?continue={gone.body['metadata']['continue']}")
    assert rest.names == ["b", "c", "d"]


async def test_an_older_version_can_be_listed_exactly(api: Api) -> None:
    await make(api, "a", "b")
    then = (await api.get(WIDGETS))["metadata"]["resourceVersion"]
    await make(api, "c")
    await api.delete(f"{WIDGETS}/a")
    old = await api.ask("GET", f"{WIDGETS}?resourceVersion={then}&resourceVersionMatch=Exact")
    assert old.names == ["a", "b"]
    assert old.body["metadata"]["resourceVersion"] == then


async def test_labels_and_fields_select(api: Api) -> None:
    await api.create(WIDGETS, widget("red-left", spec={"color": "red"}, metadata={"labels": {"side": "left", "rank": "3"}}))
    await api.create(WIDGETS, widget("red-right", spec={"color": "red"}, metadata={"labels": {"side": "right", "rank": "10"}}))
    await api.create(WIDGETS, widget("blue", spec={"color": "blue"}))
    table = {
        "labelSelector=side=left": ["red-left"],
        "labelSelector=side!=left": ["blue", "red-right"],
        "labelSelector=side in (left,right)": ["red-left", "red-right"],
        "labelSelector=side notin (right)": ["blue", "red-left"],
        "labelSelector=side": ["red-left", "red-right"],
        "labelSelector=!side": ["blue"],
        "labelSelector=rank>5": ["red-right"],
        "labelSelector=rank<5,side=left": ["red-left"],
        "fieldSelector=spec.color=red": ["red-left", "red-right"],
        "fieldSelector=spec.color!=red": ["blue"],
        "fieldSelector=metadata.name=blue": ["blue"],
        "fieldSelector=spec.color=red&labelSelector=side=right": ["red-right"],
        "fieldSelector=metadata.namespace=elsewhere": [],
    }
    found = {query: (await api.ask("GET", f"{WIDGETS}?{query}")).names for query in table}
    assert found == table


async def test_pods_are_selected_by_node_and_phase(api: Api) -> None:
    spec = {"containers": [{"name": "main", "image": "x"}]}
    for name in ("a", "b"):
        await api.create(f"{CORE}/pods", {"metadata": {"name": name}, "spec": spec})
    await api.create(f"{CORE}/pods/a/binding", {"target": {"kind": "Node", "name": "n1"}})
    assert (await api.ask("GET", f"{CORE}/pods?fieldSelector=spec.nodeName=n1")).names == ["a"]
    assert (await api.ask("GET", f"{CORE}/pods?fieldSelector=spec.nodeName=,status.phase=Pending")).names == ["b"]


async def test_config_maps_have_no_generation_and_are_updated_without_a_version(api: Api) -> None:
    made = await api.create(CONFIG_MAPS, {"metadata": {"name": "cm"}, "data": {"a": "1"}})
    assert "generation" not in made["metadata"]
    changed = await api.ok("PUT", f"{CONFIG_MAPS}/cm", {"metadata": {"name": "cm"}, "data": {"b": "2"}})
    assert changed["data"] == {"b": "2"}
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]


async def test_yaml_is_read_and_written(api: Api) -> None:
    body = b"apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: one, annotations: {day: '2024-01-01'}}\nspec: {labels: {date: 2024-01-01}}\n"
    made = await api.ok("POST", WIDGETS, body, type_="application/yaml")
    assert made["spec"]["labels"] == {"date": "2024-01-01"}
    text = (await api.ask("GET", f"{WIDGETS}/one", accept="application/yaml")).body
    assert "kind: Widget" in text


async def test_repeated_owners_are_merged_with_a_warning(api: Api) -> None:
    owner = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "name": "one",
        "uid": (await api.create(WIDGETS, widget("one")))["metadata"]["uid"],
    }
    answer = await api.ask("POST", WIDGETS, widget("two", metadata={"ownerReferences": [owner, owner]}))
    assert answer.body["metadata"]["ownerReferences"] == [owner]
    assert "duplicate entries" in answer.warnings[0]


async def test_an_object_of_two_versions_is_served_in_both(api: Api) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"
    crd = await api.get(path)
    crd["spec"]["versions"].append({**crd["spec"]["versions"][0], "name": "v2", "storage": False})
    await api.create(WIDGETS, widget("one", spec={"size": 3}))
    await api.ok("PUT", path, crd)
    newer = WIDGETS.replace("/v1/", "/v2/")
    assert (await api.get(f"{newer}/one"))["apiVersion"] == "example.com/v2"
    changed = await api.merge(f"{newer}/one", {"spec": {"size": 4}})
    assert (changed["apiVersion"], changed["metadata"]["generation"]) == ("example.com/v2", 2)
    assert (await api.get(f"{WIDGETS}/one"))["apiVersion"] == "example.com/v1"
    assert {item["apiVersion"] for item in (await api.get(newer))["items"]} == {"example.com/v2"}


async def test_events_are_one_set_behind_both_groups(api: Api) -> None:
    about = {"kind": "Widget", "name": "one", "namespace": "default"}
    new = {"metadata": {"name": "e1"}, "regarding": about, "note": "hello", "reason": "Told", "type": "Normal", "action": "Tell"}
    new |= {"eventTime": "2024-01-01T00:00:00.000000Z", "reportingController": "me", "reportingInstance": "me-1"}
    await api.create("/apis/events.k8s.io/v1/namespaces/default/events", {"apiVersion": "events.k8s.io/v1", "kind": "Event", **new})
    old = await api.get(f"{CORE}/events/e1")
    assert (old["involvedObject"]["name"], old["message"], old["reportingComponent"]) == ("one", "hello", "me")
    listed = await api.get("/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name=one")
    assert [item["note"] for item in listed["items"]] == ["hello"]
