"""DeadLetters under faults: whenever the operator dies or the API server fails, a replay leads to exactly one continuation: the step goes on in
its run, or one new run is started. The operator is the real one; the API server is modelled."""

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from backstay import names
from backstay.engine import journal
from tests.support.fake_api import FakeApi
from tests.support.operating import define, ended, eventually, operating, working

Object = dict[str, Any]
CHARGE: Object = {"name": "charge", "onExhausted": "DeadLetter", "job": {"image": "flaky", "args": ["${params.order}"]}}
PAY: Object = {"parameters": [{"name": "order", "default": "a-17"}], "steps": [CHARGE, {"name": "ship", "job": {"image": "ok"}}]}
RUN: Object = {"workflow": {"name": "pay"}, "parameters": {"order": "a-18"}, "serviceAccountName": "till", "jobLabels": {"team": "blue"}}
REPLAY: Object = {"id": "r1", "action": "Replay"}
FAULTS = ("hang", "hang-after", "conflict", "unavailable", "lost")


def outcome(job: Object) -> tuple[int, str] | None:
    """`flaky` fails the first time that it is tried in a run; in a run that was started from a letter it works at once."""
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    notes = job["metadata"]["annotations"]
    is_first = notes[names.ANNOTATION_ATTEMPT] == "1" and notes[names.ANNOTATION_RUN_NAME] == "r1"
    if image == "never":
        return None
    return (1, "") if image == "broken" or (image == "flaky" and is_first) else (0, orjson.dumps({"v": 7}).decode())


def bank(spec: Object = PAY, run: Object = RUN) -> FakeApi:
    api = FakeApi(outcome)
    define(api, "pay", spec)
    api.apply_run(run)
    return api


def letters(api: FakeApi) -> list[Object]:
    return api.all("deadletters")


def phase_of(letter: Object) -> str:
    return str((letter.get("status") or {}).get("phase"))


def settled(api: FakeApi) -> bool:
    return bool(letters(api)) and all(phase_of(letter) in ("Replayed", "Discarded") for letter in letters(api))


def waits(api: FakeApi) -> bool:
    return bool(letters(api)) and all(letter.get("status") for letter in letters(api))


def resolve(api: FakeApi, resolution: Object = REPLAY, index: int = 0) -> None:
    """A person says what is to become of a letter."""
    letter = copy.deepcopy(letters(api)[index])
    letter["spec"]["resolution"] = resolution
    api.put("deadletters", letter)


def started(api: FakeApi) -> list[Object]:
    """The runs that were started from letters."""
    return [run for run in api.all("workflowruns") if names.LABEL_REPLAYS in (run["metadata"].get("labels") or {})]


def tries(api: FakeApi, run: str = "r1") -> list[str]:
    """Which attempts were made in a run, in order."""
    made = {job["metadata"]["name"]: job["metadata"]["annotations"] for job in api.all("jobs")}
    notes = [made[name] for name in api.created if name in made and made[name][names.ANNOTATION_RUN_NAME] == run]
    return [f"{note[names.ANNOTATION_PATH]}#{note[names.ANNOTATION_ATTEMPT]}" for note in notes]


def phase(api: FakeApi, name: str = "r1") -> str:
    return str(((api.run(name) or {}).get("status") or {}).get("phase"))


def all_ended(api: FakeApi) -> bool:
    return all(ended(api, run["metadata"]["name"]) for run in api.all("workflowruns"))


Act = Callable[[FakeApi], None]


async def lived_through(acts: list[tuple[Callable[[FakeApi], bool], Act]], fault: str | None = None, at: int = 0) -> FakeApi:
    """A letter is written; then people do things, each as soon as it can be done. The operator dies, or is refused, at one write."""
    api = bank()
    api.fault = lambda number, verb, plural: fault if number == at and plural != "events" else None
    left = list(acts)

    def over() -> bool:
        if left and left[0][0](api):
            left.pop(0)[1](api)
        return not left and settled(api) and all_ended(api)

    async with working(api):
        await eventually(lambda: over() or api.hung.is_set())
    if not over():
        async with working(api):
            await eventually(over, f"{fault} at write {at}: {[letter.get('status') for letter in letters(api)]}")
    return api


def cancel(api: FakeApi) -> None:
    api.edit_run(lambda run: run["spec"].update(cancel={"reason": "a whim"}))


def delete(api: FakeApi) -> None:
    api.remove("workflowruns", api.run() or {})


def both(api: FakeApi) -> None:
    """Somebody asks for a replay, and somebody else cancels the run, at the same moment."""
    resolve(api)
    cancel(api)


def both_the_other_way(api: FakeApi) -> None:
    cancel(api)
    resolve(api)


CONTINUED = [(waits, resolve)]
ENDED_FIRST = [(waits, cancel), (lambda api: ended(api), resolve)]
GONE_FIRST = [(waits, delete), (lambda api: api.run() is None, resolve)]
RACE = [(waits, both)]
OTHER_RACE = [(waits, both_the_other_way)]
LATE_RACE: list[tuple[Callable[[FakeApi], bool], Act]] = [(waits, resolve), (lambda api: len(tries(api)) >= 2, cancel)]


async def count_writes(acts: list[tuple[Callable[[FakeApi], bool], Act]]) -> int:
    return len([1 for _, plural in (await lived_through(acts)).writes if plural != "events"]) + 1


def continuations(api: FakeApi) -> int:
    return (1 if "charge#2" in tries(api) else 0) + len(started(api))


# --------------------------------------------------------------------------------------------------------- the usual ways


async def test_a_step_that_gives_up_leaves_a_letter_with_all_that_it_takes() -> None:
    api = bank()
    async with working(api):
        await eventually(lambda: waits(api))
    (letter,) = letters(api)
    spec = letter["spec"]
    assert (spec["run"], spec["workflow"], spec["revision"]) == (
        {"name": "r1", "uid": "run-r1"},
        {"name": "pay"},
        {"name": "pay-1", "number": 1},
    )
    assert (spec["step"], spec["kind"], spec["attempts"], spec["error"]["type"]) == ("charge", "job", 1, "ExitCode")
    assert (spec["parameters"], spec["inputs"]) == ({"order": "a-18"}, {"image": "flaky", "args": ["a-18"]})
    assert (spec["serviceAccountName"], spec["jobLabels"]) == ("till", {"team": "blue"})
    labels = letter["metadata"]["labels"]
    assert (labels["backstay.dev/workflow"], labels["backstay.dev/step"], labels["backstay.dev/error"]) == ("pay", "charge", "ExitCode")
    assert "ownerReferences" not in letter["metadata"]
    assert letter["status"]["message"] == "run r1 waits at the step; a replay goes on with it there"


async def test_what_a_letter_costs() -> None:
    """The letter, its status, and one write of the run more: the letter is there. Then, replayed: the run's own and the letter's status."""
    api = await lived_through(CONTINUED)
    assert api.writes.count(("create", "deadletters")) == 1
    assert api.writes.count(("patch", "deadletters")) in (2, 3)
    assert api.writes.count(("patch", "workflowruns")) == 6


async def test_a_replay_goes_on_in_its_run_and_the_letter_says_so() -> None:
    api = await lived_through(CONTINUED)
    assert (phase(api), tries(api), started(api)) == ("Succeeded", ["charge#1", "charge#2", "ship#1"], [])
    status = letters(api)[0]["status"]
    assert (status["run"], status["resolution"]) == ({"name": "r1", "uid": "run-r1"}, "r1")
    assert "DeadLetter" in status["message"]


async def test_a_new_run_has_the_letters_parameters_and_everything_that_the_old_one_had() -> None:
    api = await lived_through(ENDED_FIRST)
    (run,), (letter,) = started(api), letters(api)
    assert run["spec"] == {
        "workflow": {"name": "pay", "revision": 1},
        "parameters": {"order": "a-18"},
        "serviceAccountName": "till",
        "jobLabels": {"team": "blue"},
    }
    assert (run["metadata"]["labels"][names.LABEL_REPLAYS], run["metadata"]["annotations"]) == (
        letter["metadata"]["uid"],
        {names.ANNOTATION_DEAD_LETTER: letter["metadata"]["name"]},
    )
    assert letter["status"]["run"] == {"name": run["metadata"]["name"], "uid": run["metadata"]["uid"]}
    assert (phase(api), phase(api, run["metadata"]["name"])) == ("Cancelled", "Succeeded")


async def test_a_new_run_is_started_in_the_name_of_who_started_the_old_one() -> None:
    api = bank()
    api.edit_run(lambda run: run["metadata"].update(annotations={names.ANNOTATION_STARTED_BY: "alice"}))
    async with working(api):
        await eventually(lambda: waits(api))
        delete(api)
        resolve(api)
        await eventually(lambda: settled(api))
    assert started(api)[0]["metadata"]["annotations"][names.ANNOTATION_STARTED_BY] == "alice"


async def test_parameters_of_a_new_run_can_be_changed() -> None:
    api = await lived_through(
        [(waits, delete), (lambda api: api.run() is None, lambda api: resolve(api, REPLAY | {"parameters": {"order": "z"}}))]
    )
    assert started(api)[0]["spec"]["parameters"] == {"order": "z"}


async def test_a_discarded_letter_ends_the_run_with_its_error() -> None:
    api = await lived_through([(waits, lambda api: resolve(api, {"id": "r1", "action": "Discard", "reason": "enough"}))])
    assert (phase(api), tries(api), phase_of(letters(api)[0])) == ("Failed", ["charge#1"], "Discarded")
    assert "enough" in letters(api)[0]["status"]["message"]


async def test_a_letter_whose_step_was_retried_by_a_request_follows_and_says_by_whom() -> None:
    request = {"id": "by-hand", "step": "charge", "action": "Retry", "reason": "the bank is back"}
    api = await lived_through([(waits, lambda api: api.edit_run(lambda run: run["spec"].update(requests=[request])))])
    status = letters(api)[0]["status"]
    assert (status["phase"], phase(api)) == ("Replayed", "Succeeded")
    assert "by-hand" in status["message"]
    assert "the bank is back" in status["message"]


async def test_a_step_that_gives_up_again_writes_another_letter_and_each_is_replayed_once() -> None:
    spec = {**PAY, "steps": [{**CHARGE, "job": {"image": "broken"}}]}
    api = bank(spec)
    async with working(api):
        for count in (1, 2, 3):
            await eventually(lambda count=count: len(letters(api)) == count and waits(api))
            resolve(api, REPLAY, count - 1)
        await eventually(lambda: len(letters(api)) == 4 and waits(api))
    found = letters(api)
    assert [letter["spec"].get("previous") for letter in found] == [None, *(letter["metadata"]["name"] for letter in found[:3])]
    assert [phase_of(letter) for letter in found] == ["Replayed"] * 3 + ["Waiting"]
    assert tries(api) == [f"charge#{attempt}" for attempt in (1, 2, 3, 4)]


# ------------------------------------------------------------------------------------------------------------- never twice


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("acts", "ends", "runs"),
    [(CONTINUED, "Succeeded", 0), (ENDED_FIRST, "Cancelled", 1), (GONE_FIRST, "None", 1)],
    ids=["continued", "ended", "gone"],
)
async def test_a_fault_at_any_write_leads_to_the_same_single_continuation(acts: Any, ends: str, runs: int, fault: str) -> None:
    for at in range(await count_writes(acts)):
        api = await lived_through(acts, fault, at)
        where = f"{fault} at write {at}"
        assert (phase(api), len(started(api)), continuations(api)) == (ends, runs, 1), where
        assert [phase_of(letter) for letter in letters(api)] == ["Replayed"], where
        assert len(set(api.created)) == len(api.created), where
        for run in api.all("workflowruns"):
            journal.verify(run["status"])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("acts", [RACE, OTHER_RACE, LATE_RACE], ids=["replay-then-cancel", "cancel-then-replay", "cancel-while-it-goes-on"])
async def test_a_replay_and_a_cancellation_at_once_lead_to_one_continuation_wherever_the_operator_dies(acts: Any, fault: str) -> None:
    for at in range(await count_writes(acts)):
        api = await lived_through(acts, fault, at)
        where = f"{fault} at write {at}: {tries(api)}, {[run['metadata']['name'] for run in started(api)]}"
        assert continuations(api) == 1, where
        assert [phase_of(letter) for letter in letters(api)] == ["Replayed"], where


def restore(api: FakeApi) -> None:
    """The run and its letter come out of a backup: the same, under other UIDs."""
    for plural, one in (("workflowruns", api.run() or {}), ("deadletters", letters(api)[0])):
        api.forget(plural, one["metadata"]["name"])
        restored = copy.deepcopy(one)
        restored["metadata"]["uid"] += "-restored"
        api.put(plural, restored)


async def test_a_run_that_was_restored_with_its_letter_goes_on_and_no_other_is_started() -> None:
    for act in (resolve, both):
        api = await with_a_letter()
        restore(api)
        async with working(api):
            act(api)
            await eventually(lambda api=api: settled(api) and all_ended(api))
        assert continuations(api) == 1
    assert letters(api)[0]["spec"]["run"]["uid"] == "run-r1"


async def test_another_run_of_the_same_name_is_not_the_run_of_the_letter() -> None:
    api = await with_a_letter()
    api.forget("workflowruns", "r1")
    other = api.apply_run({"workflow": {"inline": {"steps": [{**CHARGE, "job": {"image": "never"}}]}}})
    other["metadata"]["uid"] = "another"
    async with working(api):
        resolve(api)
        await eventually(lambda: settled(api))
    assert len(started(api)) == 1


async def test_two_operators_at_once_do_no_harm() -> None:
    for act in (cancel, delete, lambda _: None):
        api = bank()
        async with working(api), working(api):
            await eventually(lambda api=api: waits(api))
            act(api)
            resolve(api)
            await eventually(lambda api=api: settled(api) and all_ended(api))
        assert continuations(api) == 1
        assert len(letters(api)) == 1


async def test_a_new_run_that_ends_and_is_deleted_is_not_started_again() -> None:
    api = await lived_through(ENDED_FIRST)
    api.remove("workflowruns", started(api)[0])
    async with working(api) as operator:
        await eventually(lambda: all(informer.synced.is_set() for informer in operator.letters.informers()))
        await operator.sweeper.round(None)
    assert started(api) == []


async def test_a_letter_of_an_iteration_that_its_run_has_forgotten_is_settled_by_the_journal() -> None:
    """The operator dies after it has written that the step goes on, and before the letter says so; the iteration is long over when the next one looks."""
    boxes = {"name": "pack", "forEach": {"count": 12, "parallelism": 1, "steps": [CHARGE]}}
    api = bank({**PAY, "steps": [boxes]})
    async with working(api):
        await eventually(lambda: waits(api))
        api.fault = lambda number, verb, plural: "unavailable" if (verb, plural) == ("patch", "deadletters") else None
        resolve(api)
        for index in range(1, 12):
            await eventually(lambda index=index: len(letters(api)) == index + 1)
            resolve(api, REPLAY, index)
        await eventually(lambda: ended(api))
    assert not settled(api)
    assert not any(step["path"] == "pack[0]/charge" for step in api.run()["status"]["steps"])  # type: ignore[index]
    api.fault = lambda number, verb, plural: None
    async with working(api):
        await eventually(lambda: settled(api))
    assert (started(api), [phase_of(letter) for letter in letters(api)]) == ([], ["Replayed"] * 12)


# ------------------------------------------------------------------------------------------------------------ told, not suffered


async def refused(api: FakeApi, resolution: Object = REPLAY) -> str:
    """Ask for something that cannot be done, and return what the letter says."""
    async with working(api):
        resolve(api, resolution)
        await eventually(lambda: phase_of(letters(api)[0]) == "Failed")
    return str(letters(api)[0]["status"]["message"])


async def with_a_letter(spec: Object = PAY, run: Object = RUN) -> FakeApi:
    api = bank(spec, run)
    async with working(api):
        await eventually(lambda: waits(api))
    return api


async def test_an_edit_that_makes_no_action_is_refused_in_the_letter_and_another_is_taken() -> None:
    api = await with_a_letter()
    assert "imagine" in await refused(api, REPLAY | {"edit": {"imagine": "x"}})
    assert tries(api) == ["charge#1"]
    async with working(api):
        resolve(api, {"id": "r2", "action": "Replay", "edit": {"args": ["b-19"]}})
        await eventually(lambda: settled(api) and ended(api))
    jobs = [job["spec"]["template"]["spec"]["containers"][0] for job in api.all("jobs")]
    assert [job["args"] for job in jobs if job["image"] == "flaky"] == [["a-18"], ["b-19"]]


async def test_parameters_for_a_run_that_still_waits_are_refused() -> None:
    words = await refused(await with_a_letter(), REPLAY | {"parameters": {"order": "z"}})
    assert "run r1 still waits, and keeps its parameters" in words


async def test_an_edit_for_a_run_that_has_ended_is_refused() -> None:
    api = await with_a_letter()
    delete(api)
    assert "no step waits whose inputs it could change" in await refused(api, REPLAY | {"edit": {"image": "x"}})
    assert started(api) == []


async def test_a_letter_whose_replay_has_failed_knows_when_its_run_has_ended() -> None:
    api = await with_a_letter()
    assert "still waits" in await refused(api, REPLAY | {"parameters": {"order": "z"}})
    async with working(api):
        cancel(api)
        await eventually(lambda: letters(api)[0]["status"].get("runEnded"))
        assert "still waits" in letters(api)[0]["status"]["message"]
        resolve(api, {"id": "r2", "action": "Replay", "parameters": {"order": "z"}})
        await eventually(lambda: settled(api))
    assert started(api)[0]["spec"]["parameters"] == {"order": "z"}


async def test_an_unknown_action_is_refused() -> None:
    assert "'Explode' is none; write Replay or Discard" in await refused(await with_a_letter(), {"id": "r1", "action": "Explode"})


async def test_a_revision_that_is_gone_is_told_with_those_that_are_there() -> None:
    api = await with_a_letter()
    delete(api)
    api.forget("controllerrevisions", "pay-1")
    assert "revision 1 of Workflow pay is gone; there are: none" in await refused(api)


async def test_a_workflow_that_is_gone_is_told_and_a_later_replay_finds_it_again() -> None:
    api = await with_a_letter()
    delete(api)
    workflow = next(item for item in api.all("workflows"))
    api.forget("workflows", "pay")
    assert "there is no Workflow pay in namespace shop any more" in await refused(api)
    api.put("workflows", workflow)
    async with working(api):
        resolve(api, {"id": "r2", "action": "Replay"})
        await eventually(lambda: settled(api))
    assert len(started(api)) == 1


async def test_a_definition_that_stood_in_a_run_that_is_gone_is_told() -> None:
    api = await with_a_letter(run={"workflow": {"inline": PAY}})
    delete(api)
    assert "its definition stood in it alone" in await refused(api)


async def test_a_definition_in_a_run_that_has_ended_is_taken_from_there() -> None:
    api = await with_a_letter(run={"workflow": {"inline": PAY}})
    async with working(api):
        cancel(api)
        resolve(api)
        await eventually(lambda: settled(api) and all_ended(api))
    assert started(api)[0]["spec"]["workflow"] == {"inline": PAY}


async def test_parameters_that_are_too_large_for_a_letter_come_from_the_run_as_long_as_it_is_there() -> None:
    large = {**RUN, "parameters": {"order": "x" * 20_000}}
    api = await with_a_letter(run=large)
    assert letters(api)[0]["spec"]["omitted"] == ["inputs", "parameters"]
    gone = await with_a_letter(run=large)
    async with working(api):
        cancel(api)
        resolve(api)
        await eventually(lambda: settled(api))
    assert started(api)[0]["spec"]["parameters"] == large["parameters"]
    delete(gone)
    assert "its parameters took too much to be kept in the letter" in await refused(gone)


async def test_a_run_of_somebody_else_that_has_the_name_is_left_alone_and_told() -> None:
    api = await with_a_letter()
    name = names.replay_name("r1", letters(api)[0]["metadata"]["uid"])
    api.apply_run({"workflow": {"inline": {"steps": [{"name": "w", "job": {"image": "never"}}]}}}, name)
    delete(api)
    assert f"the WorkflowRun shop/{name} has the name" in await refused(api)


async def test_a_letter_in_a_namespace_that_is_being_deleted_is_told() -> None:
    api = await with_a_letter()
    delete(api)
    api.fault = lambda number, verb, plural: "terminating" if (verb, plural) == ("create", "workflowruns") else None
    assert "the namespace is being deleted" in await refused(api)


async def test_a_lack_of_rights_is_told_and_the_run_is_made_once_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backstay.runtime.dead_letters.TRY_AGAIN_SECONDS", 0.02)
    api = await with_a_letter()
    delete(api)
    api.fault = lambda number, verb, plural: "no right" if (verb, plural) == ("create", "workflowruns") else None
    async with working(api):
        resolve(api)
        await eventually(lambda: "grant this account the right to create workflowruns.backstay.dev" in str(letters(api)[0].get("status")))
        assert phase_of(letters(api)[0]) == "Replaying"
        written = len(api.writes)
        await eventually(lambda: api.writes[written:].count(("create", "workflowruns")) > 3)
        assert ("patch", "deadletters") not in api.writes[written:], "it is written again and again"
        api.fault = lambda number, verb, plural: None
        await eventually(lambda: settled(api))
    assert len(started(api)) == 1


async def test_a_foreign_letter_that_has_the_name_is_left_alone_and_the_run_says_so() -> None:
    api = bank()
    api.fault = lambda number, verb, plural: "hang" if plural == "deadletters" else None
    async with working(api):
        await eventually(lambda: api.hung.is_set())
    letter = next(step["letter"]["name"] for step in api.run()["status"]["steps"] if step["path"] == "charge")  # type: ignore[index]
    foreign = {"run": {"name": "other", "uid": "other"}, "step": "x", "error": {"type": "E"}}
    api.put("deadletters", {"metadata": {"name": letter, "namespace": "shop", "uid": "foreign"}, "spec": foreign})
    api.fault = lambda number, verb, plural: None
    async with working(api):
        await eventually(lambda: any("is of run other; delete it" in str(event) for event in api.all("events")))
        api.forget("deadletters", letter)
        await eventually(lambda: any(item["spec"]["step"] == "charge" for item in letters(api)))


async def test_letters_that_say_nothing_are_left_alone() -> None:
    api = await with_a_letter()
    api.put("deadletters", {"metadata": {"name": "empty", "namespace": "shop", "uid": "e"}, "spec": {"resolution": REPLAY}})
    async with working(api):
        resolve(api)
        await eventually(lambda: phase_of(letters(api)[0]) == "Replayed")
    assert "status" not in next(letter for letter in letters(api) if letter["metadata"]["name"] == "empty")


# ---------------------------------------------------------------------------------------------------------------- its end


async def test_a_settled_letter_leaves_when_its_time_is_over_and_one_that_waits_stays() -> None:
    api = await lived_through(CONTINUED)
    api.apply_run(RUN | {"workflow": {"inline": {**PAY, "steps": [{**CHARGE, "job": {"image": "broken"}}]}}}, "r2")
    async with working(api, dead_letter_ttl_seconds=0.05):
        await eventually(lambda: [letter["spec"]["run"]["name"] for letter in letters(api)] == ["r2"] and waits(api))


async def test_a_settled_letter_stays_for_ever_where_the_installation_says_so() -> None:
    api = await lived_through(CONTINUED)
    api.objects["deadletters", "shop", letters(api)[0]["metadata"]["name"]]["status"]["settledAt"] = "2001-01-01T00:00:00Z"
    async with working(api, dead_letter_ttl_seconds=0) as operator:
        await eventually(lambda: operator.letters.informers()[0].synced.is_set())
        await operator.sweeper.round(None)
    assert len(letters(api)) == 1


async def test_the_revision_of_a_letter_that_waits_is_kept() -> None:
    api = await with_a_letter()
    api.fault = lambda number, verb, plural: None
    delete(api)
    api.forget("workflows", "pay")
    for revision in api.all("controllerrevisions"):
        revision["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    async with operating(api) as operator:
        await eventually(lambda: operator.letters.informers()[0].synced.is_set())
        await operator.sweeper.round(None)
        assert len(api.all("controllerrevisions")) == 1
        resolve(api, {"id": "r1", "action": "Discard", "reason": "enough"})
        await eventually(lambda: settled(api))
        await operator.sweeper.round(None)
    assert api.all("controllerrevisions") == []
