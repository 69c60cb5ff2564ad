"""Random workflows in a random world: they always end, nothing is done twice, and what was done is undone in reverse.

The world checks at every moment that the state is the fold of its journal, that what was written reads back, that deciding twice
changes nothing, and that no Job is made twice.
"""

import copy
import os
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.engine.model import ENDED, Fault, Hold, JobState, Phase
from tests.support.random_workflows import workflow
from tests.support.saga_rules import check_saga
from tests.support.world import World


class NoAliases(yaml.SafeDumper):
    """Steps that are the same object twice are written twice."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


JOB = {"image": "i"}
ERRORS = ["ExitCode", "Timeout", "CardDeclined"]


def named(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": f"s{index}", **step} for index, step in enumerate(steps)]


events = st.builds(
    lambda event, how: {**event, **how},
    st.sampled_from(
        [
            {"wait": {"duration": "5s"}},
            {"wait": {"duration": "15s"}},
            {"wait": {"condition": "${ has(vars.v) }"}},
            {"wait": {"condition": "${ vars.v > 0 }"}},
            {"escalation": "LATE"},
            {"escalation": "*"},
        ]
    ),
    st.sampled_from([{}, {"interrupting": False}, {"interrupting": False}]),
)


def modifiers(step: st.SearchStrategy[dict[str, Any]], inner: st.SearchStrategy[list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    catch = st.builds(
        lambda errors, steps, more, again: {"catch": [{"errors": errors, "steps": [*steps, *again], **more}]},
        st.sampled_from([["*"], ["Transient"], ["CardDeclined"]]),
        inner,
        st.sampled_from([{}, {}, {"when": "${ error.attempt < 2 }"}, {"when": "${ vars.v > 0 }"}, {"outputs": {"n": "${ error.type }"}}]),
        st.sampled_from([[], [], [{"name": "again", "fail": {"rethrow": True}}]]),
    )
    boundary = st.lists(st.builds(lambda event, steps: {**event, "steps": steps}, events, inner), min_size=1, max_size=2)
    edges = boundary.map(lambda found: {"boundary": found})
    extras = st.sampled_from([{}, {}, {}, {"timeout": "30s"}, {"if": "${ false }"}, {"compensate": {"job": JOB}}])
    none = st.just({})
    return st.builds(lambda a, b, c, d: {**a, **b, **c, **d}, step, extras, st.one_of(none, none, catch), st.one_of(none, none, edges))


jobs = st.builds(
    lambda retry, undo, limit: {"job": JOB, **retry, **undo, **limit},
    st.sampled_from([{}, {"retry": {"maxAttempts": 2, "interval": "1s", "errors": ["*"]}}]),
    st.sampled_from(
        [{}, {"compensate": {"job": JOB}}, {"compensate": {"steps": [{"name": "u", "job": JOB}], "retry": {"maxAttempts": 2}}}]
    ),
    st.sampled_from([{}, {"attemptTimeout": "20s"}]),
)
leaves = st.one_of(
    jobs,
    jobs,
    st.just({"set": {"v": 1}}),
    st.just({"wait": {"duration": "10s"}}),
    st.just({"fail": {"error": "CardDeclined"}}),
    st.just({"escalate": {"code": "LATE"}}),
    st.just({"end": {"result": "Succeeded"}}),
    st.just({"wait": {"condition": "${ has(vars.v) }"}, "timeout": "25s"}),
    st.builds(
        lambda step, condition: {"goto": {"step": step, "maxVisits": 2}, **condition},
        st.sampled_from(["s0", "s1", "s2"]),
        st.sampled_from([{}, {"if": "${ !has(vars.v) }"}]),
    ),
    st.builds(lambda step: {"cancel": {"step": step}}, st.sampled_from(["s0", "s1", "s2"])),
)
outcomes = st.sampled_from(["Succeeded", "Succeeded", "Failed", "Skipped", "Done"])


def structures(inner: st.SearchStrategy[list[dict[str, Any]]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    branches = st.lists(inner, min_size=1, max_size=3).map(
        lambda lists: [{"name": f"b{i}", "steps": steps} for i, steps in enumerate(lists)]
    )
    parallel = st.builds(
        lambda b, join, rest: {"parallel": {"branches": b, "join": join, "cancelRest": rest}},
        branches,
        st.sampled_from(["All", "Any", "50%"]),
        st.booleans(),
    )
    switch = st.builds(
        lambda which, also, mode, a, b, c: {
            "switch": {
                "mode": mode,
                "cases": [{"when": f"${{ {which} }}", "steps": a}, {"when": f"${{ {also} }}", "steps": b}],
                "default": c,
            }
        },
        st.sampled_from(["true", "false"]),
        st.sampled_from(["true", "false"]),
        st.sampled_from(["First", "Every"]),
        inner,
        inner,
        inner,
    )
    dag = st.builds(
        lambda steps, outcome, fast: {
            "dag": {
                "failFast": fast,
                "steps": [
                    {**step, **({"dependsOn": [{"step": f"s{i - 1}", "outcome": outcome}]} if i else {})} for i, step in enumerate(steps)
                ],
            }
        },
        inner,
        outcomes,
        st.booleans(),
    )
    race = st.builds(
        lambda limit, a, b: {
            "race": [{"wait": {"duration": limit}, "steps": a}, {"name": "set", "wait": {"condition": "${ has(vars.v) }"}, "steps": b}]
        },
        st.sampled_from(["5s", "20s"]),
        inner,
        inner,
    )
    step = st.one_of(leaves, inner.map(lambda steps: {"steps": steps}), parallel, switch, dag, race)
    return st.lists(modifiers(step, inner), min_size=1, max_size=3).map(named)


def with_targets(steps: list[dict[str, Any]], around: tuple[list[str], ...] = (), *, is_dag: bool = False) -> list[dict[str, Any]]:
    """Let `goto` and `cancel` name steps that are there: others become a `set`. Returns the steps."""
    names = [step["name"] for step in steps]
    reached = () if is_dag else (names, *around)
    for step in steps:
        for kind, known in (("goto", reached), ("cancel", (names, *around))):
            if kind in step and (step[kind]["step"] == step["name"] or not any(step[kind]["step"] in found for found in known)):
                del step[kind]
                step["set"] = {"w": 1}
        for inside, dag in inner_lists(step):
            with_targets(inside, reached, is_dag=dag)
        for event in step.get("boundary", ()):
            with_targets(event["steps"], reached if event.get("interrupting", True) else ())
    return steps


def inner_lists(step: dict[str, Any]) -> Iterator[tuple[list[dict[str, Any]], bool]]:
    yield step.get("steps", []), False
    yield step.get("dag", {}).get("steps", []), True
    for branch in (*step.get("parallel", {}).get("branches", ()), *step.get("race", ()), *step.get("switch", {}).get("cases", ())):
        yield branch["steps"], False
    yield step.get("switch", {}).get("default", []), False
    for catch in step.get("catch", ()):
        yield catch["steps"], False


bodies = st.recursive(st.lists(leaves, min_size=1, max_size=3).map(named), structures, max_leaves=8)
moves = st.sampled_from(
    [
        *("succeed", "succeed", "succeed", "fail", "decline", "delete-job", "late"),
        *("time", "suspend", "resume", "cancel", "delete"),
        *("hold", "free", "evict", "replace", "rob"),
    ]
)


@settings(max_examples=int(os.environ.get("BACKSTAY_EXAMPLES", "300")), deadline=None)
@given(bodies, st.lists(st.tuples(moves, st.integers(0, 100)), max_size=40))
def test_any_workflow_ends_and_undoes_what_it_did(steps: list[dict[str, Any]], script: list[tuple[str, int]]) -> None:
    world = World(yaml.dump({"compensationTimeout": "1h", "steps": with_targets(copy.deepcopy(steps))}, Dumper=NoAliases))
    for move, pick in script:
        play(world, move, pick)
    finish(world)
    check_end(world)


@settings(max_examples=int(os.environ.get("BACKSTAY_EXAMPLES", "150")) // 2, deadline=None)
@given(st.binary(min_size=96, max_size=96), st.lists(st.tuples(moves, st.integers(0, 100)), max_size=30))
def test_any_workflow_of_all_structures_ends_and_undoes_what_it_did(seed: bytes, script: list[tuple[str, int]]) -> None:
    """The workflows that are held against the reference (iterations among them), here with all that can happen around them."""
    spec, _, _ = workflow(seed)
    world = World(yaml.dump({**spec, "compensationTimeout": "1h"}, Dumper=NoAliases))
    for move, pick in script:
        play(world, move, pick)
    finish(world)
    check_end(world)


def play(world: World, move: str, pick: int) -> None:
    running = world.running
    path = running[pick % len(running)] if running else ""
    world.stops_at_once = move != "late"
    match move:
        case "succeed" | "late" if running:
            world.succeed(path, {"n": pick})
        case "fail" if running:
            world.end(path, JobState.FAILED, None, Fault("ExitCode"))
        case "decline" if running:
            world.fail(path, output='{"error": {"type": "CardDeclined"}}')
        case "hold" | "free":
            world.obstruct(Hold("Quota", "Waiting for quota", f"exceeded quota: {pick}") if move == "hold" else None)
        case "evict" if running:
            lost = Fault("Evicted", "", "drained")
            world.sees(path, started=False, stuck=Hold("Evicted", "Waiting for another pod", "drained"), lost=lost, lost_pod=f"pod-{pick}")
        case "replace" if running:
            world.sees(path, started=True, stuck=None)
        case "rob" if running:
            world.end(path, JobState.FAILED, None, Fault("PodDeleted"))
        case "delete-job" if running:
            world.lose_job(path)
        case "time":
            world.pass_time("15s")
        case "suspend":
            world.wants(suspend=True)
        case "resume":
            world.wants(suspend=False)
        case "cancel":
            world.wants(cancel=True)
        case "delete":
            world.wants(delete=True)


def finish(world: World) -> None:
    """From now on everything goes well."""
    world.stops_at_once = True
    world.wants(suspend=False)
    world.obstruct(None)
    for _ in range(1000):
        if world.state.run.is_finished:
            return
        if world.running:
            world.succeed(world.running[0])
        else:
            world.pass_time("1m")
            for name, fact in list(world.jobs.items()):
                if fact.deleting:
                    del world.jobs[name]
                    world.vanished.add(name)


def check_end(world: World) -> None:
    """All is over, nothing is left behind, and what was done is undone."""
    assert world.state.run.is_finished
    assert world.running == []
    assert not world.finalizer
    let_go = "CompensationAbandoned" in world.story
    assert all(record.phase in ENDED or (let_go and ":compensate" in record.path) for record in world.state.steps.values())
    check_undoing(world)


def check_undoing(world: World) -> None:
    """Every completed step that says how is undone exactly once, after the steps that came after it."""
    state = world.state
    check_saga(world.program, world.entries)
    if state.run.compensate and state.run.phase is not Phase.SUCCEEDED and "CompensationAbandoned" not in world.story:
        from backstay.engine.compensation import to_undo

        assert to_undo(world.program, state) == []
