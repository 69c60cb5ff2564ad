"""Server-side apply: ownership, conflicts, giving up, and taking over from client-side apply."""

from typing import Any

from tests.embedded.apiserver.harness import APPLY, Api
from tests.embedded.apiserver.paths import CONFIG_MAPS, JOBS, WIDGETS
from tests.embedded.apiserver.widgets import widget


async def apply(api: Api, manager: str, spec: dict[str, Any] | None, *, force: bool = False, labels: dict[str, str] | None = None) -> Any:
    body = widget("one", metadata={"labels": labels} if labels else {}, **({"spec": spec} if spec is not None else {}))
    return await api.ok("PATCH", f"{WIDGETS}/one?fieldManager={manager}&force={str(force).lower()}", body, type_=APPLY)


async def conflict(api: Api, manager: str, spec: dict[str, Any]) -> list[str]:
    answer = await api.refused(409, "PATCH", f"{WIDGETS}/one?fieldManager={manager}", widget("one", spec=spec), type_=APPLY)
    assert all(cause["reason"] == "FieldManagerConflict" for cause in answer.body["details"]["causes"])
    return [cause["field"] for cause in answer.body["details"]["causes"]]


def managers(obj: dict[str, Any]) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", [])}


async def test_applying_creates_what_is_not_there(api: Api) -> None:
    answer = await api.ask("PATCH", f"{WIDGETS}/one?fieldManager=alice", widget("one", spec={"color": "red"}), type_=APPLY)
    assert answer.status == 201
    assert managers(answer.body) == {"alice": {"f:spec": {"f:color": {}}}}


async def test_applying_the_same_again_is_no_change(api: Api) -> None:
    first = await apply(api, "alice", {"color": "red"})
    assert await apply(api, "alice", {"color": "red"}) == first


async def test_a_field_that_the_applier_leaves_out_is_removed(api: Api) -> None:
    await apply(api, "alice", {"size": 3, "labels": {"a": "1", "b": "2"}, "parts": [{"name": "x"}, {"name": "y"}]}, labels={"mine": "1"})
    after = await apply(api, "alice", {"labels": {"b": "2"}, "parts": [{"name": "y"}]})
    assert after["spec"] == {"size": 1, "labels": {"b": "2"}, "parts": [{"name": "y", "note": "none"}]}
    assert "labels" not in after["metadata"]


async def test_what_others_own_or_nobody_applied_stays(api: Api) -> None:
    await apply(api, "alice", {"parts": [{"name": "x", "size": 1}]})
    await apply(api, "bob", {"parts": [{"name": "x", "size": 1}, {"name": "z"}]})
    await api.merge(f"{WIDGETS}/one", {"spec": {"labels": {"by": "hand"}}})
    after = await apply(api, "alice", {"color": "red"})
    assert after["spec"]["parts"] == [{"name": "x", "note": "none", "size": 1}, {"name": "z", "note": "none"}]
    assert after["spec"]["labels"] == {"by": "hand"}


async def test_a_field_of_another_manager_is_a_conflict_that_names_the_field(api: Api) -> None:
    await apply(api, "alice", {"size": 1, "parts": [{"name": "x", "size": 1}]})
    assert await conflict(api, "bob", {"size": 2, "parts": [{"name": "x", "size": 2}]}) == [".spec.size", '.spec.parts[name="x"].size']
    assert (await api.get(f"{WIDGETS}/one"))["spec"]["size"] == 1


async def test_the_same_value_is_shared_and_no_conflict(api: Api) -> None:
    await apply(api, "alice", {"size": 2})
    both = await apply(api, "bob", {"size": 2})
    assert managers(both) == {"alice": {"f:spec": {"f:size": {}}}, "bob": {"f:spec": {"f:size": {}}}}
    assert (await apply(api, "alice", {}))["spec"]["size"] == 2


async def test_force_takes_the_field_over(api: Api) -> None:
    await apply(api, "alice", {"size": 1, "color": "red"})
    taken = await apply(api, "bob", {"size": 2}, force=True)
    assert taken["spec"]["size"] == 2
    assert managers(taken) == {"alice": {"f:spec": {"f:color": {}}}, "bob": {"f:spec": {"f:size": {}}}}
    assert await conflict(api, "alice", {"size": 1, "color": "red"}) == [".spec.size"]


async def test_a_plain_update_takes_fields_over_without_asking(api: Api) -> None:
    await apply(api, "alice", {"size": 1})
    await api.ok("PATCH", f"{WIDGETS}/one?fieldManager=carol", {"spec": {"size": 5}}, type_="application/merge-patch+json")
    answer = await api.refused(409, "PATCH", f"{WIDGETS}/one?fieldManager=alice", widget("one", spec={"size": 1}), type_=APPLY)
    assert answer.message == 'Apply failed with 1 conflict: conflict with "carol" using example.com/v1: .spec.size'


async def test_an_object_that_nobody_applied_belongs_to_before_first_apply(api: Api) -> None:
    made = await api.create(WIDGETS, widget("one", spec={"size": 1, "color": "red"}))
    assert "managedFields" not in made["metadata"]
    answer = await api.refused(409, "PATCH", f"{WIDGETS}/one?fieldManager=alice", widget("one", spec={"size": 2}), type_=APPLY)
    assert 'conflict with "before-first-apply"' in answer.message
    applied = await apply(api, "alice", {"size": 1})
    assert managers(applied).keys() == {"alice", "before-first-apply"}


async def test_lists_merge_by_key_sets_unite_and_atomic_lists_and_maps_are_replaced(api: Api) -> None:
    lists = {"tags": ["a"], "steps": [{"name": "1"}, {"name": "2"}], "link": {"to": "x", "by": "y"}}
    await apply(api, "alice", {"parts": [{"name": "x"}], **lists})
    after = await apply(api, "bob", {"parts": [{"name": "y"}], "tags": ["b"], "steps": [{"name": "3"}], "link": {"to": "z"}}, force=True)
    assert [part["name"] for part in after["spec"]["parts"]] == ["x", "y"]
    assert after["spec"]["tags"] == ["a", "b"]
    assert after["spec"]["steps"] == [{"name": "3"}]
    assert after["spec"]["link"] == {"to": "z"}


async def test_the_status_is_applied_through_its_own_endpoint_alone(api: Api) -> None:
    await apply(api, "alice", {"size": 1})
    body = widget("one", spec={"size": 9}, status={"phase": "Done"})
    after = await api.ok("PATCH", f"{WIDGETS}/one/status?fieldManager=controller", body, type_=APPLY)
    assert (after["spec"]["size"], after["status"]) == (1, {"phase": "Done"})
    entry = next(each for each in after["metadata"]["managedFields"] if each["manager"] == "controller")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:phase": {}}})
    again = await api.ok("PATCH", f"{WIDGETS}/one?fieldManager=alice", widget("one", spec={"size": 1}, status={"phase": "X"}), type_=APPLY)
    assert again["status"] == {"phase": "Done"}


async def test_yaml_is_applied(api: Api) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {when: 2024-01-01}\n"
    made = await api.ok("PATCH", f"{CONFIG_MAPS}/cm?fieldManager=alice", body, type_=APPLY)
    assert made["data"] == {"when": "2024-01-01"}


async def test_containers_of_a_template_are_owned_one_by_one(api: Api) -> None:
    def job(*containers: dict[str, Any]) -> dict[str, Any]:
        template = {"spec": {"restartPolicy": "Never", "containers": list(containers)}}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": template}}

    ports = [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]
    made = await api.ok("PATCH", f"{JOBS}/job?fieldManager=alice", job({"name": "a", "image": "x", "ports": ports}), type_=APPLY)
    fields = managers(made)["alice"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert list(fields) == ['k:{"name":"a"}']
    assert list(fields['k:{"name":"a"}']["f:ports"]) == [
        'k:{"containerPort":80,"protocol":"TCP"}',
        'k:{"containerPort":80,"protocol":"UDP"}',
    ]
    answer = await api.refused(409, "PATCH", f"{JOBS}/job?fieldManager=bob", job({"name": "a", "image": "y"}), type_=APPLY)
    assert answer.body["details"]["causes"][0]["field"] == '.spec.template.spec.containers[name="a"].image'


async def test_clearing_managed_fields_forgets_who_owned_what(api: Api) -> None:
    await apply(api, "alice", {"size": 1})
    cleared = await api.merge(f"{WIDGETS}/one", {"metadata": {"managedFields": []}})
    assert "managedFields" not in cleared["metadata"]


async def test_kubectl_goes_from_client_side_to_server_side_apply_and_back_off(api: Api) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job", "labels": {"a": "1"}}, "spec": {"template": template}}
    await api.kubectl("apply", "-f", "-", given=job)
    await api.kubectl("apply", "--server-side", "-f", "-", given=job)
    await api.kubectl("apply", "--server-side", "-f", "-", given={**job, "metadata": {"name": "job", "labels": {"b": "2"}}})
    labels = (await api.get(f"{JOBS}/job"))["metadata"]["labels"]
    assert ("a" in labels, labels["b"]) == (False, "2")
