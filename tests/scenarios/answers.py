"""The tables bad_*.py of what users get wrong, held against a cluster: everything goes in at once, then each case is looked at by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.scenarios.bad_definitions import INVALID
from tests.scenarios.bad_manifests import REFUSED
from tests.scenarios.bad_runs import FAILS
from tests.scenarios.manifests import run_of, run_with, shell, step, steps, workflow_of
from tests.support.api import Refused
from tests.support.cluster import Cluster, Place, condition, condition_of, phase_of, step_of
from tests.support.waiting import wait_for


def named(names: Mapping[str, object]) -> dict[str, str]:
    """Give each case a short name for its object."""
    return {case: f"case-{number}" for number, case in enumerate(names)}


WORKFLOWS = named(INVALID)
RUNS = named(FAILS)


@dataclass(frozen=True)
class Table:
    """One namespace with all definitions and runs of the table; `refusals` says which did not get in, and why."""

    place: Place
    refusals: dict[str, str]


@pytest.fixture(scope="module")
def table(cluster: Cluster) -> Table:
    if not cluster.operator.is_running:
        cluster.operator.start()
    place = cluster.place("bad-input")
    place.kubectl("create", "configmap", "settings", "--from-literal=language=en")
    manifests = {case: workflow_of(INVALID[case].spec, name) for case, name in WORKFLOWS.items()}
    manifests |= {case: {**FAILS[case].run, "metadata": {"name": name}} for case, name in RUNS.items()}
    refusals: dict[str, str] = {}
    for case, manifest in manifests.items():
        try:
            place.create(manifest)
        except Refused as refusal:
            refusals[case] = str(refusal)
    return Table(place, refusals)


def test_the_table_is_long_enough() -> None:
    assert len(REFUSED) + len(INVALID) + len(FAILS) >= 60


@pytest.mark.parametrize("case", REFUSED)
def test_a_manifest_is_refused(table: Table, case: str, tmp_path: Path) -> None:
    wrong = REFUSED[case]
    file = tmp_path / "manifest.yaml"
    file.write_text(wrong.manifest if isinstance(wrong.manifest, str) else yaml.safe_dump(wrong.manifest))
    told = table.place.kubectl.refused("apply", "-f", str(file))
    assert [part for part in wrong.says if part not in told] == [], told


@pytest.mark.parametrize("case", INVALID)
def test_a_definition_is_told_to_be_invalid(table: Table, case: str) -> None:
    assert case not in table.refusals, table.refusals[case]
    look = partial(table.place.workflow, WORKFLOWS[case])
    wait_for(lambda: condition(look(), "Valid"), what="it is not judged")
    valid = condition_of(look(), "Valid")
    assert valid["status"] == "False"
    assert [part for part in INVALID[case].says if part not in valid["message"]] == [], valid["message"]
    assert condition(look(), "Ready") == "False"


@pytest.mark.parametrize("case", FAILS)
def test_a_run_fails_with_words_that_help(table: Table, case: str) -> None:
    assert case not in table.refusals, table.refusals[case]
    expected, run = FAILS[case], table.place.ended(RUNS[case])
    error = run["status"]["error"]
    assert (run["status"]["phase"], error["type"], error.get("step", "")) == ("Failed", expected.error, expected.step), error
    assert [part for part in expected.says if part not in error["detail"]] == [], error["detail"]
    assert condition_of(run, "Succeeded")["reason"] == expected.error
    assert len(str(run["status"])) < 50_000


# ------------------------------------------------------------------------------------------------------- while it still waits


def waiting(place: Place, name: str, *parts: str) -> None:
    """Wait until the step says what it waits for, and that an Event says so, too."""
    place.until(name, lambda run: all(part in step_of(run, "a").get("message", "") for part in parts) if phase_of(run, "a") else False, 20)
    told: Callable[[], bool] = lambda: any(all(part in event["message"] for part in parts) for event in place.events(name))  # noqa: E731
    wait_for(told, 20, what=lambda: str([event["message"] for event in place.events(name)]))


def test_a_run_that_waits_for_an_image_says_so_and_goes_on_or_is_cancelled(place: Place) -> None:
    place.apply(run_of("bad", step(job={"image": "missing/image:1", "command": ["true"]})))
    waiting(place, "bad", "ImagePull", "missing/image:1")
    place.kubectl("patch", "wfrun", "bad", "--type=merge", "-p", '{"spec": {"cancel": {}}}')
    assert place.ended("bad")["status"]["phase"] == "Cancelled"


def test_a_run_that_waits_for_a_secret_goes_on_when_it_is_made(place: Place) -> None:
    password = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "password"}}}
    place.apply(run_of("bad", step(job={**shell('test "$PASSWORD" = "$(printf sesame | rev)"'), "env": [password]})))
    waiting(place, "bad", "InvalidJob", 'secret "vault" not found')
    place.kubectl("create", "secret", "generic", "vault", "--from-literal=password=emases")
    run = place.ended("bad")
    assert run["status"]["phase"] == "Succeeded"
    assert "emases" not in str(run)


def test_a_run_whose_workflow_is_missing_says_so_and_goes_on_when_it_is_applied(place: Place) -> None:
    place.apply(run_with({"workflow": {"name": "late"}}))
    told = place.until(
        "bad", lambda run: "there is no Workflow" in condition_of(run, "Succeeded")["message"] if condition(run, "Succeeded") else ""
    )
    assert told["status"]["status"] == "Pending"
    place.apply(workflow_of(steps(step(set={"x": 1})), "late"))
    assert place.ended("bad")["status"]["phase"] == "Succeeded"


def test_a_run_of_an_invalid_workflow_says_what_is_wrong_with_it(place: Place) -> None:
    place.apply(workflow_of({"steps": [step(set={"x": "${ params.y }"})]}, "wrong"), run_with({"workflow": {"name": "wrong"}}))
    error = place.ended("bad")["status"]["error"]
    assert error["type"] == "InvalidWorkflow"
    assert 'Workflow "wrong": steps[0].set.x' in error["detail"]


def test_a_run_of_a_revision_that_is_not_there_names_those_that_are(place: Place) -> None:
    place.apply(workflow_of(steps(step(set={"x": 1})), "fine"))
    place.kubectl("wait", "--for=condition=Ready", "workflow/fine", "--timeout=30s")
    place.apply(run_with({"workflow": {"name": "fine", "revision": 7}}))
    error = place.ended("bad")["status"]["error"]
    assert error["detail"] == 'spec.workflow.revision: Workflow "fine" has no revision 7; there are: 1'


# --------------------------------------------------------------------------------------------------------------- bad deeds


LONG = run_of("bad", step(job=shell("sleep 600")), step("b", set={"x": 1}))

UNCHANGEABLE = {
    "another workflow": (
        '{"spec": {"workflow": {"inline": {"steps": [{"name": "b", "set": {"x": 1}}]}}}}',
        "a run keeps the workflow it was created with; create another run",
    ),
    "other parameters": (
        '{"spec": {"parameters": {"amount": 2}}}',
        "a run keeps the parameters it was created with; create another run",
    ),
    "no cancellation after all": ('{"spec": {"cancel": null}}', "cannot be taken back"),
}


def test_what_cannot_change_is_refused(place: Place) -> None:
    place.apply({**LONG, "spec": {**LONG["spec"], "parameters": {}}})
    place.reached("bad", "a")
    for case, (patch, *says) in UNCHANGEABLE.items():
        if "cancel" in patch:
            place.kubectl("patch", "wfrun", "bad", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "enough"}}}')
        told = place.kubectl.refused("patch", "wfrun", "bad", "--type=merge", "-p", patch)
        assert [part for part in says if part not in told] == [], f"{case}: {told}"


def test_cancelling_twice_is_cancelling_once(place: Place) -> None:
    place.apply(LONG)
    place.reached("bad", "a")
    for reason in ("enough", "really enough"):
        place.kubectl("patch", "wfrun", "bad", "--type=merge", "-p", f'{{"spec": {{"cancel": {{"reason": "{reason}"}}}}}}')
    run = place.ended("bad")
    assert run["status"]["phase"] == "Cancelled"
    assert run["status"]["message"] == "enough"
    assert [entry["reason"] for entry in run["status"]["journal"]["entries"] if entry.get("actor") == "user"] == ["enough"]


def test_deleting_twice_is_deleting_once(place: Place) -> None:
    undoing = step("hotel", set={"room": 1}, compensate={"job": shell("true")})
    place.apply(run_of("bad", undoing, step(job=shell("sleep 600"))))
    place.reached("bad", "a")
    place.kubectl("delete", "wfrun", "bad", "--wait=false")
    place.kubectl("delete", "wfrun", "bad", "--wait=false", "--ignore-not-found")
    place.gone("bad")
    assert "NotFound" in place.kubectl.refused("delete", "wfrun", "bad")


def test_a_finished_run_is_neither_cancelled_nor_suspended_any_more(place: Place) -> None:
    place.apply(run_of("bad", step(set={"x": 1})))
    before = place.ended("bad")["status"]
    place.kubectl("patch", "wfrun", "bad", "--type=merge", "-p", '{"spec": {"cancel": {}, "suspend": true}}')
    place.apply(run_of("later", step(set={"x": 1})))
    place.ended("later")
    assert place.run("bad")["status"] == before


def test_a_job_that_somebody_deletes_fails_its_attempt_and_the_next_one_follows(place: Place) -> None:
    again = {"maxAttempts": 2, "interval": "100ms"}
    place.apply(run_of("bad", step(job=shell('test "$BACKSTAY_ATTEMPT" = 2 || sleep 600'), retry=again)))
    name = step_of(place.reached("bad", "a"), "a")["job"]
    wait_for(lambda: place.cluster.api.get("jobs", place.name, name), what=f"Job {name} is not made")
    place.kubectl("delete", "job", name)
    run = place.ended("bad")
    assert (run["status"]["phase"], step_of(run, "a")["attempt"]) == ("Succeeded", 2)
    told = [entry["reason"] for entry in run["status"]["journal"]["entries"] if entry["kind"] == "StepRetrying"]
    assert told == [f"JobDeleted: Job {name} was there and is no more; somebody deleted it before its result was known"]


def test_a_pod_that_somebody_deletes_is_made_up_for_without_using_up_an_attempt(place: Place) -> None:
    place.apply(run_of("bad", step(job=shell("sleep 600"), retry={"maxAttempts": 1})))

    def running(but: str = "") -> str:
        pods = place.cluster.api.list("pods", place.name)
        names = (pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running")
        return next((name for name in names if name != but), "")

    pod = wait_for(running, what="no pod runs")
    place.kubectl("delete", "pod", pod, "--grace-period=1")
    run = place.until("bad", lambda run: step_of(run, "a").get("disruptions"))
    told = [entry["reason"] for entry in run["status"]["journal"]["entries"] if entry["kind"] == "StepDisrupted"]
    assert told == [f"PodDeleted: pod {pod} was deleted before it had ended (1 disruption, at most 20)"]
    assert wait_for(lambda: running(but=pod), what="no other pod runs")
    assert step_of(place.run("bad"), "a")["attempt"] == 1
    place.kubectl("patch", "wfrun", "bad", "--type=merge", "-p", '{"spec": {"cancel": {}}}')
    place.ended("bad")


# -------------------------------------------------------------------------------------------------------- odd, and yet right


def test_names_at_the_limit_unicode_and_empty_things_are_fine(place: Place) -> None:
    longest = ".".join(["r" * 63, "u" * 63, "n" * 63, "s" * 61])
    say = 'printf \'{"said": "%s"}\' "$WORD" > $BACKSTAY_OUTPUT'
    echo = step("s" * 63, job={**shell(say), "env": [{"name": "WORD", "value": "${ params.word }"}], "args": []})
    spec = {
        "steps": [echo, step("b", set={"empty": [], "none": "${ null }", "nothing": {}})],
        "parameters": [{"name": "word"}, {"name": "list", "schema": {"type": "array"}}],
        "outputs": [{"name": "said", "value": f"${{ steps['{'s' * 63}'].outputs.said }}"}, {"name": "vars", "value": "${ vars }"}],
    }
    place.apply(workflow_of(spec, longest))
    run = run_with({"workflow": {"name": longest}, "parameters": {"word": "Größe 尺寸 📦", "list": []}}, longest)
    place.apply(run)
    status = place.ended(longest)["status"]
    assert status["phase"] == "Succeeded", status.get("error")
    assert status["outputs"] == {"said": "Größe 尺寸 📦", "vars": {"empty": [], "none": None, "nothing": {}}}
    assert place.kubectl("get", "jobs", "-o", "name").count("job.batch/") == 1


def test_a_list_of_five_hundred_steps_is_no_trouble(place: Place) -> None:
    place.apply(run_of("bad", *(step(f"s{number}", set={"x": number}) for number in range(500))))
    run = place.ended("bad")
    assert run["status"]["vars"] == {"x": 499}
    assert len(str(run["status"])) < 700_000
