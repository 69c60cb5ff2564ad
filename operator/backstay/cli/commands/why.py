"""backstay why: what a run waits for."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay.cli.options import Format, FormatOption, Place

if TYPE_CHECKING:
    from backstay.cli.views.seen import Run
    from backstay.cli.views.why import Answer, Evidence
    from backstay.engine.model import JobFact
    from backstay.kube.client import Client
    from backstay.kube.resources import Resource

_MOST_JOBS: Final = 20
"""Jobs that are asked about one by one; a run that waits for more waits for each of them in the same way."""
_MOST_CHILDREN: Final = 5
"""Child runs that are asked about, at each level."""


async def why(
    place: Place,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run, as order-7f2 or wfrun/order-7f2.")],
    output: FormatOption = Format.TEXT,
) -> None:
    """Say what a run is waiting for, and what to do about it.

    One sentence with the mend. Of a run that has failed, or is being undone, what was tried, caught and undone comes between, and what is left.

    It looks at the run, at the Jobs and pods of the steps that go on, at the warnings about them, and so on in the child runs that it waits for.

    \b
    Examples:
      backstay why order-7f2
      backstay why order-7f2 -o json
    """
    from backstay.cli.output import print_data, print_lines
    from backstay.cli.reading import get_run, read_whole, run_name
    from backstay.cli.views.failing import beats
    from backstay.cli.views.text import Span, clean, line
    from backstay.cli.views.why import why as answer_of

    async with place.connect() as (client, namespace):
        found = await read_whole(client, await get_run(client, namespace, run_name(run)))
        evidence = await evidence_of(client, found)
    answer = answer_of(found, evidence, datetime.now(UTC))
    if output is not Format.TEXT:
        story = [beat.to_json() for beat in beats(found)]
        print_data(
            {"name": found.name, "namespace": found.namespace, "status": found.shown_phase, **answer.to_json(), "story": story}, output
        )
        return
    print_lines([line(Span(found.name, "bold"), f": {clean(answer.sentence)}")])
    print_lines([line("  ", Span(beat.text[:10], "dim"), beat.text[10:]) for beat in beats(found)])
    if answer.mend:
        print_lines([line(Span("→ ", "dim"), clean(answer.mend))])


async def evidence_of(client: "Client", run: "Run") -> "Evidence":
    """Ask for what the status does not say. What may not be read is left out."""
    from backstay.cli.views.why import Evidence, active_jobs
    from backstay.errors import Forbidden, NotFound
    from backstay.executors.job_fact import fact
    from backstay.executors.job_seen import seen_job, seen_pod
    from backstay.kube import resources
    from backstay.names import LABEL_RUN

    children = await _answers_of_children(client, run)
    semaphores = await _semaphores(client, run)
    breakers = await _breakers(client, run)
    wanted = [str(record.job) for record in active_jobs(run)][:_MOST_JOBS]
    if not wanted or run.is_finished:
        return Evidence(children=children, semaphores=semaphores, breakers=breakers)
    selector = f"{LABEL_RUN}={run.uid}"
    try:
        jobs = {
            seen["metadata"]["name"]: seen for seen in (await client.list(resources.JOBS, run.namespace, label_selector=selector)).items
        }
        pods = [seen_pod(seen) for seen in (await client.list(resources.PODS, run.namespace, label_selector=selector)).items]
    except (Forbidden, NotFound):
        return Evidence(warnings=await _warnings(client, run, []), children=children, semaphores=semaphores, breakers=breakers)
    facts: dict[str, JobFact] = {}
    newest: dict[str, str] = {}
    for name in wanted:
        if name in jobs:
            job = seen_job(jobs[name])
            own = [pod for pod in pods if pod.job_uid == job.uid]
            facts[name] = fact(job, own)
            if own:
                newest[name] = max(own, key=lambda pod: pod.created_at).name
    uids = [jobs[name]["metadata"]["uid"] for name in wanted if name in jobs and name not in newest]
    is_unmade = any(name not in jobs for name in wanted)
    warnings = await _warnings(client, run, uids) if uids or is_unmade else []
    return Evidence(facts, newest, warnings, asked=True, children=children, semaphores=semaphores, breakers=breakers)


async def _answers_of_children(client: "Client", run: "Run") -> "dict[str, Answer]":
    """Ask why the child runs wait that a run waits for; one that may not be read is left out."""
    from backstay.cli.reading import read_whole
    from backstay.cli.views.why import active_children
    from backstay.cli.views.why import why as answer_of
    from backstay.errors import Forbidden, NotFound
    from backstay.kube import resources

    found: dict[str, Answer] = {}
    for record in list(active_children(run))[:_MOST_CHILDREN]:
        try:
            child = await read_whole(client, await client.get(resources.RUNS, run.namespace, str(record.child)))
            found[child.name] = answer_of(child, await evidence_of(client, child), datetime.now(UTC))
        except (Forbidden, NotFound):
            continue
    return found


async def _semaphores(client: "Client", run: "Run") -> "dict[str, dict[str, Any]]":
    """Ask for the Semaphores whose slots a run and its steps wait for; one that may not be read, or is not there, is left out."""
    from backstay.cli.views.why import awaited_semaphores
    from backstay.kube import resources

    return await _named(client, run, resources.SEMAPHORES, awaited_semaphores(run))


async def _breakers(client: "Client", run: "Run") -> "dict[str, dict[str, Any]]":
    """Ask for the CircuitBreakers that steps of a run wait for; one that may not be read, or is not there, is left out."""
    from backstay.cli.views.why import awaited_breakers
    from backstay.kube import resources

    return await _named(client, run, resources.BREAKERS, awaited_breakers(run))


async def _named(client: "Client", run: "Run", resource: "Resource", names: set[str]) -> "dict[str, dict[str, Any]]":
    from backstay.errors import Forbidden, NotFound

    found: dict[str, dict[str, Any]] = {}
    for name in sorted(names)[:_MOST_JOBS]:
        try:
            found[name] = await client.get(resource, run.namespace, name)
        except (Forbidden, NotFound):
            continue
    return found


async def _warnings(client: "Client", run: "Run", job_uids: list[str]) -> list[str]:
    """The warnings about the run and about Jobs that have no pod, the oldest first: a quota shows nowhere else."""
    from backstay.errors import ApiError
    from backstay.executors.refusals import time_of
    from backstay.kube import resources

    found: list[tuple[str, str]] = []
    for uid in [run.uid, *job_uids]:
        try:
            page = await client.list(resources.EVENTS, run.namespace, field_selector=f"regarding.uid={uid}")
        except ApiError:
            continue
        found += [(time_of(event), str(event.get("note") or "")) for event in page.items if _tells(event)]
    return [words for _, words in sorted(found)]


def _tells(event: dict[str, Any]) -> bool:
    """Of a run's own events only those count that tell of trouble with the API server; of a Job's, those that tell why it has no pod."""
    return event.get("type") == "Warning" and event.get("reason") in ("Waiting", "FailedCreate")
