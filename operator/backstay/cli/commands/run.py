"""backstay run: start a run of a Workflow, and look on if wanted."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstay.cli.failures import CommandFailed, Exit, Usage
from backstay.cli.options import Place, note
from backstay.names import API_VERSION, RUN, RUNS

if TYPE_CHECKING:
    from backstay.kube.client import Client

Object = dict[str, Any]


async def run(
    place: Place,
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="The Workflow to run.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A parameter; NAME:=JSON for a value as JSON. Repeatable."),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="Parameters as a YAML map; - is standard input. -p wins over it.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The run's name (default: WORKFLOW- and a random end).")
    ] = None,
    revision: Annotated[int | None, typer.Option("--revision", metavar="N", min=1, help="The revision (default: the newest).")] = None,
    service_account: Annotated[
        str | None, typer.Option("--service-account", metavar="NAME", help="The service account of the run's pods.")
    ] = None,
    suspended: Annotated[bool, typer.Option("--suspended", help="Create it suspended: it begins with `backstay resume`.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look on until it has ended.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended, and say nothing meanwhile.")] = False,
    time_limit: Annotated[
        str | None, typer.Option("--timeout", metavar="DURATION", help="How long to look on or to wait, as 90s or 1h30m; the run goes on.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="text|name|json|yaml", help="How to print what was created.")] = "text",
) -> Exit:
    """Start a run of a Workflow.

    Parameters are checked against the Workflow before anything is created. -p amount=12.5 becomes what the parameter's schema
    asks for, be it a number, true or false, or JSON; -p 'lines:=[1, 2]' is JSON as it stands.

    \b
    Exit codes with --watch or --wait:
      0  the run has Succeeded
      1  it has Failed
      2  a parameter or an option is wrong; nothing was created
      3  it was Cancelled
      4  --timeout is over; the run goes on
      5  the cluster cannot be reached, or refuses

    \b
    Examples:
      backstay run order -p orderId=a-17 -p amount=12.5 --watch
      backstay run order -f params.yaml -p 'lines:=["a", "b"]' --wait --timeout 10m
      backstay run order -p orderId=a-17 -o name
    """
    from backstay.cli.reading import workflow_name

    form = _form(output, watch=watch, wait=wait)
    limit = _limit(time_limit, watch=watch, wait=wait)
    given = _file_parameters(file)
    async with place.connect() as (client, namespace):
        reference = workflow_name(workflow)
        spec = await _definition(client, namespace, reference, revision)
        parameters = given | _typed(parameter or [], spec)
        _check(spec, reference, parameters)
        manifest = _manifest(reference, name, revision, parameters, service_account, suspended=suspended)
        created = await _create(client, namespace, manifest)
        _say(created, form, looks_on=watch or wait)
        if not (watch or wait):
            return Exit.OK
        return await _look_on(client, created, limit, watch=watch)


def _form(output: str, *, watch: bool, wait: bool) -> str:
    if output not in ("text", "name", "json", "yaml"):
        raise Usage(f"-o {output} is unknown", "write text, name, json or yaml")
    if output != "text" and watch:
        raise Usage(f"--watch draws, and -o {output} prints once", "leave one of them out, or use --wait")
    if watch and wait:
        raise Usage("--watch waits as well", "leave --wait out")
    return output


def _limit(timeout: str | None, *, watch: bool, wait: bool) -> float | None:
    if timeout is None:
        return None
    if not (watch or wait):
        raise Usage(
            "--timeout limits --watch or --wait, and neither is there", "add one of them; a limit for the run itself is its spec.timeout"
        )
    from backstay.api.base import parse_duration

    try:
        return parse_duration(timeout).total_seconds()
    except ValueError as error:
        raise Usage(f"--timeout: {error}") from None


# --------------------------------------------------------------------------------------------------------------- parameters


def _file_parameters(file: str | None) -> Object:
    """Read a map of parameters from a file."""
    if file is None:
        return {}
    from backstay.cli.yaml_reading import BadYaml, read_documents

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        documents = list(read_documents(text))
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"-f {file} cannot be read: {getattr(error, 'strerror', None) or error}", "name a file that holds YAML") from None
    except BadYaml as error:
        raise Usage(f"-f {file}:{error.line}: {error.message}") from None
    if not documents:
        return {}
    if len(documents) > 1 or not isinstance(documents[0].value, dict):
        raise Usage(f"-f {file} holds no map of parameters", "write one NAME: VALUE a line")
    if documents[0].faults:
        raise Usage(f"-f {file}:{documents[0].faults[0].line}: {documents[0].faults[0].message}")
    return documents[0].value


def _typed(given: list[str], spec: Mapping[str, Any]) -> Object:
    from backstay.cli.views.parameters import schemas_of, typed_parameters

    return typed_parameters(given, schemas_of(spec))


def _check(spec: Mapping[str, Any], workflow: str, parameters: Mapping[str, Any]) -> None:
    """Raise Usage with every problem of the parameters. A definition that this version cannot read is left to the operator to judge."""
    from backstay.api.validate import check_parameters, parse_workflow
    from backstay.errors import InvalidDefinition

    try:
        parsed = parse_workflow(spec)
    except InvalidDefinition as error:
        note(
            f"note: the parameters are not checked here, because this version of backstay cannot read Workflow {workflow}: {error.problems[0]}"
        )
        return
    _, problems = check_parameters(parsed, parameters)
    wrong = [problem for problem in problems if problem.severity == "error"]
    if wrong:
        raise Usage("\n".join(map(str, wrong)))


# ------------------------------------------------------------------------------------------------------------------ the run


async def _definition(client: "Client", namespace: str, workflow: str, revision: int | None) -> Object:
    """Return the spec that will run. Raises CommandFailed where the run would fail at once."""
    from backstay.cli.reading import get_workflow, revision_spec

    found = await get_workflow(client, namespace, workflow)
    if revision is not None:
        spec = await revision_spec(client, found, revision)
        if spec is None:
            raise CommandFailed(f"Workflow {workflow} has no revision {revision}", _revisions(found), Exit.CLUSTER)
        return spec
    status = found.get("status") or {}
    for condition in status.get("conditions") or ():
        is_newest = status.get("observedGeneration") == found["metadata"].get("generation")
        if condition["type"] == "Valid" and condition["status"] == "False" and is_newest:
            raise CommandFailed(f"Workflow {workflow} cannot be run: {condition.get('message')}", "mend it and apply it again", Exit.USAGE)
    return dict(found["spec"])


def _revisions(workflow: Mapping[str, Any]) -> str:
    newest = ((workflow.get("status") or {}).get("revision") or {}).get("number")
    return f"the newest is {newest}" if newest else "it has none yet; is the operator running?"


def _manifest(
    workflow: str, name: str | None, revision: int | None, parameters: Object, service_account: str | None, *, suspended: bool
) -> Object:
    spec: Object = {"workflow": {"name": workflow, **({"revision": revision} if revision else {})}}
    if parameters:
        spec["parameters"] = parameters
    if service_account:
        spec["serviceAccountName"] = service_account
    if suspended:
        spec["suspend"] = True
    metadata = {"name": name} if name else {"generateName": f"{workflow[:200]}-"}
    return {"apiVersion": API_VERSION, "kind": RUN, "metadata": metadata, "spec": spec}


async def _create(client: "Client", namespace: str, manifest: Object) -> Object:
    from backstay.errors import AlreadyExists
    from backstay.kube import resources

    try:
        return await client.create(resources.RUNS, namespace, manifest, strict=True)
    except AlreadyExists:
        name = manifest["metadata"].get("name")
        words = f'there is a run "{name}" in namespace "{namespace}" already'
        raise CommandFailed(words, "choose another --name, or leave it out for a random one", Exit.CLUSTER) from None


def _say(created: Object, form: str, *, looks_on: bool) -> None:
    from backstay.cli.options import Format
    from backstay.cli.output import is_terminal, print_data

    name = created["metadata"]["name"]
    if form in ("json", "yaml"):
        print_data(created, Format(form))
    elif form == "name":
        typer.echo(name)
    elif not looks_on:
        typer.echo(f"{RUNS}/{name} created")
        if is_terminal():
            note(f"look on with `backstay tree {name} -w`")


async def _look_on(client: "Client", created: Object, limit: float | None, *, watch: bool) -> Exit:
    from backstay.cli.watching import Show, watch_to_the_end

    code = await watch_to_the_end(client, created, Show.TREE if watch else Show.NOTHING, limit)
    if not watch:
        note(f"{created['metadata']['name']} {_ENDS.get(code, 'has ended')}")
    return code


_ENDS = {Exit.OK: "has succeeded", Exit.FAILED: "has failed", Exit.CANCELLED: "was cancelled"}
