"""backstay deadletters, replay and discard: what they show, what they ask for and of whom, and how they end."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from backstay.cli import main as cli
from backstay.cli.commands import deadletters as commands
from backstay.cli.failures import Exit, Usage
from backstay.cli.views.deadletters import pause_of, plan, table
from tests.support.tiny_api import TinyApi, page, reply, status
from tests.unit.cli.serving import NAMESPACE, kubeconfig, served

LETTERS = f"/apis/backstay.dev/v1alpha1/namespaces/{NAMESPACE}/deadletters"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
Object = dict[str, Any]


def letter(name: str = "a-charge-1", phase: str = "", message: str = "", *, resolution: Object | None = None, **of_status: Any) -> Object:
    spec = {
        "run": {"name": "a", "uid": "u"},
        "workflow": {"name": "order"},
        "step": "charge",
        "kind": "job",
        "attempts": 3,
        "error": {"type": "CardDeclined"},
    }
    shown = ({"phase": phase, "message": message} if phase else {}) | of_status
    meta = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "resourceVersion": "7", "creationTimestamp": "2026-11-23T11:00:00Z"}
    return {"metadata": meta, "spec": spec | ({"resolution": resolution} if resolution else {}), "status": shown}


def backstay(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), prog_name="backstay", catch_exceptions=False)


def asked(api: TinyApi) -> list[Object]:
    """What was set: the resolutions, without their ids."""
    found = [patch for call in api.asked_for("PATCH") for patch in call.body if patch["path"] == "/spec/resolution"]
    return [{key: value for key, value in patch["value"].items() if key != "id"} for patch in found]


# --------------------------------------------------------------------------------------------------------------- pieces


def test_the_table_shows_where_each_letter_stands() -> None:
    younger = letter("b-ship-2", "Waiting")
    younger["metadata"]["creationTimestamp"] = "2026-11-23T11:59:00Z"
    assert table([younger, letter(phase="Replayed")], NOW) == [
        "NAME         RUN   STEP     ERROR          PHASE      AGE",
        "a-charge-1   a     charge   CardDeclined   Replayed   1h",
        "b-ship-2     a     charge   CardDeclined   Waiting    1m",
    ]


def test_the_wide_table_says_why() -> None:
    header, row = table([letter(phase="Failed", message="no\nsuch revision")], NOW, wide=True)
    assert header.split()[-3:] == ["WORKFLOW", "ATTEMPTS", "MESSAGE"]
    assert row.endswith("order      3          no such revision")


@pytest.mark.parametrize(("rate", "seconds"), [("10/m", 6.0), ("2/s", 0.5), ("60/h", 60.0)])
def test_a_rate_is_a_pause_between_two(rate: str, seconds: float) -> None:
    assert pause_of(rate) == timedelta(seconds=seconds)


@pytest.mark.parametrize("rate", ["fast", "0/s", "10", "10/d", "-1/s"])
def test_what_is_no_rate_is_told(rate: str) -> None:
    with pytest.raises(Usage, match="write how many within a second, a minute or an hour, as in 10/m"):
        pause_of(rate)


ASKED = {"id": "x", "action": "Replay"}


def test_a_plan_says_where_a_step_would_go_on() -> None:
    assert plan(letter(), "Replay").words == "a-charge-1: replay step charge in run a (CardDeclined)"
    assert plan(letter(phase="Waiting", runEnded=True), "Replay").words == "a-charge-1: replay step charge by a new run (CardDeclined)"


@pytest.mark.parametrize(
    ("found", "options", "words"),
    [
        (letter(phase="Replayed", message="run a goes on"), {}, "a-charge-1 is Replayed: run a goes on"),
        (letter(phase="Replaying", resolution=ASKED), {}, "somebody has asked for something already"),
        (letter(runEnded=True), {"edit": True}, "run a has ended, so no step waits whose inputs --edit could change"),
        (letter(), {"parameters": True}, "run a still waits, and keeps its parameters"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_it_is(found: Object, options: dict[str, bool], words: str) -> None:
    assert words in plan(found, "Replay", **options).refusal


def test_after_a_failure_another_resolution_may_be_set() -> None:
    failed = letter(phase="Failed", resolution=ASKED)
    failed["status"]["resolution"] = "x"
    assert plan(failed, "Replay").refusal == ""


# --------------------------------------------------------------------------------------------------------------- commands


def test_the_list_is_empty_in_words_or_as_data(tmp_path: Path) -> None:
    with served(lambda api: api.answers("GET", LETTERS, page([], 7))) as api:
        result = backstay("deadletters", "--kubeconfig", kubeconfig(tmp_path, api))
        assert (result.stdout, result.stderr) == ("", "there are no DeadLetters in namespace shop\n")
        data = backstay("deadletters", "-o", "json", "--kubeconfig", kubeconfig(tmp_path, api))
        assert json.loads(data.stdout)["items"] == []


def test_the_list_goes_by_labels_and_by_run(tmp_path: Path) -> None:
    other = letter("b-charge-2")
    other["spec"]["run"]["name"] = "b"
    with served(lambda api: api.answers("GET", LETTERS, page([letter(), other], 7))) as api:
        result = backstay(
            "deadletters", "-l", "backstay.dev/error=CardDeclined", "--run", "b", "-o", "name", "--kubeconfig", kubeconfig(tmp_path, api)
        )
        assert result.stdout == "b-charge-2\n"
        assert api.asked_for("GET")[0].query["labelSelector"] == "backstay.dev/error=CardDeclined"


def replaying(*after: Object) -> Any:
    """Prepare a server whose letter is asked for something, and then becomes `after`."""

    def prepare(api: TinyApi) -> None:
        api.answers("GET", f"{LETTERS}/a-charge-1", reply(letter()), *map(reply, after))
        api.answers("PATCH", f"{LETTERS}/a-charge-1", reply(letter()))

    return prepare


def test_one_letter_is_replayed_and_the_answer_is_told(tmp_path: Path) -> None:
    with served(replaying(letter(phase="Replaying"), letter(phase="Replayed", message="run a goes on with the step"))) as api:
        result = backstay(
            "replay", "dl/a-charge-1", "--edit", '{"args": ["x"]}', "--reason", "mended", "--kubeconfig", kubeconfig(tmp_path, api)
        )
        assert (result.exit_code, result.stdout) == (0, "a-charge-1: Replayed: run a goes on with the step\n")
        assert asked(api) == [{"action": "Replay", "edit": {"args": ["x"]}, "reason": "mended"}]
        assert api.asked_for("PATCH")[0].body[0] == {"op": "test", "path": "/metadata/uid", "value": "uid-a-charge-1"}


def test_a_refusal_by_the_operator_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "1")
    failed = letter(phase="Failed", message="spec.resolution: edit: no")
    failed["status"]["resolution"] = "cli-1"
    with served(replaying(failed)) as api:
        result = backstay("replay", "a-charge-1", "--kubeconfig", kubeconfig(tmp_path, api))
    assert (result.exit_code, result.stdout) == (Exit.FAILED, "a-charge-1: Failed: spec.resolution: edit: no\n")


def test_no_answer_in_time_ends_with_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ANSWER_SECONDS", 0.05)
    with served(replaying(letter(phase="Replaying"))) as api:
        result = backstay("replay", "a-charge-1", "--kubeconfig", kubeconfig(tmp_path, api))
    assert (result.exit_code, result.stdout) == (
        Exit.TIMEOUT,
        "1 not answered within 0 s (`backstay deadletters` shows how they stand)\n",
    )


def many(api: TinyApi) -> None:
    waiting = [letter(f"l{number}") for number in range(3)]
    settled = letter("done", "Replayed")
    after = [letter(f"l{number}", "Replayed", "it goes on") for number in range(3)]
    api.answers("GET", LETTERS, page([*waiting, settled], 7), page([*after, settled], 8))
    for number in range(3):
        api.answers("PATCH", f"{LETTERS}/l{number}", reply(letter(f"l{number}")))
        api.answers("GET", f"{LETTERS}/l{number}", status(503, "ServiceUnavailable"), reply(after[number]))


def test_many_by_selector_are_asked_one_after_the_other_with_a_summary(tmp_path: Path) -> None:
    with served(many) as api:
        result = backstay("replay", "-l", "backstay.dev/error=CardDeclined", "--rate", "1000/s", "--kubeconfig", kubeconfig(tmp_path, api))
        assert len(asked(api)) == 3
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line for line in lines if "asked" in line] == [f"l{number}: asked ({number + 1}/3)" for number in range(3)]
    assert sorted(line for line in lines if "Replayed:" in line) == [f"l{number}: Replayed: it goes on" for number in range(3)]
    assert lines[-1] == "3 replayed"


def test_a_rate_keeps_its_distance(tmp_path: Path) -> None:
    with served(many) as api:
        began = time.monotonic()
        backstay("replay", "--all", "--rate", "10/s", "--kubeconfig", kubeconfig(tmp_path, api))
    assert time.monotonic() - began >= 0.2


def test_a_dry_run_asks_for_nothing(tmp_path: Path) -> None:
    with served(many) as api:
        result = backstay("discard", "--all", "--reason", "over", "--dry-run", "--kubeconfig", kubeconfig(tmp_path, api))
        assert asked(api) == []
    assert result.stdout.splitlines()[0] == "l0: discard (CardDeclined of step charge of run a); nothing was asked (--dry-run)"


def test_nothing_to_decide_is_no_error(tmp_path: Path) -> None:
    with served(lambda api: api.answers("GET", LETTERS, page([letter(phase="Replayed")], 7))) as api:
        result = backstay("replay", "--all", "--kubeconfig", kubeconfig(tmp_path, api))
    assert (result.exit_code, result.stderr) == (0, "there is nothing to decide: no DeadLetter like that waits\n")


def test_one_that_is_not_there_does_not_keep_the_others_from_being_asked(tmp_path: Path) -> None:
    def prepare(api: TinyApi) -> None:
        replaying(letter(phase="Replayed", message="on"))(api)
        api.answers("GET", f"{LETTERS}/none", status(404, "NotFound", 'deadletters.backstay.dev "none" not found'))

    with served(prepare) as api:
        result = backstay("replay", "none", "a-charge-1", "--kubeconfig", kubeconfig(tmp_path, api))
    assert (result.exit_code, result.stdout) == (Exit.CLUSTER, "a-charge-1: Replayed: on\n")
    assert 'there is no DeadLetter "none" in namespace "shop"' in result.stderr


def test_one_that_somebody_else_has_resolved_meanwhile_is_told(tmp_path: Path) -> None:
    def prepare(api: TinyApi) -> None:
        replaying()(api)
        api.answers("PATCH", f"{LETTERS}/a-charge-1", status(422, "Invalid", "a resolution is set once"))

    with served(prepare) as api:
        result = backstay("replay", "a-charge-1", "--kubeconfig", kubeconfig(tmp_path, api))
    assert (result.exit_code, "a resolution is set once" in result.stderr) == (Exit.FAILED, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay"], "say which: names, or -l SELECTOR, or --all"),
        (["replay", "a", "--all"], "say which: names, or -l SELECTOR, or --all"),
        (["replay", "a", "--edit", "[1]"], "--edit holds no object"),
        (["replay", "a", "--edit", "{"], "--edit is neither JSON nor YAML"),
        (["replay", "a", "--parameters", "@/nowhere.yaml"], "--parameters @/nowhere.yaml cannot be read"),
        (["replay", "a", "--rate", "soon"], "--rate soon: that is no rate"),
        (["discard", "a", "--reason", " "], "--reason is empty"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(arguments: list[str], words: str) -> None:
    result = backstay(*arguments)
    assert (result.exit_code, words in result.stderr) == (Exit.USAGE, True)


def test_an_edit_can_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "edit.yaml").write_text("args: [x]\n")
    with served(replaying(letter(phase="Replayed", message="on"))) as api:
        backstay("replay", "a-charge-1", "--edit", f"@{tmp_path / 'edit.yaml'}", "--kubeconfig", kubeconfig(tmp_path, api))
        assert asked(api) == [{"action": "Replay", "edit": {"args": ["x"]}}]
