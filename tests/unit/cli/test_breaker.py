"""backstay breaker: what is written when a person resets a circuit breaker, holds it, or lets it go; and what `why` says of a step that waits for one."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from backstay.api.circuit import CircuitState, ForcedState
from backstay.cli import main as cli
from backstay.cli.views import breaker
from backstay.cli.views.why import Evidence, awaited_breakers, why
from backstay.engine.model import CircuitFact
from tests.support.tiny_api import TinyApi, reply
from tests.support.world import START, World
from tests.unit.cli.runs import run_of
from tests.unit.cli.serving import kubeconfig, missing, served

WAITS = "steps: [{name: pay, circuit: bank, whenOpen: Wait, timeout: 1h, job: {image: i}}]"
UNTIL = START + timedelta(minutes=2)


def manifest(state: str = "Open", forced: str = "", **status: Any) -> dict[str, Any]:
    spec = {"forced": {"state": forced, "reason": "maintenance"}} if forced else {}
    told = {"type": "Closed", "status": "False", "message": "the latest failure was Timeout: too long (run order-1, step pay)"}
    return {"metadata": {"name": "bank", "namespace": "shop"}, "spec": spec, "status": {"state": state, "conditions": [told], **status}}


def waiting() -> World:
    world = World("steps: [{name: a, wait: {duration: 1m}}, " + WAITS.removeprefix("steps: ["))
    world.breaker("bank", CircuitFact(CircuitState.OPEN, UNTIL, why="the latest failure was Timeout"))
    return world.pass_time("1m")


# ------------------------------------------------------------------------------------------------------------ commands


def test_a_reset_is_a_new_id_with_its_reason() -> None:
    step = breaker.reset(manifest(), "r1", "the bank is back")
    assert (step.patch, step.words) == (
        {"reset": {"id": "r1", "reason": "the bank is back"}},
        "CircuitBreaker bank is closed, and counts anew",
    )


def test_a_reset_of_one_that_is_held_is_refused_with_the_mend() -> None:
    step = breaker.reset(manifest(forced="Open"), "r1", "x")
    assert step.patch is None
    assert step.refusal == "CircuitBreaker bank is held Open by a person, and a reset changes nothing then"
    assert step.mend == "let it go with `backstay breaker release bank`"


@pytest.mark.parametrize(("state", "words"), [("Open", "lets nothing through"), ("Closed", "lets everything through")])
def test_holding_it_says_what_that_means(state: str, words: str) -> None:
    step = breaker.force(manifest(), ForcedState(state), "maintenance")
    assert step.patch == {"forced": {"state": state, "reason": "maintenance"}}
    assert words in step.words
    again = breaker.force(manifest(forced=state), ForcedState(state), "x")
    assert (again.patch, again.words) == (None, f"CircuitBreaker bank is held {state} already")


def test_letting_it_go_says_how_it_goes_on() -> None:
    assert breaker.release(manifest(forced="Open")).patch == {"forced": None}
    assert "lets probes through" in breaker.release(manifest(forced="Open")).words
    assert "counts anew" in breaker.release(manifest(forced="Closed")).words
    assert breaker.release(manifest()).patch is None


BREAKER = "/apis/backstay.dev/v1alpha1/namespaces/shop/circuitbreakers/bank"


def test_a_reset_writes_another_id_each_time_and_only_to_the_breaker_that_it_has_seen(tmp_path: Path) -> None:
    found = manifest()
    found["metadata"]["uid"] = "uid-1"

    def prepare(api: TinyApi) -> None:
        api.answers("GET", BREAKER, reply(found))
        api.answers("PATCH", BREAKER, reply(found))

    with served(prepare) as api:
        command = ["breaker", "reset", "cb/bank", "-r", "it is back", "--kubeconfig", kubeconfig(tmp_path, api)]
        results = [CliRunner().invoke(cli.app, command) for _ in range(2)]
        asked = [request.body for request in api.asked_for("PATCH")]
    assert [result.stdout for result in results] == ["CircuitBreaker bank is closed, and counts anew\n"] * 2
    assert [body["metadata"] for body in asked] == [{"uid": "uid-1"}] * 2
    assert [body["spec"]["reset"]["reason"] for body in asked] == ["it is back"] * 2
    assert len({body["spec"]["reset"]["id"] for body in asked}) == 2


def test_a_breaker_that_is_not_there_is_told_with_where_to_look(tmp_path: Path) -> None:
    with served(lambda api: api.answers("GET", BREAKER, missing("bank"))) as api:
        result = CliRunner().invoke(cli.app, ["breaker", "release", "bank", "--kubeconfig", kubeconfig(tmp_path, api)])
    assert result.exit_code == 5
    assert "there is no CircuitBreaker bank in namespace shop" in result.stderr


# ----------------------------------------------------------------------------------------------------------------- why


def answer(found: dict[str, Any] | None) -> tuple[str, str, str]:
    world = waiting()
    run = run_of(world)
    assert awaited_breakers(run) == {"bank"}
    told = why(run, Evidence(breakers={"bank": found} if found else {}), START + timedelta(seconds=90))
    return str(told.cause), told.sentence, told.mend


def test_a_run_that_waits_for_an_open_breaker_says_for_how_long_why_and_what_can_be_done() -> None:
    cause, sentence, mend = answer(manifest(openUntil="2026-11-23T09:02:00Z"))
    assert cause == "Circuit"
    assert sentence == (
        "step pay waits for circuit breaker bank, which is open for 30s more (the latest failure was Timeout: too long (run order-1, step pay)); "
        "it times out in 59m30s"
    )
    assert mend.startswith("it goes on by itself; where all is well again: backstay breaker reset bank -n shop --reason …")


def test_a_run_that_waits_for_a_probe_of_another_or_for_a_person_says_so() -> None:
    assert "which is half open; 1 probe goes on" in answer(manifest("HalfOpen", probes=[{"run": "order-1"}]))[1]
    held = answer(manifest(forced="Open"))
    assert "which is Open" in held[1]
    assert held[2] == "whoever holds it lets it go with `backstay breaker release bank`"


def test_where_the_breaker_cannot_be_read_the_status_tells_what_it_told_last() -> None:
    assert "waits for circuit breaker bank: it is open until 2026-11-23T09:02:00Z (the latest failure was Timeout)" in answer(None)[1]


def test_a_run_that_has_failed_by_an_open_breaker_says_where_to_look() -> None:
    world = World("steps: [{name: a, wait: {duration: 1m}}, {name: pay, circuit: bank, job: {image: i}}]")
    world.breaker("bank", CircuitFact(CircuitState.OPEN, UNTIL)).pass_time("1m")
    told = why(run_of(world), Evidence(), START + timedelta(seconds=90))
    assert "CircuitOpen: bank: it is open until 2026-11-23T09:02:00Z" in told.sentence
    assert told.mend == "kubectl describe circuitbreaker bank -n shop tells why; once it is closed, run it again"
