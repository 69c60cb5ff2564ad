"""What users get wrong, part one: manifests that kubectl itself, or the API server, refuses. The answer is what `kubectl apply` prints."""

from dataclasses import dataclass
from typing import Final

from backstay.api.steps import Step, actions
from tests.scenarios.manifests import ONE, TEXT, run_with, shell, step, steps, workflow_of
from tests.support.api import Object


@dataclass(frozen=True)
class Refusal:
    """A manifest that does not get in, and parts of what kubectl prints."""

    manifest: Object | str
    says: tuple[str, ...]


def _refused(manifest: Object | str, *says: str) -> Refusal:
    return Refusal(manifest, says)


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
    "an unknown field of a job": _refused(workflow_of(steps(step(job=shell(imgae="x")))), 'unknown field "spec.steps[0].job.imgae"'),
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
        f"a step has exactly one action: {', '.join(actions(Step))}",
    ),
    "a step with two actions": _refused(
        workflow_of(steps(step(set={"x": 1}, fail={"error": "No"}))),
        "spec.steps[0]: Invalid value",
        f"a step has exactly one action: {', '.join(actions(Step))}",
    ),
    "a job without an image": _refused(workflow_of(steps(step(job={"command": ["true"]}))), "spec.steps[0].job.image: Required value"),
    "a duration in words": _refused(
        workflow_of(steps(step(job=shell(), timeout="ten minutes"))), 'spec.steps[0].timeout: Invalid value: "ten minutes"', "should match"
    ),
    "a negative duration": _refused(
        workflow_of(steps(step(job=shell(), timeout="-5s"))), 'spec.steps[0].timeout: Invalid value: "-5s"', "should match"
    ),
    "a duration that is a bare number": _refused(
        workflow_of(steps(step(job=shell(), timeout=30))), "spec.steps[0].timeout: Invalid value", "must be of type string"
    ),
    "no attempts at all": _refused(
        workflow_of(steps(step(job=shell(), retry={"maxAttempts": 0}))),
        "spec.steps[0].retry.maxAttempts: Invalid value: 0",
        "greater than",
    ),
    "a negative number of attempts": _refused(
        workflow_of(steps(step(job=shell(), retry={"maxAttempts": -3}))), "spec.steps[0].retry.maxAttempts: Invalid value: -3"
    ),
    "too many attempts": _refused(
        workflow_of(steps(step(job=shell(), retry={"maxAttempts": 1000000}))),
        "spec.steps[0].retry.maxAttempts: Invalid value: 1000000",
        "less than or equal to 1000",
    ),
    "a kind of jitter that does not exist": _refused(
        workflow_of(steps(step(job=shell(), retry={"jitter": "Some"}))),
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
    "an error without a type": _refused(
        workflow_of(steps(step(fail={"message": "no"}))), "spec.steps[0].fail: Invalid value", "give error: the type that is raised"
    ),
    "two ways to wait at once": _refused(
        workflow_of(steps(step(wait={"duration": "1s", "until": "2030-01-01T00:00:00Z"}))),
        "spec.steps[0].wait: Invalid value",
        "wait needs exactly one of these: duration, until",
    ),
    "a handler for no errors": _refused(
        workflow_of(steps(step(job=shell(), catch=[{"errors": [], "steps": [ONE]}]))), "spec.steps[0].catch[0].errors: Invalid value"
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
        workflow_of(steps(step(job=shell(resources={"requests": {"cpu": "lots"}})))),
        'spec.steps[0].job.resources.requests.cpu: Invalid value: "lots"',
        "should match",
    ),
    "two steps of one name": _refused(workflow_of(steps(ONE, ONE)), "spec.steps[1]: Duplicate value: ", '{"name":"a"}'),
    "two branches of one name": _refused(
        workflow_of(steps(step(parallel={"branches": [{"name": "left", "steps": [ONE]}, {"name": "left", "steps": [ONE]}]}))),
        "spec.steps[0].parallel.branches[1]: Duplicate value: ",
        '{"name":"left"}',
    ),
    "two parameters of one name": _refused(
        workflow_of(steps(ONE, parameters=[TEXT, TEXT])), "spec.parameters[1]: Duplicate value: ", '{"name":"orderId"}'
    ),
    "a join in strange words": _refused(
        workflow_of(steps(step(parallel={"join": "most", "branches": [{"name": "left", "steps": [ONE]}]}))),
        'spec.steps[0].parallel.join: Invalid value: "most"',
        "All|Any",
    ),
    "a join that can never be met": _refused(
        workflow_of(steps(step(parallel={"join": 3, "branches": [{"name": "left", "steps": [ONE]}, {"name": "right", "steps": [ONE]}]}))),
        "spec.steps[0].parallel: Invalid value: ",
        "join can never be met; write a number from 1 to the number of branches",
    ),
    "a parameter of a megabyte, applied": _refused(
        run_with({"workflow": {"name": "order"}, "parameters": {"data": "x" * 1_000_000}}), "Too long: may not be more than 262144 bytes"
    ),
}
