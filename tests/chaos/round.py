"""One round of kill tests: a control plane, the world, and lanes whose operators are killed until the round's kills are used up."""

import asyncio
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from backstay.engine.audit import Place, Subject, audit, volume
from backstay.kube.client import Client
from backstay.kube.resources import JOURNALS, WORKFLOWS
from backstay.names import LABEL_RUN
from tests.bench.load import client_of
from tests.chaos.hearing import insist
from tests.chaos.lane import REST_SECONDS, Budget, Lane
from tests.chaos.nursery import Nursery
from tests.chaos.recovery import recoveries
from tests.chaos.rules import Judge, Line, together
from tests.chaos.tally import Round
from tests.chaos.workload import manifests
from tests.chaos.world import world
from tests.cluster.control_plane import ControlPlane
from tests.support.cluster import Cluster
from tests.support.real_cluster import audit_arguments

LANES = 3


@contextmanager
def stage(folder: Path) -> Iterator[tuple[Cluster, str, Path]]:
    """Have a control plane with our CRDs, and the world; gives the world's address and its book."""
    with ControlPlane.start(folder, api_arguments=audit_arguments(folder)) as control_plane:
        cluster = Cluster("real", control_plane.kubeconfig, folder, folder / "audit.log")
        try:
            cluster.apply_crds()
            with world(control_plane.kubeconfig, folder) as (address, book):
                yield cluster, address, book
        finally:
            cluster.api.close()


async def play(folder: Path, seed: int, kills: int, fault: str = "", rest_seconds: float = REST_SECONDS) -> Round:
    """Play a round in `folder`, which is empty, and taken away where no rule is broken.

    `fault` is planted into the operators (see faults.py); `rest_seconds` is how long the last one may take to bring everything to its end.
    """
    began = time.monotonic()
    with stage(folder) as (cluster, address, book):
        nursery = await Nursery.open(folder, fault)
        try:
            async with client_of(cluster.kubeconfig) as client:
                lanes = [
                    _lane(cluster, client, nursery, address, random.Random(f"{seed} {number}"), rest_seconds) for number in range(LANES)
                ]
                await _workflows(client, lanes)
                budget = Budget(kills)
                async with asyncio.TaskGroup() as group:
                    for lane in lanes:
                        group.create_task(lane.play(budget))
                found = await _judged(lanes, read(book), client, Round(seed))
        finally:
            await nursery.close()
        if found.broken:
            _keep(lanes, folder)
    found.seconds = time.monotonic() - began
    if not found.broken:
        shutil.rmtree(folder)
    return found


def _lane(cluster: Cluster, client: Client, nursery: Nursery, address: str, draws: random.Random, rest_seconds: float) -> Lane:
    place = cluster.place("lane")
    arguments = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", place.name, "--metrics-port", "0", "--health-port", "0"]
    log = cluster.folder / f"operator-{place.name}.log"
    return Lane(place.name, client, nursery, arguments, address, log, draws, rest_seconds)


async def _workflows(client: Client, lanes: Sequence[Lane]) -> None:
    """Apply the workflows everywhere. The first runs wait until an operator has looked at them."""
    for lane in lanes:
        for manifest in manifests():
            await insist(lambda lane=lane, manifest=manifest: client.create(WORKFLOWS, lane.namespace, manifest, strict=True))


def read(book: Path) -> list[Line]:
    """Return all lines of the world's book, in order."""
    return [Line(**json.loads(line), place=place) for place, line in enumerate(book.read_text().splitlines())]


async def _judged(lanes: Sequence[Lane], lines: Sequence[Line], client: Client, found: Round) -> Round:
    """Judge every order of every lane by the book, and add up what was seen."""
    by_order: dict[str, list[Line]] = {}
    for line in lines:
        by_order.setdefault(line.order, []).append(line)
    for lane in lanes:
        own = [line for line in lines if line.order.partition(".")[0] == lane.namespace]
        found.broken += lane.troubles
        found.broken += [f"{lane.namespace}: {words}" for words in together(own)]
        for name, ending in lane.endings.items():
            judge = Judge(lane.orders[name], by_order.get(f"{lane.namespace}.{name}", []), ending, lane.kills)
            found.broken += [f"{lane.namespace}: {words}" for words in judge.broken()]
        found.journals += await _verified(lane, client, found.broken)
        _count(lane, own, found)
    return found


async def _verified(lane: Lane, client: Client, broken: list[str]) -> int:
    """Audit the journal of each run that is left, children included, against its status; return how many were audited."""
    kept: dict[str, list[Place]] = {}
    for part in (await insist(lambda: client.list(JOURNALS, lane.namespace))).items:
        kept.setdefault(part["metadata"]["labels"][LABEL_RUN], []).append(volume(part["metadata"]["name"], part["spec"]))
    begun = {name: run for name, run in lane.runs.items() if run.get("status")}
    for name, run in begun.items():
        uid = run["metadata"]["uid"]
        found = audit(Subject(name, uid), run["status"], kept.get(uid, ()))
        broken += [f"{lane.namespace}: {name}: {finding.kind} in {finding.where}: {finding.message}" for finding in found.findings]
    return len(begun)


def _count(lane: Lane, lines: Sequence[Line], found: Round) -> None:
    found.kills = dict(Counter(found.kills) + Counter(life.moment for life in lane.lives if life.killed is not None))
    found.runs = dict(Counter(found.runs) + Counter(ending.phase or "Gone" for ending in lane.endings.values()))
    undoings = {deed.undo for order in lane.orders.values() for deed in order.plan.deeds.values()}
    done = [line for line in lines if line.what == "done"]
    found.undoings += sum(line.word in undoings for line in done)
    found.deeds += sum(line.word not in undoings for line in done)
    found.repeated += sum(line.what == "repeated" for line in lines)
    for name, values in vars(recoveries(lane.lives, lane.changes, lines)).items():
        found.recoveries.setdefault(name, []).extend(round(value, 3) for value in values)


def _keep(lanes: Sequence[Lane], folder: Path) -> None:
    """Write down, beside the book and the operators' logs, the runs as they were last heard of and when operators were killed."""
    for lane in lanes:
        seen = {"kills": lane.kills, "runs": lane.runs | lane.gone, "orders": {name: str(order) for name, order in lane.orders.items()}}
        (folder / f"{lane.namespace}.json").write_text(json.dumps(seen, indent=1))
