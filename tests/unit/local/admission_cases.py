"""Requests and what the API server answers: one table for the embedded server and for the real one.

`test_admission.py` holds the embedded server's admission against it, and `tests/e2e/test_admission_against_the_real_server.py` holds the
table itself against Kubernetes. Messages are compared as sets of causes: a Go map has no order, so the real server's has none either.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

GROUP = "cases.backstay.test"


@dataclass(frozen=True)
class Case:
    """A create (or, with `change`, a create and then an update) and the causes of its refusal; none means that it is accepted.

    `kind` names a custom kind of `SCHEMAS` or a builtin one, `body` is the object without apiVersion, kind and name, `causes` are `field:
    message`.
    """

    name: str
    kind: str
    body: dict[str, Any]
    causes: tuple[str, ...] = ()
    change: dict[str, Any] | None = None
    object_name: str = "case"


BUILTIN = {
    "Job": ("batch", "v1", "jobs"),
    "CronJob": ("batch", "v1", "cronjobs"),
    "Pod": ("", "v1", "pods"),
    "ConfigMap": ("", "v1", "configmaps"),
    "Secret": ("", "v1", "secrets"),
    "Lease": ("coordination.k8s.io", "v1", "leases"),
    "ControllerRevision": ("apps", "v1", "controllerrevisions"),
    "Deployment": ("apps", "v1", "deployments"),
}


def path_of(kind: str, namespace: str) -> str:
    """Return the path of a kind's objects in a namespace."""
    group, version, plural = BUILTIN.get(kind, (GROUP, "v1", f"{kind.lower()}s"))
    return f"/{f'apis/{group}' if group else 'api'}/{version}/namespaces/{namespace}/{plural}"


def api_version_of(kind: str) -> str:
    """Return the apiVersion of a kind's objects."""
    group, version, _ = BUILTIN.get(kind, (GROUP, "v1", ""))
    return f"{group}/{version}" if group else version


def definition(kind: str) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind of `SCHEMAS`."""
    plural = f"{kind.lower()}s"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMAS[kind]}, "subresources": {"status": {}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": [version]},
    }


_TEXT = {"type": "string", "maxLength": 40}
_INT = {"type": "integer"}
_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"


def _rule(rule: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"rule": rule, **({"message": message} if message else {}), **more}


def _object(*rules: dict[str, Any], required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if rules:
        schema["x-kubernetes-validations"] = list(rules)
    return {**schema, "required": list(required)} if required else schema


_STEP = _object(
    _rule("[has(self.job), has(self.wait)].filter(x, x).size() == 1", "a step has exactly one action"),
    required=("name",),
    name={"type": "string", "pattern": _PATTERN, "maxLength": 10},
    job={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    wait=_object(duration={"type": "string", "format": "duration"}, until={"type": "string", "format": "date-time"}),
    retry=_object(
        max={"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
        jitter={"type": "string", "enum": ["Full", "None"], "default": "Full"},
    ),
)

SCHEMAS: dict[str, dict[str, Any]] = {
    "Flow": _object(
        spec=_object(
            _rule("!has(self.low) || !has(self.high) || self.low <= self.high", "low must not exceed high", fieldPath=".low"),
            required=("steps",),
            workflow=_object(_rule("self == oldSelf", "the workflow of a run cannot change"), name=_TEXT),
            steps={
                "type": "array",
                "minItems": 1,
                "maxItems": 3,
                "items": _STEP,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            tags={"type": "array", "maxItems": 9, "items": _TEXT, "x-kubernetes-list-type": "set"},
            low=_INT,
            high=_INT,
            share={"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1000000},
            small={"type": "integer", "format": "int32", "multipleOf": 5},
            limit={"x-kubernetes-int-or-string": True},
            labels={"type": "object", "maxProperties": 2, "additionalProperties": {"type": "string", "minLength": 1}},
            one={**_object(a=_TEXT, b=_TEXT), "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            some={**_object(a=_TEXT, b=_TEXT), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            every={**_TEXT, "allOf": [{"minLength": 1}, {"pattern": "^a"}]},
            none={**_object(a=_TEXT), "not": {"required": ["a"]}},
            secret={**_TEXT, "x-kubernetes-validations": [_rule("self == 'x'", "not x", reason="FieldValueForbidden")]},
            told={
                **_INT,
                "x-kubernetes-validations": [_rule("self < 5", messageExpression="'%d is too much'.format([self])")],
            },
            bare={**_INT, "x-kubernetes-validations": [_rule("self < 5")]},
            nullable={"type": "string", "nullable": True},
            template={"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
            count={**_INT, "x-kubernetes-validations": [_rule("self >= oldSelf", "must not shrink")]},
        ),
        status={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
}

_JOB_STEP = {"name": "a", "job": {}}


def _flow(name: str, causes: tuple[str, ...] = (), *, change: dict[str, Any] | None = None, **spec: Any) -> Case:
    full = {"steps": [_JOB_STEP], **spec}
    changed = {"spec": {**full, **change}} if change is not None else None
    return Case(name, "Flow", {"spec": full}, causes, changed)


_UNCHECKED = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character "
    "(e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)

CUSTOM: list[Case] = [
    _flow("a right flow"),
    _flow("a step without a name", ("spec.steps[0].name: Required value", _UNCHECKED), steps=[{"job": {}}]),
    Case("a flow without steps", "Flow", {"spec": {}}, ("spec.steps: Required value", _UNCHECKED)),
    _flow("no steps at all", ("spec.steps: Invalid value: 0: spec.steps in body should have at least 1 items",), steps=[]),
    _flow(
        "a name in capitals",
        (f"spec.steps[0].name: Invalid value: \"X\": spec.steps[0].name in body should match '{_PATTERN}'",),
        steps=[{"name": "X", "job": {}}],
    ),
    _flow(
        "a name too long",
        ("spec.steps[0].name: Too long: may not be more than 10 bytes", _UNCHECKED),
        steps=[{"name": "a" * 11, "job": {}}],
    ),
    _flow(
        "too many steps",
        ("spec.steps: Too many: 4: must have at most 3 items", _UNCHECKED),
        steps=[{"name": name, "job": {}} for name in "abcd"],
    ),
    _flow("a step twice", ('spec.steps[1]: Duplicate value: {"name":"a"}',), steps=[_JOB_STEP, _JOB_STEP]),
    _flow("a tag twice", ('spec.tags[1]: Duplicate value: "x"',), tags=["x", "x"]),
    _flow(
        "an unknown jitter",
        ('spec.steps[0].retry.jitter: Unsupported value: "Half": supported values: "Full", "None"', _UNCHECKED),
        steps=[{**_JOB_STEP, "retry": {"jitter": "Half"}}],
    ),
    _flow(
        "too few attempts",
        ("spec.steps[0].retry.max: Invalid value: 0: spec.steps[0].retry.max in body should be greater than or equal to 1",),
        steps=[{**_JOB_STEP, "retry": {"max": 0}}],
    ),
    _flow(
        "too many attempts",
        ("spec.steps[0].retry.max: Invalid value: 11: spec.steps[0].retry.max in body should be less than or equal to 10",),
        steps=[{**_JOB_STEP, "retry": {"max": 11}}],
    ),
    _flow(
        "attempts as text",
        ('spec.steps[0].retry.max: Invalid value: "string": spec.steps[0].retry.max in body must be of type integer: "string"', _UNCHECKED),
        steps=[{**_JOB_STEP, "retry": {"max": "3"}}],
    ),
    _flow(
        "a fraction of an attempt",
        (
            'spec.steps[0].retry.max: Invalid value: "number": spec.steps[0].retry.max in body must be of type integer: "number"',
            '<nil>: Invalid value: "": Checked value must be of type integer (default format) in spec.steps[0].retry.max',
            _UNCHECKED,
        ),
        steps=[{**_JOB_STEP, "retry": {"max": 1.5}}],
    ),
    _flow("a whole number with a point", steps=[{**_JOB_STEP, "retry": {"max": 2.0}}]),
    _flow(
        "steps that are no list",
        ('spec.steps: Invalid value: "object": spec.steps in body must be of type array: "object"', _UNCHECKED),
        steps={},
    ),
    _flow(
        "a duration that is none",
        (
            'spec.steps[0].wait.duration: Invalid value: "soon": spec.steps[0].wait.duration in body must be of type duration: "soon"',
            _UNCHECKED,
        ),
        steps=[{"name": "a", "wait": {"duration": "soon"}}],
    ),
    _flow("a duration", steps=[{"name": "a", "wait": {"duration": "1h30m"}}]),
    _flow(
        "a time that is none",
        ('spec.steps[0].wait.until: Invalid value: "x": spec.steps[0].wait.until in body must be of type date-time: "x"', _UNCHECKED),
        steps=[{"name": "a", "wait": {"until": "x"}}],
    ),
    _flow("two actions", ("spec.steps[0]: Invalid value: a step has exactly one action",), steps=[{"name": "a", "job": {}, "wait": {}}]),
    _flow("no action", ("spec.steps[1]: Invalid value: a step has exactly one action",), steps=[_JOB_STEP, {"name": "b"}]),
    _flow("low above high", ("spec.low: Invalid value: low must not exceed high",), low=2, high=1),
    _flow(
        "a share of nothing",
        ("spec.share: Invalid value: 0: spec.share in body should be greater than 0",),
        share=0,
    ),
    _flow(
        "a share beyond a million",
        ("spec.share: Invalid value: 2.0000005e+06: spec.share in body should be less than or equal to 1e+06",),
        share=2000000.5,
    ),
    _flow("not a multiple", ("spec.small: Invalid value: 7: spec.small in body should be a multiple of 5",), small=7),
    _flow(
        "beyond 32 bits",
        ('<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.small',),
        small=5 * 2**30,
    ),
    _flow(
        "a limit that is true",
        ('spec.limit: Invalid value: "boolean": spec.limit in body must be of type integer,string: "boolean"', _UNCHECKED),
        limit=True,
    ),
    _flow("a limit in percent", limit="50%"),
    _flow("an empty label", ('spec.labels.a: Invalid value: "": spec.labels.a in body should be at least 1 chars long',), labels={"a": ""}),
    _flow("too many labels", ("spec.labels: Too many: 3: must have at most 2 items", _UNCHECKED), labels={"a": "1", "b": "2", "c": "3"}),
    _flow(
        "none of oneOf",
        (
            '<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid',
            "spec.one.a: Required value",
            _UNCHECKED,
        ),
        one={},
    ),
    _flow(
        "both of oneOf",
        ('<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives',),
        one={"a": "1", "b": "2"},
    ),
    _flow(
        "none of anyOf",
        ('<nil>: Invalid value: "": "spec.some" must validate at least one schema (anyOf)', "spec.some.a: Required value", _UNCHECKED),
        some={},
    ),
    _flow(
        "a part of allOf",
        (
            "spec.every: Invalid value: \"b\": spec.every in body should match '^a'",
            '<nil>: Invalid value: "": "spec.every" must validate all the schemas (allOf)',
        ),
        every="b",
    ),
    _flow("what not forbids", ('<nil>: Invalid value: "": "spec.none" must not validate the schema (not)',), none={"a": "1"}),
    _flow("a forbidden value", ("spec.secret: Forbidden: not x",), secret="y"),
    _flow("a message that was worked out", ("spec.told: Invalid value: 7: 7 is too much",), told=7),
    _flow("a rule without a message", ("spec.bare: Invalid value: 7: failed rule: self < 5",), bare=7),
    _flow("a null that means nothing", workflow=None),
    _flow("a null that is allowed", nullable=None),
    _flow(
        "an embedded object without a kind",
        ("spec.template.kind: Required value", _UNCHECKED),
        template={"apiVersion": "v1"},
    ),
    _flow(
        "the workflow of a run is changed",
        ("spec.workflow: Invalid value: the workflow of a run cannot change",),
        workflow={"name": "a"},
        change={"workflow": {"name": "b"}},
    ),
    _flow("a count shrinks", ("spec.count: Invalid value: 1: must not shrink",), count=2, change={"count": 1}),
    _flow("a count grows", count=2, change={"count": 3}),
]

_CONTAINER = {"name": "main", "image": "busybox"}


def _pod(**spec: Any) -> dict[str, Any]:
    return {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [_CONTAINER], **spec}


def _job(
    name: str, causes: tuple[str, ...] = (), *, pod: dict[str, Any] | None = None, change: dict[str, Any] | None = None, **spec: Any
) -> Case:
    full = {"template": {"spec": _pod(**(pod or {}))}, **spec}
    return Case(name, "Job", {"spec": full}, causes, {"spec": {**copy.deepcopy(full), **change}} if change is not None else None)


_WHERE = "spec.template.spec"
_QUALIFIED = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)

BUILTINS: list[Case] = [
    _job("a right job"),
    Case(
        "a job without a template",
        "Job",
        {"spec": {}},
        (f"{_WHERE}.containers: Required value", f'{_WHERE}.restartPolicy: Required value: valid values: "OnFailure", "Never"'),
    ),
    _job(
        "a job that restarts always",
        (f'{_WHERE}.restartPolicy: Required value: valid values: "OnFailure", "Never"',),
        pod={"restartPolicy": "Always"},
    ),
    _job(
        "a job with a restart policy of its own",
        (
            f'{_WHERE}.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"',
            f'{_WHERE}.restartPolicy: Unsupported value: "Maybe": supported values: "OnFailure", "Never"',
        ),
        pod={"restartPolicy": "Maybe"},
    ),
    _job("a container without a name", (f"{_WHERE}.containers[0].name: Required value",), pod={"containers": [{"image": "a"}]}),
    _job("a container without an image", (f"{_WHERE}.containers[0].image: Required value",), pod={"containers": [{"name": "a"}]}),
    _job(
        "a container in capitals",
        (f'{_WHERE}.containers[0].name: Invalid value: "A": {_LABEL}',),
        pod={"containers": [{"name": "A", "image": "a"}]},
    ),
    _job("a container twice", (f'{_WHERE}.containers[1].name: Duplicate value: "main"',), pod={"containers": [_CONTAINER, _CONTAINER]}),
    _job(
        "an init container of the same name",
        (f'{_WHERE}.initContainers[0].name: Duplicate value: "main"',),
        pod={"initContainers": [_CONTAINER]},
    ),
    _job(
        "a variable without a name",
        (f"{_WHERE}.containers[0].env[0].name: Required value",),
        pod={"containers": [{**_CONTAINER, "env": [{"value": "1"}]}]},
    ),
    _job(
        "a variable with an equals sign",
        (
            f'{_WHERE}.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII '
            "characters other than '='",
        ),
        pod={"containers": [{**_CONTAINER, "env": [{"name": "A=B", "value": "1"}]}]},
    ),
    _job(
        "a variable with two sources",
        (f'{_WHERE}.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',),
        pod={
            "containers": [{**_CONTAINER, "env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]
        },
    ),
    _job(
        "a mount of nothing",
        (f'{_WHERE}.containers[0].volumeMounts[0].name: Not found: "data"',),
        pod={"containers": [{**_CONTAINER, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]},
    ),
    _job(
        "a request above its limit",
        (f'{_WHERE}.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',),
        pod={"containers": [{**_CONTAINER, "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}]},
    ),
    _job(
        "an unknown resource",
        (
            f'{_WHERE}.containers[0].resources.limits[gold]: Invalid value: "gold": must be a standard resource type or fully qualified',
            f'{_WHERE}.containers[0].resources.limits[gold]: Invalid value: "gold": must be a standard resource for containers',
        ),
        pod={"containers": [{**_CONTAINER, "resources": {"limits": {"gold": "1"}}}]},
    ),
    _job(
        "an unknown pull policy",
        (f'{_WHERE}.containers[0].imagePullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"',),
        pod={"containers": [{**_CONTAINER, "imagePullPolicy": "Often"}]},
    ),
    _job(
        "a deadline of nothing",
        (f"{_WHERE}.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",),
        pod={"activeDeadlineSeconds": 0},
    ),
    _job("two volumes of one name", (f'{_WHERE}.volumes[1].name: Duplicate value: "v"',), pod={"volumes": [{"name": "v"}, {"name": "v"}]}),
    _job(
        "a negative backoff limit",
        ("spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",),
        backoffLimit=-1,
    ),
    _job(
        "an unknown completion mode",
        ('spec.completionMode: Unsupported value: "Some": supported values: "NonIndexed", "Indexed"',),
        completionMode="Some",
    ),
    _job(
        "an indexed job without completions",
        ("spec.completions: Required value: when completion mode is Indexed",),
        completionMode="Indexed",
        parallelism=1,
    ),
    _job(
        "a failure policy without an action",
        ('spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]',),
        podFailurePolicy={"rules": [{"action": "", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
    ),
    _job(
        "a failure policy without a test",
        ("spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",),
        podFailurePolicy={"rules": [{"action": "Ignore"}]},
    ),
    _job(
        "a failure policy with codes out of order",
        (
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3",
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
        ),
        podFailurePolicy={"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3, 0, 3]}}]},
    ),
    _job(
        "a failure policy for a container that is not there",
        (
            'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "side": must be one of the container or initContainer names in '
            "the pod template",
        ),
        podFailurePolicy={"rules": [{"action": "FailJob", "onExitCodes": {"containerName": "side", "operator": "In", "values": [3]}}]},
    ),
    _job(
        "a failure policy with restarts",
        (f'{_WHERE}.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified',),
        pod={"restartPolicy": "OnFailure"},
        podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
    ),
    _job(
        "a failure policy and another replacement",
        ('spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"',),
        podReplacementPolicy="TerminatingOrFailed",
        podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
    ),
    _job("completions change", ("spec.completions: Invalid value: 2: field is immutable",), change={"completions": 2}),
    _job("a job is suspended", change={"suspend": True}),
    _job("more pods at once", change={"parallelism": 3}),
    _job(
        "a label that is none",
        (
            f'metadata.labels: Invalid value: "a b": name part {_QUALIFIED}',
            f'spec.template.labels: Invalid value: "a b": name part {_QUALIFIED}',
        ),
        template={"metadata": {"labels": {"a b": "c"}}, "spec": _pod()},
    ),
    Case(
        "a pod without containers",
        "Pod",
        {"spec": {}},
        ("spec.containers: Required value",),
    ),
    Case(
        "a pod changes its command",
        "Pod",
        {"spec": _pod()},
        ("spec: Forbidden: pod updates may not change fields other than",),
        {"spec": _pod(containers=[{**_CONTAINER, "command": ["a"]}])},
    ),
    Case("a pod changes its image", "Pod", {"spec": _pod()}, (), {"spec": _pod(containers=[{**_CONTAINER, "image": "other"}])}),
    Case(
        "a pod gets a container",
        "Pod",
        {"spec": _pod()},
        ("spec.containers: Forbidden: pod updates may not add or remove containers",),
        {"spec": _pod(containers=[_CONTAINER, {"name": "b", "image": "b"}])},
    ),
    Case(
        "a config map with a path for a key",
        "ConfigMap",
        {"data": {"a/b": "1"}},
        (
            "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
            "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        ),
    ),
    Case(
        "a config map that is too large",
        "ConfigMap",
        {"data": {"a": "x" * (1024 * 1024 + 1)}},
        ("[]: Too long: may not be more than 1048576 bytes",),
    ),
    Case(
        "an immutable config map is changed",
        "ConfigMap",
        {"immutable": True, "data": {"a": "1"}},
        ("data: Forbidden: field is immutable when `immutable` is set",),
        {"immutable": True, "data": {"a": "2"}},
    ),
    Case(
        "a secret changes its type", "Secret", {"type": "Opaque"}, ('type: Invalid value: "Other": field is immutable',), {"type": "Other"}
    ),
    Case(
        "a TLS secret without a key",
        "Secret",
        {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}},
        ("data[tls.key]: Required value",),
    ),
    Case(
        "a lease of no time",
        "Lease",
        {"spec": {"leaseDurationSeconds": 0}},
        ("spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",),
    ),
    Case("a revision without data", "ControllerRevision", {"revision": 1}, ("data: Required value: data is mandatory",)),
    Case(
        "a revision of a list",
        "ControllerRevision",
        {"revision": 1, "data": []},
        ("data: Required value: data must be a valid JSON object",),
    ),
    Case(
        "a revision changes its data",
        "ControllerRevision",
        {"revision": 1, "data": {"a": 1}},
        ('data: Invalid value: {"a":2}: field is immutable',),
        {"revision": 1, "data": {"a": 2}},
    ),
    Case(
        "a cron job with a long name",
        "CronJob",
        {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": _pod()}}}}},
        (f'metadata.name: Invalid value: "{"a" * 53}": must be no more than 52 characters',),
        object_name="a" * 53,
    ),
    Case(
        "a deployment whose selector misses its pods",
        "Deployment",
        {
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [_CONTAINER]}},
            }
        },
        ('spec.template.metadata.labels: Invalid value: {"a":"c"}: `selector` does not match template `labels`',),
    ),
]


@dataclass(frozen=True)
class DecodeCase:
    """A request body that is refused before it is looked at, under strict field validation; `said` is what the decoder says of it."""

    name: str
    kind: str
    body: str
    said: str

    @property
    def repeats(self) -> bool:
        """Whether a field is there twice, which only the body's text shows."""
        return "duplicate field" in self.said

    @property
    def message(self) -> str:
        """The whole message of the answer."""
        return f'{self.kind} in version "v1" cannot be handled as a {self.kind}: {self.said}'

    def as_object(self) -> dict[str, Any]:
        """The body with what every object needs."""
        given = json.loads(self.body)
        metadata = {"name": "case", **given.get("metadata", {})}
        return {"apiVersion": api_version_of(self.kind), "kind": self.kind, **given, "metadata": metadata}


_UNKNOWN = "strict decoding error: "
DECODING: list[DecodeCase] = [
    DecodeCase(
        "an unknown field of a custom kind",
        "Flow",
        '{"spec":{"steps":[{"name":"a","job":{},"jbo":{}}],"stpes":[]}}',
        _UNKNOWN + 'unknown field "spec.steps[0].jbo", unknown field "spec.stpes"',
    ),
    DecodeCase(
        "an unknown field of a job",
        "Job",
        '{"spec":{"paralellism":1,"template":{"spec":{"containers":[{"name":"a","imagee":"b"}]}}}}',
        _UNKNOWN + 'unknown field "spec.paralellism", unknown field "spec.template.spec.containers[0].imagee"',
    ),
    DecodeCase("a field twice", "Flow", '{"spec":{"low":1,"low":2,"steps":[]}}', _UNKNOWN + 'duplicate field "spec.low"'),
    DecodeCase(
        "a field of a job twice", "Job", '{"spec":{"parallelism":1,"parallelism":2}}', _UNKNOWN + 'duplicate field "spec.parallelism"'
    ),
    DecodeCase(
        "text for a number of a job",
        "Job",
        '{"spec":{"parallelism":"1"}}',
        "json: cannot unmarshal string into Go struct field JobSpec.spec.parallelism of type int32",
    ),
    DecodeCase(
        "a number for a variable",
        "Job",
        '{"spec":{"template":{"spec":{"containers":[{"name":"a","env":[{"name":"A","value":1}]}]}}}}',
        "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
    ),
    DecodeCase(
        "a quantity that is none",
        "Job",
        '{"spec":{"template":{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"1x"}}}]}}}}',
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
    DecodeCase(
        "a list for a template",
        "Job",
        '{"spec":{"template":[]}}',
        "json: cannot unmarshal array into Go struct field JobSpec.spec.template of type v1.PodTemplateSpec",
    ),
    DecodeCase(
        "a fraction of a pod",
        "Job",
        '{"spec":{"parallelism":1.5}}',
        "json: cannot unmarshal number 1.5 into Go struct field JobSpec.spec.parallelism of type int32",
    ),
    DecodeCase(
        "an unknown field of the metadata",
        "Flow",
        '{"metadata":{"lables":{}},"spec":{"steps":[{"name":"a","job":{}}]}}',
        _UNKNOWN + 'unknown field "metadata.lables"',
    ),
    DecodeCase(
        "a number for a label",
        "Job",
        '{"metadata":{"labels":{"a":1}},"spec":{}}',
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
    ),
]
