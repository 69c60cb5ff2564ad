"""Pruning and defaulting of custom resources."""

from typing import Any

import pytest

from backstay.local.apiserver.schema import check_embedded, compile_schema, pruned, with_defaults

_OBJECT = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}}


def _schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


PRUNING: list[tuple[str, dict[str, Any], Any, Any, list[str]]] = [
    ("an unknown member goes", _schema(a={"type": "string"}), {"a": "1", "b": 2}, {"a": "1"}, ["spec.b"]),
    (
        "an unknown member of an item goes",
        _schema(steps={"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}),
        {"steps": [{"name": "a"}, {"name": "b", "nme": "c"}]},
        {"steps": [{"name": "a"}, {"name": "b"}]},
        ["spec.steps[1].nme"],
    ),
    (
        "a map keeps its keys",
        _schema(m={"type": "object", "additionalProperties": {"type": "string"}}),
        {"m": {"x": "1"}},
        {"m": {"x": "1"}},
        [],
    ),
    (
        "the values of a map are pruned",
        _schema(m={"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}}),
        {"m": {"x": {"a": "1", "b": "2"}}},
        {"m": {"x": {"a": "1"}}},
        ["spec.m.x.b"],
    ),
    (
        "what is to be preserved stays",
        _schema(free={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        {"free": {"x": {"y": [1, {"z": 2}]}}},
        {"free": {"x": {"y": [1, {"z": 2}]}}},
        [],
    ),
    (
        "known members within what is preserved are pruned",
        _schema(
            free={
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}},
            }
        ),
        {"free": {"x": 1, "a": {"b": "1", "c": "2"}}},
        {"free": {"x": 1, "a": {"b": "1"}}},
        ["spec.free.a.c"],
    ),
    (
        "an embedded object keeps its own fields",
        _schema(template={"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}}),
        {"template": {**_OBJECT, "spec": {}, "data": {}}},
        {"template": {**_OBJECT, "spec": {}}},
        ["spec.template.data"],
    ),
]


@pytest.mark.parametrize(("schema", "spec", "kept", "unknown"), [case[1:] for case in PRUNING], ids=[case[0] for case in PRUNING])
def test_pruning(schema: dict[str, Any], spec: Any, kept: Any, unknown: list[str]) -> None:
    found: list[str] = []
    assert pruned(compile_schema(schema, root=True), {**_OBJECT, "spec": spec}, found) == {**_OBJECT, "spec": kept}
    assert found == unknown


def test_the_root_keeps_apiversion_kind_and_metadata_and_loses_other_unknown_fields() -> None:
    found: list[str] = []
    assert pruned(compile_schema(_schema(), root=True), {**_OBJECT, "data": {}}, found) == _OBJECT
    assert found == ["data"]


def test_what_has_nothing_to_prune_is_the_same_object() -> None:
    value = {**_OBJECT, "spec": {"a": "1"}}
    assert pruned(compile_schema(_schema(a={"type": "string"}), root=True), value) is value


def test_pruning_leaves_its_argument_as_it_was() -> None:
    value = {"spec": {"a": "1", "b": {"c": 1}}}
    pruned(compile_schema(_schema(a={"type": "string"})), value)
    assert value == {"spec": {"a": "1", "b": {"c": 1}}}


_RETRY = {
    "type": "object",
    "default": {},
    "properties": {"max": {"type": "integer", "default": 3}, "jitter": {"type": "string", "default": "Full"}},
}
DEFAULTS: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("a missing value is filled in", _schema(a={"type": "integer", "default": 1}), {}, {"a": 1}),
    ("a value that is there stays", _schema(a={"type": "integer", "default": 1}), {"a": 0}, {"a": 0}),
    ("defaults fill an object that exists only by default", _schema(retry=_RETRY), {}, {"retry": {"max": 3, "jitter": "Full"}}),
    ("defaults fill an object that was given", _schema(retry=_RETRY), {"retry": {"max": 1}}, {"retry": {"max": 1, "jitter": "Full"}}),
    ("items get their defaults", _schema(l={"type": "array", "items": _RETRY}), {"l": [{"max": 1}]}, {"l": [{"max": 1, "jitter": "Full"}]}),
    (
        "values of maps get their defaults",
        _schema(m={"type": "object", "additionalProperties": _RETRY}),
        {"m": {"x": {}}},
        {"m": {"x": {"max": 3, "jitter": "Full"}}},
    ),
    ("a null without a default goes", _schema(a={"type": "string"}), {"a": None}, {}),
    ("a null makes room for the default", _schema(a={"type": "integer", "default": 1}), {"a": None}, {"a": 1}),
    ("a null that is allowed stays", _schema(a={"type": "string", "nullable": True, "default": "x"}), {"a": None}, {"a": None}),
    ("a null in a map goes", _schema(m={"type": "object", "additionalProperties": {"type": "string"}}), {"m": {"x": None}}, {"m": {}}),
    (
        "a null in what is preserved stays",
        _schema(f={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        {"f": {"x": None}},
        {"f": {"x": None}},
    ),
]


@pytest.mark.parametrize(("schema", "spec", "filled"), [case[1:] for case in DEFAULTS], ids=[case[0] for case in DEFAULTS])
def test_defaults(schema: dict[str, Any], spec: Any, filled: Any) -> None:
    assert with_defaults(compile_schema(schema), {"spec": spec}) == {"spec": filled}


def test_defaults_are_not_shared_between_objects() -> None:
    node = compile_schema(_schema(retry=_RETRY))
    first = with_defaults(node, {"spec": {}})
    first["spec"]["retry"]["max"] = 99
    assert with_defaults(node, {"spec": {}})["spec"]["retry"]["max"] == 3


def test_an_embedded_object_must_say_what_it_is() -> None:
    node = compile_schema(
        _schema(template={"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}),
        root=True,
    )
    errors = check_embedded(node, {**_OBJECT, "spec": {"template": {"kind": "", "metadata": []}}})
    assert [error.text for error in errors] == [
        "spec.template.apiVersion: Required value",
        'spec.template.kind: Invalid value: "": must not be empty',
        "spec.template.metadata: Invalid value: []: must be an object",
    ]
