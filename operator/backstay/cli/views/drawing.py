"""A graph as text: Mermaid's flowchart, or Graphviz's DOT. Names and texts come from users and can only ever be labels.

The colours are those of Okabe and Ito (2008), which people with any kind of colour vision can tell apart; the glyph says the same.
"""

from collections.abc import Iterator
from typing import Final

from backstay.cli.views.glyphs import glyph
from backstay.cli.views.graph import Cluster, Edge, Flow, Graph, Shape, Vertex

COLOURS: Final[dict[str, str]] = {
    "Running": "#56b4e9",
    "Waiting": "#cfe8f7",
    "Retrying": "#f0e442",
    "Paused": "#ea9f66",
    "Stopping": "#f0e442",
    "Catching": "#e69f00",
    "Finishing": "#9fd8c8",
    "Caught": "#f3cf80",
    "Succeeded": "#7fceb9",
    "Failed": "#ea9f66",
    "Cancelled": "#cccccc",
    "Skipped": "#eeeeee",
    "Compensated": "#dfadc9",
}
"""What a vertex is filled with, by phase; dark text is readable on all of them."""


def mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart, which GitHub, GitLab and many editors draw."""
    lines = ["flowchart TD", *_mermaid_members(graph.body, "  ")]
    lines += [f"  {_mermaid_edge(edge)}" for edge in graph.edges]
    for phase, colour in COLOURS.items():
        members = ",".join(_with_phase(graph.body, phase))
        if members:
            lines += [f"  classDef {phase} fill:{colour},stroke:#333,color:#000", f"  class {members} {phase}"]
    return "\n".join(lines) + "\n"


def _mermaid_members(cluster: Cluster, indent: str) -> Iterator[str]:
    for member in cluster.members:
        if isinstance(member, Vertex):
            yield f"{indent}{member.id}{_mermaid_shape(member)}"
        else:
            yield f'{indent}subgraph {member.id}["{_mermaid_text(_titled(member))}"]'
            yield from _mermaid_members(member, indent + "  ")
            yield f"{indent}end"


_MERMAID_SHAPES: Final = {
    Shape.STEP: ("[", "]"),
    Shape.START: ("((", "))"),
    Shape.END: ("((", "))"),
    Shape.FORK: ("((", "))"),
    Shape.DECISION: ("{", "}"),
    Shape.STOP: ("([", "])"),
    Shape.UNDO: ("[/", "/]"),
    Shape.CALL: ("[[", "]]"),
}


def _mermaid_shape(vertex: Vertex) -> str:
    before, after = _MERMAID_SHAPES[vertex.shape]
    label = "<br/>".join(map(_mermaid_text, _labelled(vertex)))
    return f'{before}"{label or " "}"{after}'


_MERMAID_ARROWS: Final = {Flow.NEXT: "-->", Flow.CATCH: "-.->", Flow.UNDO: "-.-"}


def _mermaid_edge(edge: Edge) -> str:
    label = f'|"{_mermaid_text(edge.label)}"|' if edge.label else ""
    return f"{edge.source} {_MERMAID_ARROWS[edge.flow]}{label} {edge.target}"


def _mermaid_text(text: str) -> str:
    """Write all that means something to Mermaid, to HTML or to Markdown as an entity code, which Mermaid spells `#35;`."""
    return "".join(character if character.isalnum() or character in _HARMLESS else f"#{ord(character)};" for character in text)


_HARMLESS: Final = frozenset(" .,:-/+=()'!?…·✔✖▶◷↺◼⚑⟲↷⊘○")


# --------------------------------------------------------------------------------------------------------------------- DOT


def dot(graph: Graph) -> str:
    """Return the graph in DOT, which Graphviz draws: `backstay graph order -o dot | dot -Tsvg`."""
    lines = ["digraph workflow {", "  compound=true", '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif"]']
    lines += ['  edge [fontname="sans-serif", fontsize=10]', *_dot_members(graph.body, "  ")]
    clusters = {cluster.id: cluster for cluster in _clusters(graph.body)}
    lines += [f"  {_dot_edge(edge, clusters)}" for edge in graph.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_members(cluster: Cluster, indent: str) -> Iterator[str]:
    for member in cluster.members:
        if isinstance(member, Vertex):
            yield f"{indent}{member.id} [{_dot_attributes(member)}]"
        else:
            fill = f', style=filled, fillcolor="{COLOURS[member.phase]}40"' if member.phase in COLOURS else ""
            yield f"{indent}subgraph cluster_{member.id} {{"
            yield f'{indent}  graph [label={_dot_text(_titled(member))}, fontname="sans-serif"{fill}]'
            yield from _dot_members(member, indent + "  ")
            yield f"{indent}}}"


_DOT_SHAPES: Final = {
    Shape.STEP: "",
    Shape.START: "shape=circle",
    Shape.END: "shape=doublecircle",
    Shape.FORK: "shape=point, width=0.12",
    Shape.DECISION: "shape=diamond",
    Shape.STOP: "shape=octagon",
    Shape.UNDO: 'style="rounded,filled,dashed"',
    Shape.CALL: "peripheries=2",
}


def _dot_attributes(vertex: Vertex) -> str:
    fill = f'fillcolor="{COLOURS[vertex.phase]}"' if vertex.phase in COLOURS else ""
    label = f"label={_dot_text(*_labelled(vertex))}"
    return ", ".join(part for part in (label, _DOT_SHAPES[vertex.shape], fill) if part)


def _dot_edge(edge: Edge, clusters: dict[str, Cluster]) -> str:
    attributes = [f"label={_dot_text(edge.label)}"] if edge.label else []
    if edge.flow is not Flow.NEXT:
        attributes.append("style=dashed" if edge.flow is Flow.UNDO else "style=dotted")
    if edge.flow is Flow.UNDO:
        attributes.append("arrowhead=none")
    source = edge.source
    if source in clusters:
        attributes.append(f"ltail=cluster_{source}")
        source = _some_vertex(clusters[source])
    return f"{source} -> {edge.target}" + (f" [{', '.join(attributes)}]" if attributes else "")


def _dot_text(*lines: str) -> str:
    return '"' + "\\n".join(item.replace("\\", "\\\\").replace('"', '\\"') for item in lines) + '"'


# ------------------------------------------------------------------------------------------------------------------ shared


def _labelled(vertex: Vertex) -> tuple[str, ...]:
    first, *rest = vertex.lines or ("",)
    return (f"{glyph(vertex.phase)} {first}" if vertex.phase else first, *rest)


def _titled(cluster: Cluster) -> str:
    return f"{glyph(cluster.phase)} {cluster.title}" if cluster.phase else cluster.title


def _clusters(cluster: Cluster) -> Iterator[Cluster]:
    yield cluster
    for member in cluster.members:
        if isinstance(member, Cluster):
            yield from _clusters(member)


def _some_vertex(cluster: Cluster) -> str:
    """DOT's edges go between vertices: one inside a cluster stands for it."""
    for member in cluster.members:
        return member.id if isinstance(member, Vertex) else _some_vertex(member)
    raise AssertionError(f"cluster {cluster.id} is empty")


def _with_phase(cluster: Cluster, phase: str) -> Iterator[str]:
    for member in cluster.members:
        if member.phase == phase:
            yield member.id
        if isinstance(member, Cluster):
            yield from _with_phase(member, phase)
