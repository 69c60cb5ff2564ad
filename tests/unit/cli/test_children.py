"""What the command line shows of child runs: their steps below the step that runs them, and why they wait."""

from dataclasses import replace

from backstay.api.validate import parse_workflow
from backstay.cli.views.control import compensate
from backstay.cli.views.drawing import mermaid
from backstay.cli.views.graph import graph
from backstay.cli.views.seen import Run
from backstay.cli.views.tree import tree, tree_data
from backstay.cli.views.why import Cause, Evidence, why
from backstay.engine.model import Fault
from tests.support.world import World
from tests.unit.cli.runs import run_of, soon, texts

CALLER = """
steps:
- {name: reserve, job: {image: i}, compensate: {job: {image: i}}}
- {name: fulfil, workflow: {name: ship}}
- {name: thank, job: {image: i}}
"""
CHILD = "steps: [{name: pick, job: {image: i}, compensate: {job: {image: i}}}, {name: send, job: {image: i}}]"


def family(caller: World, child: World) -> Run:
    run = run_of(caller)
    name = caller.born[0].name
    below = run_of(child)
    manifest = {**below.manifest, "metadata": {**below.manifest["metadata"], "name": name}}
    return replace(run, children={name: replace(below, manifest=manifest)})


def test_the_steps_of_a_child_run_stand_below_the_step_that_runs_it() -> None:
    caller = World(CALLER).succeed("reserve").child("fulfil", "Running")
    name = caller.born[0].name
    shown = texts(tree(family(caller, World(CHILD).succeed("pick")), soon(caller)))
    assert [line.strip().split("  ")[0] for line in shown[1:]] == ["✔ reserve", "▶ fulfil", "├─ ✔ pick", "└─ ▶ send", "○ thank"]
    assert f"run {name}" in shown[2]


def test_what_is_undone_of_a_child_run_stands_below_what_undoes_it() -> None:
    caller = World(CALLER).succeed("reserve").child("fulfil", "Succeeded").fail("thank").child("fulfil", "Compensating")
    child = World(CHILD).succeed("pick").succeed("send").wants(undo=True, undo_reason="x")
    shown = texts(tree(family(caller, child), soon(caller)))
    assert [line.split("  ")[0] for line in shown[shown.index("undoing, the last step done first") + 1 :]] == ["▶ fulfil", "", "○ reserve"]
    assert "⟲ ▶ pick" in shown[-2]


def test_a_program_gets_the_child_runs_as_trees_of_their_own() -> None:
    caller = World(CALLER).succeed("reserve").child("fulfil", "Running")
    data = tree_data(family(caller, World(CHILD)))
    fulfil = next(step for step in data["steps"] if step["path"] == "fulfil")
    assert (fulfil["run"]["name"], fulfil["run"]["steps"][0]["path"]) == (caller.born[0].name, "pick")


def test_a_run_waits_for_what_its_child_run_waits_for() -> None:
    caller, child = World(CALLER).succeed("reserve").child("fulfil", "Running"), World("steps: [{name: rest, wait: {duration: 1h}}]")
    name = caller.born[0].name
    below = why(run_of(child), Evidence(), soon(child, 60))
    answer = why(run_of(caller), Evidence(children={name: below}), soon(caller, 60))
    assert (answer.cause, answer.until, answer.step) == (Cause.TIMER, below.until, "fulfil")
    assert answer.sentence.startswith(f"step fulfil waits for run {name}: step rest waits for time to pass")


def test_a_child_run_that_may_not_be_read_is_named() -> None:
    caller = World(CALLER).succeed("reserve").child("fulfil", "Running")
    answer = why(run_of(caller), Evidence(), soon(caller, 60))
    assert answer.sentence == f"step fulfil waits for 1m for run {caller.born[0].name}"
    assert answer.mend == f"backstay why {caller.born[0].name} -n shop"


def test_after_a_failure_one_is_led_to_the_child_run() -> None:
    caller = (
        World(CALLER)
        .succeed("reserve")
        .child("fulfil", "Failed", error=Fault("Sunk", detail="no ship", step="send"))
        .succeed("reserve:compensate")
    )
    answer = why(run_of(caller), Evidence(), soon(caller))
    assert answer.mend == f"`backstay why {caller.born[0].name} -n shop` tells how the child run ended"


def test_a_picture_shows_calls_as_what_has_a_picture_of_its_own() -> None:
    text = mermaid(graph(parse_workflow({"steps": [{"name": "a", "workflow": {"name": "ship", "template": "box"}}]}), "order"))
    assert '[["a<br/>run ship/box"]]' in text


def test_undoing_says_what_is_undone_and_refuses_what_cannot_be() -> None:
    world = World(CHILD).succeed("pick").succeed("send")
    step = compensate(run_of(world), "sent back")
    assert step.patch == {"compensate": {"reason": "sent back"}}
    assert step.words.startswith("order-7f2 is undone: pick is undone")
    going = compensate(run_of(World(CHILD).succeed("pick")), "x")
    assert going.words.startswith("order-7f2 is cancelled, to be undone: send is stopped; then pick is undone")
    failed = compensate(run_of(World("steps: [{name: a, fail: {error: NoCar}}]")), "x")
    assert failed.refusal == "order-7f2 has failed: there is nothing more to undo"


def test_a_run_that_was_undone_on_request_waits_for_nothing() -> None:
    world = World(CHILD).succeed("pick").succeed("send").wants(undo=True, undo_reason="sent back")
    going = why(run_of(world), Evidence(), soon(world))
    assert going.sentence.startswith("the run had succeeded, is not wanted any more (sent back) and is being undone: undoing pick")
    answer = why(run_of(world.succeed("pick:compensate")), Evidence(), soon(world))
    assert answer.sentence == "it waits for nothing: it had succeeded, and was undone at 2026-11-23T09:00:00Z (sent back)"
