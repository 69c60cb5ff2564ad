"""Circuit breakers: what fails too often is left alone, by all runs of a namespace, over restarts of the operator, until it goes well again."""

from typing import Any

from tests.scenarios.manifests import run_of, shell, step
from tests.support.api import Object
from tests.support.cluster import Place, condition, step_of
from tests.support.waiting import wait_for

BANK: Object = {"window": {"count": 2}, "failureRate": "100%", "openFor": "1h", "halfOpen": {"probes": 1, "within": "20s"}}


def breaker(**spec: Any) -> Object:
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "CircuitBreaker", "metadata": {"name": "bank"}, "spec": {**BANK, **spec}}


def pays(name: str, script: str = "true", when_open: str = "Fail", **fields: Any) -> Object:
    return run_of(name, step("pay", circuit="bank", whenOpen=when_open, job=shell(script), **fields))


def shown(place: Place) -> Object:
    found = place.cluster.api.get("circuitbreakers", place.name, "bank") or {}
    return dict(found.get("status", {}))


def until(place: Place, state: str) -> None:
    wait_for(lambda: shown(place).get("state") == state, what=lambda: f"the breaker stands so: {shown(place)}")


def ask(place: Place, spec: Object) -> None:
    place.cluster.api.patch("circuitbreakers", place.name, "bank", {"spec": spec})


def opened(place: Place, **spec: Any) -> None:
    """Two runs fail at the same bank: its breaker is open."""
    place.apply(breaker(**spec))
    until(place, "Closed")
    place.apply(pays("bad-1", "exit 1"), pays("bad-2", "exit 1"))
    for name in ("bad-1", "bad-2"):
        assert place.ended(name)["status"]["error"]["type"] == "ExitCode"
    until(place, "Open")


def half_open(place: Place) -> None:
    """A person cannot wait for an hour: one that was held open finds out at once when it is let go."""
    ask(place, {"forced": {"state": "Open"}})
    wait_for(lambda: shown(place).get("forced"), what=lambda: f"nobody holds it: {shown(place)}")
    ask(place, {"forced": None})
    until(place, "HalfOpen")


def test_two_runs_open_a_breaker_and_a_third_fails_fast_or_falls_back_or_waits_until_a_person_resets_it(place: Place) -> None:
    opened(place)
    assert (shown(place)["failed"], shown(place)["lastError"]["type"]) == ("2/2", "ExitCode")
    fallback = {"errors": ["CircuitOpen"], "steps": [{"name": "later", "set": {"later": True}}]}
    place.apply(pays("fast"), pays("falls-back", catch=[fallback]), pays("waits", when_open="Wait"))
    fast = place.ended("fast")["status"]
    assert fast["error"]["type"] == "CircuitOpen"
    assert fast["error"]["detail"].startswith("bank: it is open until ")
    assert place.jobs("fast") == []
    assert place.ended("falls-back")["status"]["vars"] == {"later": True}
    waiting = place.reached("waits", "pay", "Waiting")
    assert step_of(waiting, "pay")["message"].startswith("waits for circuit breaker bank: it is open until ")
    assert waiting["status"]["status"] == "Waiting"
    columns = place.kubectl("get", "cb", "bank", "--no-headers").split()
    assert columns[:3] == ["bank", "Open", "2/2"]
    place.kubectl.until("describe", "cb", "bank", shows=lambda text: "CircuitOpened" in text and "2 of 2 calls have failed" in text)
    ask(place, {"reset": {"id": "by-hand", "reason": "the bank is back"}})
    assert condition(place.ended("waits"), "Succeeded") == "True"
    assert (shown(place)["state"], shown(place)["reset"]) == ("Closed", "by-hand")


def test_an_open_breaker_stays_open_though_the_operator_is_killed_and_a_probe_closes_it(place: Place) -> None:
    opened(place)
    place.cluster.operator.kill9()
    place.cluster.operator.start()
    place.apply(pays("fast"), pays("probe", "sleep 2", when_open="Wait"))
    assert place.ended("fast")["status"]["error"]["type"] == "CircuitOpen"
    half_open(place)
    place.reached("probe", "pay", "Running")
    assert [probe["run"] for probe in shown(place)["probes"]] == ["probe"]
    place.apply(pays("too-many"))
    assert "half open" in place.ended("too-many")["status"]["error"]["detail"]
    place.cluster.operator.kill9()
    place.cluster.operator.start()
    assert condition(place.ended("probe"), "Succeeded") == "True"
    until(place, "Closed")
    place.apply(pays("after"))
    assert condition(place.ended("after"), "Succeeded") == "True"
    assert shown(place)["transitions"] == 3
    assert len(place.jobs()) == 4, "two that failed, the probe, and the one after it"


def test_a_breaker_that_a_person_holds_open_lets_nothing_through(place: Place) -> None:
    place.apply(breaker(forced={"state": "Open", "reason": "maintenance"}))
    place.kubectl("wait", "circuitbreaker/bank", "--for=jsonpath={.status.state}=Open", "--timeout=20s")
    place.apply(pays("early"))
    assert "held Open by a person: maintenance" in place.ended("early")["status"]["error"]["detail"]
    half_open(place)
    place.apply(pays("late", when_open="Wait"))
    assert condition(place.ended("late"), "Succeeded") == "True"
    place.kubectl("wait", "circuitbreaker/bank", "--for=condition=Closed", "--timeout=20s")


def test_what_makes_no_sense_of_a_breaker_is_refused_when_it_is_applied(place: Place) -> None:
    refused = {
        "minimumCalls is more than the results that the window holds": {"minimumCalls": 3},
        "give failureRate or failures, not both": {"failures": 1},
        "a window needs exactly one of these: count, duration": {"window": {"count": 1, "duration": "1m"}},
        "openForever": {"openForever": "1m"},
    }
    for words, spec in refused.items():
        assert words in place.kubectl.refused("create", "-f", "-", given=breaker(**spec))
