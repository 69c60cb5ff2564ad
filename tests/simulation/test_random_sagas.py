"""Random sagas under the real operator, and everything that can happen to it and to its API server; judged by the Jobs that really ran.

Each write may be refused (409, 429, 503), done with its answer lost, or be the last thing that an operator does, before or after it took effect;
each watch may repeat itself, or break off so that everything is listed anew. People cancel and delete runs, and come for those that are stalled.
A seed replays: BACKSTAY_SEED=7 plays that one alone.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
import pytest

from backstay import errors, names
from backstay.engine import journal
from backstay.engine.model import Entry, Phase, State, StepRecord
from backstay.kube.resources import RUNS, Resource
from tests.support.fake_api import FakeApi, Object
from tests.support.ledger import DONE, FAILED, Ledger, Work
from tests.support.ledger_rules import Rules
from tests.support.operating import ended, eventually, operating
from tests.support.random_sagas import DECLINES, GOOD, Saga, saga
from tests.support.virtual_time import virtually

SEEDS = [int(os.environ["BACKSTAY_SEED"])] if "BACKSTAY_SEED" in os.environ else list(range(10))
SAGAS = 30
"""So many go on at the same time, for one operator after the other."""
FAULTS = ("conflict", "busy", "unavailable", "lost", "conflict", "lost", "hang", "hang-after")
FAULTY = 24
"""So many writes of 256 go wrong, and so many watches, until the operators have died often enough."""
DEATHS = 12
SLOWEST = 0.004
"""In seconds: so long a request, an answer and a word of a watch may be on their way."""
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LONGEST_SECONDS = 60
"""Of virtual time, for one operator: what is not over by then never will be."""
GOES_ON = (Phase.RUNNING, Phase.WAITING, Phase.STOPPING)


class Played:
    """A saga as the API server sees it, in the words of `ledger_rules`: what was made when, and when its end stood in the status."""

    def __init__(self, played: Saga) -> None:
        self.saga = played
        self.ledger = Ledger()
        self.writes = 0
        self.read = 0
        """Number of the newest journal entry that was taken in."""
        self.run: Object = {}
        self.asked: list[str] = []
        self.stopped: list[str] = []
        self.undone: list[str] = []
        self.wanted = [deed.what for deed in played.deeds if deed.what in ("cancel", "delete", "keep")]
        """What a person still means to do to it."""

    def make(self, job: Object) -> tuple[int, str]:
        """Note a Job, and say how its container ends."""
        notes = job["metadata"]["annotations"]
        path, attempt = notes[names.ANNOTATION_PATH], int(notes[names.ANNOTATION_ATTEMPT])
        told, output, *_ = *job["spec"]["template"]["spec"]["containers"][0].get("args", ()), "", ""
        work = self.ledger.begin(Work(path, attempt, job["metadata"]["name"], self.writes, told, output))
        fate = self.saga.fate(path, attempt, 0)
        work.gave, work.ended = str(fate.output), DONE if fate.how == GOOD else FAILED
        if fate.how == GOOD:
            return 0, orjson.dumps({"n": fate.output}).decode()
        return (0, '{"error": {"type": "CardDeclined"}}') if fate.how == DECLINES else (1, "")

    def written(self, run: Object) -> None:
        """Note what the status now says of all work."""
        if (run.get("status") or {}) != (self.run.get("status") or {}):
            self.writes += 1
        self.run = run
        self._note_what_is_stopped()
        steps = {step["path"]: step for step in (run.get("status") or {}).get("steps", ())}
        for work in self.ledger.works:
            step = steps.get(work.path)
            if work.seen is None and step and (step["phase"] not in GOES_ON or step["attempt"] > work.attempt):
                work.seen = self.writes
                work.unwanted |= step["phase"] not in ("Succeeded", "Compensated", "Retrying", "Failed", "Paused", "Catching", "Running")

    def _note_what_is_stopped(self) -> None:
        """What was to be stopped was not wanted any more, however it ends: it may yet be done, but what it is in does not complete."""
        for entry in ((self.run.get("status") or {}).get("journal") or {}).get("entries", ()):
            if entry["sequence"] > self.read:
                self.read = entry["sequence"]
                for work in self.ledger.by_path.get(entry.get("path", ""), ()) if entry["kind"] == "StepStopping" else ():
                    work.unwanted |= work.seen is None

    # ------------------------------------------------------------------------------------------------ what the rules ask

    @property
    def state(self) -> State:
        return journal.verify(self.run["status"])

    @property
    def entries(self) -> list[Entry]:
        return [Entry(**{"time": None, **entry, "changes": {}}) for entry in self.run["status"]["journal"]["entries"]]

    def condition(self, kind: str) -> Object:
        return next((item for item in self.run["status"]["conditions"] if item["type"] == kind), {})

    def answered(self, action: str) -> set[str]:
        answers = self.run["status"].get("answers") or {}
        requests = self.run["spec"].get("requests") or ()
        return {item["step"] for item in requests if item["action"] == action and answers.get(item["id"]) == "Done"}

    def waiting(self) -> list[StepRecord]:
        return [record for record in self.state.steps.values() if record.phase is Phase.PAUSED]


class ShakyApi(FakeApi):
    """An API server to which, and to whose operators, everything happens that can. Its dice follow from the seed."""

    def __init__(self, seed: int) -> None:
        self.played = {f"saga-{number}": Played(_quick(seed, number)) for number in range(SAGAS)}
        super().__init__(lambda job: self.played[job["metadata"]["annotations"][names.ANNOTATION_RUN_NAME]].make(job))
        self.seed = seed
        self.rolls: Counter[str] = Counter()
        self.fault = self._fault
        for name, played in self.played.items():
            self.apply_run({"workflow": {"inline": played.saga.spec}}, name)

    def roll(self, what: str) -> bytes:
        self.rolls[what] += 1
        return sha256(f"{self.seed} {what} {self.rolls[what]}".encode()).digest()

    def _fault(self, number: int, verb: str, plural: str) -> str | None:
        dice = self.roll("write")
        if dice[0] >= FAULTY or plural == "events":
            return None
        fault = FAULTS[dice[1] % len(FAULTS)]
        return None if fault.startswith("hang") and self.rolls["deaths"] >= DEATHS else fault

    async def _write(self, verb: str, resource: Resource, do: Callable[[], Object]) -> Object:
        """A request takes its time, and its answer too: what else happens, and is told, comes before or after."""
        dice = self.roll("way")
        await asyncio.sleep(dice[0] * SLOWEST / 255)
        try:
            return await super()._write(verb, resource, do)
        finally:
            await asyncio.sleep(dice[1] * SLOWEST / 255)

    async def watch(self, resource: Resource, namespace: str | None = None, **more: Any) -> AsyncGenerator[tuple[str, Object], None]:
        async for event in super().watch(resource, namespace, **more):
            dice = self.roll("watch")
            await asyncio.sleep(dice[1] * SLOWEST / 255)
            yield event
            if dice[0] < FAULTY:
                yield event
            elif dice[0] < FAULTY + 4 and resource is not RUNS:
                raise errors.Gone(410, "Expired", "too old resource version")

    def _store(self, plural: str, one: Object, event: str) -> None:
        super()._store(plural, one, event)
        if plural == RUNS.plural:
            self.played[one["metadata"]["name"]].written(self.objects[plural, "shop", one["metadata"]["name"]])

    # ---------------------------------------------------------------------------------------------------------- people

    def people(self) -> None:
        """Cancel and delete runs when their time has come, and deal with those that wait for a person."""
        for name, played in self.played.items():
            run = self.run(name)
            if run is None or ended(self, name):
                continue
            if played.wanted and len(played.ledger.works) >= 1 + played.saga.chance("deed")[0] % 5:
                self._do(name, run, played.wanted.pop())
            waiting = [step["path"] for step in (run.get("status") or {}).get("steps", ()) if step["phase"] == "Paused"]
            if waiting:
                self._resolve(name, run, played, waiting[0])

    def _do(self, name: str, run: Object, what: str) -> None:
        if what == "delete":
            self.remove(RUNS.plural, run)
        else:
            self.edit_run(lambda run: run["spec"].update(cancel={"reason": "a whim", "compensate": what == "cancel"}), name)

    def _resolve(self, name: str, run: Object, played: Played, path: str) -> None:
        """Ask for what this person asks in turn, once all that was asked before is answered. What is undone can be let go; what goes forward cannot."""
        answers = run["status"].get("answers") or {}
        is_let_go = names.ANNOTATION_RELEASE in run["metadata"].get("annotations", ())
        if is_let_go or any(f"r{number}" not in answers for number in range(1, len(played.asked) + 1)):
            return
        asked = played.asked.count(path)
        what = {"retry": "Retry", "edit": "Retry", "skip": "Skip", "give-up": "GiveUp"}.get(played.saga.stalled[asked % 3])
        what = None if asked > 5 else what
        if what is None and run["status"]["phase"] == "Compensating":
            self.edit_run(lambda run: run["metadata"].setdefault("annotations", {}).update({names.ANNOTATION_RELEASE: "true"}), name)
            return
        played.asked.append(path)
        request = {"id": f"r{len(played.asked)}", "step": path, "action": what or "Skip"}
        self.edit_run(lambda run: run["spec"].setdefault("requests", []).append(request), name)

    @property
    def is_over(self) -> bool:
        self.people()
        return all(ended(self, name) for name in self.played)


def _quick(seed: int, number: int) -> Saga:
    """A saga that does not take long: no timeouts, short pauses, and no other workflows."""
    dice = b"".join(sha256(f"{seed} {number} {part}".encode()).digest() for part in range(3))
    found = saga(dice[: (24, 48, 96)[dice[0] % 3]])
    found.spec = {**_quickened(found.spec), "compensationTimeout": "1h"}
    return found


def _quickened(value: Any) -> Any:
    if isinstance(value, list):
        return [_quickened(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _quickened(item) for key, item in value.items() if key not in ("timeout", "attemptTimeout", "workflow")}
    if "interval" in kept:
        kept["interval"] = "1ms"
    return kept | ({"job": {"image": "i"}} if "workflow" in value else {})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_saga_survives_whatever_happens_to_its_operator_and_to_the_server(seed: int) -> None:
    assert (found := replay(seed)) == [], "\n".join(found)


def replay(seed: int) -> list[str]:
    """Play what follows from a seed, in virtual time; return what rules are broken."""
    broken: list[str] = []

    async def whole() -> None:
        broken.extend(await play(seed))

    virtually(whole(), str(seed))
    return broken


async def play(seed: int) -> list[str]:
    """Play some sagas for one operator after the other; return what rules are broken."""
    api, loop = ShakyApi(seed), asyncio.get_running_loop()
    began = loop.time()
    while not api.is_over:
        api.hung.clear()
        async with operating(api, now=lambda: START + timedelta(seconds=loop.time() - began)):
            await eventually(lambda: api.is_over or api.hung.is_set(), limit_seconds=LONGEST_SECONDS)
        api.rolls["deaths"] += 1
    judged = ((name, _judged(played)) for name, played in api.played.items() if played.run.get("status"))
    return [f"BACKSTAY_SEED={seed}, {name}: {words}" for name, words in judged if words]


def _judged(played: Played) -> str:
    """What rule is broken, and what to look at. A run that has nothing to undo goes at once when it is deleted."""
    if "finishedAt" not in played.run["status"] and "compensate" not in str(played.saga.spec):
        return ""
    try:
        Rules(played).check()
    except AssertionError as broken:
        told = "\n".join(f"  {entry.kind} {entry.path} {entry.reason}"[:160] for entry in played.entries)
        return f"{broken}\n{orjson.dumps(played.saga.spec).decode()}\n{played.ledger}\n{told}\n{played.condition('Compensated')}"
    return ""
