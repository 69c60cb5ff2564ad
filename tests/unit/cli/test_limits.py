"""`backstay why` of a run or a step that waits for its turn: its place in line, who holds the slots, and what lets more in."""

from datetime import datetime, timedelta
from typing import Any

from backstay.cli.views.seen import Run, read_run
from backstay.cli.views.why import Answer, Cause, Evidence, awaited_semaphores, why
from backstay.engine.codec import time_to_json
from backstay.engine.model import LockFact
from backstay.runtime.pending import queued_status
from tests.support.world import START, World
from tests.unit.cli.runs import UID, manifest_of, run_of, soon

LOCKED = 'steps: [{name: charge, lock: {name: printer, key: "x", timeout: 10m}, job: {image: pay}}]'


def entry(run: str, step: str = "", *, uid: str = "", key: str = "", seconds: float = 0) -> dict[str, Any]:
    found = {"run": run, "uid": uid or f"uid-{run}", "since": time_to_json(START + timedelta(seconds=seconds))}
    return found | ({"step": step} if step else {}) | ({"key": key} if key else {})


def semaphore(*holders: dict[str, Any], waiting: tuple[dict[str, Any], ...] = (), ours: bool = False, **spec: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "backstay"} if ours else {}
    status = {"held": len(holders), "queued": len(waiting), "holders": list(holders), "waiting": list(waiting)}
    return {"metadata": {"name": "printer", "namespace": "shop", "labels": labels}, "spec": spec or {"limit": 1}, "status": status}


def waits() -> World:
    return World(LOCKED, taken={"printer": LockFact(place=4, waiting=9, holders=("run order-1 (step print)",))})


def ask(run: Run, now: datetime, **semaphores: dict[str, Any]) -> Answer:
    named = {name.replace("_", "."): found for name, found in semaphores.items()}
    return why(run, Evidence(semaphores=named), now)


def test_a_step_that_waits_for_its_lock_is_told_its_place_as_it_is_now() -> None:
    world = waits()
    before = entry("order-2", "a", key="x")
    mine = entry("order-7f2", "charge", uid=UID, key="x")
    found = semaphore(entry("order-1", "print", key="x"), entry("else", "b", key="y"), waiting=(entry("o", "z", key="y"), before, mine))
    answer = ask(run_of(world), soon(world, 90), printer=found)
    assert answer.cause is Cause.LOCK
    assert answer.sentence == (
        'step charge waits for 1m30s for lock printer (key "x"): 2nd of 2 in line; held by run order-1 (step print, for 1m30s); '
        "it gives up in 8m30s"
    )
    assert answer.mend == "it begins by itself; kubectl get semaphore printer -n shop -o yaml shows everybody in line"
    assert answer.step == "charge"


def test_where_the_semaphore_cannot_be_read_the_status_tells_what_it_told_last() -> None:
    world = waits()
    answer = ask(run_of(world), soon(world, 60))
    assert '(key "x"): 4th of 9 in line; held by run order-1 (step print); it gives up in 9m' in answer.sentence
    assert answer.mend == "it begins by itself; apply a Semaphore printer with a higher limit to let more in"


def test_further_back_than_the_semaphore_shows_the_status_tells_it_too() -> None:
    world = waits()
    answer = ask(run_of(world), soon(world), printer=semaphore(entry("order-1", "print", key="x"), waiting=(entry("o", key="x"),)))
    assert "4th of 9 in line" in answer.sentence


def test_a_semaphore_that_is_closed_or_has_a_rate_says_so() -> None:
    world = waits()
    mine = entry("order-7f2", "charge", uid=UID, key="x")
    closed = ask(run_of(world), soon(world), printer=semaphore(waiting=(mine,), limit=0))
    assert "1st of 1 in line; its limit is 0" in closed.sentence
    slow = ask(run_of(world), soon(world), printer=semaphore(waiting=(mine,), rate={"limit": 2, "per": "1m"}))
    assert "1st of 1 in line; 2 may begin in 1m" in slow.sentence


def test_a_lock_of_the_run_names_the_step_that_holds_it() -> None:
    branches = ", ".join(f"{{name: {name}, steps: [{{name: s, lock: {{name: desk, scope: Run}}, job: {{image: x}}}}]}}" for name in "ab")
    world = World(f"steps: [{{name: p, parallel: {{branches: [{branches}]}}}}]")
    answer = ask(run_of(world), soon(world, 5))
    assert answer.sentence.startswith("step p/b/s waits for 5.0s for lock desk of this run: held by step p/a/s")
    assert awaited_semaphores(run_of(world)) == set()


def queued(words: str) -> Run:
    manifest = manifest_of(World("steps: [{name: a, set: {x: 1}}]"))
    manifest["status"] = queued_status({"metadata": manifest["metadata"]}, words, START)
    return read_run(manifest)


def test_a_queued_run_is_told_its_place_as_it_is_now_and_who_goes_on() -> None:
    run = queued("9th of 12 that wait for Workflow order (limit 2); held by run old")
    mine = entry("order-7f2", uid=UID)
    found = semaphore(entry("o1"), entry("o2", seconds=60), waiting=(entry("o3"), entry("o4"), mine, entry("o5")), limit=2)
    answer = ask(run, START + timedelta(minutes=3), workflow_order=found)
    assert answer.cause is Cause.TURN
    assert answer.sentence == (
        "it has not begun: 3rd of 4 that wait for Workflow order (limit 2); held by run o1 (for 3m), run o2 (for 2m)"
    )
    assert answer.mend == "it begins by itself; a higher concurrency.limit of Workflow order lets more begin"
    assert (awaited_semaphores(run), run.shown_phase) == ({"workflow.order"}, "Queued")


def test_a_run_that_waits_for_the_installation_says_whose_limit_it_is() -> None:
    answer = ask(queued("2nd of 7 that wait for this installation (limit 100)"), START)
    assert answer.sentence == "it has not begun: 2nd of 7 that wait for this installation (limit 100)"
    assert "maxActiveRuns" in answer.mend
