"""The embedded server's admission, held against the table that Kubernetes is held against too (tests/e2e)."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from backstay.local.apiserver import admission
from backstay.local.apiserver.resources import Registry, Resource
from backstay.local.apiserver.status import StatusError
from tests.unit.local.admission_cases import (
    BUILTIN,
    BUILTINS,
    CUSTOM,
    DECODING,
    GROUP,
    SCHEMAS,
    Case,
    DecodeCase,
    api_version_of,
    definition,
)
from tests.unit.local.crd_cases import CRDS, CrdCase

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_UID = "7d3c2a51-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def registry() -> Registry:
    registry = Registry()
    definitions = registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    assert definitions is not None
    for kind in SCHEMAS:
        registry.add_crd(admission.prepare_create(definitions, definition(kind), _NOW))
    return registry


def _resource(registry: Registry, kind: str) -> Resource:
    found = registry.find(*BUILTIN.get(kind, (GROUP, "v1", f"{kind.lower()}s")))
    assert found is not None
    return found


def _object(case: Case, body: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": case.object_name, "namespace": "shop", "uid": _UID}
    return {"apiVersion": api_version_of(case.kind), "kind": case.kind, "metadata": metadata, **copy.deepcopy(body)}


def _causes(error: StatusError) -> list[str]:
    return sorted(f"{cause.get('field', '')}: {cause['message']}" for cause in error.causes)


@pytest.mark.parametrize("case", CUSTOM + BUILTINS, ids=lambda case: case.name)
def test_the_embedded_server_says_what_the_table_says(registry: Registry, case: Case) -> None:
    resource, said = _resource(registry, case.kind), []
    try:
        made = admission.prepare_create(resource, _object(case, case.body), _NOW)
        if case.change is not None:
            admission.prepare_update(resource, {**made, **_merged(made, case.change)}, made, None)
    except StatusError as error:
        assert error.code == 422
        said = _causes(error)
    assert len(said) == len(case.causes), said
    assert all(ours.startswith(table) for ours, table in zip(said, sorted(case.causes), strict=True)), said


def _merged(value: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396), as the request of the real server's test sends it."""
    if not isinstance(patch, dict):
        return patch
    made = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        made[key] = _merged(made.get(key), item)
    return made


@pytest.mark.parametrize("case", CRDS, ids=lambda case: case.name)
def test_the_embedded_server_says_of_definitions_what_the_table_says(registry: Registry, case: CrdCase) -> None:
    definitions, said = registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions"), []
    assert definitions is not None
    try:
        admission.prepare_create(definitions, case.crd, _NOW)
    except StatusError as error:
        said = _causes(error)
    assert len(said) == len(case.causes), said
    assert all(ours.startswith(table) for ours, table in zip(said, sorted(case.causes), strict=True)), said


@pytest.mark.parametrize("case", DECODING, ids=lambda case: case.name)
def test_the_embedded_server_says_of_bodies_what_the_table_says(registry: Registry, case: DecodeCase) -> None:
    with pytest.raises(StatusError) as refused:
        admission.decode_check(_resource(registry, case.kind), case.as_object(), "Strict", case.body.encode())
    assert (refused.value.code, refused.value.message) == (400, case.message)


def test_unknown_fields_are_warned_of_unless_the_request_says_otherwise(registry: Registry) -> None:
    jobs, body = _resource(registry, "Job"), {"spec": {"paralellism": 1}}
    assert admission.decode_check(jobs, body, "", b"") == ['unknown field "spec.paralellism"']
    assert admission.decode_check(jobs, body, "Warn", b"") == ['unknown field "spec.paralellism"']
    assert admission.decode_check(jobs, body, "Ignore", b"") == []


def test_a_field_that_is_twice_in_a_yaml_body_is_named_with_its_line(registry: Registry) -> None:
    found = admission.unknown_fields(_resource(registry, "Flow"), {"spec": {"low": 2}}, b"spec:\n  low: 1\n  low: 2\n")
    assert found == ['yaml: unmarshal errors:\n  line 3: key "low" already set in map']


def test_the_first_error_of_many_stands_in_brackets_with_the_others(registry: Registry) -> None:
    case = Case("", "Flow", {"spec": {"steps": [{"name": "X", "job": {}}], "share": -1}})
    with pytest.raises(StatusError) as refused:
        admission.prepare_create(_resource(registry, "Flow"), _object(case, case.body), _NOW)
    assert refused.value.message == (
        'Flow.cases.backstay.test "case" is invalid: [spec.steps[0].name: Invalid value: "X": spec.steps[0].name in body should match '
        "'^[a-z]([-a-z0-9]*[a-z0-9])?$', spec.share: Invalid value: -1: spec.share in body should be greater than 0]"
    )


def test_a_custom_object_is_stored_without_unknown_fields_and_with_its_defaults(registry: Registry) -> None:
    case = Case("", "Flow", {"spec": {"steps": [{"name": "a", "job": {"image": "x"}, "retry": {}, "nme": 1}]}, "data": {}})
    given = _object(case, case.body)
    before = copy.deepcopy(given)
    made = admission.prepare_create(_resource(registry, "Flow"), given, _NOW)
    assert made["spec"] == {"steps": [{"name": "a", "job": {"image": "x"}, "retry": {"max": 3, "jitter": "Full"}}]}
    assert "data" not in made
    assert given == before


def test_a_status_is_judged_alone(registry: Registry) -> None:
    definitions = _resource_of_definitions(registry)
    schema = {"type": "object", "properties": {"phase": {"type": "string", "enum": ["Running"]}}}
    crd = definition("Flow")
    crd["metadata"]["name"] = "states.cases.backstay.test"
    crd["spec"]["names"] = {"plural": "states", "kind": "State"}
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {
        "type": "object",
        "properties": {"spec": SCHEMAS["Flow"]["properties"]["spec"], "status": schema},
    }
    own = Registry()
    own.add_crd(admission.prepare_create(definitions, crd, _NOW))
    states = own.find(GROUP, "v1", "states")
    assert states is not None
    old = {"metadata": {"name": "a"}, "spec": {"steps": []}}
    with pytest.raises(StatusError) as refused:
        admission.prepare_update(states, {**old, "status": {"phase": "Walking", "unknown": 1}}, old, "status")
    assert _causes(refused.value)[1:] == ['status.phase: Unsupported value: "Walking": supported values: "Running"']
    made = admission.prepare_update(states, {**old, "status": {"phase": "Running", "unknown": 1}}, old, "status")
    assert made["status"] == {"phase": "Running"}


def _resource_of_definitions(registry: Registry) -> Resource:
    found = registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    assert found is not None
    return found
