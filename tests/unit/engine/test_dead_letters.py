"""DeadLetters as the engine sees them: a step that gives up wants one, and what becomes of it is decided by one write of the run."""

from typing import Any

import pytest

from backstay.api.dead_letter import LetterPhase
from backstay.engine import letters
from backstay.engine.letters import Resolution, Seen, Standing
from backstay.engine.model import CreateDeadLetter, Fault, Wish
from tests.support.world import World

CHARGE = """
steps:
- name: charge
  onExhausted: DeadLetter
  job: {image: "shop/pay:3", args: [charge, "${params.order}"], env: [{name: MODE, value: live}]}
- {name: ship, job: {image: "shop/ship:1"}}
"""
PARAMETERS = "parameters: [{name: order, default: a-17}]\n"


def gave_up(text: str = PARAMETERS + CHARGE, path: str = "charge", error: str = "CardDeclined") -> World:
    return World(text).fail(path, error)


def letter_of(world: World, path: str = "charge") -> dict[str, str]:
    return dict(world.step(path).letter or {})


# ------------------------------------------------------------------------------------------------------------ giving up


def test_a_step_that_gives_up_waits_and_writes_a_letter_with_its_error_and_its_inputs() -> None:
    world = gave_up()
    (written,) = world.written
    assert (world.phase, world.phases()) == ("Running", {"charge": "Paused"})
    assert (written.path, written.kind, written.attempt, written.error.type) == ("charge", "job", 1, "CardDeclined")
    assert written.inputs == {"image": "shop/pay:3", "args": ["charge", "a-17"], "env": [{"name": "MODE", "value": "live"}]}
    assert (written.is_cut, written.previous) == (False, "")


def test_the_journal_tells_that_the_letter_is_there_and_the_inputs_leave_the_status() -> None:
    world = gave_up()
    assert world.story[-2:] == ["StepPaused charge", "DeadLetterWritten charge"]
    assert letter_of(world)["uid"] == "letter-1"
    assert world.step("charge").inputs is None


def test_a_letter_that_a_crash_has_lost_is_wanted_until_it_is_there_and_always_the_same() -> None:
    world = World(PARAMETERS + CHARGE)
    world.loses_letters = True
    world.fail("charge", "CardDeclined")
    assert (world.written, world.step("charge").inputs is None) == ([], False)
    world.pass_time("5m")
    world.loses_letters = False
    world.look()
    assert [written.name for written in world.written] == [letter_of(world)["name"]]


def test_a_letter_that_somebody_has_deleted_is_not_written_again() -> None:
    world = gave_up()
    world.letters.clear()
    world.look()
    assert (len(world.written), world.phases()) == (1, {"charge": "Paused"})


def test_inputs_that_are_too_large_are_left_out_and_the_letter_says_so() -> None:
    world = World("parameters: [{name: order}]\n" + CHARGE, {"order": "x" * 20_000}).fail("charge", "CardDeclined")
    (written,) = world.written
    assert (written.inputs, written.is_cut) == (None, True)


def test_a_step_whose_own_expressions_fail_gives_up_without_inputs() -> None:
    world = World("steps: [{name: charge, onExhausted: DeadLetter, job: {image: 'x', args: ['${string(vars.none)}']}}]")
    (written,) = world.written
    assert (written.error.type, written.attempt, written.inputs) == ("ExpressionError", 0, None)


def test_a_step_that_only_pauses_writes_none() -> None:
    world = gave_up((PARAMETERS + CHARGE).replace("DeadLetter", "Pause"))
    assert (world.phases(), world.written, world.step("charge").letter) == ({"charge": "Paused"}, [], None)


def test_retries_and_handlers_of_its_own_come_first() -> None:
    text = CHARGE.replace(
        "onExhausted: DeadLetter", "onExhausted: DeadLetter\n  retry: {maxAttempts: 2, interval: 1s, jitter: None, errors: ['*']}"
    )
    world = World(PARAMETERS + text).fail("charge", "CardDeclined")
    assert world.written == []
    world.pass_time("1s").fail("charge", "CardDeclined")
    assert [written.attempt for written in world.written] == [2]


def test_items_of_a_loop_write_a_letter_each() -> None:
    world = World(
        "steps: [{name: pack, forEach: {in: '${[1, 2]}', steps: [{name: box, onExhausted: DeadLetter, job: {image: x, args: ['${string(item)}']}}]}}]"
    )
    for index in (0, 1):
        world.fail(f"pack[{index}]/box", "OutOfStock")
    assert [written.path for written in world.written] == ["pack[0]/box", "pack[1]/box"]
    assert len({written.name for written in world.written}) == 2


# ------------------------------------------------------------------------------------------------------------ replaying


def test_a_replay_goes_on_with_the_step_where_its_run_waits() -> None:
    world = gave_up().resolve("charge", "Replay", reason="the bank is back")
    assert world.running == ["charge"]
    assert world.step("charge").attempt == 2
    assert letter_of(world)["outcome"] == "Continued"
    assert letter_of(world)["by"] == f"DeadLetter {letter_of(world)['name']} (r1): the bank is back"
    assert world.succeed("charge").succeed("ship").phase == "Succeeded"


def test_a_replay_with_an_edit_changes_the_inputs_of_the_attempts_that_follow() -> None:
    world = gave_up().resolve("charge", "Replay", edit={"args": ["charge", "b-18"]})
    assert world.made[-1].inputs["args"] == ["charge", "b-18"]
    assert world.made[-1].inputs["image"] == "shop/pay:3"


def test_a_replay_that_is_seen_again_and_again_is_one_attempt() -> None:
    world = gave_up().resolve("charge", "Replay")
    for _ in range(5):
        world.look()
    assert [made.attempt for made in world.made] == [1, 2]


def test_a_step_that_gives_up_again_writes_another_letter_that_names_the_one_before() -> None:
    world = gave_up().resolve("charge", "Replay").fail("charge", "CardDeclined")
    first, second = world.written
    assert (second.previous, second.attempt) == (first.name, 2)
    assert first.name != second.name
    assert letter_of(world)["name"] == second.name
    assert world.phases() == {"charge": "Paused"}


def test_the_old_letter_says_nothing_to_the_step_that_has_given_up_again() -> None:
    world = gave_up().resolve("charge", "Replay").fail("charge", "CardDeclined")
    world.look()
    assert [made.attempt for made in world.made] == [1, 2]


def test_a_step_that_gives_up_again_before_another_attempt_could_be_made_writes_another_letter() -> None:
    world = World("steps: [{name: charge, onExhausted: DeadLetter, job: {image: 'x', args: ['${string(vars.none)}']}}]")
    world.resolve("charge", "Replay")
    assert len({written.name for written in world.written}) == 2


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"image": 3}, "image"),
        ({"imagine": "x"}, "imagine"),
        ({"image": None}, "image"),
        ({"serviceAccountName": "root"}, "serviceAccountName"),
        ({"template": {"spec": {"hostNetwork": True}}}, "template"),
        ({"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "k"}}}]}, "env[0].valueFrom"),
    ],
)
def test_an_edit_that_makes_no_action_is_refused_and_the_step_waits_on(edit: dict[str, Any], words: str) -> None:
    world = gave_up().resolve("charge", "Replay", edit=edit)
    assert world.phases() == {"charge": "Paused"}
    assert letter_of(world)["refused"] == "r1"
    assert words in letter_of(world)["why"]
    assert len(world.made) == 1


def test_after_a_refusal_another_resolution_is_heard() -> None:
    world = gave_up().resolve("charge", "Replay", edit={"imagine": "x"}).resolve("charge", "Replay", edit={"image": "shop/pay:4"}, id_="r2")
    assert world.made[-1].inputs["image"] == "shop/pay:4"


def test_a_discarded_letter_lets_the_step_fail_with_its_error() -> None:
    world = gave_up().resolve("charge", "Discard", reason="the customer is gone")
    error = world.state.run.error
    assert (world.phase, error and error.type) == ("Failed", "CardDeclined")
    assert letter_of(world)["outcome"] == "GivenUp"


def test_a_handler_around_sees_the_error_of_a_discarded_letter() -> None:
    text = """
steps:
- name: pay
  catch: [{errors: [CardDeclined], steps: [{name: tell, set: {declined: true}}]}]
  steps: [{name: charge, onExhausted: DeadLetter, job: {image: x}}]
"""
    world = gave_up(text, "pay/charge").resolve("pay/charge", "Discard", reason="enough")
    assert (world.phase, world.state.run.vars) == ("Succeeded", {"declined": True})


def test_a_letter_of_a_run_that_is_being_cancelled_is_not_taken_up() -> None:
    """The resolution and the cancellation are seen at the same moment: the cancellation wins, in the same write."""
    world = gave_up()
    world.wish = Wish(cancel=True)
    world.resolve("charge", "Replay")
    assert (world.phase, len(world.made)) == ("Cancelled", 1)
    assert "outcome" not in letter_of(world)


def test_a_letter_that_was_taken_up_before_the_run_is_cancelled_says_so_for_ever() -> None:
    world = gave_up().resolve("charge", "Replay").wants(cancel=True)
    assert (world.phase, letter_of(world)["outcome"]) == ("Cancelled", "Continued")


def test_a_run_that_is_being_ended_waits_for_its_finally_and_hears_of_its_letter() -> None:
    cleaned = "  finally: [{name: clean, onExhausted: DeadLetter, job: {image: clean}}]\n"
    world = World("steps:\n- name: charge\n  job: {image: x}\n" + cleaned).wants(cancel=True)
    world.fail("charge:finally/clean", "Broken")
    assert (world.phase, [written.path for written in world.written]) == ("Stopping", ["charge:finally/clean"])
    world.resolve("charge:finally/clean", "Replay").succeed("charge:finally/clean")
    assert world.phase == "Cancelled"


def test_a_suspended_run_takes_a_replay_up_when_it_goes_on() -> None:
    world = gave_up().wants(suspend=True).resolve("charge", "Replay")
    assert len(world.made) == 1
    assert world.wants(suspend=False).running == ["charge"]


def test_another_letter_of_the_run_changes_nothing() -> None:
    world = gave_up()
    world.letters["other"] = world.letters.pop(letter_of(world)["name"])
    assert world.look().phases() == {"charge": "Paused"}


# --------------------------------------------------------------------------------------------- what becomes of the letter

REPLAY, DISCARD = Resolution("r1", "Replay"), Resolution("r1", "Discard", reason="enough")
WAITS = Seen(Standing.GOING, "Running", is_waiting=True)
STOPPED = Seen(Standing.GOING, "Running")
ENDED = Seen(Standing.ENDED, "Cancelled")
GONE = Seen(Standing.GONE)
LOST = Seen(Standing.ENDED, "Failed", unknown="its record cannot be read")
DONE = Seen(Standing.GOING, "Running", outcome="Continued", by="request x")
TABLE: list[tuple[str, Seen, Resolution | None, str, bool, str]] = [
    ("waits, nobody says", WAITS, None, "Waiting", False, "run order waits at the step; a replay goes on with it there"),
    ("waits, replay", WAITS, REPLAY, "Replaying", False, "run order is to take it up"),
    ("waits, discard", WAITS, DISCARD, "Replaying", False, "run order is to take it up"),
    ("waits, refused", Seen(Standing.GOING, is_waiting=True, refused="r1", why="edit: no"), REPLAY, "Failed", False, "edit: no"),
    ("waits, another was refused", Seen(Standing.GOING, is_waiting=True, refused="r0", why="no"), REPLAY, "Replaying", False, "take it up"),
    ("waits, parameters", WAITS, Resolution("r1", "Replay", parameters={"a": 1}), "Failed", False, "still waits, and keeps its parameters"),
    ("stopped, nobody says", STOPPED, None, "Waiting", False, "a new run is started once it has ended"),
    ("stopped, replay", STOPPED, REPLAY, "Replaying", False, "a new run is started once it has ended"),
    ("stopped, discard", STOPPED, DISCARD, "Discarded", False, "enough"),
    ("ended, nobody says", ENDED, None, "Waiting", False, "run order has ended (Cancelled); a replay starts a new run"),
    ("ended, replay", ENDED, REPLAY, "Replaying", True, "a new run is started"),
    ("ended though its record waits", Seen(Standing.ENDED, "Failed", is_waiting=True), REPLAY, "Replaying", True, "a new run"),
    ("ended, edit", ENDED, Resolution("r1", "Replay", edit={}), "Failed", False, "no step waits whose inputs it could change"),
    ("ended, discard", ENDED, DISCARD, "Discarded", False, "enough"),
    ("gone, nobody says", GONE, None, "Waiting", False, "run order is gone; a replay starts a new run"),
    ("gone, replay", GONE, REPLAY, "Replaying", True, "run order is gone"),
    ("nobody can tell", LOST, REPLAY, "Failed", False, "nobody can tell whether it had taken this up"),
    ("nobody can tell, discard", LOST, DISCARD, "Discarded", False, "enough"),
    ("taken up", DONE, None, "Replayed", False, "run order goes on with the step (request x)"),
    ("taken up, then ended", Seen(Standing.ENDED, "Failed", outcome="Continued"), REPLAY, "Replayed", False, "goes on with the step"),
    ("skipped", Seen(Standing.GOING, outcome="Skipped", by="request x"), None, "Discarded", False, "was skipped (request x)"),
    ("given up", Seen(Standing.ENDED, outcome="GivenUp"), REPLAY, "Discarded", False, "the step has failed"),
    ("no action", WAITS, Resolution("r1", "Explode"), "Failed", False, "'Explode' is none; write Replay or Discard"),
]


@pytest.mark.parametrize(("case", "seen", "wanted", "phase", "starts", "words"), TABLE, ids=[row[0] for row in TABLE])
def test_what_becomes_of_a_letter(case: str, seen: Seen, wanted: Resolution | None, phase: str, starts: bool, words: str) -> None:
    verdict = letters.judge("order", wanted, seen)
    assert (verdict.phase, verdict.starts) == (LetterPhase(phase), starts)
    assert words in verdict.message


def test_a_new_run_is_started_in_no_other_case_than_that_the_end_is_certain_and_nothing_was_taken_up() -> None:
    starting = [(seen, wanted) for _, seen, wanted, _, starts, _ in TABLE if starts]
    assert all(seen.standing is not Standing.GOING and not seen.outcome and not seen.unknown for seen, _ in starting)
    assert all(wanted is not None and wanted.action == "Replay" for _, wanted in starting)


def test_a_letter_that_its_step_has_left_behind_for_another_was_taken_up() -> None:
    world = gave_up()
    first = letter_of(world)["name"]
    world.resolve("charge", "Replay").fail("charge", "CardDeclined")
    written = letters.written_of(world.state, "charge", first) or {}
    assert written["outcome"] == "Continued"


def test_a_run_that_knows_nothing_of_a_step_knows_nothing_of_its_letter() -> None:
    assert letters.written_of(gave_up().state, "pack[0]/box", "x") is None


def test_an_effect_names_the_letter_and_nothing_that_the_run_knows_already() -> None:
    (written,) = gave_up().written
    assert written == CreateDeadLetter(
        written.name, "charge", "job", 1, Fault("CardDeclined", "", "CardDeclined happened", "charge", 1), written.at, written.inputs
    )
