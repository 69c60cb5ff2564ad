"""Asking something of a single step: a request in the run's spec, and the operator's answer to it."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import typer

from backstay.cli.failures import CommandFailed, Exit
from backstay.cli.options import Format, Place

if TYPE_CHECKING:
    from backstay.cli.views.seen import Run
    from backstay.kube.client import Client

ANSWER_SECONDS: Final = 10.0
ASK_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what became of it; None where no operator has answered in time."""

    run: str
    namespace: str
    request: Mapping[str, Any]
    answer: str | None


async def ask(place: Place, name: str, step: str, action: str, given: Mapping[str, Any], reason: str) -> Asked:
    """Add a request to the run's spec, and wait for the answer, which comes as soon as an operator looks at the run.

    `given` is what goes with the action. Raises CommandFailed where nothing can be asked of the step.
    """
    from backstay.cli.reading import get_run, read_steps, run_name
    from backstay.cli.views.control import refusal_of_request
    from backstay.kube import resources

    async with place.connect() as (client, namespace):
        run = await read_steps(client, await get_run(client, namespace, run_name(name)))
        if refused := refusal_of_request(run, step):
            raise CommandFailed(*refused)
        request = {"id": f"cli-{secrets.token_hex(6)}", "step": step, "action": action, **given}
        if reason:
            request["reason"] = reason
        await client.patch(resources.RUNS, namespace, run.name, _patch(run, request), kind="json", field_manager="backstay-cli")
        return Asked(run.name, namespace, request, await _answer(client, namespace, run.name, request["id"]))


def _patch(run: "Run", request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a JSON Patch that adds the request, whatever else is asked at the same time."""
    same = {"op": "test", "path": "/metadata/uid", "value": run.uid}
    if run.spec.get("requests"):
        return [same, {"op": "add", "path": "/spec/requests/-", "value": request}]
    return [same, {"op": "add", "path": "/spec/requests", "value": [request]}]


async def _answer(client: "Client", namespace: str, name: str, id_: str) -> str | None:
    """Wait for the answer to a request. Returns None where none comes in time."""
    from backstay.kube import resources

    deadline = asyncio.get_running_loop().time() + ANSWER_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        found = (await client.get(resources.RUNS, namespace, name)).get("status") or {}
        if answer := (found.get("answers") or {}).get(id_):
            return str(answer)
        if found.get("finishedAt"):
            return "the run has ended"
        await asyncio.sleep(ASK_SECONDS)
    return None


def tell(asked: Asked, done: str, output: Format = Format.TEXT) -> Exit:
    """Print what became of a request: `done` says what follows where it was met. Raises CommandFailed where it was refused."""
    from backstay.cli.output import print_data
    from backstay.cli.views.text import clean

    step, run = clean(str(asked.request["step"])), clean(asked.run)
    if asked.answer not in (None, "Done"):
        raise CommandFailed(f"{step}: {asked.answer}", f"`backstay tree {run}` shows what goes on")
    if output is not Format.TEXT:
        print_data({"run": asked.run, "namespace": asked.namespace, "request": dict(asked.request), "answer": asked.answer}, output)
    elif asked.answer is None:
        typer.echo(f"{step}: asked for; no operator has answered within {ANSWER_SECONDS:.0f} s, see `kubectl get wfrun {run} -o yaml`")
    else:
        typer.echo(f"{step}: {done}")
    return Exit.OK
