"""retry, skip and give-up: what they ask for, what they print, when they refuse; and what `why` says of a step that is paused."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from backstay.cli import asking
from backstay.cli import main as cli
from backstay.cli.views.why import Cause, Evidence, why
from tests.support.tiny_api import TinyApi, page, reply
from tests.support.world import World
from tests.unit.cli.runs import manifest_of, run_of, soon
from tests.unit.cli.serving import REVISIONS, RUNS, kubeconfig, served

TEXT = "steps: [{name: pay, job: {image: shop/pay}, onExhausted: Pause}, {name: ship, job: {image: ship}}]"
COMMANDS = {
    "retry": (["retry", "order-7f2", "pay"], {"action": "Retry"}, "pay: tried again"),
    "retry with an edit": (
        ["retry", "order-7f2", "pay", "--edit", '{"image": "shop/pay:2"}', "-r", "mended"],
        {"action": "Retry", "edit": {"image": "shop/pay:2"}, "reason": "mended"},
        "pay: tried again, edited as you say",
    ),
    "retry with an edit in YAML": (
        ["retry", "order-7f2", "pay", "--edit", "{args: [a, 'on'], env: null}"],
        {"action": "Retry", "edit": {"args": ["a", "on"], "env": None}},
        "pay: tried again, edited as you say",
    ),
    "skip": (["skip", "wfrun/order-7f2", "pay"], {"action": "Skip"}, "pay: skipped; the run goes on after it"),
    "skip with outputs": (
        ["skip", "order-7f2", "pay", "--outputs", '{"id": "p-9"}'],
        {"action": "Skip", "outputs": {"id": "p-9"}},
        "pay: skipped; the run goes on after it",
    ),
    "give-up": (["give-up", "order-7f2", "pay"], {"action": "GiveUp"}, "pay: given up; it has failed with its error"),
}


def backstay(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), input=given, catch_exceptions=False)


def paused() -> World:
    return World(TEXT).fail("pay", "CardDeclined")


class Answered:
    """A server with one run, which answers whatever is asked of it."""

    def __init__(self, answer: str | None = "Done") -> None:
        self._answer = answer
        self.api: TinyApi | None = None

    def __call__(self, api: TinyApi) -> None:
        self.api = api
        manifest = manifest_of(paused(), resourceVersion="7")
        manifest["status"] = {**manifest["status"], "revision": {"name": "order-r3", "number": 3}}

        async def run(request: Any) -> Any:
            asked = [operation["value"] for call in api.asked_for("PATCH") for operation in call.body if operation["op"] == "add"]
            ids = [item["id"] for value in asked for item in (value if isinstance(value, list) else [value])]
            answers = dict.fromkeys(ids, self._answer) if self._answer else {}
            return await reply({**manifest, "status": {**manifest["status"], "answers": answers}})(request)

        api.answers("GET", f"{RUNS}/order-7f2", run)
        api.answers("GET", RUNS, page([manifest], 7))
        api.answers("GET", f"{REVISIONS}/order-r3", reply({"metadata": {"name": "order-r3"}, "data": paused().program.spec.to_json()}))
        api.answers("PATCH", f"{RUNS}/order-7f2", reply(manifest))


def asked_for(api: TinyApi) -> dict[str, Any]:
    """Return the request that was added, without its id."""
    (call,) = api.asked_for("PATCH")
    test, add = call.body
    assert test["op"] == "test" and test["path"] == "/metadata/uid", "another run of the same name must not be hit"
    (request,) = add["value"]
    assert request.pop("id").startswith("cli-")
    assert request.pop("step") == "pay"
    return dict(request)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_typed_becomes_a_request_and_its_answer_is_told(name: str, tmp_path: Path) -> None:
    arguments, request, words = COMMANDS[name]
    with served(Answered()) as api:
        result = backstay(*arguments, "--kubeconfig", kubeconfig(tmp_path, api))
        assert asked_for(api) == request
    assert (result.exit_code, result.stdout) == (0, f"{words}\n"), result.stderr


@pytest.mark.parametrize("form", ["file", "standard input"])
def test_an_edit_may_stand_in_a_file_or_come_through_a_pipe(form: str, tmp_path: Path) -> None:
    text = "image: shop/pay:2  # mended\nargs: [charge]\n"
    (tmp_path / "edit.yaml").write_text(text)
    where = str(tmp_path / "edit.yaml") if form == "file" else "-"
    with served(Answered()) as api:
        result = backstay("retry", "order-7f2", "pay", "--edit", where, "--kubeconfig", kubeconfig(tmp_path, api), given=text)
        assert asked_for(api) == {"action": "Retry", "edit": {"image": "shop/pay:2", "args": ["charge"]}}, result.stderr


def test_request_and_answer_are_data_too(tmp_path: Path) -> None:
    with served(Answered()) as api:
        result = backstay("give-up", "order-7f2", "pay", "-o", "json", "--kubeconfig", kubeconfig(tmp_path, api))
    told = json.loads(result.stdout)
    assert (told["run"], told["namespace"], told["request"]["step"], told["answer"]) == ("order-7f2", "shop", "pay", "Done")


def test_a_refusal_ends_with_1_and_says_why(tmp_path: Path) -> None:
    with served(Answered("Refused: edit: image: expected text, found the number 7")) as api:
        result = backstay("retry", "order-7f2", "pay", "--edit", "{image: 7}", "--kubeconfig", kubeconfig(tmp_path, api))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "pay: Refused: edit: image: expected text, found the number 7" in result.stderr


def test_where_no_operator_answers_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.3)
    with served(Answered(None)) as api:
        result = backstay("retry", "order-7f2", "pay", "--kubeconfig", kubeconfig(tmp_path, api))
    assert result.exit_code == 0
    assert result.stdout.startswith("pay: asked for; no operator has answered within 0 s, see `kubectl get wfrun order-7f2 -o yaml`")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nowhere.yaml", "--edit: nowhere.yaml: No such file or directory"),
        ("{image: ", "it is no YAML: did not find expected node content; write JSON or YAML"),
        ("{image: a, image: b}", 'the field "image" stands here and in line 1; keep one of them'),
        ("-", '--edit: standard input holds no object; write one, as in --edit \'{"field": "value"}\''),
    ],
)
def test_what_is_no_edit_ends_with_2_before_anything_is_asked(
    given: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = backstay("retry", "order-7f2", "pay", "--edit", given, given="[1, 2]")
    assert result.exit_code == 2 and words in result.stderr, result.stderr


def test_a_step_that_has_not_begun_is_told_with_what_goes_on(tmp_path: Path) -> None:
    with served(Answered()) as api:
        result = backstay("retry", "order-7f2", "ship", "--kubeconfig", kubeconfig(tmp_path, api))
        assert api.asked_for("PATCH") == []
    assert result.exit_code == 1 and 'no step "ship" of order-7f2 has begun' in result.stderr


# ------------------------------------------------------------------------------------------------------------------- why


def test_why_says_what_can_be_done_about_a_paused_step_in_the_very_commands() -> None:
    world = paused()
    answer = why(run_of(world), Evidence(), soon(world))
    assert (answer.cause, answer.step) == (Cause.PERSON, "pay")
    assert answer.sentence == "step pay is paused after 1 attempt (CardDeclined: CardDeclined happened) and waits for a person"
    for command in ("retry", "skip", "give-up"):
        assert f"`backstay {command} order-7f2 pay -n shop`" in answer.mend
    assert "`backstay logs order-7f2 pay -n shop`" in answer.mend


def test_a_path_that_a_shell_would_read_differently_is_quoted() -> None:
    world = World("steps: [{name: pack, forEach: {in: [1], steps: [{name: box, job: {image: i}, onExhausted: Pause}]}}]").fail(
        "pack[0]/box"
    )
    assert "`backstay retry order-7f2 'pack[0]/box' -n shop`" in why(run_of(world), Evidence(), soon(world)).mend


def test_a_paused_step_comes_before_steps_that_go_on_by_themselves() -> None:
    world = World(
        "steps: [{name: p, parallel: {branches: [{name: a, steps: [{name: slow, job: {image: i}}]}, "
        "{name: b, steps: [{name: pay, job: {image: i}, onExhausted: Pause}]}]}}]"
    ).fail("p/b/pay")
    answer = why(run_of(world), Evidence(), soon(world))
    assert (answer.step, answer.others) == ("p/b/pay", ("p/a/slow",))
