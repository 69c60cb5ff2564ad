"""CustomResourceDefinitions and what the API server answers: one table for the embedded server and for the real one (see admission_cases)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

GROUP = "crds.backstay.test"


@dataclass(frozen=True)
class CrdCase:
    """A definition and the causes of its refusal, by the beginning of their messages; none means that it is accepted."""

    name: str
    crd: dict[str, Any]
    causes: tuple[str, ...] = ()


def crd(schema: dict[str, Any] | None = None, *, plural: str = "things", kind: str = "Thing", **version: Any) -> dict[str, Any]:
    """Return a definition of one version, `v1`, with a schema whose `spec` is the one given."""
    spec = {"type": "object", "properties": {"spec": schema or {"type": "object"}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": spec}, **version}],
        },
    }


def _with(path: str, value: Any) -> dict[str, Any]:
    """Return the plain definition with one place set (or, for None, taken away)."""
    made = crd()
    place: Any = made
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return made


_HERE = "spec.validation.openAPIV3Schema.properties[spec]"
_TEXT = {"type": "string"}
_ITEM = {"type": "object", "required": ["name"], "properties": {"name": _TEXT}}
_MAP = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": _ITEM}
_RULES = f"{_HERE}.x-kubernetes-validations[0]"
_REST = '"Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null'
"""What the server shows of a rule besides its text."""


def _ruled(rule: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return crd(
        {"type": "object", "properties": properties or {"a": {"type": "string", "maxLength": 10}}, "x-kubernetes-validations": [rule]}
    )


def _two_versions() -> dict[str, Any]:
    made = crd()
    versions = made["spec"]["versions"]
    versions.append({**copy.deepcopy(versions[0]), "name": "v2", "storage": False})
    versions[1]["schema"]["openAPIV3Schema"]["properties"]["spec"] = {"type": "array"}
    return made


CRDS: list[CrdCase] = [
    CrdCase("a plain definition", crd()),
    CrdCase("no type", crd({"properties": {}}), (f"{_HERE}.type: Required value: must not be empty for specified object fields",)),
    CrdCase(
        "a type that is none",
        crd({"type": "text"}),
        (f'{_HERE}.type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string"',),
    ),
    CrdCase("a list without items", crd({"type": "array"}), (f"{_HERE}.items: Required value: must be specified",)),
    CrdCase(
        "items without a type",
        crd({"type": "array", "items": {}}),
        (f"{_HERE}.items.type: Required value: must not be empty for specified array items",),
    ),
    CrdCase(
        "an error in the second of two versions",
        _two_versions(),
        ("spec.versions[1].schema.openAPIV3Schema.properties[spec].items: Required value: must be specified",),
    ),
    CrdCase(
        "unique items",
        crd({"type": "array", "items": _TEXT, "uniqueItems": True}),
        (f"{_HERE}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",),
    ),
    CrdCase(
        "properties and additional ones",
        crd({"type": "object", "properties": {"a": _TEXT}, "additionalProperties": _TEXT}),
        (f"{_HERE}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",),
    ),
    CrdCase(
        "a type within oneOf",
        crd({"type": "object", "properties": {"a": _TEXT}, "oneOf": [{"properties": {"a": _TEXT}}]}),
        (f"{_HERE}.oneOf[0].properties[a].type: Forbidden: must be empty to be structural",),
    ),
    CrdCase(
        "a description within anyOf",
        crd({"type": "object", "anyOf": [{"description": "x", "required": ["a"]}], "properties": {"a": _TEXT}}),
        (f"{_HERE}.anyOf[0].description: Forbidden: must be empty to be structural",),
    ),
    CrdCase(
        "a member that only oneOf knows",
        _with("spec.versions.0.schema.openAPIV3Schema.oneOf", [{"properties": {"b": {"minLength": 1}}}]),
        (
            "spec.validation.openAPIV3Schema.properties[b]: Required value: because it is defined in "
            "spec.validation.openAPIV3Schema.oneOf[0].properties[b]",
        ),
    ),
    CrdCase(
        "an int-or-string that preserves",
        crd({"x-kubernetes-int-or-string": True, "x-kubernetes-preserve-unknown-fields": True}),
        (f"{_HERE}.x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true",),
    ),
    CrdCase(
        "an int-or-string with its anyOf", crd({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]})
    ),
    CrdCase(
        "preserving nothing",
        crd({"type": "object", "x-kubernetes-preserve-unknown-fields": False}),
        (f"{_HERE}.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",),
    ),
    CrdCase(
        "an embedded object without a type",
        crd({"x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}),
        (f"{_HERE}.type: Required value: must be object if x-kubernetes-embedded-resource is true",),
    ),
    CrdCase(
        "a pattern that is none",
        crd({"type": "string", "pattern": "("}),
        (f'{_HERE}.pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: ',),
    ),
    CrdCase("a keyed list", crd(_MAP)),
    CrdCase(
        "a keyed list whose key may be missing",
        crd({**_MAP, "items": {"type": "object", "properties": {"name": _TEXT}}}),
        (
            f"{_HERE}.items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a "
            "default or be a required property",
        ),
    ),
    CrdCase(
        "a keyed list whose key is not there",
        crd({**_MAP, "x-kubernetes-list-map-keys": ["id"]}),
        (f'{_HERE}.x-kubernetes-list-map-keys: Invalid value: ["id"]: entries must all be names of item properties',),
    ),
    CrdCase(
        "a keyed list without keys",
        crd({**_MAP, "x-kubernetes-list-map-keys": []}),
        (f"{_HERE}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",),
    ),
    CrdCase(
        "keys without a keyed list",
        crd({"type": "array", "items": _ITEM, "x-kubernetes-list-map-keys": ["name"]}),
        (f"{_HERE}.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty",),
    ),
    CrdCase(
        "an unknown kind of list",
        crd({"type": "array", "items": _ITEM, "x-kubernetes-list-type": "bag"}),
        (f'{_HERE}.x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map"',),
    ),
    CrdCase(
        "a list type on an object",
        crd({"type": "object", "x-kubernetes-list-type": "set"}),
        (f'{_HERE}.type: Invalid value: "object": must be array if x-kubernetes-list-type is specified',),
    ),
    CrdCase(
        "a default of another type",
        crd({"type": "object", "properties": {"a": {"type": "integer", "default": "1"}}}),
        (f'{_HERE}.properties[a].default: Invalid value: "string":  in body must be of type integer: "string"',),
    ),
    CrdCase(
        "a default with unknown members",
        crd({"type": "object", "properties": {"a": {"type": "object", "default": {"x": 1}, "properties": {"y": _TEXT}}}}),
        (f'{_HERE}.properties[a].default: Invalid value: {{"x":1}}: must not have unknown fields',),
    ),
    CrdCase(
        "a default that breaks a rule",
        crd(
            {
                "type": "object",
                "properties": {
                    "a": {"type": "integer", "default": 9, "x-kubernetes-validations": [{"rule": "self < 5", "message": "too much"}]}
                },
            }
        ),
        (f"{_HERE}.properties[a].default: Invalid value: 9: too much",),
    ),
    CrdCase("a rule without text", _ruled({"rule": " "}), (f"{_RULES}.rule: Required value: rule is not specified",)),
    CrdCase(
        "a rule that is no CEL",
        _ruled({"rule": "self.a ="}),
        (f'{_RULES}.rule: Invalid value: {{"Rule":"self.a =",{_REST}}}: compilation failed: ',),
    ),
    CrdCase(
        "a rule on a member that is not there",
        _ruled({"rule": "self.b == 'x'"}),
        (
            f"{_RULES}.rule: Invalid value: {{\"Rule\":\"self.b == 'x'\",{_REST}}}: compilation failed: ERROR: <input>:1:5: undefined field 'b'",
        ),
    ),
    CrdCase(
        "a rule on a member of no type",
        _ruled({"rule": "has(self.b)"}, b={"x-kubernetes-preserve-unknown-fields": True}),
        (f'{_RULES}.rule: Invalid value: {{"Rule":"has(self.b)",{_REST}}}: compilation failed: ERROR: <input>:1:4: undefined field \'b\'',),
    ),
    CrdCase(
        "a rule on a map of anything",
        _ruled({"rule": "has(self.b)"}, b={"type": "object", "additionalProperties": {"x-kubernetes-preserve-unknown-fields": True}}),
        (f'{_RULES}.rule: Invalid value: {{"Rule":"has(self.b)",{_REST}}}: compilation failed: ERROR: <input>:1:4: undefined field \'b\'',),
    ),
    CrdCase(
        "a rule on an object of anything",
        _ruled({"rule": "has(self.b)"}, b={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    ),
    CrdCase(
        "a rule on a free map",
        _ruled({"rule": "has(self.b)"}, b={"type": "object", "additionalProperties": True}),
    ),
    CrdCase(
        "a rule on an unknown member of what preserves",
        crd(
            {
                "type": "object",
                "properties": {"a": _TEXT},
                "x-kubernetes-preserve-unknown-fields": True,
                "x-kubernetes-validations": [{"rule": "has(self.b)"}],
            }
        ),
        (f'{_RULES}.rule: Invalid value: {{"Rule":"has(self.b)",{_REST}}}: compilation failed: ERROR: <input>:1:4: undefined field \'b\'',),
    ),
    CrdCase(
        "a rule that is no condition",
        _ruled({"rule": "size('x')"}),
        (f'{_RULES}.rule: Invalid value: {{"Rule":"size(\'x\')",{_REST}}}: cel expression must evaluate to a bool',),
    ),
    CrdCase(
        "a message of two lines",
        _ruled({"rule": "self.a == 'x'", "message": "a\nb"}),
        (f'{_RULES}.message: Invalid value: "a\\nb": must not contain line breaks',),
    ),
    CrdCase(
        "an unknown reason",
        _ruled({"rule": "self.a == 'x'", "reason": "Bad"}),
        (
            f'{_RULES}.reason: Unsupported value: "Bad": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"',
        ),
    ),
    CrdCase(
        "a path that leads nowhere",
        _ruled({"rule": "self.a == 'x'", "fieldPath": ".b"}),
        (f'{_RULES}.fieldPath: Invalid value: ".b": must be a valid path',),
    ),
    CrdCase(
        "an optional old value that is not used",
        _ruled({"rule": "self.a == 'x'", "optionalOldSelf": True}),
        (f"{_RULES}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule",),
    ),
    CrdCase(
        "a transition rule in a list without keys",
        crd(
            {
                "type": "array",
                "maxItems": 5,
                "items": {
                    "type": "object",
                    "properties": {"a": {"type": "integer"}},
                    "x-kubernetes-validations": [{"rule": "self.a == oldSelf.a"}],
                },
            }
        ),
        (
            f'{_HERE}.items.x-kubernetes-validations[0].rule: Invalid value: "self.a == oldSelf.a": '
            f"oldSelf cannot be used on the uncorrelatable portion of the schema within {_HERE}",
        ),
    ),
    CrdCase(
        "a rule within allOf",
        crd({"type": "object", "properties": {"a": _TEXT}, "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]}),
        (f"{_HERE}.allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural",),
    ),
    CrdCase(
        "no group",
        _with("spec.group", ""),
        (
            "spec.group: Required value",
            'metadata.name: Invalid value: "things.crds.backstay.test": must be spec.names.plural+"."+spec.group',
        ),
    ),
    CrdCase(
        "a scope that is none",
        _with("spec.scope", "World"),
        ('spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"',),
    ),
    CrdCase(
        "another name",
        _with("metadata.name", "others.crds.backstay.test"),
        ('metadata.name: Invalid value: "others.crds.backstay.test": must be spec.names.plural+"."+spec.group',),
    ),
    CrdCase(
        "a kind of two words",
        _with("spec.names.kind", "Some Thing"),
        (
            'spec.names.kind: Invalid value: "Some Thing": may have mixed case, but should otherwise match: a DNS-1035 label',
            'spec.names.singular: Invalid value: "some thing": a DNS-1035 label',
            'spec.names.listKind: Invalid value: "Some ThingList": may have mixed case, but should otherwise match: a DNS-1035 label',
        ),
    ),
    CrdCase(
        "a short name in capitals",
        _with("spec.names.shortNames", ["TH"]),
        ('spec.names.shortNames[0]: Invalid value: "TH": a DNS-1035 label',),
    ),
    CrdCase(
        "no stored version",
        _with("spec.versions.0.storage", False),
        ("spec.versions: Invalid value: ", "status.storedVersions: Invalid value: "),
    ),
    CrdCase(
        "a version with a dot",
        _with("spec.versions.0.name", "v1.0"),
        ('spec.versions[0].name: Invalid value: "v1.0": a DNS-1035 label', 'spec.version: Invalid value: "v1.0": a DNS-1035 label'),
    ),
    CrdCase("no schema", _with("spec.versions.0.schema", None), ("spec.versions[0].schema.openAPIV3Schema: Required value",)),
    CrdCase(
        "a column of an unknown type",
        crd(additionalPrinterColumns=[{"name": "A", "type": "text", "jsonPath": ".spec"}]),
        ('spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string',),
    ),
    CrdCase(
        "a column whose path does not begin with a dot",
        crd(additionalPrinterColumns=[{"name": "A", "type": "string", "jsonPath": "spec"}]),
        ('spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec": must be a simple json path starting with .',),
    ),
    CrdCase("a selectable field", crd({"type": "object", "properties": {"a": _TEXT}}, selectableFields=[{"jsonPath": ".spec.a"}])),
    CrdCase(
        "a selectable field that is not there",
        crd(selectableFields=[{"jsonPath": ".spec.a"}]),
        ('spec.selectableFields[0].jsonPath: Invalid value: ".spec.a": is an invalid path: does not refer to a valid field',),
    ),
    CrdCase(
        "a selectable field that is an object",
        crd(selectableFields=[{"jsonPath": ".spec"}]),
        (
            'spec.selectableFields[0].jsonPath: Invalid value: ".spec": must point to a field of type string, boolean or '
            "integer. Enum string fields and strings with formats are allowed.",
        ),
    ),
    CrdCase(
        "a schema that restricts metadata",
        _with(
            "spec.versions.0.schema.openAPIV3Schema.properties.metadata", {"type": "object", "properties": {"labels": {"type": "object"}}}
        ),
        (
            "spec.validation.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name "
            "and generateName, but metadata is implicitly specified",
        ),
    ),
    CrdCase(
        "a root that may be null",
        _with("spec.versions.0.schema.openAPIV3Schema.nullable", True),
        ("spec.validation.openAPIV3Schema.nullable: Forbidden: nullable cannot be true at the root",),
    ),
    CrdCase(
        "unknown fields kept as in the old days",
        _with("spec.preserveUnknownFields", True),
        (
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ),
    ),
]
