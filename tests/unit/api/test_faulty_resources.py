"""What a user can get wrong in a resource step: each mistake with its path and the mend, before anything runs."""

from typing import Any

import pytest
import yaml

from backstay.api.validate import check_workflow, parse_workflow
from backstay.errors import InvalidDefinition

CONFIG_MAP = "apiVersion: v1, kind: ConfigMap"
SECRET = "apiVersion: v1, kind: Secret"
NEVER = (
    "would stand in the workflow, in the run's status and in its journal, and a Secret's data never may; "
    "let a job or an operator for secrets make the Secret, and refer to it"
)

TABLE: list[tuple[str, str, list[str]]] = [
    ("nothing to do", "{}", [": does nothing; give exactly one of create, apply, patch, delete, get, wait"]),
    (
        "two acts",
        f"{{get: {{{CONFIG_MAP}, name: a}}, delete: {{{CONFIG_MAP}, name: a}}}}",
        [": has delete and get; give exactly one of create, apply, patch, delete, get, wait"],
    ),
    (
        "an unknown field",
        f"{{get: {{{CONFIG_MAP}, nam: a}}}}",
        ['.get: missing field "name": add it', '.get: unknown field "nam"; did you mean "name"?'],
    ),
    ("no kind", "{create: {apiVersion: v1, metadata: {name: a}}}", [".create.kind: is missing; write it as in Deployment"]),
    (
        "no apiVersion",
        "{apply: {apiVersion: 1, kind: ConfigMap, metadata: {name: a}}}",
        [".apply.apiVersion: 1 is no apiVersion; write it as in apps/v1"],
    ),
    ("no metadata", f"{{create: {{{CONFIG_MAP}}}}}", [".create.metadata: is missing; a manifest has metadata with a name"]),
    (
        "no name",
        f"{{create: {{{CONFIG_MAP}, metadata: {{}}}}}}",
        [".create.metadata.name: is missing; an object needs a name, as in cart-${params.orderId}"],
    ),
    (
        "a generated name cannot be applied",
        f"{{apply: {{{CONFIG_MAP}, metadata: {{generateName: a-}}}}}}",
        [".apply.metadata.generateName: what is applied has a name; write name"],
    ),
    (
        "our own labels",
        f"{{create: {{{CONFIG_MAP}, metadata: {{name: a, labels: {{backstay.dev/run: x}}}}}}}}",
        ['.create.metadata.labels: "backstay.dev/run" is for Backstay\'s own records; choose a name outside of backstay.dev/'],
    ),
    ("data of a Secret", f"{{create: {{{SECRET}, metadata: {{name: a}}, stringData: {{x: y}}}}}}", [f".create.stringData: {NEVER}"]),
    ("data merged into a Secret", f"{{patch: {{{SECRET}, name: a, merge: {{data: {{x: eQ==}}}}}}}}", [f".patch.merge.data: {NEVER}"]),
    (
        "data put or copied into a Secret",
        f"{{patch: {{{SECRET}, name: a, json: [{{op: add, path: /data/x, value: y}}, {{op: copy, from: /metadata/a, path: /metadata/b}}]}}}}",
        [f".patch.json[0]: {NEVER}", f".patch.json[1]: {NEVER}"],
    ),
    (
        "data of a Secret as an output",
        f'{{get: {{{SECRET}, name: a}}, outputs: {{token: "${{ object.data.token }}"}}}}',
        [
            ".outputs.token: takes object.data.token of a Secret, whose values are never shown to a workflow; let the job that needs it refer to the Secret"
        ],
    ),
    ("two patches", f"{{patch: {{{CONFIG_MAP}, name: a, merge: {{}}, json: []}}}}", [".patch: give exactly one of merge and json"]),
    ("neither name nor selector", f"{{wait: {{{CONFIG_MAP}}}}}", [".wait: give exactly one of name and selector"]),
    (
        "gone with a condition",
        f'{{wait: {{{CONFIG_MAP}, name: a, gone: true, condition: "${{ true }}"}}}}',
        [".wait: gone waits for nothing to be there; remove condition and atLeast"],
    ),
    (
        "atLeast of one",
        f"{{wait: {{{CONFIG_MAP}, name: a, atLeast: 2}}}}",
        [".wait: atLeast is for a selector, which may find several objects"],
    ),
    (
        "until beside wait",
        f'{{wait: {{{CONFIG_MAP}, name: a}}, until: "${{ true }}"}}',
        [": until is for create, apply and patch, not for wait; write condition and failWhen inside wait"],
    ),
    ("owning what is read", f"{{get: {{{CONFIG_MAP}, name: a}}, own: true}}", [": own is for create and apply, not for get"]),
    ("force without apply", f"{{create: {{{CONFIG_MAP}, metadata: {{name: a}}}}, force: true}}", [": force is for apply, not for create"]),
    (
        "outputs of a deletion",
        f'{{delete: {{{CONFIG_MAP}, name: a}}, outputs: {{x: "${{ object }}"}}}}',
        [": outputs are taken from one object; a deletion, a wait for gone and a selector have none"],
    ),
    (
        "a name that expressions cannot use",
        f'{{get: {{{CONFIG_MAP}, name: a}}, outputs: {{a-b: "${{ object }}"}}}}',
        [': outputs: "a-b" is no name; write letters, digits and underscores, as in readyReplicas'],
    ),
    (
        "a namespace for what is in none",
        "{create: {apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: b}}, own: true}",
        [
            ".create.metadata.namespace: a Namespace is in no namespace; remove it",
            ".own: a Namespace is in no namespace, and a run owns objects of its own namespace only; set own: false",
        ],
    ),
    (
        "a condition that is none",
        f'{{wait: {{{CONFIG_MAP}, name: a, condition: "${{ 1 + 1 }}"}}}}',
        [".wait.condition: the condition gives a whole number, and must give true or false; compare it with something, as in … == 1"],
    ),
    (
        "object where there is none",
        f'{{get: {{{CONFIG_MAP}, name: "${{ object.metadata.name }}"}}}}',
        ['.get.name: ${ object.metadata.name }: position 1: there is no "object"'],
    ),
]


def problems_of(action: str) -> list[str]:
    spec: dict[str, Any] = {"steps": [{"name": "a", "resource": yaml.safe_load(action)}]}
    try:
        return [str(problem) for problem in check_workflow(parse_workflow(spec))]
    except InvalidDefinition as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(("action", "problems"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_faulty_resource_step_is_answered_with_path_and_mend(action: str, problems: list[str]) -> None:
    found = problems_of(action)
    assert [text.startswith(f"steps[0].resource{problem}") for text, problem in zip(found, problems, strict=False)] == [True] * len(
        problems
    ), found
    assert len(found) == len(problems), found


@pytest.mark.parametrize(
    "action",
    [
        f'{{apply: {{{CONFIG_MAP}, metadata: {{name: "cart-${{ run.name }}", namespace: other}}, data: {{a: "${{ run.uid }}"}}}}, own: false}}',
        '{create: {apiVersion: "${ run.name }", kind: "${ run.name }", metadata: {generateName: a-}}, until: "${ has(object.status) }"}',
        f'{{wait: {{{SECRET}, name: a, condition: "${{ has(object.data.token) }}"}}, outputs: {{at: "${{ object.metadata.creationTimestamp }}"}}}}',
        f"{{patch: {{{SECRET}, name: a, json: [{{op: add, path: /metadata/labels/x, value: y}}]}}}}",
    ],
)
def test_a_sound_resource_step_has_no_problem(action: str) -> None:
    assert problems_of(action) == []


@pytest.mark.parametrize(
    ("action", "there"),
    [
        (f"{{get: {{{CONFIG_MAP}, name: a}}}}", 'there are: apiVersion, kind, name, namespace, uid; did you mean "name"?'),
        (f"{{get: {{{CONFIG_MAP}, name: a}}, outputs: {{state: x}}}}", "there is: state"),
        (f"{{wait: {{{CONFIG_MAP}, selector: a}}}}", "there is: count"),
        (f"{{delete: {{{CONFIG_MAP}, name: a}}}}", "there is nothing here"),
    ],
)
def test_an_output_that_a_resource_step_does_not_have_is_told(action: str, there: str) -> None:
    step = {"name": "a", "resource": yaml.safe_load(action)}
    found = check_workflow(parse_workflow({"steps": [step], "outputs": [{"name": "x", "value": "${ steps.a.outputs.nam }"}]}))
    assert [str(problem) for problem in found] == [
        f'outputs[0].value: ${{ steps.a.outputs.nam }}: steps.a.outputs.nam: there is no "nam"; {there}'
    ]


def test_undoing_by_a_resource_step_is_judged_as_well() -> None:
    undo = {"resource": {"delete": {"apiVersion": "v1", "kind": "", "name": "a"}}}
    spec = {"steps": [{"name": "a", "set": {"x": 1}, "compensate": undo}]}
    with pytest.raises(InvalidDefinition) as told:
        parse_workflow(spec)
    assert "steps[0].compensate.resource.delete.kind" in str(told.value)
