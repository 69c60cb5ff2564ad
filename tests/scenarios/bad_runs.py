"""What users get wrong, part three: a run that ends at once. The answer is the error in its status, with path and mend."""

from dataclasses import dataclass
from typing import Any, Final

from tests.scenarios.manifests import ONE, run_of, run_with, shell, step
from tests.support.api import Object


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
    return run_of("bad", step(job=shell(f"printf '%s' '{text}' > $BACKSTAY_OUTPUT")))


def _setting(**values: Any) -> Object:
    return run_of("bad", step("source", job=shell('echo \'{"n": 1, "list": [1]}\' > $BACKSTAY_OUTPUT')), step(set=values))


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
        "InvalidRun",
        _given({"data": "x" * 1_000_000}, data={"type": "string"}),
        "spec.parameters: is longer than 262,144 bytes as JSON; pass large data by reference, or divide it",
        at="",
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
            step("source", job=shell("echo '{\"n\": 1}' > $BACKSTAY_OUTPUT")),
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
        run_of("bad", step(job=shell("head -c 5000 /dev/zero | tr '\\0' x > $BACKSTAY_OUTPUT"))),
        "4,096 bytes or more of at most 4,095",
        "by reference",
    ),
    "an error of the wrong shape": _fails(
        "InvalidOutput", _output('{"error": "declined"}'), '"error" in the output must be an object with a type', "declined"
    ),
    "an error whose type is too long": _fails("InvalidOutput", _output('{"error": {"type": "' + "T" * 64 + '"}}'), "at most 63 characters"),
    "a command that fails": _fails(
        "ExitCode",
        run_of("bad", step(job=shell("echo the disk is full > $BACKSTAY_OUTPUT; exit 3"))),
        "exit code 3; it left: the disk is full",
    ),
    "a command that does not exist": _fails(
        "InvalidJob", run_of("bad", step(job={"image": "busybox:1.36", "command": ["frobnicate"]})), "frobnicate"
    ),
    "an image that cannot be pulled": _fails(
        "ImagePull",
        run_of("bad", step(job=shell(image="missing/image:1", startTimeout="8s"))),
        "missing/image:1",
        "not started within 8s; see its startTimeout",
    ),
    "an image whose name is none": _fails(
        "ImagePull", run_of("bad", step(job=shell(image="Not An Image!", startTimeout="8s"))), "Not An Image!"
    ),
    "a secret that is not there": _fails(
        "InvalidJob",
        run_of(
            "bad",
            step(
                job=shell(
                    startTimeout="8s", env=[{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "password"}}}]
                )
            ),
        ),
        'secret "vault" not found',
    ),
    "a ConfigMap without the key": _fails(
        "InvalidJob",
        run_of(
            "bad",
            step(
                job=shell(
                    startTimeout="8s",
                    env=[{"name": "PLACE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "place"}}}],
                )
            ),
        ),
        "place",
    ),
    "a pod that no node can take": _fails(
        "Unschedulable",
        run_of("bad", step(job=shell(startTimeout="8s", template={"spec": {"nodeSelector": {"disk": "fast"}}}))),
        "node",
        "startTimeout",
    ),
    "more requested than allowed": _fails(
        "InvalidJob",
        run_of("bad", step(job=shell(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}))),
        "spec.template.spec.containers[0].resources.requests",
    ),
    "a label that is none": _fails(
        "InvalidJob", run_of("bad", step(job=shell()), jobLabels={"team": "blue and red"}), "metadata.labels", "blue and red"
    ),
    "an unknown field in a pod template": _fails(
        "InvalidJob",
        run_of("bad", step(job=shell(template={"spec": {"nodeSelektor": {}}}))),
        'unknown field "spec.template.spec.nodeSelektor"',
    ),
    "a pod template that is none": _fails(
        "InvalidJob",
        run_of("bad", step(job=shell(template={"spec": {"containers": {"main": {}}}}))),
        "job.template.spec.containers",
        "write a list",
    ),
    "an attempt that takes too long": _fails(
        "Timeout", run_of("bad", step(job=shell("sleep 600"), attemptTimeout="1s")), "it has not ended within 1s; see its attemptTimeout"
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
        "InvalidJob",
        run_of("bad", step(job=shell(serviceAccountName="nobody", startTimeout="10s"))),
        'serviceaccount "nobody" not found',
        "see its startTimeout",
    ),
    "a job with too much data": _fails(
        "LimitExceeded",
        run_of("bad", step(job=shell(args=["${ params.data }"])), parameters={"data": "x" * 200_000}, declared=[{"name": "data"}]),
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
