"""backstay graph: the structure of a workflow, with the state of a run coloured in."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstay.cli.failures import CommandFailed, Exit, Usage
from backstay.cli.options import Place
from backstay.errors import NotFound

if TYPE_CHECKING:
    from backstay.cli.views.graph import Graph


class Language(StrEnum):
    """What the graph is written in."""

    MERMAID = "mermaid"
    DOT = "dot"


async def graph(
    place: Place,
    name: Annotated[
        str | None, typer.Argument(metavar="[WORKFLOW|RUN]", help="A Workflow or a run; wfrun/NAME where both have the name.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="Draw the Workflow in a file; - is standard input.")
    ] = None,
    output: Annotated[
        Language, typer.Option("--output", "-o", help="mermaid for GitHub and editors, dot for Graphviz.")
    ] = Language.MERMAID,
) -> None:
    """Draw a workflow, or the state of a run, as Mermaid or DOT.

    The graph has the whole structure: order, branches, cases, what handles errors (dotted), and what undoes steps (dashed).
    Of a run the state of each step is coloured in, and a glyph says the same.

    \b
    Examples:
      backstay graph order
      backstay graph order-7f2 -o dot | dot -Tsvg > order.svg
      backstay graph -f order.yaml
    """
    from backstay.cli.views.drawing import dot, mermaid

    if (name is None) == (file is None):
        raise Usage("name a Workflow or a run, or a file with -f", "one of them, as in `backstay graph order`")
    drawn = _of_file(file) if file is not None else await _of_cluster(place, str(name))
    typer.echo(mermaid(drawn) if output is Language.MERMAID else dot(drawn), nl=False)


def _of_file(file: str) -> "Graph":
    from backstay.cli.yaml_reading import BadYaml, read_documents

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
        documents = [document.value for document in read_documents(text)]
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except BadYaml as error:
        raise Usage(f"{file}:{error.line}: {error.message}") from None
    for document in documents:
        found = _definition(document)
        if found is not None:
            return _draw(*found, {})
    raise Usage(f"{file} holds no Workflow, and no WorkflowRun with a definition of its own", "name the file of a Workflow")


def _definition(manifest: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the name and spec of the definition in a manifest, if there is one."""
    spec = manifest.get("spec") if isinstance(manifest, dict) else None
    if not isinstance(spec, dict):
        return None
    metadata = manifest.get("metadata")
    name = str(metadata.get("name") or "workflow") if isinstance(metadata, dict) else "workflow"
    if manifest.get("kind") == "Workflow":
        return name, spec
    reference = spec.get("workflow")
    inline = reference.get("inline") if isinstance(reference, dict) else None
    return (name, inline) if isinstance(inline, dict) else None


async def _of_cluster(place: Place, text: str) -> "Graph":
    """Find a Workflow of that name, else a run; `wfrun/NAME` asks for a run."""
    from backstay.cli import reading
    from backstay.kube import resources

    async with place.connect() as (client, namespace):
        prefix, slash, bare = text.rpartition("/")
        if not (slash and "run" in prefix.lower()):
            try:
                found = await client.get(resources.WORKFLOWS, namespace, reading.workflow_name(text) if slash else bare)
                return _draw(bare, dict(found["spec"]), {})
            except NotFound as error:
                if bare not in error.message:
                    raise
        try:
            manifest = await client.get(resources.RUNS, namespace, bare)
        except NotFound:
            words = f'there is no Workflow and no run "{bare}" in namespace "{namespace}"'
            raise CommandFailed(words, "see what there is with `kubectl get workflows,wfrun`", Exit.CLUSTER) from None
        spec = await reading.definition_of(client, manifest)
        if spec is None:
            raise CommandFailed(f"the definition of run {bare} is not there any more", "draw the Workflow instead", Exit.CLUSTER)
        return _draw(bare, spec, dict((await reading.read_steps(client, manifest)).state.steps))


def _draw(name: str, spec: dict[str, Any], steps: dict[str, Any]) -> "Graph":
    from backstay.api.validate import parse_workflow
    from backstay.cli.views.graph import graph as graph_of

    return graph_of(parse_workflow(spec), name, steps)
