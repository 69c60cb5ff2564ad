"""Several operators: one works on each shard, the others stand by; whoever dies, freezes, leaves or joins, every run ends and nothing is done twice."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from backstay import errors, names
from backstay.kube.resources import LEASES, Resource
from backstay.runtime import leases
from tests.simulation.universe.loop import VirtualLoop
from tests.support.crew import Crew, Town, in_virtual_time
from tests.support.fake_api import Object
from tests.support.operating import define, ended

JOBS = {"steps": [{"name": name, "job": {"image": "ok"}} for name in ("a", "b", "c")]}
TAKEOVER_SECONDS = 10.0


def made_once(api: Town) -> None:
    """No Job was made twice, and no step had two; and what must always hold did."""
    assert api.broken == []
    assert [name for name, count in Counter(api.created).items() if count > 1] == []
    made = [(job["metadata"]["labels"][names.LABEL_RUN], job["metadata"]["annotations"][names.ANNOTATION_PATH]) for job in api.all("jobs")]
    assert [step for step, count in Counter(made).items() if count > 1] == []


def all_succeeded(api: Town, count: int) -> None:
    assert Counter((run.get("status") or {}).get("phase") for run in api.all("workflowruns")) == {"Succeeded": count}
    made_once(api)


def apply(api: Town, count: int, spec: dict[str, Any] | None = None) -> None:
    for number in range(count):
        api.apply_run(spec or {"workflow": {"inline": JOBS}}, f"r{number}")


def all_ended(api: Town) -> bool:
    return all(ended(api, run["metadata"]["name"]) for run in api.all("workflowruns"))


def test_of_two_operators_one_works_and_the_other_stands_by_with_all_in_mind() -> None:
    async def play(loop: VirtualLoop) -> None:
        api = Town()
        crew = Crew(api, loop)
        await crew.start("one")
        await crew.until(lambda: api.holders() == {"backstay": "one"})
        await crew.start("two")
        apply(api, 5)
        await crew.until(lambda: len(crew.operators["two"].store) == 5)
        await crew.until(lambda: all_ended(api))
        all_succeeded(api, 5)
        assert api.work_of("two") == []
        assert (crew.operators["one"].shards.held(), crew.operators["two"].shards.held()) == (1, 0)
        await crew.until(lambda: len(crew.operators["two"].store) == 0)

    in_virtual_time(play)


def test_the_one_of_two_that_comes_second_to_a_free_lease_rests_until_something_happens() -> None:
    async def play(loop: VirtualLoop) -> None:
        api = Town()
        crew = Crew(api, loop)
        await crew.start("one", "two")
        await crew.until(lambda: "backstay" in api.holders())
        standby = crew.processes["two" if api.holders()["backstay"] == "one" else "one"]
        await asyncio.sleep(1.0)
        before = standby.steps
        await asyncio.sleep(60.0)
        assert standby.steps - before < 1000, "what it waits for is past, and it looks for it a thousand times a second"

    in_virtual_time(play)


def test_where_the_leader_is_killed_the_other_goes_on_within_ten_seconds() -> None:
    async def play(loop: VirtualLoop) -> None:
        chance = random.Random(7)
        for _ in range(6):
            api = Town(job_seconds=3.0)
            crew = Crew(api, loop)
            await crew.start("one")
            await crew.until(lambda api=api: api.holders() == {"backstay": "one"})
            await crew.start("two")
            apply(api, 5)
            await crew.until(lambda api=api: len(api.created) > chance.randrange(12))
            crew.kill("one")
            killed = loop.time()
            await crew.until(lambda api=api: all_ended(api))
            all_succeeded(api, 5)
            assert api.work_of("two")[0].at - killed < TAKEOVER_SECONDS
            await crew.stop("two")

    in_virtual_time(play)


def test_a_leader_that_is_told_to_end_leaves_its_place_at_once() -> None:
    async def play(loop: VirtualLoop) -> None:
        api = Town()
        crew = Crew(api, loop)
        await crew.start("one")
        await crew.until(lambda: api.holders() == {"backstay": "one"})
        await crew.start("two")
        apply(api, 3)
        await crew.until(lambda: api.created)
        await crew.stop("one")
        told = loop.time()
        await crew.until(lambda: api.holders() == {"backstay": "two"})
        assert loop.time() - told < 0.5
        await crew.until(lambda: all_ended(api))
        all_succeeded(api, 3)

    in_virtual_time(play)


SAGA = {
    "steps": [
        *({"name": name, "job": {"image": "ok"}, "compensate": {"job": {"image": f"undo-{name}"}}} for name in ("a", "b")),
        {"name": "hold", "wait": {"duration": "1h"}},
    ]
}


def without_owner(api: Town) -> list[str]:
    return [job["metadata"]["name"] for job in api.all("jobs") if not job["metadata"].get("ownerReferences")]


@pytest.mark.parametrize("is_late", [False, True], ids=["which has heard of its end", "which hears late of its end"])
def test_jobs_that_a_deleted_run_does_not_own_go_with_it_where_its_operator_dies_after_the_last_word_and_another_goes_on(
    is_late: bool,
) -> None:
    """The status says that all is undone, and the Jobs that undid it are not deleted yet. The run has left the watch of the one that stands by."""

    async def play(loop: VirtualLoop) -> None:
        api = Town(job_seconds=0.2)
        crew = Crew(api, loop)
        await crew.start("one")
        await crew.until(lambda: api.holders() == {"backstay": "one"})
        await crew.start("two")
        api.apply_run({"workflow": {"inline": SAGA}})
        await crew.until(lambda: len(api.created) == 2 and len(crew.operators["two"].store))
        await crew.pass_time(2)
        watch = crew.operators["two"].runs.informers()[0]
        hear, late = watch._on_change, list[Any]()
        if is_late:
            watch._on_change = lambda *news: late.append(news)

        def check() -> None:
            if "one" in crew.processes and ((api.run() or {}).get("status") or {}).get("finishedAt"):
                crew.kill("one")

        api.check = check
        api.remove("workflowruns", api.run() or {})
        await crew.until(lambda: "one" not in crew.processes)
        assert len(without_owner(api)) == 2
        await crew.pass_time(1)
        watch._on_change = hear
        for news in late:
            hear(*news)
        await crew.until(lambda: api.run() is None)
        assert without_owner(api) == []
        assert made_once(api) is None
        await crew.pass_time(1)
        assert not crew.operators["two"].jobs.of("shop")._pictures

    in_virtual_time(play)


def test_a_job_without_an_owner_whose_run_is_gone_is_taken_away() -> None:
    """An operator was stopped before it made the Job, and is woken when the run is long gone; or somebody has forced the run away."""

    async def play(loop: VirtualLoop) -> None:
        api = Town(job_seconds=3600)
        crew = Crew(api, loop, shards=2)
        await crew.start("one", "two")
        await crew.until(lambda: sorted(api.holders().values()).count("two") == 2)
        gone, there = api.apply_run({"workflow": {"inline": SAGA}}, "gone"), api.apply_run({"workflow": {"inline": SAGA}}, "there")
        await crew.until(lambda: len(api.created) == 2)
        for run in (gone, there):
            made = api.objects["jobs", "shop", next(name for name in api.created if name.startswith(run["metadata"]["name"]))]
            meta = {key: value for key, value in made["metadata"].items() if key != "ownerReferences"}
            annotations = {**meta["annotations"], names.ANNOTATION_UNOWNED: "true"}
            fields = {"name": f"late-{meta['name']}", "uid": f"late-{meta['uid']}", "annotations": annotations}
            api.put("jobs", {**made, "metadata": {**meta, **fields}})
        api.edit_run(lambda run: run["metadata"].update(finalizers=[], deletionTimestamp="2026-11-23T09:00:00Z"), "gone")
        await crew.until(lambda: [name for name in without_owner(api) if "gone" in name] == [])
        await crew.pass_time(5)
        assert api.run("there") is not None
        assert "deletionTimestamp" not in (api.run("there") or {})["metadata"]

    in_virtual_time(play)


def test_an_operator_that_is_started_again_in_its_place_need_not_wait_and_another_does() -> None:
    async def play(loop: VirtualLoop) -> None:
        for successor, soonest, latest in (("one", 0.0, 0.5), ("two", 5.0, TAKEOVER_SECONDS)):
            api = Town()
            crew = Crew(api, loop)
            await crew.start("one")
            await crew.until(lambda api=api: api.holders() == {"backstay": "one"})
            crew.kill("one")
            killed = loop.time()
            apply(api, 1)
            await crew.start(successor)
            await crew.until(lambda api=api: api.created)
            assert soonest <= loop.time() - killed < latest
            await crew.stop(successor)

    in_virtual_time(play)


@pytest.mark.parametrize("at", [1, 2, 4, 7, 9, 12, 15, 18])
def test_an_old_leader_that_was_stopped_for_a_minute_and_is_woken_does_no_harm(at: int) -> None:
    """Stopped at the worst moment: a decision is written, and its deed not done. The runs end and are deleted meanwhile, with all their Jobs, so
    that a Job that it made afterwards would be made anew."""

    async def play(loop: VirtualLoop) -> None:
        api = Town(job_seconds=0.7)
        crew = Crew(api, loop)
        await crew.start("one")
        await crew.until(lambda: api.holders() == {"backstay": "one"})
        await crew.start("two")

        def check() -> None:
            if len([deed for deed in api.work_of("one") if deed.plural == "workflowruns"]) == at and not crew.processes["one"].is_stopped:
                crew.freeze("one")

        api.check = check
        apply(api, 6)
        await crew.until(lambda: crew.processes["one"].is_stopped)
        frozen = len(api.work_of("one"))
        await crew.until(lambda: api.holders() == {"backstay": "two"})
        await crew.until(lambda: all_ended(api))
        all_succeeded(api, 6)
        made = list(api.created)
        for run in api.all("workflowruns"):
            api.remove("workflowruns", run)
        await crew.pass_time(60)
        api.check = lambda: None
        crew.wake("one")
        await crew.pass_time(30)
        assert api.created == made, "the old leader has made a Job anew"
        assert crew.operators["one"].shards.held() == 0
        apply(api, 2)
        await crew.until(lambda: len(api.created) == len(made) + 6)
        assert len(api.work_of("one")) == frozen, "it works although another holds the Lease"

    in_virtual_time(play)


def test_an_operator_whose_lease_cannot_be_renewed_begins_nothing_and_goes_on_where_it_was_when_it_can() -> None:
    async def play(loop: VirtualLoop) -> None:
        api = Town(job_seconds=2.0)
        crew = Crew(api, loop)
        await crew.start("one")
        apply(api, 4)
        await crew.until(lambda: api.created)
        operator = crew.operators["one"]
        api.is_out = True
        await crew.until(lambda: not operator.shards.is_at_work)
        assert [known.taken for known in map(operator.store.get, operator.store) if known] == [True] * 4, "what it has begun is its own yet"
        await crew.pass_time(60)
        api.is_out = False
        await crew.until(lambda: all_ended(api))
        all_succeeded(api, 4)
        assert api.holders() == {"backstay": "one"}

    in_virtual_time(play)


def test_what_happens_in_the_moment_between_the_end_of_a_lease_and_a_late_renewal_is_looked_at() -> None:
    """The renewal was asked for while the Lease was valid, and is answered when it no longer is; the Job ends in between."""

    async def play(loop: VirtualLoop) -> None:
        api = Town(job_seconds=3600)
        crew = Crew(api, loop, sweep_seconds=3600)
        await crew.start("one")
        apply(api, 1)
        await crew.until(lambda: api.created)
        await crew.pass_time(30)  # nothing else is due for the run for a while
        shards, carry_out, late = crew.operators["one"].shards, api._carry_out, list[float]()
        valid = leases.VALID_SHARE * crew.operators["one"].settings.lease_seconds

        async def sluggishly(verb: str, resource: Resource, do: Callable[[], Object]) -> Object:
            if resource is LEASES and not late:
                renewed = max(deed.at for deed in api.deeds if deed.plural == "leases")
                if loop.time() < renewed + valid - 1.1:
                    raise errors.Unavailable(503, "ServiceUnavailable", "not now")
                late.append(renewed)
                while shards.is_at_work:
                    await asyncio.sleep(0.01)
                api.job_seconds = 0.1
                api.finish_job(0, (0, ""))
                await asyncio.sleep(0.1)
            return await carry_out(verb, resource, do)

        api._carry_out = sluggishly  # type: ignore[method-assign]
        await crew.until(lambda: late)
        await crew.pass_time(60)
        all_succeeded(api, 1)

    in_virtual_time(play)


def test_of_two_that_have_the_same_name_by_mistake_the_one_that_was_started_last_works_and_they_do_not_fight() -> None:
    async def play(loop: VirtualLoop) -> None:
        api = Town()
        crew = Crew(api, loop)
        await crew.start("one")
        await crew.until(lambda: api.holders() == {"backstay": "one"})
        await crew.start("two", identity="one")
        await crew.until(lambda: crew.operators["two"].shards.held())
        wrote = len(api.deeds)
        await crew.pass_time(60)
        assert (crew.operators["one"].shards.held(), crew.operators["two"].shards.held()) == (0, 1)
        assert len(api.deeds) - wrote <= 31, "a Lease is renewed every two seconds, and that is all"

    in_virtual_time(play)


# ------------------------------------------------------------------------------------------------------------- shards


def one_owner_each(crew: Crew) -> None:
    """No two that are awake hold the same shard."""
    awake = [operator for name, operator in crew.operators.items() if name in crew.processes and not crew.processes[name].is_stopped]
    held = Counter(shard for operator in awake for shard in range(operator.settings.shards) if operator.shards.holds(shard))  # type: ignore[attr-defined]
    assert all(count == 1 for count in held.values()), held


def shares(api: Town) -> Counter[str]:
    return Counter(holder for name, holder in api.holders().items() if "-of-4" in name and not name.startswith("backstay-of-") and holder)


def test_shards_are_shared_out_evenly_taken_over_and_given_back() -> None:
    async def play(loop: VirtualLoop) -> None:
        api = Town(job_seconds=1.0)
        crew = Crew(api, loop, shards=4)
        api.check = lambda: one_owner_each(crew)
        await crew.start("one")
        await crew.until(lambda: shares(api) == {"one": 4})
        await crew.start("two")
        await crew.until(lambda: shares(api) == {"one": 2, "two": 2})
        await crew.start("three")
        await crew.until(lambda: sorted(shares(api).values()) == [1, 1, 2])
        apply(api, 24)
        await crew.until(lambda: all(api.work_of(name) for name in ("one", "two", "three")))
        before = {name: holder for name, holder in api.holders().items() if holder != "two"}
        crew.kill("two")
        killed = loop.time()
        await crew.until(lambda: sorted(shares(api).items()) == [("one", 2), ("three", 2)])
        assert loop.time() - killed < TAKEOVER_SECONDS
        assert before.items() <= api.holders().items(), "a shard has moved without need"
        await crew.until(lambda: all_ended(api))
        all_succeeded(api, 24)
        await crew.stop("three")
        await crew.until(lambda: shares(api) == {"one": 4})
        await crew.until(lambda: set(api.holders()) == {*(f"backstay-{number}-of-4" for number in range(4)), "backstay-of-4-one"})

    in_virtual_time(play)


def test_a_job_that_was_made_just_before_another_took_over_is_stopped_although_the_watch_has_not_told_of_it() -> None:
    """The step's time is over when the next one looks: what it does not see it would take for never made, and nobody would stop it."""
    spec = {"steps": [{"name": "slow", "job": {"image": "slow"}, "attemptTimeout": "2s", "retry": {"maxAttempts": 1}}]}

    async def play(loop: VirtualLoop) -> None:
        api = Town(job_seconds=3600)
        crew = Crew(api, loop)
        await crew.start("one")
        await crew.until(lambda: api.holders() == {"backstay": "one"})
        await crew.start("two")
        watch = crew.operators["two"].jobs.of("shop").jobs
        await crew.until(watch.synced.is_set)
        hear, late = watch._follow, list[Any]()
        watch._follow = lambda *news: late.append(news)  # type: ignore[method-assign]
        api.apply_run({"workflow": {"inline": spec}})
        await crew.until(lambda: api.created)
        crew.kill("one")
        await crew.until(lambda: api.holders() == {"backstay": "two"})
        await crew.until(lambda: ended(api) or not api.all("jobs"))
        assert api.all("jobs") == [], "the run has ended, and its Job goes on"
        watch._follow = hear  # type: ignore[method-assign]
        for news in late:
            hear(*news)
        await crew.until(lambda: ended(api))
        assert (api.run() or {})["status"]["error"]["type"] == "Timeout"

    in_virtual_time(play)


FAMILY = {"steps": [{"name": "call", "workflow": {"name": "middle"}}, {"name": "after", "job": {"image": "ok"}}]}
MIDDLE = {"steps": [{"name": "call", "workflow": {"name": "leaf"}}]}
LEAF = {"steps": [{"name": "only", "job": {"image": "ok"}, "lock": {"name": "printer"}}]}


def printers(api: Town) -> list[dict[str, Any]]:
    found = api.objects.get(("semaphores", "shop", "printer"))
    return ((found or {}).get("status") or {}).get("holders") or []


@pytest.mark.parametrize("seed", range(4))
def test_families_locks_and_limits_hold_across_shards_while_operators_die_freeze_and_join(seed: int) -> None:
    """Every run calls a workflow that calls another, whose step needs the one printer; no more than five may go on at the same time."""
    most = 5

    async def play(loop: VirtualLoop) -> None:
        chance = random.Random(seed)
        api = Town(job_seconds=0.3)
        for name, spec in (("middle", MIDDLE), ("leaf", LEAF)):
            define(api, name, spec)
        crew = Crew(api, loop, shards=3, max_active_runs=most)

        def check() -> None:
            assert len(printers(api)) <= 1, printers(api)
            going = [run for run in api.all("workflowruns") if (run.get("status") or {}).get("startedAt")]
            outer = [run for run in going if not run["status"].get("finishedAt") and "labels" not in run["metadata"]]
            assert len(outer) <= most, f"{len(outer)} go on"

        api.check = check
        await crew.start("one", "two")
        for number in range(14):
            api.apply_run({"workflow": {"inline": FAMILY}}, f"r{number}")
        await crew.pass_time(chance.random() * 6)
        await crew.start("three")
        await crew.pass_time(chance.random() * 6)
        victim = chance.choice(["one", "two", "three"])
        if chance.random() < 0.5:
            crew.kill(victim)
        else:
            crew.freeze(victim)
            await crew.pass_time(40)
            crew.wake(victim)
        await crew.until(lambda: all_ended(api), what=lambda: crew.told())
        all_succeeded(api, 42)

    in_virtual_time(play, seed)


def test_locks_that_are_held_stay_held_when_their_shard_moves() -> None:
    """Eight locks, each wanted by three runs whose jobs take long; then another process joins, and later leaves."""

    def locked(number: int) -> dict[str, Any]:
        return {
            "workflow": {"inline": {"steps": [{"name": "only", "job": {"image": f"lock-{number}"}, "lock": {"name": f"lock-{number}"}}]}}
        }

    async def play(loop: VirtualLoop) -> None:
        api = Town(job_seconds=8.0)

        def check() -> None:
            jobs = [job for job in api.all("jobs") if not job.get("status")]
            images = Counter(job["spec"]["template"]["spec"]["containers"][0]["image"] for job in jobs)
            assert not [image for image, count in images.items() if count > 1], f"two have the lock at a time: {images}"

        api.check = check
        crew = Crew(api, loop, shards=4)
        await crew.start("one")
        await crew.until(lambda: shares(api) == {"one": 4})
        for number in range(24):
            api.apply_run(locked(number % 8), f"r{number}")
        await crew.until(lambda: len(api.created) == 8)
        await crew.start("two")
        await crew.until(lambda: sorted(shares(api).values()) == [2, 2])
        await crew.pass_time(5)
        await crew.stop("one")
        await crew.until(lambda: all_ended(api), what=crew.told)
        all_succeeded(api, 24)

    in_virtual_time(play)


def writes_of(api: Town, plural: str) -> int:
    return sum(deed.plural == plural for deed in api.deeds)


def breaker(minimum: int) -> dict[str, Any]:
    meta = {"name": "bank", "namespace": "shop", "uid": "cb-bank", "generation": 1}
    return {"metadata": meta, "spec": {"window": {"count": 100}, "minimumCalls": minimum, "failureRate": "50%", "openFor": "1h"}}


def paying(image: str) -> dict[str, Any]:
    return {"workflow": {"inline": {"steps": [{"name": "pay", "job": {"image": image}, "circuit": "bank", "retry": {"maxAttempts": 1}}]}}}


def outcome(job: dict[str, Any]) -> tuple[int, str]:
    return (1, "") if job["spec"]["template"]["spec"]["containers"][0]["image"] == "broken" else (0, "")


def test_a_circuit_breaker_that_one_process_opens_stops_the_runs_of_all() -> None:
    async def play(loop: VirtualLoop) -> None:
        api = Town(outcome)
        api.put("circuitbreakers", breaker(3))
        crew = Crew(api, loop, shards=4)
        await crew.start("one", "two")
        await crew.until(lambda: sorted(shares(api).values()) == [2, 2])
        apply(api, 12, paying("broken"))
        await crew.until(lambda: all_ended(api))
        assert api.objects["circuitbreakers", "shop", "bank"]["status"]["state"] == "Open"
        made = len(api.created)
        for number in range(8):
            api.apply_run(paying("ok"), f"late-{number}")
        await crew.until(lambda: all_ended(api))
        assert len(api.created) == made, "a call was made although it is open"
        assert {run["status"]["error"]["type"] for run in api.all("workflowruns") if run["metadata"]["name"].startswith("late")} == {
            "CircuitOpen"
        }
        owners = {name for name in ("one", "two") if any(deed.plural == "workflowruns" for deed in api.work_of(name))}
        assert owners == {"one", "two"}

    in_virtual_time(play)


def test_a_circuit_breaker_on_which_some_calls_fail_is_not_written_for_ever_by_processes_that_count_differently() -> None:
    async def play(loop: VirtualLoop) -> None:
        api = Town(outcome)
        api.put("circuitbreakers", breaker(50))
        crew = Crew(api, loop, shards=4)
        await crew.start("one", "two")
        await crew.until(lambda: sorted(shares(api).values()) == [2, 2])
        apply(api, 13, paying("broken"))
        await crew.until(lambda: all_ended(api))
        await crew.pass_time(30)
        written = writes_of(api, "circuitbreakers")
        await crew.pass_time(120)
        assert writes_of(api, "circuitbreakers") == written
        assert api.objects["circuitbreakers", "shop", "bank"]["status"]["state"] == "Closed"

    in_virtual_time(play)


GIVES_UP = {"steps": [{"name": "pay", "job": {"image": "broken"}, "retry": {"maxAttempts": 1}, "onExhausted": "DeadLetter"}]}


def test_dead_letters_are_settled_once_each_by_the_process_of_their_run() -> None:
    """Some of the runs wait for it, of others only the letter is left."""

    async def play(loop: VirtualLoop) -> None:
        api = Town(outcome)
        crew = Crew(api, loop, shards=4)
        await crew.start("one", "two", "three")
        await crew.until(lambda: sorted(shares(api).values()) == [1, 1, 2])
        apply(api, 9, {"workflow": {"inline": GIVES_UP}})
        await crew.until(lambda: len([one for one in api.all("deadletters") if one.get("status")]) == 9)
        for run in api.all("workflowruns")[:4]:
            api.remove("workflowruns", run)
        await crew.pass_time(5)
        asked = api.writes.count(("patch", "deadletters"))
        for letter in api.all("deadletters"):
            meta = {**letter["metadata"]}
            api.put("deadletters", {**letter, "metadata": meta, "spec": {**letter["spec"], "resolution": {"id": "x", "action": "Discard"}}})
        await crew.until(lambda: all((one.get("status") or {}).get("phase") == "Discarded" for one in api.all("deadletters")))
        await crew.until(lambda: all_ended(api))
        await crew.pass_time(5)
        assert api.writes.count(("patch", "deadletters")) - asked <= 2 * 9, "letters are written by several"
        assert Counter(run["status"]["phase"] for run in api.all("workflowruns")) == {"Failed": 5}

    in_virtual_time(play)
