"""What users get wrong, and how they are told: a table. Every answer names the path and the mend, and nothing hangs.

REFUSED    kubectl itself, or the API server, refuses the manifest: the answer is what `kubectl apply` prints
INVALID    a Workflow that only the graph can judge: the answer is its condition Valid=False
FAILS      a run that ends at once: the answer is the error in its status
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.scenarios.people import run_of
from tests.support.api import Object

Fields = Mapping[str, Any]


def job(script: str = "true", **fields: Any) -> Object:
    return {"image": "busybox:1.36", "command": ["sh", "-c", script], **fields}


def step(name: str = "a", **fields: Any) -> Object:
    return {"name": name, **fields}


def workflow_of(spec: Any, name: str = "bad", **metadata: Any) -> Object:
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": name, **metadata}, "spec": spec}


def run_with(spec: Any, name: str = "bad") -> Object:
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": name}, "spec": spec}


def steps(*items: Object, **fields: Any) -> Object:
    return {"steps": list(items), **fields}


ONE: Final = step(set={"x": 1})


@dataclass(frozen=True)
class Refusal:
    """A manifest that does not get in, and parts of what kubectl prints."""

    manifest: Object | str
    says: tuple[str, ...]


def _refused(manifest: Object | str, *says: str) -> Refusal:
    return Refusal(manifest, says)


_TEXT = {"name": "orderId", "schema": {"type": "string"}}

REFUSED: Final[dict[str, Refusal]] = {
    "text that is no YAML": _refused("kind: Workflow\nspec: [unclosed\n", "error converting YAML to JSON", "line"),
    "a kind that does not exist": _refused(
        {**workflow_of(steps(ONE)), "kind": "WorkFlow"}, 'no matches for kind "WorkFlow" in version "backstay.dev/v1alpha1"'
    ),
    "a version that does not exist": _refused(
        {**workflow_of(steps(ONE)), "apiVersion": "backstay.dev/v9"}, 'no matches for kind "Workflow" in version "backstay.dev/v9"'
    ),
    "an unknown field of the definition": _refused(workflow_of(steps(ONE, stpes=[])), 'unknown field "spec.stpes"'),
    "an unknown field of a step": _refused(workflow_of(steps(step(jbo={}, set={"x": 1}))), 'unknown field "spec.steps[0].jbo"'),
    "an unknown field of a job": _refused(workflow_of(steps(step(job=job(imgae="x")))), 'unknown field "spec.steps[0].job.imgae"'),
    "an unknown field of a run": _refused(run_with({"workflow": {"name": "order"}, "paramters": {}}), 'unknown field "spec.paramters"'),
    "a definition without a body": _refused(
        workflow_of({}), "spec: Invalid value", "the body of a workflow is exactly one of these: steps, dag"
    ),
    "a definition with two bodies": _refused(
        workflow_of(steps(ONE, dag=steps(ONE))), "spec: Invalid value", "the body of a workflow is exactly one of these: steps, dag"
    ),
    "an empty list of steps": _refused(workflow_of(steps()), "spec.steps: Invalid value", "should have at least 1 items"),
    "steps that are no list": _refused(workflow_of({"steps": "reserve"}), "spec.steps: Invalid value", "must be of type array"),
    "a step without a name": _refused(workflow_of(steps({"set": {"x": 1}})), "spec.steps[0].name: Required value"),
    "a step whose name is a number": _refused(
        workflow_of(steps(step(7, set={"x": 1}))), "spec.steps[0].name: Invalid value", "must be of type string"
    ),
    "a step whose name is no DNS label": _refused(
        workflow_of(steps(step("Charge Card", set={"x": 1}))), 'spec.steps[0].name: Invalid value: "Charge Card"', "should match"
    ),
    "a step whose name is too long": _refused(
        workflow_of(steps(step("a" * 64, set={"x": 1}))), "spec.steps[0].name: Too long: may not be more than 63 bytes"
    ),
    "a step without an action": _refused(
        workflow_of(steps(step())),
        "spec.steps[0]: Invalid value",
        "a step has exactly one action: job, set, wait, steps, dag, parallel, switch, fail, end",
    ),
    "a step with two actions": _refused(
        workflow_of(steps(step(set={"x": 1}, fail={"error": "No"}))),
        "spec.steps[0]: Invalid value",
        "a step has exactly one action: job, set, wait, steps, dag, parallel, switch, fail, end",
    ),
    "a job without an image": _refused(workflow_of(steps(step(job={"command": ["true"]}))), "spec.steps[0].job.image: Required value"),
    "a duration in words": _refused(
        workflow_of(steps(step(job=job(), timeout="ten minutes"))), 'spec.steps[0].timeout: Invalid value: "ten minutes"', "should match"
    ),
    "a negative duration": _refused(
        workflow_of(steps(step(job=job(), timeout="-5s"))), 'spec.steps[0].timeout: Invalid value: "-5s"', "should match"
    ),
    "a duration that is a bare number": _refused(
        workflow_of(steps(step(job=job(), timeout=30))), "spec.steps[0].timeout: Invalid value", "must be of type string"
    ),
    "no attempts at all": _refused(
        workflow_of(steps(step(job=job(), retry={"maxAttempts": 0}))),
        "spec.steps[0].retry.maxAttempts: Invalid value: 0",
        "greater than",
    ),
    "a negative number of attempts": _refused(
        workflow_of(steps(step(job=job(), retry={"maxAttempts": -3}))), "spec.steps[0].retry.maxAttempts: Invalid value: -3"
    ),
    "too many attempts": _refused(
        workflow_of(steps(step(job=job(), retry={"maxAttempts": 1000000}))),
        "spec.steps[0].retry.maxAttempts: Invalid value: 1000000",
        "less than or equal to 1000",
    ),
    "a kind of jitter that does not exist": _refused(
        workflow_of(steps(step(job=job(), retry={"jitter": "Some"}))),
        'spec.steps[0].retry.jitter: Unsupported value: "Some"',
        'supported values: "Full", "Equal", "None"',
    ),
    "YAML's own boolean as a field's name": _refused(
        "apiVersion: backstay.dev/v1alpha1\nkind: Workflow\nmetadata: {name: bad}\nspec: {steps: [{name: a, set: {x: 1}, on: [Timeout]}]}",
        'unknown field "spec.steps[0].true"',
    ),
    "an end that does not exist": _refused(
        workflow_of(steps(step(end={"result": "Maybe"}))),
        'spec.steps[0].end.result: Unsupported value: "Maybe"',
        'supported values: "Succeeded", "Failed"',
    ),
    "an error without a type": _refused(workflow_of(steps(step(fail={"message": "no"}))), "spec.steps[0].fail.error: Required value"),
    "two ways to wait at once": _refused(
        workflow_of(steps(step(wait={"duration": "1s", "until": "2030-01-01T00:00:00Z"}))),
        "spec.steps[0].wait: Invalid value",
        "wait needs exactly one of these: duration, until",
    ),
    "a handler for no errors": _refused(
        workflow_of(steps(step(job=job(), catch=[{"errors": [], "steps": [ONE]}]))), "spec.steps[0].catch[0].errors: Invalid value"
    ),
    "a name that is no DNS name": _refused(workflow_of(steps(ONE), "Order_1"), 'metadata.name: Invalid value: "Order_1"', "RFC 1123"),
    "a name that is too long": _refused(workflow_of(steps(ONE), "a" * 254), "metadata.name: Invalid value", "no more than 253"),
    "a run of nothing": _refused(run_with({"parameters": {}}), "spec.workflow: Required value"),
    "a run of neither a name nor a definition": _refused(
        run_with({"workflow": {}}), "spec.workflow: Invalid value", "a run needs exactly one of these: name, inline"
    ),
    "a run of both a name and a definition": _refused(
        run_with({"workflow": {"name": "order", "inline": steps(ONE)}}),
        "spec.workflow: Invalid value",
        "a run needs exactly one of these: name, inline",
    ),
    "revision zero": _refused(run_with({"workflow": {"name": "order", "revision": 0}}), "spec.workflow.revision: Invalid value: 0"),
    "parameters that are a list": _refused(
        run_with({"workflow": {"name": "order"}, "parameters": ["a"]}), "spec.parameters: Invalid value", "must be of type object"
    ),
    "suspend in words": _refused(
        run_with({"workflow": {"name": "order"}, "suspend": "yes please"}), "spec.suspend: Invalid value", "must be of type boolean"
    ),
    "a time to live in words": _refused(
        run_with({"workflow": {"name": "order"}, "ttl": {"failed": "for ever"}}),
        'spec.ttl.failed: Invalid value: "for ever"',
        "should match",
    ),
    "a quantity that is none": _refused(
        workflow_of(steps(step(job=job(resources={"requests": {"cpu": "lots"}})))),
        'spec.steps[0].job.resources.requests.cpu: Invalid value: "lots"',
        "should match",
    ),
    "two steps of one name": _refused(workflow_of(steps(ONE, ONE)), 'spec.steps[1]: Duplicate value: {"name":"a"}'),
    "two branches of one name": _refused(
        workflow_of(steps(step(parallel={"branches": [{"name": "left", "steps": [ONE]}, {"name": "left", "steps": [ONE]}]}))),
        'spec.steps[0].parallel.branches[1]: Duplicate value: {"name":"left"}',
    ),
    "two parameters of one name": _refused(
        workflow_of(steps(ONE, parameters=[_TEXT, _TEXT])), 'spec.parameters[1]: Duplicate value: {"name":"orderId"}'
    ),
    "a join in strange words": _refused(
        workflow_of(steps(step(parallel={"join": "most", "branches": [{"name": "left", "steps": [ONE]}]}))),
        'spec.steps[0].parallel.join: Invalid value: "most"',
        "All|Any",
    ),
    "a join that can never be met": _refused(
        workflow_of(steps(step(parallel={"join": 3, "branches": [{"name": "left", "steps": [ONE]}, {"name": "right", "steps": [ONE]}]}))),
        "spec.steps[0].parallel: Invalid value: join can never be met; write a number from 1 to the number of branches",
    ),
    "a parameter of a megabyte, applied": _refused(
        run_with({"workflow": {"name": "order"}, "parameters": {"data": "x" * 1_000_000}}), "Too long: may not be more than 262144 bytes"
    ),
}


# --------------------------------------------------------------------------------------------------------------- Valid=False


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
        steps(step("first", set={"x": "${ steps.second.outputs.y }"}), step("second", job=job())),
        'steps[0].set.x: steps.second: "second" comes later; an expression sees what has run before its own step; move one of the two',
    ),
    "a parameter that is not declared": _invalid(
        steps(step(set={"x": "${ params.ordrId }"}), parameters=[_TEXT]),
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
        steps(step(job=job(env=[{"name": "BACKSTAY_RUN", "value": "x"}]))),
        "steps[0].job.env[0]",
        "which Backstay sets itself; choose another name",
    ),
    "an unknown field deep inside": _invalid(
        steps(_deep(6, step("inner", job=job(imgae="x")))), '.steps[0].job: unknown field "imgae"; did you mean "image"?'
    ),
    "two actions deep inside": _invalid(
        steps(_deep(6, step("inner", job=job(), set={"x": 1}))), ".steps[0]: has job and set; give exactly one of job, set, wait"
    ),
    "steps nested too deep": _invalid(steps(_deep(40, ONE)), "lists of steps nest 31 deep and may nest 30; make it flatter"),
    "a timeout of a thousand years": _invalid(
        steps(step(job=job(), timeout="365000d")), 'steps[0].timeout: "365000d" is longer than ten years'
    ),
    "a handler behind one that takes everything": _invalid(
        steps(step(job=job(), catch=[{"steps": [ONE]}, {"errors": ["Timeout"], "steps": [ONE]}])),
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


# ------------------------------------------------------------------------------------------------------------------ the run fails


@dataclass(frozen=True)
class Failure:
    """A run that fails: with which error, and parts of its detail. `step` is where it failed, "" for the run as a whole."""

    run: Object
    error: str
    says: tuple[str, ...]
    step: str = "a"


def _fails(error: str, run: Object, *says: str, at: str = "a") -> Failure:
    return Failure(run, error, says, at)


def _given(parameters: Object, **schemas: Any) -> Object:
    """A run of a workflow with parameters of these schemas."""
    declared = [{"name": name, "schema": schema} for name, schema in schemas.items()]
    return run_of("bad", ONE, parameters=parameters, declared=declared)


def _output(text: str) -> Object:
    return run_of("bad", step(job=job(f"printf '%s' '{text}' > $BACKSTAY_OUTPUT")))


def _setting(**values: Any) -> Object:
    return run_of("bad", step("source", job=job('echo \'{"n": 1, "list": [1]}\' > $BACKSTAY_OUTPUT')), step(set=values))


FAILS: Final[dict[str, Failure]] = {
    "a parameter that is missing": _fails(
        "InvalidParameters", _given({}, amount={"type": "number"}), 'parameters: missing "amount": add it', at=""
    ),
    "a parameter that nobody asked for": _fails(
        "InvalidParameters",
        _given({"amount": 1, "amuont": 2}, amount={"type": "number"}),
        'parameters.amuont: the workflow has no parameter "amuont"; there is: amount; did you mean "amount"?',
        at="",
    ),
    "a number in quotes": _fails(
        "InvalidParameters", _given({"amount": "12"}, amount={"type": "number"}), "parameters.amount", "write 12 without quotes", at=""
    ),
    "a number that is too small": _fails(
        "InvalidParameters",
        _given({"amount": -1}, amount={"type": "number", "minimum": 0}),
        "parameters.amount: -1 is less than the minimum of 0",
        at="",
    ),
    "an empty list where something must be": _fails(
        "InvalidParameters",
        _given({"lines": []}, lines={"type": "array", "minItems": 1}),
        "parameters.lines: [] has less than 1 item",
        at="",
    ),
    "a mistake deep in a parameter": _fails(
        "InvalidParameters",
        _given(
            {"lines": [{"sku": "mug", "quantity": 1}, {"sku": "lamp", "quantity": "two"}]},
            lines={"type": "array", "items": {"type": "object", "properties": {"quantity": {"type": "integer"}}}},
        ),
        'parameters.lines[1].quantity: "two" is not of type "integer"',
        at="",
    ),
    "a country that YAML takes for false": _fails(
        "InvalidParameters", _given({"country": False}, country={"type": "string"}), "parameters.country", at=""
    ),
    "parameters of a megabyte": _fails(
        "InvalidParameters", _given({"data": "x" * 1_000_000}, data={"type": "string"}), "parameters", "262,144", at=""
    ),
    "a workflow that is not there": _fails(
        "WorkflowNotFound", run_with({"workflow": {"name": "ordr"}}), 'spec.workflow.name: there is no Workflow "ordr" in namespace', at=""
    ),
    "a definition in place that cannot be run": _fails(
        "InvalidWorkflow", run_of("bad", step(set={"x": "${ params.y }"})), "workflow.inline.steps[0].set.x", '"y"', at=""
    ),
    "an output that is not there": _fails(
        "ExpressionError",
        _setting(x="${ steps.source.outputs.m }"),
        'steps.source.outputs.m: there is no "m"; there are: list, n',
    ),
    "a division by zero": _fails("ExpressionError", _setting(x="${ 1 / (steps.source.outputs.n - 1) }"), "divi"),
    "a number added to text": _fails("ExpressionError", _setting(x="${ steps.source.outputs.n + 'a' }"), "x"),
    "an index behind the end": _fails("ExpressionError", _setting(x="${ steps.source.outputs.list[3] }"), "x", "3"),
    "a condition that is neither true nor false": _fails(
        "ExpressionError",
        run_of(
            "bad",
            step("source", job=job("echo '{\"n\": 1}' > $BACKSTAY_OUTPUT")),
            step(set={"x": 1}, **{"if": "${ steps.source.outputs.n }"}),
        ),
        "if: 1 is neither true nor false",
    ),
    "a wait for no length of time": _fails(
        "ExpressionError",
        run_of("bad", step(wait={"duration": "${ params.pause }"}), parameters={"pause": "soon"}, declared=[{"name": "pause"}]),
        "wait",
        '"soon" is no duration',
        "as in 90s or 1h30m",
    ),
    "a wait of minus one second": _fails(
        "ExpressionError",
        run_of("bad", step(wait={"duration": "${ params.pause }"}), parameters={"pause": "-1s"}, declared=[{"name": "pause"}]),
        "wait",
        '"-1s" is no duration',
    ),
    "a wait until no moment": _fails("ExpressionError", run_of("bad", step(wait={"until": "${ 'tomorrow' }"})), "wait", "tomorrow"),
    "an output that is no JSON": _fails(
        "InvalidOutput", _output("payment done"), "the output is no JSON", "'payment done'", "write one JSON object to $BACKSTAY_OUTPUT"
    ),
    "an output that is no object": _fails("InvalidOutput", _output("[1, 2]"), "the output is no JSON object", "'[1, 2]'"),
    "an output that is too large": _fails(
        "InvalidOutput",
        run_of("bad", step(job=job("head -c 5000 /dev/zero | tr '\\0' x > $BACKSTAY_OUTPUT"))),
        "4,096 bytes or more of at most 4,095",
        "by reference",
    ),
    "an error of the wrong shape": _fails(
        "InvalidOutput", _output('{"error": "declined"}'), '"error" in the output must be an object with a type', "declined"
    ),
    "an error whose type is too long": _fails("InvalidOutput", _output('{"error": {"type": "' + "T" * 64 + '"}}'), "at most 63 characters"),
    "a command that fails": _fails(
        "ExitCode",
        run_of("bad", step(job=job("echo the disk is full > $BACKSTAY_OUTPUT; exit 3"))),
        "exit code 3; it left: the disk is full",
    ),
    "a command that does not exist": _fails(
        "InvalidJob", run_of("bad", step(job={"image": "busybox:1.36", "command": ["frobnicate"]})), "frobnicate"
    ),
    "an image that cannot be pulled": _fails(
        "ImagePull",
        run_of("bad", step(job=job(image="missing/image:1", startTimeout="2s"))),
        "missing/image:1",
        "not started within 2s; see its startTimeout",
    ),
    "an image whose name is none": _fails(
        "ImagePull", run_of("bad", step(job=job(image="Not An Image!", startTimeout="2s"))), "Not An Image!"
    ),
    "a secret that is not there": _fails(
        "InvalidJob",
        run_of(
            "bad",
            step(
                job=job(startTimeout="2s", env=[{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "password"}}}])
            ),
        ),
        'secret "vault" not found',
    ),
    "a ConfigMap without the key": _fails(
        "InvalidJob",
        run_of(
            "bad",
            step(
                job=job(
                    startTimeout="2s",
                    env=[{"name": "PLACE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "place"}}}],
                )
            ),
        ),
        "place",
    ),
    "a pod that no node can take": _fails(
        "Unschedulable",
        run_of("bad", step(job=job(startTimeout="2s", template={"spec": {"nodeSelector": {"disk": "fast"}}}))),
        "node",
        "startTimeout",
    ),
    "more requested than allowed": _fails(
        "InvalidJob",
        run_of("bad", step(job=job(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}))),
        "spec.template.spec.containers[0].resources.requests",
    ),
    "a label that is none": _fails(
        "InvalidJob", run_of("bad", step(job=job()), jobLabels={"team": "blue and red"}), "metadata.labels", "blue and red"
    ),
    "an unknown field in a pod template": _fails(
        "InvalidJob",
        run_of("bad", step(job=job(template={"spec": {"nodeSelektor": {}}}))),
        'unknown field "spec.template.spec.nodeSelektor"',
    ),
    "a pod template that is none": _fails(
        "InvalidJob",
        run_of("bad", step(job=job(template={"spec": {"containers": {"main": {}}}}))),
        "job.template.spec.containers",
        "write a list",
    ),
    "an attempt that takes too long": _fails(
        "Timeout", run_of("bad", step(job=job("sleep 600"), attemptTimeout="1s")), "it has not ended within 1s; see its attemptTimeout"
    ),
    "a step that takes too long": _fails(
        "Timeout", run_of("bad", step(wait={"duration": "1h"}, timeout="1s")), "it has not ended within 1s; see its timeout"
    ),
    "a run that takes too long": _fails(
        "DeadlineExceeded", run_of("bad", step(wait={"duration": "1h"}), timeout="1s"), "the run has not ended within", at=""
    ),
    "a timeout of a thousand years, in a run": _fails(
        "InvalidRun", run_of("bad", ONE, timeout="365000d"), "spec.timeout", '"365000d" is longer than ten years', at=""
    ),
    "a service account that is not there": _fails(
        "Unschedulable",
        run_of("bad", step(job=job(serviceAccountName="nobody", startTimeout="11s"))),
        "kubectl describe job",
        "see its startTimeout",
    ),
    "a job with too much data": _fails(
        "LimitExceeded",
        run_of("bad", step(job=job(args=["${ params.data }"])), parameters={"data": "x" * 200_000}, declared=[{"name": "data"}]),
        "at most 131,072",
        "by reference",
    ),
    "variables with too much data": _fails(
        "LimitExceeded",
        run_of("bad", step(set={"x": "${ params.data }"}), parameters={"data": "x" * 100_000}, declared=[{"name": "data"}]),
        "at most 65,536",
    ),
    "an error of one's own": _fails(
        "TooLate", run_of("bad", step(fail={"error": "TooLate", "message": "order ${ run.name } is late"})), "is late"
    ),
}
