"""What users get wrong, part two: a Workflow that only the graph can judge. The answer is its condition Valid=False."""

from dataclasses import dataclass
from typing import Final

from tests.scenarios.manifests import ONE, TEXT, shell, step, steps
from tests.support.api import Object


@dataclass(frozen=True)
class Invalid:
    """A definition that cannot be run, and what the condition Valid says: whole lines of it."""

    spec: Object
    says: tuple[str, ...]


def _invalid(spec: Object, *says: str) -> Invalid:
    return Invalid(spec, says)


def _deep(levels: int, inner: Object) -> Object:
    for number in range(levels):
        inner = step(f"level-{number}", steps=[inner])
    return inner


INVALID: Final[dict[str, Invalid]] = {
    "a step that is not there": _invalid(
        steps(step("charge", set={"x": 1}), step("say", set={"y": "${ steps.chrage.outputs.payment }"})),
        'steps[1].set.y: steps.chrage: there is no step "chrage"; there is: charge; did you mean "charge"?',
    ),
    "a step that comes only later": _invalid(
        steps(step("first", set={"x": "${ steps.second.outputs.y }"}), step("second", job=shell())),
        'steps[0].set.x: steps.second: "second" comes later; an expression sees what has run before its own step; move one of the two',
    ),
    "a parameter that is not declared": _invalid(
        steps(step(set={"x": "${ params.ordrId }"}), parameters=[TEXT]),
        'steps[0].set.x: params.ordrId: there is no parameter "ordrId"; there is: orderId; did you mean "orderId"?',
    ),
    "an expression that does not parse": _invalid(
        steps(step(set={"x": "${ 1 + }"})),
        "steps[0].set.x: ${ 1 + }: position 4: the expression ends too early; something is missing at its end",
    ),
    "an expression that is not closed": _invalid(
        steps(step(set={"x": "${ params.a"})),
        'steps[0].set.x: "${" at position 1 has no end; close it with }, or write $${ for a literal ${',
    ),
    "a function that does not exist": _invalid(steps(step(set={"x": "${ shout('a') }"})), "steps[0].set.x", 'there is no function "shout"'),
    "an expression that is too long": _invalid(
        steps(step(set={"x": "${ '" + "a" * 1100 + "' }"})), "steps[0].set.x", "characters and may have 1024"
    ),
    "an expression with too many loops": _invalid(
        steps(step(set={"x": "${ [1].map(a, [1].map(b, [1].map(c, a + b + c))) }"})),
        "steps[0].set.x",
        "the expression loops 3 times",
        "may do so 2 times",
    ),
    "an error where there is none": _invalid(
        steps(step(set={"x": "${ error.type }"})),
        "steps[0].set.x",
        'there is no "error" here',
        "error is there in catch and compensate only",
    ),
    "self outside of a compensation": _invalid(
        steps(step(set={"x": "${ self.outputs.y }"})), "steps[0].set.x", 'there is no "self" here', "self is there in compensate only"
    ),
    "a circle of dependencies": _invalid(
        {
            "dag": {
                "steps": [
                    step("x", set={"v": 1}, dependsOn=["z"]),
                    step("y", set={"v": 1}, dependsOn=["x"]),
                    step("z", set={"v": 1}, dependsOn=["y"]),
                ]
            }
        },
        "dag.steps: the steps depend on each other in a circle: x → y → z → x; remove one of these dependencies",
    ),
    "a step that depends on itself": _invalid(
        {"dag": {"steps": [step("x", set={"v": 1}, dependsOn=["x"])]}}, 'dag.steps[0].dependsOn[0]: "x" depends on itself; remove it'
    ),
    "a dependency on nothing": _invalid(
        {"dag": {"steps": [step("fetch", set={"v": 1}), step("test", set={"v": 1}, dependsOn=["fecth"])]}},
        'dag.steps[1].dependsOn[0]: there is no step "fecth" in this dag; there is: fetch; did you mean "fetch"?',
    ),
    "dependencies outside of a dag": _invalid(
        steps(ONE, step("b", set={"x": 2}, dependsOn=["a"])),
        "steps[1].dependsOn: is for the steps of a dag; steps in a list run in order, so remove it",
    ),
    "steps that nothing leads to": _invalid(
        steps(step("stop", fail={"error": "No"}), step("never", set={"x": 1})),
        'steps[1]: "never" is never reached: "stop" before it always fails; remove it, or give "stop" an if',
    ),
    "a default that its own schema refuses": _invalid(
        steps(ONE, parameters=[{"name": "amount", "schema": {"type": "number", "minimum": 1}, "default": 0}]),
        "parameters[0].default: 0 is less than the minimum of 1; a default must satisfy the parameter's own schema",
    ),
    "a schema that is none": _invalid(
        steps(ONE, parameters=[{"name": "amount", "schema": {"type": "numbr"}}]), "parameters[0].schema.type", 'did you mean "number"?'
    ),
    "a pattern that is none": _invalid(
        steps(ONE, parameters=[{"name": "amount", "schema": {"type": "string", "pattern": "["}}]),
        'parameters[0].schema.pattern: "[" is no regular expression',
    ),
    "a schema that points to another machine": _invalid(
        steps(ONE, parameters=[{"name": "amount", "schema": {"$ref": "http://example.com/schema.json"}}]),
        "parameters[0].schema",
        "nothing is fetched",
    ),
    "two steps of one name deep inside": _invalid(
        steps(_deep(6, step("inner", steps=[ONE, ONE]))), '.steps: step "a" stands at [0] and at [1]; give each a name of its own'
    ),
    "a condition that is no expression": _invalid(
        steps(step(set={"x": 1}, **{"if": "yes"})), "steps[0].if", '"yes"', "write it as ${", "as in ${ params.amount > 1000 }"
    ),
    "a variable that is ours": _invalid(
        steps(step(job=shell(env=[{"name": "BACKSTAY_RUN", "value": "x"}]))),
        "steps[0].job.env[0]",
        "which Backstay sets itself; choose another name",
    ),
    "an unknown field deep inside": _invalid(
        steps(_deep(6, step("inner", job=shell(imgae="x")))), '.steps[0].job: unknown field "imgae"; did you mean "image"?'
    ),
    "two actions deep inside": _invalid(
        steps(_deep(6, step("inner", job=shell(), set={"x": 1}))), ".steps[0]: has job and set; give exactly one of job, http, resource"
    ),
    "steps nested too deep": _invalid(steps(_deep(40, ONE)), "lists of steps nest 31 deep and may nest 30; make it flatter"),
    "a timeout of a thousand years": _invalid(
        steps(step(job=shell(), timeout="365000d")), 'steps[0].timeout: "365000d" is longer than ten years'
    ),
    "a handler behind one that takes everything": _invalid(
        steps(step(job=shell(), catch=[{"steps": [ONE]}, {"errors": ["Timeout"], "steps": [ONE]}])),
        'steps[0].catch[1].errors[0]: "Timeout" is never caught here: catch[0] before it takes every error',
    ),
    "retries for what cannot be tried again": _invalid(
        steps(step(set={"x": 1}, retry={"maxAttempts": 3})), "steps[0].retry: set does no work that could be tried again; remove retry"
    ),
    "a variable that expressions cannot name": _invalid(
        steps(step(set={"a-b": 1})),
        'steps[0].set: "a-b" is no name for a variable; write letters, digits and underscores, as in orderTotal',
    ),
}
