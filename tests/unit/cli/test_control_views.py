"""How laps, races, late branches and cancelled steps look on the command line."""

from backstay.cli.views.drawing import mermaid
from backstay.cli.views.graph import graph
from backstay.cli.views.seen import Run, read_run
from backstay.cli.views.story import read_story, story
from backstay.cli.views.tree import tree
from backstay.cli.views.why import Evidence, why
from tests.support.world import World

JOB = "job: {image: busybox}"
CYCLE = f"""
steps:
- {{name: setup, set: {{n: 0}}}}
- {{name: draft, {JOB}}}
- {{name: again, if: "${{ !steps.draft.outputs.good }}", goto: {{step: draft}}}}
- {{name: publish, {JOB}}}
"""
RACE = """
steps:
- {name: begin, set: {paid: false}}
- name: r
  race:
  - {name: paid, wait: {condition: "${ vars.paid }"}, steps: [{name: thank, set: {x: 1}}]}
  - {wait: {duration: 48h}}
"""
LATE = f"""
steps:
- name: p
  parallel: {{join: Any, cancelRest: false, branches: [{{name: x, steps: [{{name: s, {JOB}}}]}}, {{name: y, steps: [{{name: s, {JOB}}}]}}]}}
- {{name: after, {JOB}}}
"""


def seen(world: World) -> Run:
    return read_run({"metadata": {"name": "r"}, "spec": {"workflow": {"name": "w"}}, "status": world.status}, world.program)


def shown(world: World) -> list[str]:
    return [" ".join(line.text.split()) for line in tree(seen(world), world.now)][1:]


def drawn(text: str) -> str:
    world = World(text)
    return mermaid(graph(world.program.spec, "w", world.state.steps))


def edges(text: str) -> set[tuple[str, str]]:
    """The edges of a drawing, by the first word in each vertex."""
    lines = drawn(text).splitlines()
    first = {line.split("[")[0].split("{")[0].split("(")[0].strip(): line for line in lines if '"' in line and "-->" not in line}
    word = {key: line.split('"')[1].split("<")[0].split()[-1:] or [key] for key, line in first.items()}
    arrows = (line.split() for line in lines if "-->" in line)
    return {(word[parts[0]][0], word[parts[-1]][0]) for parts in arrows}


def test_a_tree_shows_laps_in_their_order_and_what_is_still_to_come_last() -> None:
    world = World(CYCLE).succeed("draft", {"good": False})
    assert shown(world) == [
        "✔ setup Succeeded 0.0s",
        "✔ draft Succeeded 0.0s",
        "✔ again Succeeded 0.0s on to draft",
        "▶ draft~2 Running 0.0s",
        "○ publish not begun",
    ]
    world.succeed("draft~2", {"good": True})
    assert [line.split()[1] for line in shown(world)] == ["setup", "draft", "again", "draft~2", "again~2", "publish~2"]


def test_a_graph_leads_back_where_a_goto_does() -> None:
    assert {("draft", "again"), ("again", "draft"), ("again", "publish")} <= edges(CYCLE)


def test_a_graph_shows_the_latest_visit_of_a_step() -> None:
    world = World(CYCLE).succeed("draft", {"good": False})
    assert "▶ draft<br/>busybox" in mermaid(graph(world.program.spec, "w", world.state.steps))


def test_a_graph_shows_each_event_of_a_race_and_what_follows_it() -> None:
    assert {("first", "paid"), ("paid", "thank"), ("thank", "end")} <= edges(RACE)


def test_a_graph_says_how_a_step_of_a_dag_must_end() -> None:
    text = drawn(f"dag: {{steps: [{{name: a, {JOB}}}, {{name: b, dependsOn: [{{step: a, outcome: Failed}}], {JOB}}}]}}")
    assert '-->|"Failed"|' in text


def test_a_race_shows_what_it_waits_for_and_who_won() -> None:
    world = World(RACE)
    assert "├─ ◷ paid Waiting 0.0s waits until ${ vars.paid } holds" in shown(world)
    assert why(seen(world), Evidence(), world.now).sentence.startswith("step r/paid waits until ${ vars.paid } holds")
    world.pass_time("48h")
    assert [line for line in shown(world) if " r " in line or "paid" in line] == ["✔ r Succeeded (1) 2d", "├─ ⊘ paid Cancelled 2d"]


def test_a_condition_that_expires_says_when() -> None:
    world = World('steps: [{name: s, set: {x: 1}}, {name: w, wait: {condition: "${ vars.x > 1 }"}, timeout: 1h}]')
    assert why(seen(world), Evidence(), world.now).sentence == "step w waits until ${ vars.x > 1 } holds; it expires in 1h"


def test_a_join_whose_rest_goes_on_says_so_and_late_branches_are_told() -> None:
    world = World(LATE).succeed("p/y/s")
    assert shown(world)[0] == "▶ p Running (y) 0.0s the join is met; 1 branch goes on"
    world.fail("p/x/s")
    told = [line.text for line in story(read_story(seen(world)))]
    assert any("p hears of a branch that came late: branch x failed (ExitCode: ExitCode happened)" in line for line in told)
