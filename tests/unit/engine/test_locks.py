"""Locks: what a step waits for, when it begins, and when the lock is given back."""

import pytest

from backstay.engine.model import AcquireLock, LockFact, ReleaseLock, State, StepRecord, Wish
from backstay.engine.policies import lock
from backstay.engine.policies.lock import is_news
from tests.support.world import World

JOB = "job: {image: busybox}"
ELSEWHERE = LockFact(place=3, waiting=7, holders=("run other (step b)",))


def locked(*, taken: LockFact | None = None, more: str = "") -> World:
    return World(
        f"""
parameters: [{{name: account}}]
steps: [{{name: a, lock: {{name: printer, key: "${{ params.account }}", timeout: 10m}}, {JOB}{more}}}, {{name: b, {JOB}}}]
""",
        {"account": "x-1"},
        taken={"printer": taken} if taken else None,
    )


def test_a_step_begins_once_it_has_its_lock_and_gives_it_back_when_it_has_ended() -> None:
    world = locked()
    assert (world.story, world.running) == (["RunStarted", "LockWanted a", "LockAcquired a", "AttemptStarted a"], ["a"])
    assert {path: (asked.name, asked.key, asked.has_begun) for path, asked in world.asked.items()} == {"a": ("printer", "x-1", True)}
    world.succeed("a", {"v": 1})
    assert (world.running, world.asked) == (["b"], {})
    assert world.succeed("b").phase == "Succeeded"


def test_a_step_without_a_lock_costs_no_entry_and_no_write_more() -> None:
    world = World(f"steps: [{{name: a, {JOB}}}]")
    assert world.succeed("a").story == ["RunStarted", "AttemptStarted a", "StepSucceeded a", "RunSucceeded"]
    assert world.writes == 2


def test_the_want_is_written_before_anybody_asks_for_the_lock() -> None:
    world = locked(taken=LockFact())
    assert (world.story, world.phases()) == (["RunStarted", "LockWanted a"], {"a": "Waiting"})
    assert list(world.asked) == ["a"]
    assert not world.asked["a"].has_begun


def test_a_step_that_waits_says_where_it_stands_and_who_holds_the_lock() -> None:
    world = locked(taken=ELSEWHERE)
    words = 'waits for lock printer (key "x-1"): 3rd of 7 in line; held by run other (step b)'
    assert world.step("a").message == words
    assert world.status["status"] == "Waiting"
    assert next(item["message"] for item in world.status["conditions"] if item["type"] == "Reconciling") == f"a: {words}"
    assert world.take("printer", None).running == ["a"]
    assert world.step("a").message is None
    assert world.step("a").locked_at == world.now


def test_not_every_move_of_the_line_is_written() -> None:
    world = locked(taken=LockFact(place=100, waiting=100))
    writes = world.writes
    for place in range(99, 0, -1):
        world.take("printer", LockFact(place=place, waiting=place))
    assert world.writes - writes == 6, "100, 50, 25, 12, 6, 3, 1"
    assert [kind.split()[0] for kind in world.story].count("LockWaiting") == 1, "an Event comes of this one"


@pytest.mark.parametrize(
    ("said", "place", "news"),
    [
        (None, 5, True),
        ("waits for lock a", 5, True),
        ("4th of 9", 3, False),
        ("4th of 9", 2, True),
        ("4th of 9", 8, False),
        ("4th of 9", 9, True),
    ],
)
def test_a_place_is_news_when_it_differs_much(said: str | None, place: int, news: bool) -> None:
    assert is_news(said, place) is news


def test_waiting_too_long_is_the_error_lock_timeout_which_may_be_caught() -> None:
    world = locked(taken=ELSEWHERE)
    world.pass_time("10m")
    assert (world.phase, world.status["error"]["type"], world.asked) == ("Failed", "LockTimeout", {})
    assert world.status["error"]["detail"].endswith("3rd of 7 in line; held by run other (step b) (10m; see lock.timeout)")
    caught = locked(taken=ELSEWHERE, more=f", catch: [{{errors: [LockTimeout], steps: [{{name: c, {JOB}}}]}}]")
    caught.pass_time("10m")
    assert (caught.running, caught.asked) == (["a:catch0/c"], {})
    caught.succeed("a:catch0/c").succeed("b")
    assert caught.phase == "Succeeded"


def test_the_steps_own_timeout_counts_from_when_it_has_the_lock() -> None:
    world = World(f"steps: [{{name: a, timeout: 1m, lock: {{name: p}}, {JOB}}}]", taken={"p": ELSEWHERE})
    world.pass_time("1h").take("p", None)
    assert world.running == ["a"]
    world.pass_time("59s")
    assert world.running == ["a"]
    world.pass_time("2s")
    assert world.status["error"]["type"] == "Timeout"


def test_a_lock_is_held_through_retries_and_handlers() -> None:
    world = World(
        f"steps: [{{name: a, lock: {{name: p}}, retry: {{maxAttempts: 2, interval: 1s}}, {JOB}, "
        f"catch: [{{errors: ['*'], steps: [{{name: c, {JOB}}}]}}]}}]"
    )
    world.fail("a")
    assert list(world.asked) == ["a"]
    world.pass_time("2s").fail("a")
    assert (world.running, list(world.asked)) == (["a:catch0/c"], ["a"])
    world.succeed("a:catch0/c")
    assert (world.phase, world.asked) == ("Succeeded", {})


@pytest.mark.parametrize("end", ["cancel", "delete"])
@pytest.mark.parametrize("taken", [None, ELSEWHERE], ids=["held", "waiting"])
def test_a_run_that_is_cancelled_or_deleted_lets_go(end: str, taken: LockFact | None) -> None:
    world = locked(taken=taken)
    world.wants(**{end: True})
    assert (world.phase, world.asked) == ("Cancelled", {})


def test_a_suspended_run_leaves_the_line_and_comes_back_with_its_old_turn() -> None:
    world = locked(taken=ELSEWHERE)
    since = world.asked["a"].since
    world.wants(suspend=True)
    assert world.asked == {}
    world.take("printer", None)
    assert world.phases() == {"a": "Waiting"}
    world.pass_time("5m").wants(suspend=False)
    assert world.running == ["a"]
    entries = [entry for entry in world.entries if entry.kind == "LockWanted"]
    assert (len(entries), entries[0].time) == (1, since)


def test_a_lock_that_comes_while_the_run_is_suspended_is_given_back() -> None:
    world = locked(taken=ELSEWHERE)
    state, wish = world.state, Wish(suspend=True)
    assert list(lock.wants(state, wish)) == []
    observations = world.observations
    seen = type(observations)(wish, locks={"a": LockFact(held=True)})
    assert list(lock.effects(state, seen)) == [ReleaseLock("a")]


def test_a_step_that_is_skipped_needs_no_lock() -> None:
    world = World(f'steps: [{{name: a, if: "${{ false }}", lock: {{name: p}}, {JOB}}}]')
    assert (world.story[1:], world.asked) == (["StepSkipped a", "RunSucceeded"], {})


def test_a_key_that_cannot_be_had_is_an_error_of_the_step() -> None:
    world = World(f'steps: [{{name: a, lock: {{name: p, key: "${{ vars.none }}"}}, {JOB}}}]')
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "ExpressionError")
    long = World(f'parameters: [{{name: k}}]\nsteps: [{{name: a, lock: {{name: p, key: "${{ params.k }}"}}, {JOB}}}]', {"k": "x" * 254})
    assert "lock.key: it has 254 characters, at most 253" in long.status["error"]["detail"]


def test_any_kind_of_step_may_have_a_lock() -> None:
    world = World(
        f"""
steps:
- {{name: s, lock: {{name: p}}, set: {{v: 1}}}}
- {{name: w, lock: {{name: p}}, wait: {{duration: 1s}}}}
- {{name: d, lock: {{name: p}}, dag: {{steps: [{{name: x, {JOB}}}]}}}}
- {{name: k, lock: {{name: p}}, switch: {{cases: [{{when: "${{ true }}", steps: [{{name: y, {JOB}}}]}}]}}}}
- {{name: f, lock: {{name: p}}, fail: {{error: Enough}}}}
"""
    )
    assert list(world.asked) == ["w"]
    world.pass_time("1s")
    assert list(world.asked) == ["d"]
    world.succeed("d/x")
    assert list(world.asked) == ["k"]
    world.succeed("k/0/y")
    assert (world.phase, world.status["error"]["type"], world.asked) == ("Failed", "Enough", {})


# ------------------------------------------------------------------------------------------------------------- within one run

RUN_LOCK = "lock: {name: desk, scope: Run}"


def test_a_lock_of_the_run_keeps_its_own_steps_apart_and_asks_nobody() -> None:
    branches = ", ".join(f"{{name: {name}, steps: [{{name: s, {RUN_LOCK}, {JOB}}}]}}" for name in "abc")
    world = World(f"steps: [{{name: p, parallel: {{branches: [{branches}]}}}}]")
    for branch, waiting in (("a", "p/b/s"), ("b", "p/c/s"), ("c", None)):
        assert world.running == [f"p/{branch}/s"]
        if waiting and branch == "a":
            assert world.step(waiting).message == "waits for lock desk of this run, held by step p/a/s"
        world.succeed(f"p/{branch}/s")
    assert (world.phase, world.asked) == ("Succeeded", {})


def test_locks_of_the_run_with_other_keys_have_nothing_to_do_with_each_other() -> None:
    branches = ", ".join(
        f"{{name: {name}, steps: [{{name: s, lock: {{name: desk, key: {key}, scope: Run}}, {JOB}}}]}}" for name, key in ("ax", "by", "cx")
    )
    world = World(f"steps: [{{name: p, parallel: {{branches: [{branches}]}}}}]")
    assert world.running == ["p/a/s", "p/b/s"]
    world.succeed("p/b/s")
    assert world.running == ["p/a/s"]
    world.succeed("p/a/s")
    assert world.running == ["p/c/s"]


def test_a_step_that_waits_for_a_lock_of_the_run_and_is_stopped_holds_nobody_up() -> None:
    branches = ", ".join(f"{{name: {name}, steps: [{{name: s, timeout: 1h, {RUN_LOCK}, {JOB}}}]}}" for name in "ab")
    world = World(
        f"steps: [{{name: p, timeout: 1m, parallel: {{branches: [{branches}]}}, catch: [{{errors: [Timeout], steps: [{{name: c, {RUN_LOCK}, {JOB}}}]}}]}}]"
    )
    world.pass_time("1m")
    assert world.running == ["p:catch0/c"]


def test_interleaved_parallel_routing_each_in_any_order_never_two_at_a_time() -> None:
    steps = ", ".join(f"{{name: {name}, {RUN_LOCK}, {JOB}}}" for name in "abcd")
    world = World(f"dag: {{steps: [{steps}]}}")
    seen = []
    while world.running:
        (path,) = world.running
        seen.append(path)
        world.succeed(path)
    assert (sorted(seen), world.phase) == (["a", "b", "c", "d"], "Succeeded")


# ---------------------------------------------------------------------------------------------------------------- re-entrance


@pytest.mark.parametrize("scope", ["Namespace", "Run"])
def test_a_step_inside_one_that_holds_the_same_lock_does_not_wait_for_its_own_run(scope: str) -> None:
    inner = f"{{name: inner, lock: {{name: p, key: k, scope: {scope}}}, {JOB}}}"
    world = World(f"steps: [{{name: outer, lock: {{name: p, key: k, scope: {scope}}}, steps: [{inner}]}}]")
    assert world.running == ["outer/inner"]
    assert list(world.asked) == ([] if scope == "Run" else ["outer"])
    world.succeed("outer/inner")
    assert (world.phase, world.asked) == ("Succeeded", {})


@pytest.mark.parametrize("scope", ["Namespace", "Run"])
@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_loop_whose_body_takes_a_lock_with_one_slot_comes_to_its_end(parallelism: int, scope: str) -> None:
    body = f"{{name: s, lock: {{name: p, scope: {scope}}}, {JOB}}}"
    world = World(f"steps: [{{name: each, forEach: {{count: 5, parallelism: {parallelism}, steps: [{body}]}}}}]")
    done = 0
    while world.running:
        assert scope == "Namespace" or len(world.running) == 1
        world.succeed(world.running[0])
        done += 1
    assert (done, world.phase, world.asked) == (5, "Succeeded", {})


def test_a_loop_that_holds_the_lock_that_its_body_takes_comes_to_its_end() -> None:
    body = f"{{name: s, lock: {{name: p}}, {JOB}}}"
    world = World(f"steps: [{{name: each, lock: {{name: p}}, forEach: {{count: 3, parallelism: 3, steps: [{body}]}}}}]")
    assert list(world.asked) == ["each"]
    for path in list(world.running):
        world.succeed(path)
    assert (world.phase, world.asked) == ("Succeeded", {})


def test_a_nested_lock_with_another_key_is_another_lock() -> None:
    inner = f"{{name: inner, lock: {{name: p, key: b}}, {JOB}}}"
    world = World(f"steps: [{{name: outer, lock: {{name: p, key: a}}, steps: [{inner}]}}]")
    assert sorted(world.asked) == ["outer", "outer/inner"]


# --------------------------------------------------------------------------------------------------------------- compensation


def test_undoing_a_step_takes_its_lock_again_without_its_timeout() -> None:
    world = World(
        f"""
parameters: [{{name: k}}]
steps:
- {{name: a, lock: {{name: p, key: "${{ params.k }}", timeout: 1m}}, {JOB}, compensate: {{{JOB}}}}}
- {{name: b, {JOB}}}
""",
        {"k": "7"},
    )
    world.succeed("a")
    assert world.asked == {}
    world.take("p", ELSEWHERE).fail("b")
    assert (world.phase, world.asked["a:compensate"].key, world.running) == ("Compensating", "7", [])
    world.pass_time("1h")
    assert world.step("a:compensate").phase == "Waiting"
    world.take("p", None)
    assert world.running == ["a:compensate"]
    world.succeed("a:compensate")
    assert (world.phase, world.phases()["a"], world.asked) == ("Failed", "Compensated", {})


# --------------------------------------------------------------------------------------------------------------------- effects


def test_who_keeps_the_slots_is_told_that_a_step_has_begun_and_after_a_crash_once_more() -> None:
    world = locked()
    state = world.state
    assert [effect.has_begun for effect in lock.effects(state, type(world.observations)()) if isinstance(effect, AcquireLock)] == [True]
    known = type(world.observations)(locks={"a": LockFact(held=True, has_begun=True)})
    assert list(lock.effects(state, known)) == []


def test_a_finished_run_wants_nothing() -> None:
    world = locked()
    world.succeed("a").succeed("b")
    left = State(world.state.run, {"x": StepRecord("x", "job", world.step("a").phase, lock={"name": "p"})})
    assert list(lock.wants(left, Wish())) == []
