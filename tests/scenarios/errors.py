"""What becomes of errors and of events at the edge of a step, on a cluster: what kubectl and backstay tell, and what is left of containers."""

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, Place

CODES = """
apiVersion: backstay.dev/v1alpha1
kind: WorkflowRun
metadata: {name: uncaught}
spec:
  workflow:
    inline:
      steps:
      - name: order
        steps:
        - name: reserve
          job: {image: "busybox:1.36", command: [sh, -c, "echo no lamp left >&2; exit 3"], exitCodes: {3: OutOfStock}}
          catch:
          - {errors: [CardDeclined], steps: [{name: note, set: {x: 1}}]}
          - {errors: [OutOfStock], when: "${ error.attempt > 1 }", steps: [{name: note, set: {x: 1}}]}
"""
SLOW = """
apiVersion: backstay.dev/v1alpha1
kind: WorkflowRun
metadata: {name: interrupted}
spec:
  workflow:
    inline:
      steps:
      - name: work
        job:
          image: busybox:1.36
          command: [sh, -c, 'trap "exit 1" TERM; sleep 600 & wait']
          template: {spec: {terminationGracePeriodSeconds: 1}}
        boundary:
        - {name: enough, wait: {condition: "${ has(vars.enough) }"}, steps: [{name: tidy, job: {image: "busybox:1.36", command: [sh, -c, exit 0]}}]}
        - {name: remind, interrupting: false, wait: {duration: 300ms}, steps: [{name: say, set: {enough: true}}]}
"""
UNHEARD = """
apiVersion: backstay.dev/v1alpha1
kind: WorkflowRun
metadata: {name: unheard}
spec:
  workflow: {inline: {steps: [{name: e, escalate: {code: STUCK, message: come and see}}]}}
"""


@pytest.fixture(scope="module")
def errors(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A namespace in which these runs go on at the same time."""
    if not cluster.operator.is_running:
        cluster.operator.start()
    place = cluster.place("errors")
    written = tmp_path_factory.mktemp("errors") / "runs.yaml"
    written.write_text("---".join((CODES, SLOW, UNHEARD)))  # as it is written: kubectl makes JSON of it, with text for keys
    place.kubectl("apply", "-f", str(written))
    yield place


def test_an_unquoted_exit_code_goes_through_kubectl_and_becomes_the_error_that_it_stands_for(errors: Place) -> None:
    status = errors.ended("uncaught")["status"]
    assert status["phase"] == "Failed"
    assert (status["error"]["type"], status["error"]["title"], status["error"]["step"]) == ("OutOfStock", "exit code 3", "order/reserve")


def test_an_uncaught_error_tells_in_condition_and_event_which_catches_were_looked_at(errors: Place) -> None:
    run = errors.ended("uncaught")
    words = next(item["message"] for item in run["status"]["conditions"] if item["type"] == "Succeeded")
    for text in (
        "OutOfStock: exit code 3",
        "raised by order/reserve (attempt 1)",
        "catch[0] of order/reserve is for CardDeclined",
        "catch[1] of order/reserve did not take it: its when was false",
    ):
        assert text in words
    errors.kubectl.until("describe", "wfrun", "uncaught", shows=lambda text: "its when was false" in text and "RunFailing" in text)


def test_a_step_that_is_interrupted_leaves_no_container_behind_and_what_took_its_place_has_run(errors: Place) -> None:
    status = errors.ended("interrupted")["status"]
    phases = {step["path"]: step["phase"] for step in status["steps"]}
    assert (status["phase"], phases["work"], phases["work:boundary-enough/tidy"]) == ("Succeeded", "Caught", "Succeeded")
    (work,) = (step for step in status["steps"] if step["path"] == "work")
    errors.kubectl.until("get", "jobs", shows=lambda text: work["job"] not in text)


def test_an_escalation_that_nobody_hears_is_told_by_an_event(errors: Place) -> None:
    assert errors.ended("unheard")["status"]["phase"] == "Succeeded"
    errors.kubectl.until("describe", "wfrun", "unheard", shows=lambda text: "EscalationUnheard" in text and "come and see" in text)
