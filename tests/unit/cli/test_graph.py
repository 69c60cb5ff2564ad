"""`backstay graph`: the whole structure of a workflow, and nothing that a user wrote can be more than a label."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from backstay.api.validate import parse_workflow
from backstay.cli.views.drawing import COLOURS, dot, mermaid
from backstay.cli.views.graph import Cluster, Flow, Graph, Vertex, graph
from tests.support.world import World

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*.yaml") if "kind: Workflow\n" in path.read_text())


def drawn(text: str, name: str = "order") -> Graph:
    return graph(parse_workflow(yaml.safe_load(text)), name)


def vertices(cluster: Cluster) -> Iterator[Vertex]:
    for member in cluster.members:
        if isinstance(member, Vertex):
            yield member
        else:
            yield from vertices(member)


def clusters(cluster: Cluster) -> dict[str, str]:
    found = {cluster.id: cluster.title}
    for member in cluster.members:
        if isinstance(member, Cluster):
            found |= clusters(member)
    return found


def edges(found: Graph, *flows: Flow) -> set[tuple[str, str, str]]:
    """Edges as (from, to, label), by the first line of a vertex or the title of a cluster; points between steps are followed through."""
    names = {vertex.id: vertex.lines[0] if vertex.lines else "" for vertex in vertices(found.body)} | clusters(found.body)
    return {(names[edge.source], names[edge.target], edge.label) for edge in found.edges if edge.flow in (flows or (Flow.NEXT,))}


def test_steps_in_order_follow_each_other() -> None:
    found = drawn("steps: [{name: a, set: {x: 1}}, {name: b, set: {x: 1}}, {name: c, set: {x: 1}}]")
    assert edges(found) == {("start", "a", ""), ("a", "b", ""), ("b", "c", ""), ("c", "end", "")}


def test_a_dag_has_the_edges_of_its_dependencies() -> None:
    found = drawn(
        """
dag:
  steps:
  - {name: fetch, set: {x: 1}}
  - {name: test, dependsOn: [fetch], set: {x: 1}}
  - {name: scan, dependsOn: [fetch], set: {x: 1}}
  - {name: push, dependsOn: [test, scan], set: {x: 1}}
"""
    )
    assert edges(found) == {
        ("start", "fetch", ""),
        ("fetch", "test", ""),
        ("fetch", "scan", ""),
        ("test", "push", ""),
        ("scan", "push", ""),
        ("push", "end", ""),
    }


def test_branches_leave_one_point_and_meet_in_another() -> None:
    found = drawn(
        """
steps:
- name: p
  parallel:
    branches:
    - {name: left, steps: [{name: a, set: {x: 1}}, {name: b, set: {x: 1}}]}
    - {name: right, steps: [{name: c, set: {x: 1}}]}
- {name: after, set: {x: 1}}
"""
    )
    assert edges(found) == {
        ("start", "", ""),
        ("", "a", "left"),
        ("a", "b", ""),
        ("b", "", ""),
        ("", "c", "right"),
        ("c", "", ""),
        ("", "after", ""),
        ("after", "end", ""),
    }


def test_a_switch_leads_to_its_cases_and_past_them_where_it_has_no_default() -> None:
    found = drawn(
        """
steps:
- name: s
  switch:
    cases:
    - {name: large, when: "${ params.amount > 10 }", steps: [{name: a, set: {x: 1}}]}
    - {when: "${ params.amount > 5 }", steps: [{name: b, fail: {error: Odd}}]}
- {name: after, set: {x: 1}}
"""
    )
    assert edges(found) == {
        ("start", "?", ""),
        ("?", "a", "large: params.amount > 10"),
        ("?", "b", "params.amount > 5"),
        ("?", "after", "otherwise"),
        ("a", "after", ""),
        ("after", "end", ""),
    }


def test_a_handler_is_entered_by_the_error_and_leads_on_like_the_step() -> None:
    found = drawn(
        """
steps:
- {name: a, job: {image: x}, catch: [{errors: [Timeout, Odd], steps: [{name: h, set: {x: 1}}]}]}
- {name: b, set: {x: 1}}
"""
    )
    assert edges(found, Flow.CATCH) == {("a", "h", "Timeout, Odd")}
    assert edges(found) == {("start", "a", ""), ("a", "b", ""), ("h", "b", ""), ("b", "end", "")}


def test_a_compensation_hangs_on_its_step_and_leads_nowhere() -> None:
    found = drawn(
        """
steps:
- {name: a, job: {image: x}, compensate: {job: {image: y}}}
- {name: b, steps: [{name: inner, set: {x: 1}}], compensate: {steps: [{name: u, set: {x: 1}}, {name: v, set: {x: 1}}]}}
"""
    )
    assert edges(found, Flow.UNDO) == {("a", "undo a", "undo"), ("b · steps", "u", "undo")}
    assert edges(found) == {("start", "a", ""), ("a", "inner", ""), ("u", "v", ""), ("inner", "end", "")}


def test_the_handler_of_the_workflow_is_entered_from_its_whole_body() -> None:
    found = drawn("steps: [{name: a, job: {image: x}}]\ncatch: [{errors: ['*'], steps: [{name: tell, set: {x: 1}}]}]")
    assert edges(found, Flow.CATCH) == {("body", "tell", "*")}


def test_end_and_fail_lead_nowhere() -> None:
    found = drawn("steps: [{name: a, if: '${ true }', end: {result: Failed}}]")
    assert edges(found) == {("start", "a", "")}


def test_many_exits_to_many_entries_go_through_a_point() -> None:
    names = range(30)
    ones = ", ".join(f"{{name: a{n}, set: {{x: 1}}}}" for n in names)
    twos = ", ".join(f"{{name: b{n}, set: {{x: 1}}}}" for n in names)
    found = drawn(f"steps: [{{name: one, dag: {{steps: [{ones}]}}}}, {{name: two, dag: {{steps: [{twos}]}}}}]")
    assert len(found.edges) == 4 * 30


# --------------------------------------------------------------------------------------------------------------- as text

HOSTILE = """
parameters: [{name: x, schema: {}, default: 1}]
steps:
- {name: end, if: "${ params.x == '\\"]; click n1 href' }", job: {image: "a\\"]\\n  click n1 call alert()\\n<script>`**b**`#quot;;%%{init"}}
- {name: graph, job: {image: "\\\\N \\\\\\" -> evil [label=x]"}}
- {name: subgraph, fail: {error: A.b-c_d}, catch: [{errors: ["*"], steps: [{name: class, wait: {duration: "1s"}}]}]}
"""

MERMAID_LINE = re.compile(
    r"""flowchart\ TD|end
    |subgraph\ c\d+\["[^"<>`|]*"\]
    |n\d+(\[|\(\(|\{|\(\[|\[/|\[\[)"[^"<>`|]*(<br/>[^"<>`|]*)*"(\]|\)\)|\}|\]\)|/\]|\]\])
    |[nc]\d+\ (-->|-\.->|-\.-)(\|"[^"<>`|]*"\|)?\ [nc]\d+
    |classDef\ [A-Z][a-z]+\ fill:\#[0-9a-f]{6},stroke:\#333,color:\#000
    |class\ [nc]\d+(,[nc]\d+)*\ [A-Z][a-z]+""",
    re.VERBOSE,
)
DOT_STRING = r'"(?:[^"\\]|\\.)*"'
DOT_VALUE = rf"(?:{DOT_STRING}|[a-z0-9_.]+)"
DOT_LINE = re.compile(
    rf"digraph\ workflow\ \{{|\}}|compound=true|(?:node|edge|graph|n\d+)\ \[\w+={DOT_VALUE}(?:,\ \w+={DOT_VALUE})*\]"
    rf"|subgraph\ cluster_c\d+\ \{{|n\d+\ ->\ n\d+(?:\ \[\w+={DOT_VALUE}(?:,\ \w+={DOT_VALUE})*\])?"
)


@pytest.mark.parametrize("text", [HOSTILE, *(path.read_text() for path in EXAMPLES)], ids=["hostile", *map(str, EXAMPLES)])
def test_every_line_is_one_of_the_language_whatever_users_wrote(text: str) -> None:
    specs = [document.get("spec", document) for document in yaml.safe_load_all(text) if document]
    for spec in specs:
        if not {"steps", "dag"} & spec.keys():
            continue
        found = graph(parse_workflow(spec), "order")
        for line in mermaid(found).splitlines():
            assert MERMAID_LINE.fullmatch(line.strip()), line
        for line in dot(found).splitlines():
            assert DOT_LINE.fullmatch(line.strip()), line


def test_hostile_text_is_still_readable_as_a_label() -> None:
    text = dot(drawn(HOSTILE))
    assert '\\"] click n1 call alert() <script>' in text
    assert "#60;script#62;" in mermaid(drawn(HOSTILE))


def test_the_state_of_a_run_is_coloured_in_and_told_by_a_glyph() -> None:
    workflow = """
steps:
- {name: a, job: {image: x}, compensate: {job: {image: y}}}
- {name: p, parallel: {branches: [{name: l, steps: [{name: b, job: {image: x}}]}]}}
- {name: c, job: {image: x}}
"""
    world = World(workflow).succeed("a").fail("p/l/b", "Permanent")
    found = graph(world.program.spec, "order", world.state.steps)
    phases = {vertex.lines[0]: vertex.phase for vertex in vertices(found.body) if vertex.lines}
    assert (phases["a"], phases["undo a"], phases["b"], phases["c"]) == ("Succeeded", "Running", "Failed", "")
    text = mermaid(found)
    assert '["✔ a<br/>x"]' in text and '["✖ b<br/>x"]' in text and '["c<br/>x"]' in text
    assert f"classDef Failed fill:{COLOURS['Failed']}" in text
    assert f'fillcolor="{COLOURS["Running"]}"' in dot(found)
