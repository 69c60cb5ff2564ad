"""A burst of new runs, on the real operator: neither those that have begun wait for it, nor another namespace. Asserted is the order of deeds."""

from functools import partial
from typing import Any

from backstay import names
from tests.support import operating
from tests.support.fake_api import FakeApi
from tests.support.operating import working

NEW = 200
RUNNING = 20
WORKERS = 32
"""Looks that are under way when something happens cannot be overtaken."""

THREE = {"steps": [{"name": "a", "job": {"image": "held"}}, {"name": "b", "job": {"image": "ok"}}, {"name": "c", "job": {"image": "ok"}}]}
ONE = {"steps": [{"name": "a", "job": {"image": "held"}}]}


eventually = partial(operating.eventually, limit_seconds=100)


class World:
    """A modelled API server in which Jobs of the image `held` run until the test ends them."""

    def __init__(self) -> None:
        self.api = FakeApi(lambda job: None if _image(job) == "held" else (0, ""))
        self._begun: list[str] = []

    def apply(self, name: str, spec: dict[str, Any], namespace: str = "shop") -> None:
        """A user makes a run."""
        meta = {"name": name, "namespace": namespace, "uid": f"run-{name}", "generation": 1, "creationTimestamp": "2026-11-23T09:00:00Z"}
        self.api.put("workflowruns", {"kind": names.RUN, "metadata": meta, "spec": {"workflow": {"inline": spec}}})

    def begun(self, prefix: str) -> list[str]:
        """Return the runs for which Jobs were made, a Job each, in that order."""
        for name in self.api.created[len(self._begun) :]:
            job = next(job for (plural, _, known), job in reversed(self.api.objects.items()) if (plural, known) == ("jobs", name))
            self._begun.append(job["metadata"]["annotations"][names.ANNOTATION_RUN_NAME])
        return [run for run in self._begun if run.startswith(prefix)]

    def has_ended(self, name: str) -> bool:
        """Tell whether a run has ended."""
        return bool((self.api.run(name) or {}).get("status", {}).get("finishedAt"))


def _image(job: dict[str, Any]) -> str:
    return str(job["spec"]["template"]["spec"]["containers"][0]["image"])


async def test_a_burst_of_new_runs_does_not_keep_those_waiting_that_have_begun() -> None:
    world = World()
    async with working(world.api):
        for number in range(RUNNING):
            world.apply(f"old-{number}", THREE)
        await eventually(lambda: len(world.begun("old")) == RUNNING)
        for number in range(NEW):
            world.apply(f"new-{number}", ONE)
        for index in range(RUNNING):
            world.api.finish_job(index, (0, ""))
        await eventually(lambda: all(world.has_ended(f"old-{number}") for number in range(RUNNING)))
        begun = len(world.begun("new"))
        await eventually(lambda: len(world.begun("new")) == NEW)
    looks_of_old = 3 * RUNNING
    assert begun < WORKERS + looks_of_old, f"{begun} new runs were begun before {RUNNING} that had begun came to their end"


async def test_new_runs_begin_however_much_those_that_have_begun_have_to_do() -> None:
    """The other way round: running work goes first, and yet not for ever."""
    world = World()
    endless = {
        "steps": [
            {
                "name": "a",
                "while": {"condition": "${ run.name != '' }", "maxIterations": 100_000, "steps": [{"name": "s", "job": {"image": "ok"}}]},
            }
        ]
    }
    async with working(world.api, workers=1):
        for number in range(3):
            world.apply(f"old-{number}", endless)
        await eventually(lambda: len(world.begun("old")) > 10)
        before = len(world.begun("old"))
        for number in range(5):
            world.apply(f"new-{number}", ONE)
        await eventually(lambda: len(world.begun("new")) == 5)
        assert len(world.begun("old")) > before


async def test_a_burst_in_one_namespace_does_not_keep_another_waiting() -> None:
    world = World()
    async with working(world.api):
        for number in range(NEW):
            world.apply(f"many-{number}", ONE, "busy")
        for number in range(10):
            world.apply(f"few-{number}", ONE, "quiet")
        await eventually(lambda: len(world.begun("few")) == 10)
        begun = len(world.begun("many"))
        await eventually(lambda: len(world.begun("many")) == NEW)
    assert begun < WORKERS + 2 * 10, f"{begun} runs of a busy namespace were begun before 10 of a quiet one"


async def test_what_the_sweeper_looks_at_does_not_keep_news_waiting() -> None:
    """Its round wakes every run there is; whoever has news goes first. Only news is written of: the rest of the round finds nothing."""
    world = World()
    left: list[int] = []
    async with working(world.api, workers=4) as operator:
        for number in range(NEW):
            world.apply(f"idle-{number}", ONE)
        await eventually(lambda: len(world.begun("idle")) == NEW and not operator.queue.busy())
        for key in operator.store:
            known = operator.store.get(key)
            assert known is not None
            await operator.sweeper._look(known.run)
        assert len(operator.queue) > NEW / 2
        world.api.fault = lambda number, verb, plural: left.append(len(operator.queue))
        world.apply("young", ONE)
        world.api.finish_job(NEW - 1, (0, ""))
        await eventually(lambda: world.has_ended(f"idle-{NEW - 1}") and world.begun("young"))
    assert len(left) >= 3
    assert min(left) > NEW / 4, f"news of a run waited until {min(left)} of {NEW} were left of the round"
