"""Many universes, in several processes: what came of them is counted, kept, and gone on with."""

import gc
import multiprocessing
import os
import platform
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from backstay import __version__
from tests.simulation.universe.choices import bytes_of
from tests.simulation.universe.scenario import Scenario
from tests.simulation.universe.shrinking import SECONDS, shrunk
from tests.simulation.universe.universe import Outcome, play
from tests.support.tallies import digest_of

CHUNK = 50
"""Seeds that a worker plays in one go."""
TOLD_SECONDS = 30
"""How often it is told how far it has come."""
SHRUNK = 3
"""So many failing universes are made smaller, the first by their seeds; the others wait for a person."""


@dataclass
class Tally:
    """What came of all universes so far, on one state of the sources (`sources` is its digest). `about` tells of the machine."""

    sources: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    universes: int = 0
    runs: int = 0
    jobs: int = 0
    requests: int = 0
    operators_lost: int = 0
    virtual_seconds: float = 0.0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    phases: Counter[str] = field(default_factory=Counter)
    """How the runs ended."""
    faults: Counter[str] = field(default_factory=Counter)
    """What was planned to go wrong, by kind."""
    failures: list[dict[str, Any]] = field(default_factory=list)
    """What was broken: seed, words, and the smallest bytes that break the same promise."""
    played: list[int] = field(default_factory=list)
    """The chunks that are done."""

    def add(self, other: "Tally") -> None:
        """Take in what a worker has counted."""
        for name in ("universes", "runs", "jobs", "requests", "operators_lost", "virtual_seconds", "cpu_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.phases += other.phases
        self.faults += other.faults
        self.failures += other.failures
        self.played += other.played

    def note(self, seed: int, outcome: Outcome) -> None:
        """Take in one universe."""
        self.universes += 1
        self.runs += len(outcome.phases)
        self.jobs += outcome.works
        self.requests += outcome.calls
        self.operators_lost += outcome.deaths
        self.virtual_seconds += outcome.seconds
        self.phases.update(outcome.phases.values())
        self.faults.update(_planned(outcome.spec))
        if outcome.broken:
            self.failures.append({"seed": seed, "broken": outcome.broken[:3]})

    @classmethod
    def kept(cls, file: Path | None) -> "Tally":
        """Return what a file holds; an empty one where there is none, or where it tells of other sources."""
        fresh = cls(digest_of(("operator/backstay", "tests/simulation/universe")), _about())
        if file is None or not file.exists():
            return fresh
        found = orjson.loads(file.read_bytes())
        kept = cls(**{**found, "phases": Counter(found["phases"]), "faults": Counter(found["faults"])})
        return kept if kept.sources == fresh.sources else fresh

    def keep(self, file: Path | None) -> None:
        """Write it into a file, whole or not at all."""
        if file is not None:
            beside = file.with_suffix(".new")
            beside.write_bytes(
                orjson.dumps(vars(self), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS, default=dict)
            )
            beside.replace(file)


def _about() -> dict[str, Any]:
    return {"backstay": __version__, "python": platform.python_version(), "cores": os.cpu_count()}


def _planned(what: Scenario) -> Iterator[str]:
    yield from (f"request {fault}" for fault in what.calls.values())
    yield from (f"watch {fault}" for fault in what.watches.values())
    yield from (f"operator {death.how}" for death in what.deaths)
    yield from (f"person {deed.what}" for deed in what.deeds)
    yield from ("two operators" for _ in range(what.second_at >= 0))
    yield from ("operator stopped for a while" for _ in what.stops)
    yield from ("clock jumps" for _ in what.jumps)
    yield from ("server away" for _ in what.outages)


def chunk(number: int) -> Tally:
    """Play the universes of one chunk of seeds."""
    gc.disable()
    if not gc.get_freeze_count():
        gc.freeze()  # what was imported stays: nothing of it need be looked through after every chunk
    began = time.process_time()
    found = Tally(played=[number])
    for seed in range(number * CHUNK, (number + 1) * CHUNK):
        found.note(seed, play(bytes_of(seed)))
    gc.collect()
    found.cpu_seconds = time.process_time() - began
    return found


def many(runs: int, workers: int, file: Path | None) -> Tally:
    """Play the universes of the first seeds, in several processes; those that a file knows of are not played again."""
    os.environ["PYTHONHASHSEED"] = "0"  # of the workers: the order of a set of texts is chance otherwise
    tally = Tally.kept(file)
    before = tally.wall_seconds
    known = set(tally.played)
    due = iter([number for number in range(-(-runs // CHUNK)) if number not in known])
    began, told_at = time.monotonic(), time.monotonic()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        going: set[Future[Tally]] = {pool.submit(chunk, number) for number in islice(due, 2 * workers)}
        while going:
            done, going = wait(going, return_when=FIRST_COMPLETED)
            for future in done:
                tally.add(future.result())
            going |= {pool.submit(chunk, number) for number in islice(due, len(done))}
            tally.wall_seconds = before + time.monotonic() - began
            tally.keep(file)
            if time.monotonic() - told_at > TOLD_SECONDS:
                told_at = time.monotonic()
                print(f"{tally.universes:,} universes, {len(tally.failures)} broken, {told_at - began:.0f} s", flush=True)
        first = sorted(tally.failures, key=lambda failure: failure["seed"])[:SHRUNK]
        smaller = [(failure, pool.submit(shrunk, bytes_of(failure["seed"]))) for failure in first if "smallest" not in failure]
        for failure, found in smaller:
            failure["smallest"] = found.result().hex()
            tally.keep(file)
    return tally


def report(tally: Tally) -> str:
    """Return what was found, for people."""
    each = 1000 * tally.cpu_seconds / max(1, tally.universes)
    lines = [
        f"{tally.universes:,} universes, {tally.runs:,} runs, {tally.jobs:,} Jobs, {tally.requests:,} requests; "
        f"{tally.operators_lost:,} operators lost; {tally.virtual_seconds / 86_400:.1f} days of virtual time; {each:.1f} ms of CPU a universe",
        f"ends: {dict(tally.phases.most_common())}",
        f"planned: {dict(tally.faults.most_common())}",
    ]
    for failure in sorted(tally.failures, key=lambda failure: failure["seed"])[:20]:
        lines.append(f"BACKSTAY_SEED={failure['seed']}: {failure['broken'][0]}")
        if "smallest" in failure:
            lines.append(f"    the smallest found in {SECONDS:.0f} s: --data {failure['smallest']}")
    if len(tally.failures) > SHRUNK:
        lines.append(f"only the first {SHRUNK} are made smaller; for another one: --seed N --shrink")
    return "\n".join([*lines, f"{len(tally.failures)} broken" if tally.failures else "no promise was broken"])
