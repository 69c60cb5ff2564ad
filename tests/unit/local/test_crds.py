"""CustomResourceDefinitions: what they serve, and how they come by their names."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from backstay.local.apiserver import admission, crds
from backstay.local.apiserver.resources import Registry, Resource, version_order
from backstay.local.apiserver.status import StatusError
from tests.unit.local.crd_cases import GROUP, crd

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_LATER = datetime(2026, 1, 3, tzinfo=UTC)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def _definitions(registry: Registry) -> Resource:
    found = registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    assert found is not None
    return found


def _created(registry: Registry, body: dict[str, Any]) -> dict[str, Any]:
    return admission.prepare_create(_definitions(registry), body, _NOW)


def _conditions(definition: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {condition["type"]: (condition["status"], condition["reason"]) for condition in definition["status"]["conditions"]}


def test_a_definition_gets_its_defaults_and_is_established(registry: Registry) -> None:
    made = _created(registry, crd())
    assert made["spec"]["names"] == {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    assert made["spec"]["conversion"] == {"strategy": "None"}
    assert made["status"]["acceptedNames"] == made["spec"]["names"]
    assert made["status"]["storedVersions"] == ["v1"]
    assert _conditions(made) == {"NamesAccepted": ("True", "NoConflicts"), "Established": ("True", "InitialNamesAccepted")}
    assert made["status"]["conditions"][0]["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def test_what_a_definition_says_is_what_is_served(registry: Registry) -> None:
    body = crd(
        {"type": "object", "properties": {"a": {"type": "string"}}},
        subresources={"status": {}},
        additionalPrinterColumns=[{"name": "A", "type": "string", "jsonPath": ".spec.a"}],
        selectableFields=[{"jsonPath": ".spec.a"}],
    )
    body["spec"]["names"] |= {"shortNames": ["th"], "categories": ["all"]}
    registry.add_crd(_created(registry, body))
    served = registry.find(GROUP, "v1", "things")
    assert served is not None
    assert (served.kind, served.singular, served.list_kind, served.namespaced) == ("Thing", "thing", "ThingList", True)
    assert (served.short_names, served.categories) == (("th",), ("all",))
    assert served.subresources == {"status"}
    assert served.columns == ({"name": "A", "type": "string", "jsonPath": ".spec.a"},)
    assert served.selectable_fields == (".spec.a",)
    assert (served.storage_version, served.api_version, served.qualified_kind) == ("v1", f"{GROUP}/v1", f"Thing.{GROUP}")


def test_only_served_versions_are_served_and_the_stable_one_is_preferred(registry: Registry) -> None:
    body = crd()
    first = body["spec"]["versions"][0]
    body["spec"]["versions"] = [
        {**copy.deepcopy(first), "name": "v1alpha1", "storage": False},
        {**copy.deepcopy(first), "name": "v1beta1", "served": False, "storage": False},
        first,
    ]
    registry.add_crd(_created(registry, body))
    assert registry.find(GROUP, "v1alpha1", "things") is not None
    assert registry.find(GROUP, "v1beta1", "things") is None
    preferred = registry.by_kind(GROUP, "Thing")
    assert preferred is not None
    assert preferred.version == "v1"


def test_a_name_that_is_taken_is_not_accepted_and_nothing_is_served(registry: Registry) -> None:
    first = _created(registry, crd())
    second = _created(registry, crd(plural="stuff", kind="Thing"))
    second = crds.with_status(second | {"status": {}}, [first], _NOW)
    assert _conditions(second) == {"NamesAccepted": ("False", "ListKindConflict"), "Established": ("False", "NotAccepted")}
    assert second["status"]["acceptedNames"]["plural"] == "stuff"
    assert second["status"]["acceptedNames"]["kind"] == ""
    registry.add_crd(second)
    assert registry.find(GROUP, "v1", "stuff") is None


def test_a_name_is_accepted_once_its_holder_is_gone(registry: Registry) -> None:
    first = _created(registry, crd())
    second = crds.with_status(_created(registry, crd(plural="stuff", kind="Thing")) | {"status": {}}, [first], _NOW)
    freed = crds.with_status(second, [], _LATER)
    assert _conditions(freed) == {"NamesAccepted": ("True", "NoConflicts"), "Established": ("True", "InitialNamesAccepted")}
    assert {condition["lastTransitionTime"] for condition in freed["status"]["conditions"]} == {"2026-01-03T00:00:00Z"}


def test_a_status_that_is_worked_out_again_is_the_same(registry: Registry) -> None:
    made = _created(registry, crd())
    assert crds.with_status(made, [made], _LATER) == made


def test_a_removed_definition_is_no_longer_served(registry: Registry) -> None:
    made = _created(registry, crd())
    registry.add_crd(made)
    before = registry.revision
    registry.add_crd(made)
    assert registry.revision == before
    registry.remove_crd(made["metadata"]["name"])
    assert registry.find(GROUP, "v1", "things") is None
    assert registry.revision > before


@pytest.mark.parametrize(("path", "value"), [("scope", "Cluster"), ("names.kind", "Other")])
def test_what_stored_objects_depend_on_does_not_change(registry: Registry, path: str, value: str) -> None:
    made = _created(registry, crd())
    changed = copy.deepcopy(made)
    place = changed["spec"] if path == "scope" else changed["spec"]["names"]
    place[path.rpartition(".")[2]] = value
    with pytest.raises(StatusError) as refused:
        admission.prepare_update(_definitions(registry), changed, made, None)
    assert f'spec.{path}: Invalid value: "{value}": field is immutable' in refused.value.message


def test_a_version_that_was_stored_stays_until_it_is_migrated(registry: Registry) -> None:
    made = _created(registry, crd())
    changed = copy.deepcopy(made)
    changed["spec"]["versions"][0]["name"] = "v2"
    with pytest.raises(StatusError, match=r"was previously a storage version, and must remain in spec\.versions"):
        admission.prepare_update(_definitions(registry), changed, made, None)


def test_a_group_of_the_kubernetes_project_needs_its_approval(registry: Registry) -> None:
    body = crd()
    body["spec"]["group"] = "things.k8s.io"
    body["metadata"]["name"] = "things.things.k8s.io"
    with pytest.raises(StatusError, match=r"metadata.annotations\[api-approved.kubernetes.io\]: Required value"):
        _created(registry, body)


def test_a_deprecated_version_says_so(registry: Registry) -> None:
    registry.add_crd(_created(registry, crd(deprecated=True)))
    served = registry.find(GROUP, "v1", "things")
    assert served is not None
    assert served.deprecation == f"{GROUP}/v1 Thing is deprecated"


def test_versions_are_preferred_as_kubernetes_prefers_them() -> None:
    versions = ["v1alpha1", "v1", "v2beta1", "foo", "v10", "v2", "v1beta2", "v1beta10"]
    assert sorted(versions, key=version_order) == ["v10", "v2", "v1", "v2beta1", "v1beta10", "v1beta2", "v1alpha1", "foo"]


def test_a_builtin_kind_has_no_schema_of_its_own(registry: Registry) -> None:
    with pytest.raises(ValueError, match=r"CustomResourceDefinition\.apiextensions\.k8s\.io is a builtin kind"):
        _ = _definitions(registry).node
