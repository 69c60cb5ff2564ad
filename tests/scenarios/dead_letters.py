"""DeadLetters: what gave up is replayed where it waits, or by a new run, once; or discarded. By kubectl and by the command line."""

import json

from typer.testing import CliRunner, Result

from backstay.cli.main import app
from tests.scenarios.manifests import run_by_name, run_of, shell, step, workflow_of
from tests.support.api import Object
from tests.support.cluster import Place, condition, phase_of
from tests.support.waiting import wait_for

FLAKY = step("charge", job=shell("test $BACKSTAY_ATTEMPT -ge 2"), onExhausted="DeadLetter")
"""Fails at its first attempt."""
BROKEN = step("charge", job=shell("test $0 = mended", args=["broken"]), onExhausted="DeadLetter")
"""Fails until somebody edits it."""


def letters(place: Place) -> list[Object]:
    """Return the letters of a namespace, the oldest first."""
    return sorted(place.cluster.api.list("deadletters", place.name), key=lambda letter: letter["spec"]["gaveUpAt"])


def letter_of(place: Place, run: str) -> Object:
    """Wait until a run has left a letter that waits, and return it."""

    def look() -> Object | None:
        return next((letter for letter in letters(place) if letter["spec"]["run"]["name"] == run and phase(letter) == "Waiting"), None)

    return wait_for(look, what=lambda: f"run {run} has left no letter: {letters(place)}")


def phase(letter: Object) -> str:
    return str(letter.get("status", {}).get("phase"))


def becomes(place: Place, name: str, wanted: str) -> Object:
    """Wait until a letter is in a phase, and return its status."""

    def look() -> Object | None:
        found = place.cluster.api.get("deadletters", place.name, name) or {}
        return found["status"] if phase(found) == wanted else None

    return wait_for(look, what=lambda: f"{name} is not {wanted}: {place.cluster.api.get('deadletters', place.name, name)}")


def backstay(place: Place, *arguments: str) -> Result:
    where = ("--kubeconfig", str(place.cluster.kubeconfig), "--namespace", place.name)
    return CliRunner().invoke(app, [*arguments, *where], catch_exceptions=False)


def replays(place: Place) -> list[str]:
    """Return the names of the runs that were started from letters."""
    return place.kubectl("get", "wfrun", "-l", "backstay.dev/replays", "-o", "jsonpath={.items[*].metadata.name}").split()


def resolved(place: Place, name: str, **wanted: object) -> tuple[str, ...]:
    """kubectl patch."""
    return ("patch", "deadletter", name, "--type=merge", "-p", json.dumps({"spec": {"resolution": {"id": "r1", **wanted}}}))


def test_a_step_that_gave_up_is_shown_and_replayed_where_its_run_waits(place: Place) -> None:
    place.apply(run_of("order", FLAKY, step("after", set={"x": 1})))
    name = letter_of(place, "order")["metadata"]["name"]
    header, row = place.kubectl("get", "dl", "-l", "backstay.dev/error=ExitCode,backstay.dev/step=charge").splitlines()
    assert header.split() == ["NAME", "RUN", "STEP", "ERROR", "PHASE", "AGE"]
    assert row.split()[:5] == [name, "order", "charge", "ExitCode", "Waiting"]
    assert place.kubectl("get", "dl", "--field-selector", "status.phase=Waiting", "-o", "name").strip().endswith(name)
    assert name in backstay(place, "why", "order").stdout
    told = backstay(place, "replay", name, "--reason", "the bank is back")
    assert (told.exit_code, f"{name}: Replayed: run order goes on with the step" in told.stdout) == (0, True)
    run = place.ended("order")
    assert (condition(run, "Succeeded"), phase_of(run, "charge"), len(place.jobs("order"))) == ("True", "Succeeded", 2)
    assert replays(place) == []
    place.kubectl.until("describe", "dl", name, shows=lambda text: "Replayed" in text and "the bank is back" in text)
    place.kubectl.until("describe", "wfrun", "order", shows=lambda text: "DeadLetterWritten" in text)


def test_an_edit_that_is_no_action_is_told_and_one_that_is_goes_on(place: Place) -> None:
    place.apply(run_of("order", BROKEN))
    name = letter_of(place, "order")["metadata"]["name"]
    refused = place.kubectl.refused(*resolved(place, name, action="Explode"))
    assert 'Unsupported value: "Explode"' in refused
    assert "Discard needs a reason" in place.kubectl.refused(*resolved(place, name, action="Discard"))
    forged = place.kubectl.refused("patch", "deadletter", name, "--type=merge", "-p", '{"spec": {"step": "other"}}')
    assert "step is a record of what happened; of a DeadLetter only resolution is for you to set" in forged
    wrong = backstay(place, "replay", name, "--edit", '{"imagine": "x"}')
    assert (wrong.exit_code, "imagine" in wrong.stdout) == (1, True)
    assert phase_of(place.run("order"), "charge") == "Paused"
    assert backstay(place, "replay", name, "--edit", '{"args": ["mended"]}').exit_code == 0
    assert condition(place.ended("order"), "Succeeded") == "True"


def test_many_are_replayed_by_a_selector_and_the_rest_is_discarded(place: Place) -> None:
    names = [f"order-{number}" for number in range(4)]
    place.apply(*(run_of(name, FLAKY) for name in names))
    place.apply(run_of("other", BROKEN))
    for name in (*names, "other"):
        letter_of(place, name)
    place.kubectl("label", "dl", "--all", "team=blue")
    place.kubectl("label", "dl", letter_of(place, "other")["metadata"]["name"], "team=red", "--overwrite")
    told = backstay(place, "replay", "-l", "team=blue", "--rate", "20/s")
    assert (told.exit_code, told.stdout.splitlines()[-1]) == (0, "4 replayed")
    assert [condition(place.ended(name), "Succeeded") for name in names] == ["True"] * 4
    assert backstay(place, "discard", "--all", "--reason", "the customer is gone").exit_code == 0
    run = place.ended("other")
    assert (condition(run, "Succeeded"), run["status"]["error"]["type"]) == ("False", "ExitCode")
    shown = backstay(place, "deadletters", "-o", "wide").stdout
    assert (shown.count("Replayed"), shown.count("Discarded")) == (4, 1)


def test_a_letter_of_a_run_that_is_gone_starts_a_new_one_once_however_often_it_is_asked_and_though_the_operator_is_killed(
    place: Place,
) -> None:
    place.apply(workflow_of({"parameters": [{"name": "amount"}], "steps": [BROKEN]}, "pay"))
    place.kubectl("wait", "--for=condition=Ready", "workflow/pay", "--timeout=30s")
    place.apply({**(run := run_by_name("order", "pay")), "spec": {**run["spec"], "parameters": {"amount": 5}}})
    name = letter_of(place, "order")["metadata"]["name"]
    place.kubectl("delete", "wfrun", "order")
    wait_for(
        lambda: (place.cluster.api.get("deadletters", place.name, name) or {})["status"].get("runEnded"), what="the letter does not know"
    )
    place.cluster.operator.kill9()
    place.kubectl(*resolved(place, name, action="Replay", parameters={"amount": 7}))
    again = place.kubectl.refused(*resolved(place, name, id="r2", action="Replay"))
    assert "a resolution is set once" in again
    place.cluster.operator.start()
    (new,) = wait_for(lambda: replays(place), what="no new run")
    assert becomes(place, name, "Replayed")["run"]["name"] == new
    second = letter_of(place, new)
    assert second["spec"]["parameters"] == {"amount": 7}
    assert backstay(place, "replay", name).exit_code == 1
    assert backstay(place, "discard", second["metadata"]["name"], "--reason", "enough").exit_code == 0
    place.ended(new)
    assert replays(place) == [new]


def test_a_replay_and_a_cancellation_at_once_lead_to_one_continuation(place: Place) -> None:
    place.apply(workflow_of({"steps": [FLAKY]}, "pay"), run_by_name("order", "pay"))
    name = letter_of(place, "order")["metadata"]["name"]
    place.cluster.operator.kill9()
    place.kubectl(*resolved(place, name, action="Replay"))
    place.kubectl("patch", "wfrun", "order", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "a whim"}}}')
    place.cluster.operator.start()
    becomes(place, name, "Replayed")
    run = place.ended("order")
    went_on = [job for job in place.jobs("order") if job["metadata"]["annotations"]["backstay.dev/attempt"] == "2"]
    assert len(went_on) + len(replays(place)) == 1, (run["status"]["phase"], replays(place))
