"""Discovery and OpenAPI, in the shapes that kubectl and client-go read."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from backstay.local.apiserver import admission, discovery, openapi
from backstay.local.apiserver.resources import Registry
from tests.unit.local.crd_cases import GROUP, crd


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    definitions = registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    assert definitions is not None
    body = crd(
        {"type": "object", "description": "What it should be.", "properties": {"a": {"type": "string"}}}, subresources={"status": {}}
    )
    body["spec"]["names"]["shortNames"] = ["th"]
    registry.add_crd(admission.prepare_create(definitions, body, datetime(2026, 1, 2, tzinfo=UTC)))
    return registry


def test_groups_are_listed_with_their_preferred_version(registry: Registry) -> None:
    groups = {group["name"]: group for group in discovery.api_groups(registry)["groups"]}
    assert "" not in groups
    assert groups["batch"]["preferredVersion"] == {"groupVersion": "batch/v1", "version": "v1"}
    assert groups[GROUP]["versions"] == [{"groupVersion": f"{GROUP}/v1", "version": "v1"}]
    assert discovery.api_group(registry, GROUP)["kind"] == "APIGroup"


def test_a_group_version_lists_resources_and_subresources(registry: Registry) -> None:
    resources = {entry["name"]: entry for entry in discovery.resource_list(registry, "", "v1")["resources"]}
    assert resources["pods"]["shortNames"] == ["po"]
    assert resources["pods"]["categories"] == ["all"]
    assert resources["namespaces"]["namespaced"] is False
    assert "deletecollection" not in resources["namespaces"]["verbs"]
    assert resources["pods/log"] == {"name": "pods/log", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]}
    assert resources["pods/eviction"]["kind"] == "Eviction"
    assert (resources["pods/eviction"]["group"], resources["pods/eviction"]["version"]) == ("policy", "v1")
    assert [entry["name"] for entry in discovery.resource_list(registry, GROUP, "v1")["resources"]] == ["things", "things/status"]


def test_reviews_can_only_be_created(registry: Registry) -> None:
    resources = discovery.resource_list(registry, "authorization.k8s.io", "v1")["resources"]
    assert {tuple(entry["verbs"]) for entry in resources} == {("create",)}


@pytest.mark.parametrize(("group", "version"), [("nothing.example.com", "v1"), ("batch", "v2")])
def test_what_is_not_served_is_not_found(registry: Registry, group: str, version: str) -> None:
    assert discovery.resource_list(registry, group, version) is None


def test_aggregated_discovery_has_everything_in_two_answers(registry: Registry) -> None:
    legacy, groups = discovery.aggregated(registry, True), discovery.aggregated(registry, False)
    assert (legacy["kind"], legacy["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    pods = next(entry for entry in legacy["items"][0]["versions"][0]["resources"] if entry["resource"] == "pods")
    assert pods["responseKind"] == {"group": "", "version": "", "kind": "Pod"}
    assert pods["scope"] == "Namespaced"
    assert {"subresource": "log", "responseKind": {"group": "", "version": "", "kind": "Pod"}, "verbs": ["get"]} in pods["subresources"]
    own = next(item for item in groups["items"] if item["metadata"]["name"] == GROUP)
    assert own["versions"][0]["freshness"] == "Current"
    assert own["versions"][0]["resources"][0]["shortNames"] == ["th"]


def test_a_kind_disappears_from_discovery_with_its_definition(registry: Registry) -> None:
    assert discovery.api_group(registry, GROUP)["name"] == GROUP
    registry.remove_crd(f"things.{GROUP}")
    assert discovery.api_group(registry, GROUP) is None


def test_the_hash_of_a_document_changes_with_what_it_says(registry: Registry) -> None:
    before = openapi.index(registry)["paths"]
    registry.remove_crd(f"things.{GROUP}")
    after = openapi.index(registry)["paths"]
    assert f"apis/{GROUP}/v1" in before
    assert f"apis/{GROUP}/v1" not in after
    assert before["api/v1"] == after["api/v1"]
    assert before["api/v1"]["serverRelativeURL"].startswith("/openapi/v3/api/v1?hash=")


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def test_every_reference_of_every_document_leads_somewhere(registry: Registry) -> None:
    for path in openapi.index(registry)["paths"]:
        document = openapi.document(registry, path)
        assert document is not None
        schemas = document["components"]["schemas"]
        assert {name.removeprefix("#/components/schemas/") for name in _references(document)} <= schemas.keys(), path


def test_kubectl_finds_validation_and_dry_run_among_the_parameters_of_patch(registry: Registry) -> None:
    document = openapi.document(registry, f"apis/{GROUP}/v1")
    assert document is not None
    patch = document["paths"][f"/apis/{GROUP}/v1/namespaces/{{namespace}}/things/{{name}}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": GROUP, "kind": "Thing", "version": "v1"}
    assert {"dryRun", "fieldValidation", "force"} <= {parameter["name"] for parameter in patch["parameters"]}
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]


def test_kubectl_explain_finds_the_descriptions_of_a_custom_kind(registry: Registry) -> None:
    document = openapi.document(registry, f"apis/{GROUP}/v1")
    assert document is not None
    schema = document["components"]["schemas"]["test.backstay.crds.v1.Thing"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": GROUP, "kind": "Thing", "version": "v1"}]
    assert schema["properties"]["spec"]["description"] == "What it should be."
    assert schema["properties"]["metadata"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}]


def test_builtin_lists_say_how_they_merge(registry: Registry) -> None:
    document = openapi.document(registry, "apis/batch/v1")
    assert document is not None
    containers = document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert (containers["x-kubernetes-patch-strategy"], containers["x-kubernetes-patch-merge-key"]) == ("merge", "name")
    patch = document["paths"]["/apis/batch/v1/namespaces/{namespace}/jobs/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]


def test_a_document_that_is_not_there_is_none(registry: Registry) -> None:
    assert openapi.document(registry, "apis/nothing/v1") is None


def test_the_old_document_has_all_definitions(registry: Registry) -> None:
    document = openapi.v2(registry)
    assert document["swagger"] == "2.0"
    assert {"io.k8s.api.batch.v1.Job", "test.backstay.crds.v1.Thing"} <= document["definitions"].keys()
    assert {name.removeprefix("#/definitions/") for name in _references(document)} <= document["definitions"].keys()
