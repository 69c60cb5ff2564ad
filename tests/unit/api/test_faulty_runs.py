"""What a user can get wrong when starting a run: the run itself, and the parameters against the workflow's schemas."""

import time
from typing import Any

import pytest
import yaml

from backstay.api.run import WorkflowRunSpec
from backstay.api.steps import Step, actions
from backstay.api.validate import check_parameters, check_workflow, parse_run, parse_workflow
from backstay.api.validate.fields import fields_of
from backstay.errors import InvalidDefinition
from backstay.expressions.words import there_are

RUNS = yaml.safe_load(
    """
- [{}, 'missing field "workflow": add it']
- [{workflow: order}, 'workflow: expected a map, found the text "order"']
- [{workflow: {}}, 'workflow: give exactly one of name and inline']
- [{workflow: {name: a, inline: {steps: [{name: a, job: {image: x}}]}}}, 'workflow: give exactly one of name and inline']
- [{workflow: {revision: 1, inline: {steps: [{name: a, job: {image: x}}]}}}, 'workflow: revision goes with name; an inline definition has none']
- [{workflow: {name: a, revision: 0}}, 'workflow.revision: is 0 and must be at least 1']
- [{workflow: {name: a, version: 2}}, 'workflow: unknown field "version"; did you mean "revision"?']
- [{workflow: {name: ""}}, 'workflow.name: is empty; write something']
- [{workflow: {name: a}, params: {}}, 'unknown field "params"; did you mean "parameters"?']
- [{workflow: {name: a}, colour: red}, 'unknown field "colour"; {fields}']
- [{workflow: {name: a}, parameter: {}}, 'unknown field "parameter"; did you mean "parameters"?']
- [{workflow: {name: a}, parameters: [1]}, 'parameters: expected a map, found a list of 1']
- [{workflow: {name: a}, suspend: "yes"}, 'suspend: expected true or false, found the text "yes"']
- [{workflow: {name: a}, suspend: "true"}, 'suspend: expected true or false, found the text "true"; write true without quotes']
- [{workflow: {name: a}, cancel: true}, 'cancel: expected a map, found true']
- [{workflow: {name: a}, cancel: {why: x}}, 'cancel: unknown field "why"; there are: compensate, reason']
- [{workflow: {name: a}, ttl: {succeeded: 1 day}}, 'ttl.succeeded: "1 day" is no duration; write a number and a unit (ms, s, m, h, d), as in 90s or 1h30m']
- [{workflow: {name: a}, jobLabels: {team: 1}}, 'jobLabels.team: expected text, found the number 1; write it in quotes: "1"']
- [{workflow: {name: a}, requests: [{id: r, step: a, action: Cancel, edit: {}}]}, 'requests[0]: edit goes with Retry: it changes the next attempt']
- [{workflow: {name: a}, requests: [{id: r, step: a, action: Retry, outputs: {}}]}, 'requests[0]: outputs go with Skip: a step that is tried again has its own']
- [{workflow: {name: a}, requests: [{id: r, step: a, action: Retry, edit: [1]}]}, 'requests[0].edit: expected a map, found a list of 1']
- [{workflow: {name: a}, requests: [{id: r, step: a, action: Giveup}]},
   'requests[0].action: "Giveup" is unknown; there are: AddItems, Cancel, Complete, GiveUp, Retry, Skip; did you mean "GiveUp"?']
- [{workflow: {inline: {steps: [{name: a, jo: {image: x}}]}}}, 'workflow.inline.steps[0]: unknown field "jo"; did you mean "job"?']
- [{workflow: {inline: {steps: [{name: a}]}}}, 'workflow.inline.steps[0]: has no action; give exactly one of {kinds}']
"""
)  # fmt: skip

WORKFLOW = parse_workflow(
    yaml.safe_load(
        """
parameters:
- {name: orderId, schema: {type: string, minLength: 1, pattern: "^[a-z0-9-]+$"}}
- {name: amount, schema: {type: number, minimum: 0}}
- name: address
  schema:
    type: object
    required: [city]
    additionalProperties: false
    properties: {city: {type: string}, zip: {type: string, maxLength: 6}, mail: {type: string, format: email}}
  default: {city: Utrecht}
- {name: size, schema: {enum: [S, M, L]}, default: M}
- {name: lines, schema: {type: array, maxItems: 2, items: {type: object, required: [sku], properties: {count: {type: integer}}}}, default: []}
- {name: when, schema: {type: string, format: date-time}, default: "2027-01-01T00:00:00Z"}
- {name: note, default: null}
steps: [{name: a, job: {image: x}}]
"""
    )
)

GOOD = {"orderId": "a-17", "amount": 12.5}
PARAMETERS = yaml.safe_load(
    """
- [{}, ['parameters: missing "orderId", "amount": add them; the workflow gives no default']]
- [{orderId: a}, ['parameters: missing "amount": add it; the workflow gives no default']]
- [{orderId: a, amount: abc}, ['parameters.amount: "abc" is not of type "number"']]
- [{orderId: a, amount: "12"}, ['parameters.amount: "12" is not of type "number"; write 12 without quotes']]
- [{orderId: a, amount: -1}, ['parameters.amount: -1 is less than the minimum of 0']]
- [{orderId: "", amount: 1}, ['parameters.orderId: "" is shorter than 1 character', 'parameters.orderId: "" does not match "^[a-z0-9-]+$"']]
- [{orderId: A 1, amount: 1}, ['parameters.orderId: "A 1" does not match "^[a-z0-9-]+$"']]
- [{orderId: a, amout: 1}, ['parameters: missing "amount": add it; the workflow gives no default',
    'parameters.amout: the workflow has no parameter "amout"; there are: address, amount, lines, note, orderId, size, when; did you mean "amount"?']]
- [{orderId: a, amount: 1, colour: red}, ['parameters.colour: the workflow has no parameter "colour"; there are: address, amount, lines, note, orderId, size, when']]
- [{orderId: a, amount: 1, address: {}}, ['parameters.address: "city" is missing; add it']]
- [{orderId: a, amount: 1, address: {city: 5}}, ['parameters.address.city: 5 is not of type "string"']]
- [{orderId: a, amount: 1, address: {city: x, street: y}}, ['parameters.address: the schema knows no "street"; remove it']]
- [{orderId: a, amount: 1, address: {city: x, mail: nobody}}, ['parameters.address.mail: "nobody" is not of the format email']]
- [{orderId: a, amount: 1, size: XL}, ['parameters.size: "XL" is not one of "S", "M" or "L"']]
- [{orderId: a, amount: 1, lines: [{sku: a}, {count: x}]}, ['parameters.lines[1]: "sku" is missing; add it', 'parameters.lines[1].count: "x" is not of type "integer"']]
- [{orderId: a, amount: 1, lines: [{sku: a}, {sku: b}, {sku: c}]}, ['parameters.lines: [{"sku":"a"},{"sku":"b"},{"sku":"c"}] has more than 2 items']]
- [{orderId: a, amount: 1, when: tomorrow}, ['parameters.when: "tomorrow" is not of the format date-time']]
- [{orderId: a, amount: null}, ['parameters.amount: null is not of type "number"']]
"""
)  # fmt: skip


@pytest.mark.parametrize(("spec", "problem"), RUNS, ids=[problem for _, problem in RUNS])
def test_a_faulty_run_is_answered_with_path_and_mend(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        parse_run(spec)
    in_full = problem.replace("{kinds}", ", ".join(actions(Step))).replace("{fields}", there_are(fields_of(WorkflowRunSpec)))
    assert [str(found) for found in refused.value.problems] == [in_full]


@pytest.mark.parametrize(("given", "problems"), PARAMETERS, ids=[problems[0] for _, problems in PARAMETERS])
def test_faulty_parameters_are_answered_with_path_and_mend(given: dict[str, Any], problems: list[str]) -> None:
    assert [str(problem) for problem in check_parameters(WORKFLOW, given)[1]] == problems


def test_defaults_are_filled_in() -> None:
    resolved, problems = check_parameters(WORKFLOW, GOOD)
    assert problems == []
    assert resolved == {**GOOD, "address": {"city": "Utrecht"}, "size": "M", "lines": [], "when": "2027-01-01T00:00:00Z", "note": None}


def test_a_parameter_of_a_megabyte_is_refused_wherever_it_turns_up() -> None:
    message = "parameters: is longer than 262,144 bytes as JSON; pass large data by reference, or divide it"
    given = {**GOOD, "note": "x" * 1_000_000}
    with pytest.raises(InvalidDefinition) as refused:
        parse_run({"workflow": {"name": "order"}, "parameters": given})
    assert str(refused.value) == message
    assert [str(problem) for problem in check_parameters(WORKFLOW, given)[1]] == [message]


def test_a_long_value_is_cut_and_what_is_wrong_with_it_is_not() -> None:
    problem = check_parameters(WORKFLOW, {**GOOD, "amount": "z" * 10_000})[1][0]
    assert len(problem.message) < 300
    assert problem.message.endswith('is not of type "number"')


def workflow_with(schema: Any) -> dict[str, Any]:
    return {"parameters": [{"name": "x", "schema": schema}], "steps": [{"name": "a", "job": {"image": "x", "args": ["${ params.x }"]}}]}


HOSTILE: dict[str, tuple[Any, Any]] = {
    "references that double 25 times": (
        {
            "$ref": "#/$defs/a0",
            "$defs": {f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(25)} | {"a25": {"type": "integer"}},
        },
        "x",
    ),
    "a chain of thousands of references": (
        {"$ref": "#/$defs/a0", "$defs": {f"a{i}": {"$ref": f"#/$defs/a{i + 1}"} for i in range(3000)} | {"a3000": {}}},
        "x",
    ),
    "a circle of alternatives on a value that nests deep": (
        {"$ref": "#/$defs/t", "$defs": {"t": {"anyOf": [{"items": {"$ref": "#/$defs/t"}}, {"items": {"$ref": "#/$defs/t"}}]}}},
        [[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]],
    ),
    "a circle to the whole schema": ({"items": {"$ref": "#"}}, [[[1]]]),
    "a schema over the network": ({"$ref": "http://192.0.2.1/schema.json"}, 1),
    "a schema that says it is elsewhere": ({"$id": "http://192.0.2.1/", "$ref": "schema.json"}, 1),
    "a regular expression that backtracks": ({"pattern": "(a+)+$"}, "a" * 200_000 + "!"),
    "a regular expression of a million states": ({"pattern": "((a{1,100}){1,100}){1,100}"}, "a"),
    "alternatives for every element of a long list": ({"items": {"anyOf": [{"type": "string"}] * 90}}, list(range(12_000))),
    "many alternatives for a long list": ({"anyOf": [{"items": {"type": "string"}} for _ in range(400)]}, list(range(12_000))),
    "more values than may be listed": ({"enum": list(range(20_000))}, 3),
    "unique objects": ({"uniqueItems": True}, [{"a": i} for i in range(9000)]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_schema_hangs_or_reaches_out(name: str) -> None:
    schema, value = HOSTILE[name]
    started = time.perf_counter()
    workflow = parse_workflow(workflow_with(schema))
    problems = [*check_workflow(workflow), *check_parameters(workflow, {"x": value})[1]]
    assert time.perf_counter() - started < 5
    assert bool(problems) == (name != "unique objects")


def test_a_run_of_a_workflow_whose_schema_is_none_is_told_to_mend_the_workflow() -> None:
    problem = check_parameters(parse_workflow(workflow_with({"type": "strin"})), {"x": 1})[1][0]
    assert str(problem).startswith('parameters.x: the workflow\'s schema for it is no JSON Schema (type: "strin" is no type of JSON Schema')
    assert str(problem).endswith("mend the workflow")


def test_a_schema_may_refer_to_its_own_definitions() -> None:
    schema = {"$defs": {"money": {"type": "number", "minimum": 0}}, "type": "array", "items": {"$ref": "#/$defs/money"}}
    workflow = parse_workflow(workflow_with(schema))
    assert check_workflow(workflow) == []
    assert [str(problem) for problem in check_parameters(workflow, {"x": [1, -1]})[1]] == [
        "parameters.x[1]: -1 is less than the minimum of 0"
    ]
