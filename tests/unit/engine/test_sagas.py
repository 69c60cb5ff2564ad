"""Undoing as a whole: at the same time where the workflow allows it, what a person decides, cancelling a part so that it is undone, children."""

from typing import Any

import pytest

from backstay.engine.compensation.order import are_independent
from backstay.engine.model import CancelRun, UndoRun
from tests.support.saga_rules import check_saga, violations
from tests.support.world import World

JOB = "job: {image: busybox}"
UNDO = "compensate: {job: {image: undo}}"
TOGETHER = "onFailure: {parallel: true}\n"


def work(name: str, more: str = "") -> str:
    """A step that can be undone."""
    return f"{{name: {name}, {JOB}, {UNDO}{more}}}"


def undo_to_the_end(world: World) -> list[list[str]]:
    """Let every compensation succeed that goes on, and then those that follow: which went on at the same time."""
    rounds = []
    while going := sorted(path for path in world.running if ":compensate" in path):
        rounds.append([path.removesuffix(":compensate") for path in going])
        for path in going:
            world.succeed(path)
    check_saga(world.program, world.entries)
    return rounds


BRANCHES = f"parallel: {{branches: [{{name: x, steps: [{work('a')}, {work('b')}]}}, {{name: y, steps: [{work('a')}]}}]}}"
DAG = f"dag: {{steps: [{work('a')}, {work('b', ', dependsOn: [a]')}, {work('c', ', dependsOn: [a]')}, {work('d', ', dependsOn: [b, c]')}]}}"
EVERY = f"switch: {{mode: Every, cases: [{{when: '${{ true }}', steps: [{work('a')}]}}, {{name: two, when: '${{ true }}', steps: [{work('a')}]}}]}}"
EACH = f"forEach: {{count: 3, parallelism: PARALLELISM, steps: [{work('a')}]}}"
SHAPES: dict[str, tuple[str, list[str], list[list[str]]]] = {
    "branches": (BRANCHES, ["s/x/a", "s/y/a", "s/x/b"], [["s/x/b", "s/y/a"], ["s/x/a"]]),
    "a dag": (DAG, ["s/a", "s/b", "s/c", "s/d"], [["s/d"], ["s/b", "s/c"], ["s/a"]]),
    "every case": (EVERY, ["s/0/a", "s/two/a"], [["s/0/a", "s/two/a"]]),
    "iterations": (EACH.replace("PARALLELISM", "3"), ["s[0]/a", "s[1]/a", "s[2]/a"], [["s[0]/a", "s[1]/a", "s[2]/a"]]),
    "as many iterations as ran": (EACH.replace("PARALLELISM", "2"), ["s[0]/a", "s[1]/a", "s[2]/a"], [["s[1]/a", "s[2]/a"], ["s[0]/a"]]),
    "iterations one by one": (EACH.replace("PARALLELISM", "1"), ["s[0]/a", "s[1]/a", "s[2]/a"], [["s[2]/a"], ["s[1]/a"], ["s[0]/a"]]),
    "a block": (f"steps: [{work('a')}, {work('b')}]", ["s/a", "s/b"], [["s/b"], ["s/a"]]),
}


@pytest.mark.parametrize(("shape", "done", "rounds"), SHAPES.values(), ids=SHAPES)
def test_independent_steps_are_undone_at_the_same_time_and_all_others_in_reverse(
    shape: str, done: list[str], rounds: list[list[str]]
) -> None:
    world = World(f"{TOGETHER}steps: [{work('before')}, {{name: s, {shape}}}, {work('after')}, {{name: f, {JOB}}}]").succeed("before")
    for path in done:
        world.succeed(path)
    world.succeed("after").fail("f")
    assert undo_to_the_end(world) == [["after"], *rounds, ["before"]]
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("True", "AllUndone"))


@pytest.mark.parametrize(("shape", "done", "rounds"), SHAPES.values(), ids=SHAPES)
def test_without_parallel_one_is_undone_after_the_other(shape: str, done: list[str], rounds: list[list[str]]) -> None:
    world = World(f"steps: [{{name: s, {shape}}}, {{name: f, {JOB}}}]")
    for path in done:
        world.succeed(path)
    assert undo_to_the_end(world.fail("f")) == [[path] for path in reversed(done)]


def test_a_compensation_that_pauses_holds_up_only_what_came_before_it() -> None:
    branches = f"[{{name: x, steps: [{work('a')}, {work('b')}]}}, {{name: y, steps: [{work('a')}, {work('b')}]}}]"
    world = World(f"{TOGETHER}steps: [{work('z')}, {{name: p, parallel: {{branches: {branches}}}}}, {{name: f, {JOB}}}]").succeed("z")
    for path in ("p/x/a", "p/y/a", "p/x/b", "p/y/b"):
        world.succeed(path)
    world.fail("f")
    for _ in range(5):
        world.fail("p/x/b:compensate").pass_time("2m")
    assert undo_to_the_end(world) == [["p/y/b"], ["p/y/a"]]
    assert world.condition("Stalled") == ("True", "CompensationFailed")
    world.ask("p/x/b:compensate", "Retry", edit={"args": ["by", "force"]})
    assert world.made[-1].inputs["args"] == ["by", "force"]
    world.succeed("p/x/b:compensate")
    assert undo_to_the_end(world) == [["p/x/a"], ["z"]]


@pytest.mark.parametrize(
    ("one", "other", "independent"),
    [
        ("p/x/a", "p/y/a", True),
        ("p/x/a", "p/x/b", False),
        ("p/x/a", "p~2/y/a", False),
        ("p/x/a", "p:catch0/h", False),
        ("p/x/a", "after", False),
        ("f[1]/a", "f[2]/a", True),
        ("f[1]/a", "f[1]/b", False),
        ("w[1]/a", "w[2]/a", False),
        ("g[1]/a", "g[2]/a", False),
        ("d/b", "d/c", True),
        ("d/a", "d/c", False),
        ("d/c/x", "d/b/y", True),
    ],
)
def test_independence_follows_from_the_structure(one: str, other: str, independent: bool) -> None:
    structures = [
        f"{{name: p, {BRANCHES}, catch: [{{steps: [{{name: h, {JOB}}}]}}]}}",
        f"{{name: f, forEach: {{count: 2, parallelism: 2, steps: [{work('a')}, {work('b')}]}}}}",
        f"{{name: w, while: {{condition: '${{ false }}', steps: [{work('a')}]}}}}",
        f"{{name: g, forEach: {{count: 2, parallelism: 1, steps: [{work('a')}]}}}}",
        f"{{name: d, {DAG}}}",
        work("after"),
    ]
    program = World(f"steps: [{', '.join(structures)}]").program
    assert are_independent(program, one, other) is independent
    assert are_independent(program, other, one) is independent


# ------------------------------------------------------------------------------------------------ what becomes of a compensation


SAGA = f"steps: [{work('a')}, {work('b')}, {{name: f, {JOB}}}]"


def stalled(spec: str = SAGA) -> World:
    world = World(spec).succeed("a").succeed("b").fail("f")
    for _ in range(5):
        world.fail("b:compensate").pass_time("2m")
    return world


def test_a_stalled_compensation_is_tried_again_when_a_person_says_so() -> None:
    world = stalled()
    assert (world.phases()["b:compensate"], world.condition("Stalled"), world.running) == ("Paused", ("True", "CompensationFailed"), [])
    world.ask("b:compensate", "Retry", reason="the bank is back").succeed("b:compensate").succeed("a:compensate")
    assert (world.phase, world.condition("Compensated"), world.condition("Stalled")) == ("Failed", ("True", "AllUndone"), None)


@pytest.mark.parametrize(("action", "words"), [("Skip", "skipped"), ("GiveUp", "ExitCode: ExitCode happened")])
def test_a_compensation_that_a_person_skips_leaves_its_step_and_that_is_told(action: str, words: str) -> None:
    world = stalled().ask("b:compensate", action, reason="undone by hand")
    assert undo_to_the_end(world) == [["a"]]
    assert (world.phase, world.phases()["b"], world.condition("Compensated")) == ("Failed", "Succeeded", ("False", "PartlyUndone"))
    assert [entry.reason for entry in world.entries if entry.kind == "NotUndone"] == [f"b: {words}"]


def test_a_compensation_may_say_itself_that_it_is_left_and_the_others_go_on() -> None:
    undo = "compensate: {job: {image: undo}, retry: {maxAttempts: 1}, onExhausted: Skip}"
    world = World(f"steps: [{work('a')}, {{name: b, {JOB}, {undo}}}, {{name: f, {JOB}}}]").succeed("a").succeed("b").fail("f")
    world.fail("b:compensate")
    assert (world.running, world.condition("Stalled")) == (["a:compensate"], None)
    world.succeed("a:compensate")
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("False", "PartlyUndone"))
    check_saga(world.program, world.entries)


def test_a_step_of_a_compensation_pauses_itself_and_what_was_done_before_it_is_not_repeated() -> None:
    undo = f"compensate: {{steps: [{{name: x, {JOB}}}, {{name: y, {JOB}}}]}}"
    world = World(f"steps: [{{name: a, {JOB}, {undo}}}, {{name: f, {JOB}}}]").succeed("a").fail("f").succeed("a:compensate/x")
    for _ in range(5):
        world.fail("a:compensate/y").pass_time("2m")
    assert world.phases()["a:compensate/y"] == "Paused"
    world.ask("a:compensate/y", "Retry").succeed("a:compensate/y")
    assert (world.phase, len(world.made_for("a:compensate/x"))) == ("Failed", 1)


def test_a_step_of_a_compensation_that_has_a_handler_around_it_fails_into_that() -> None:
    block = f"{{name: t, steps: [{{name: x, {JOB}}}], catch: [{{steps: [{{name: h, {JOB}}}]}}]}}"
    world = World(f"steps: [{{name: a, {JOB}, compensate: {{retry: {{maxAttempts: 1}}, steps: [{block}]}}}}, {{name: f, {JOB}}}]")
    world.succeed("a").fail("f").fail("a:compensate/t/x")
    assert world.running == ["a:compensate/t:catch0/h"]


def test_cancelling_a_run_that_is_being_undone_changes_nothing() -> None:
    world = World(SAGA).succeed("a").succeed("b").fail("f").wants(cancel=True, cancel_reason="enough")
    assert undo_to_the_end(world) == [["b"], ["a"]]
    assert world.phase == "Failed"


@pytest.mark.parametrize("when", ["while it is undone", "while it is stalled"])
def test_a_run_that_is_deleted_on_its_way_back_is_undone_before_it_goes(when: str) -> None:
    world = stalled() if when == "while it is stalled" else World(SAGA).succeed("a").succeed("b").fail("f")
    world.wants(delete=True)
    assert world.finalizer
    if when == "while it is stalled":
        world.ask("b:compensate", "Skip")
    undo_to_the_end(world)
    assert (world.phase, world.finalizer) == ("Failed", False)


def test_a_run_that_had_succeeded_and_is_not_undone_wholly_has_failed() -> None:
    world = World(f"steps: [{work('a')}]").succeed("a").wants(undo=True, undo_reason="returned")
    for _ in range(5):
        world.fail("a:compensate").pass_time("2m")
    world.ask("a:compensate", "Skip")
    assert (world.phase, world.state.run.error and world.state.run.error.type) == ("Failed", "CompensationAbandoned")


# ------------------------------------------------------------------------------------------------------- cancelling a part


REGION = f"{{name: x, steps: [{{name: r, steps: [{work('a')}, {work('b')}]}}, {{name: then, {JOB}}}]}}"


def test_a_cancel_with_compensate_undoes_what_was_completed_inside_before_the_run_goes_on() -> None:
    other = f"{{name: y, steps: [{{name: w, {JOB}}}, {{name: stop, cancel: {{step: p/x/r, compensate: true}}}}, {{name: next, {JOB}}}]}}"
    world = World(f"steps: [{{name: p, parallel: {{branches: [{REGION}, {other}]}}}}]").succeed("p/x/r/a").succeed("p/y/w")
    assert world.running == ["p/x/r/b:compensate"], "b was cut off: it may have been done"
    world.succeed("p/x/r/b:compensate")
    assert (world.running, world.phases()["p/x/r"]) == (["p/x/r/a:compensate"], "Stopping")
    world.succeed("p/x/r/a:compensate")
    assert (sorted(world.running), world.phases()["p/x/r"]) == (["p/x/then", "p/y/next"], "Cancelled")
    check_saga(world.program, world.entries)


@pytest.mark.parametrize(("compensate", "undone"), [(True, [["a"]]), (False, [])])
def test_a_request_cancels_a_step_with_or_without_undoing_it(compensate: bool, undone: list[list[str]]) -> None:
    world = World(f"steps: [{work('a')}, {{name: then, {JOB}}}]").ask("a", "Cancel", compensate=compensate)
    assert undo_to_the_end(world) == undone
    assert (world.running, world.phases()["a"]) == (["then"], "Cancelled")


def test_a_step_that_was_done_before_it_could_be_cancelled_is_undone_as_one_that_was_before_the_run_goes_on() -> None:
    undo = 'compensate: {job: {image: undo, args: ["${ self.outcome }", "${ self.outputs.id }"]}}'
    world = World(f"steps: [{{name: a, {JOB}, {undo}}}, {{name: then, {JOB}}}]")
    world.stops_at_once = False
    world.ask("a", "Cancel", compensate=True).succeed("a", {"id": "r-1"})
    assert (world.running, world.made[-1].inputs["args"]) == (["a:compensate"], ["Succeeded", "r-1"])
    world.succeed("a:compensate")
    assert (world.running, world.phases()["a"]) == (["then"], "Cancelled")
    world.fail("then")
    assert (world.phase, len(world.made_for("a:compensate"))) == ("Failed", 1)
    check_saga(world.program, world.entries)


def test_a_request_cancels_an_iteration_and_undoes_that_one_alone() -> None:
    world = World(f"steps: [{{name: f, forEach: {{count: 2, parallelism: 2, steps: [{work('a')}, {work('b')}]}}}}, {{name: then, {JOB}}}]")
    world.succeed("f[0]/a").succeed("f[1]/a").ask("f[1]", "Cancel", compensate=True)
    assert [path for path in world.running if "compensate" in path] == ["f[1]/b:compensate"]
    world.succeed("f[1]/b:compensate").succeed("f[1]/a:compensate").succeed("f[0]/b")
    assert (world.running, world.phases()["f[0]/a"]) == (["then"], "Succeeded")


def test_a_run_that_is_cancelled_while_a_part_is_undone_goes_on_undoing_and_nothing_twice() -> None:
    world = (
        World(f"steps: [{work('z')}, {{name: r, steps: [{work('a')}, {work('b')}]}}, {{name: then, {JOB}}}]").succeed("z").succeed("r/a")
    )
    world.ask("r", "Cancel", compensate=True).wants(cancel=True)
    assert undo_to_the_end(world) == [["r/b"], ["r/a"], ["z"]]
    assert world.phase == "Cancelled"


# ------------------------------------------------------------------------------------------------------------------ children


@pytest.mark.parametrize(
    ("action", "is_undone"),
    [
        ("{name: c}", True),
        ("{name: c, undo: false}", False),
        ("{name: c, wait: false}", False),
        ("{name: c, wait: false, undo: true}", True),
    ],
)
def test_a_child_is_undone_with_its_caller_where_that_waits_for_it_or_says_so(action: str, is_undone: bool) -> None:
    world = World(f"steps: [{{name: a, workflow: {action}}}, {{name: f, {JOB}}}]").child("a", "Succeeded").fail("f")
    assert (world.phase == "Compensating") is is_undone
    if is_undone:
        assert [type(told) for told in world.told] == [UndoRun]
        world.child("a:compensate", "Compensated")
        assert (world.phase, world.phases()["a"]) == ("Failed", "Compensated")


def test_a_detached_child_that_still_goes_on_is_cancelled_and_undoes_itself() -> None:
    world = (
        World(f"steps: [{{name: a, workflow: {{name: c, wait: false, undo: true}}}}, {{name: f, {JOB}}}]").child("a", "Running").fail("f")
    )
    assert [(type(told), told.name) for told in world.told] == [(CancelRun, world.step("a").child)]
    world.child("a:compensate", "Cancelled")
    assert (world.phase, world.phases()["a"]) == ("Failed", "Compensated")


# --------------------------------------------------------------------------------------------------- the rules themselves


def spoilt(world: World, spoil: Any) -> list[str]:
    return list(violations(world.program, spoil(list(world.entries))))


def test_the_checker_of_these_tests_finds_what_it_is_for() -> None:
    """A checker that finds nothing proves nothing: each rule is broken once in a journal that was right."""
    world = World(SAGA).succeed("a").succeed("b").fail("f").succeed("b:compensate").succeed("a:compensate")
    assert spoilt(world, lambda entries: entries) == []
    where = {(entry.kind, entry.path): index for index, entry in reversed(list(enumerate(world.entries)))}

    def moved(entries: list[Any]) -> list[Any]:
        entry = entries.pop(where["AttemptStarted", "a:compensate"])
        return [*entries[: where["AttemptStarted", "b:compensate"]], entry, *entries[where["AttemptStarted", "b:compensate"] :]]

    assert any("before b" in words for words in spoilt(world, moved))
    assert any(
        "never done" in words for words in spoilt(world, lambda entries: [e for e in entries if (e.kind, e.path) != ("StepSucceeded", "a")])
    )
    assert any(
        "is not undone" in words
        for words in spoilt(world, lambda entries: [e for e in entries if e.path != "a:compensate" and e.kind != "StepCompensated"])
    )
