"""The commands as a user types them: what they print, where, and with which exit code they end."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from backstay.cli import main as cli
from backstay.cli.failures import Exit
from backstay.cli.options import guard
from tests.support.tiny_api import TinyApi, page, reply, status, stream
from tests.support.world import World
from tests.unit.cli.runs import manifest_of
from tests.unit.cli.serving import REVISIONS, RUNS, WORKFLOWS, kubeconfig, missing, served

COMMANDS = [
    "run",
    "tree",
    "why",
    "logs",
    "history",
    "verify",
    "export",
    "suspend",
    "resume",
    "cancel",
    "deadletters",
    "replay",
    "discard",
    "graph",
    "lint",
    "dev",
    "version",
    "operator",
    "selftest",
]
SAGA = """
steps:
- {name: reserve, job: {image: stock}, compensate: {job: {image: stock}}}
- {name: ship, job: {image: ship}}
"""
SPEC: dict[str, Any] = {
    "parameters": [{"name": "amount", "schema": {"type": "number", "minimum": 0}}],
    "steps": [{"name": "reserve", "job": {"image": "stock"}}],
}


def backstay(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), input=given, prog_name="backstay", catch_exceptions=False)


def run_manifest(world: World, version: int = 7) -> dict[str, Any]:
    manifest = manifest_of(world, resourceVersion=str(version))
    return {**manifest, "status": {**manifest["status"], "revision": {"name": "order-r3", "number": 3}}}


def serving(world: World, *, runs: list[Any] | None = None) -> Any:
    """Prepare a server that has one run and the revision that it runs."""

    def prepare(api: TinyApi) -> None:
        api.answers("GET", f"{RUNS}/order-7f2", reply(run_manifest(world)))
        api.answers("GET", f"{RUNS}/ordr-7f2", missing("ordr-7f2"))
        api.answers("GET", RUNS, page(runs if runs is not None else [run_manifest(world)], 7))
        api.answers("GET", f"{REVISIONS}/order-r3", reply({"metadata": {"name": "order-r3"}, "data": world.program.spec.to_json()}))

    return prepare


# ---------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = backstay(command, "--help")
    assert result.exit_code == 0
    assert f"Usage: backstay {command}" in result.stdout
    if command != "version":
        assert re.search(rf"Examples?:\n(.*\n)*?\s+(\S+ \| )?(backstay|helm) .*{command if command != 'lint' else ''}", result.stdout)


def test_the_overview_lists_every_command_and_every_exit_code() -> None:
    text = backstay("--help").stdout
    assert all(re.search(rf"^  {command} ", text, re.MULTILINE) for command in COMMANDS)
    assert all(re.search(rf"^    {int(code)}  ", text, re.MULTILINE) for code in Exit if code is not Exit.INTERRUPTED)


def test_as_a_plugin_it_speaks_of_itself_as_kubectl_does(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/local/bin/kubectl-backstay", "tree", "--help"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("Usage: kubectl backstay tree")


def test_the_version_is_also_data() -> None:
    assert json.loads(backstay("version", "-o", "json").stdout)["api"] == "backstay.dev/v1alpha1"


# --------------------------------------------------------------------------------------------------------------- failing


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command"),
        (["tree"], "Missing argument"),
        (["tree", "x", "-w", "-o", "json"], "--watch draws"),
        (["tree", "pod/x"], "'pod/x' is no run"),
        (["run", "order", "-p", "a"], "there is no = in it"),
        (["run", "order", "--timeout", "1m"], "--timeout limits --watch or --wait"),
        (["run", "order", "--wait", "--timeout", "soon"], "is no duration"),
        (["run", "order", "--wait", "--watch"], "--watch waits as well"),
        (["run", "order", "-o", "xml"], "-o xml is unknown"),
        (["run", "order", "-f", "/nowhere.yaml"], "/nowhere.yaml cannot be read"),
        (["logs", "x", "--previous", "--attempt", "1"], "--previous and --attempt"),
        (["graph"], "name a Workflow or a run"),
        (["lint", "/nowhere"], "/nowhere cannot be read"),
        (["operator", "--log-level", "loud"], "loud"),
        (["operator", "--log-format", "xml"], 'log format "xml" is unknown'),
    ],
)
def test_what_was_typed_wrong_ends_with_2_and_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    with served(lambda api: api.answers("GET", f"{WORKFLOWS}/order", reply(_workflow()))) as api:
        place = ["--kubeconfig", kubeconfig(tmp_path, api)] if arguments[0] not in ("nonsense", "lint") else []
        result = backstay(*arguments, *place)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr and "Traceback" not in result.stderr


def test_a_cluster_that_is_not_there_ends_with_5_and_says_what_to_do(tmp_path: Path) -> None:
    with served(lambda api: None) as api:
        config = kubeconfig(tmp_path, api)
    result = backstay("tree", "order-7f2", "--kubeconfig", config)
    assert result.exit_code == 5
    assert re.fullmatch(r"error: the API server does not answer \(.*\); is the cluster running\?.*\n", result.stderr)


def test_no_kubeconfig_at_all_ends_with_5(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    result = backstay("why", "order-7f2")
    assert result.exit_code == 5 and "--kubeconfig" in result.stderr and "backstay dev" in result.stderr


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status(404, "NotFound", "the server could not find the requested resource"), "install them: kubectl apply --server-side -f crds/"),
        (
            status(403, "Forbidden", 'User "u" cannot get resource "workflowruns" in API group "backstay.dev" in the namespace "shop"'),
            "ask whoever runs the cluster",
        ),
        (status(401, "Unauthorized", "Unauthorized"), "does not accept the login"),
        (status(500, "InternalError", "etcd is gone"), "etcd is gone"),
        (status(422, "Invalid", "that is wrong"), "the API server refuses it: that is wrong"),
    ],
)
def test_what_the_api_server_refuses_is_one_line_with_the_mend(answer: Any, words: str, tmp_path: Path) -> None:
    with served(lambda api: api.answers("GET", f"{RUNS}/order-7f2", answer)) as api:
        result = backstay("history", "order-7f2", "--kubeconfig", kubeconfig(tmp_path, api))
    assert result.exit_code == 5 and words in result.stderr and result.stderr.count("\n") == 1


def test_a_run_that_is_not_there_says_what_is(tmp_path: Path) -> None:
    with served(serving(World(SAGA))) as api:
        result = backstay("tree", "ordr-7f2", "--kubeconfig", kubeconfig(tmp_path, api))
    assert result.exit_code == 5
    assert 'there is no run "ordr-7f2" in namespace "shop"; there is: order-7f2; did you mean "order-7f2"?' in result.stderr


def test_a_fault_of_ours_is_no_traceback_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by nought")

    for debug in (False, True):
        with pytest.raises(cli.typer.Exit) as caught:
            guard(broken, debug=debug)
        shown = capsys.readouterr().err
        assert caught.value.exit_code == 1 and "backstay has a fault (ZeroDivisionError: by nought)" in shown
        assert ("Traceback" in shown) == debug


# --------------------------------------------------------------------------------------------------------------- looking


@pytest.mark.parametrize("name", ["order-7f2", "wfrun/order-7f2", "workflowruns.backstay.dev/order-7f2"])
def test_a_run_is_found_by_all_the_names_that_kubectl_prints(name: str, tmp_path: Path) -> None:
    with served(serving(World(SAGA))) as api:
        result = backstay("tree", name, "--kubeconfig", kubeconfig(tmp_path, api))
    assert result.exit_code == 0 and "order-7f2  order, revision 3  Running" in result.stdout and "○ ship" in result.stdout


def test_options_of_the_cluster_may_stand_before_the_command_or_after_it(tmp_path: Path) -> None:
    with served(lambda api: api.answers("GET", RUNS.replace("shop", "elsewhere") + "/x", missing("x"))) as api:
        api.answers("GET", RUNS.replace("shop", "elsewhere"), page([], 1))
        config = kubeconfig(tmp_path, api)
        first = backstay("-n", "elsewhere", "--kubeconfig", config, "why", "x")
        second = backstay("why", "x", "-n", "elsewhere", "--kubeconfig", config)
    assert first.stderr == second.stderr and 'no run "x" in namespace "elsewhere"' in first.stderr


def test_a_piped_tree_has_no_control_characters_and_suits_an_old_terminal(tmp_path: Path) -> None:
    with served(serving(World(SAGA))) as api:
        config = kubeconfig(tmp_path, api)
        plain = backstay("tree", "order-7f2", "--kubeconfig", config)
        old = CliRunner(charset="ascii").invoke(cli.app, ["tree", "order-7f2", "--kubeconfig", config])
    assert "\x1b" not in plain.stdout and "▶ reserve" in plain.stdout
    assert old.exit_code == 0 and "> reserve" in old.stdout and "o ship" in old.stdout


def test_without_the_right_to_read_its_definition_a_run_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    def prepare(api: TinyApi) -> None:
        serving(World(SAGA))(api)
        api.answers("GET", f"{REVISIONS}/order-r3", status(403, "Forbidden", "you may not"))

    with served(prepare) as api:
        result = backstay("tree", "order-7f2", "--kubeconfig", kubeconfig(tmp_path, api))
    assert (
        result.exit_code == 0
        and "reserve" in result.stdout
        and "note: steps that have not begun are not shown: you may not" in result.stdout
    )


def test_a_journal_that_does_not_fit_the_status_ends_with_1(tmp_path: Path) -> None:
    world = World(SAGA).succeed("reserve")
    manifest = run_manifest(world)
    manifest["status"]["steps"][1] = {**manifest["status"]["steps"][1], "phase": "Failed"}
    with served(lambda api: api.answers("GET", f"{RUNS}/order-7f2", reply(manifest))) as api:
        result = backstay("history", "order-7f2", "--kubeconfig", kubeconfig(tmp_path, api))
    assert result.exit_code == 1 and "NOT TO BE TRUSTED" in result.stdout


# --------------------------------------------------------------------------------------------------------------- watching


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda world: world.succeed("reserve").succeed("ship"), 0),
        (lambda world: world.fail("reserve", "Permanent"), 1),
        (lambda world: world.wants(cancel=True).succeed("reserve:compensate"), 3),
    ],
)
def test_a_watch_ends_as_the_run_does(end: Any, code: int, tmp_path: Path) -> None:
    world = World(SAGA)

    def prepare(api: TinyApi) -> None:
        serving(world)(api)
        end(world)
        api.answers("WATCH", RUNS, stream(("MODIFIED", run_manifest(world, 8)), then="stall"))

    with served(prepare) as api:
        result = backstay("tree", "order-7f2", "-w", "--kubeconfig", kubeconfig(tmp_path, api))
    assert result.exit_code == code
    assert "\x1b" not in result.stdout and result.stdout.startswith("▶ order-7f2")


def test_a_watch_that_breaks_or_is_too_old_is_taken_up_again(tmp_path: Path) -> None:
    world = World(SAGA)

    def prepare(api: TinyApi) -> None:
        serving(world)(api)
        world.succeed("reserve").succeed("ship")
        api.answers("WATCH", RUNS, status(410, "Expired"), stream(then="break"), stream(("MODIFIED", run_manifest(world, 9)), then="stall"))

    with served(prepare) as api:
        result = backstay("tree", "order-7f2", "-w", "--kubeconfig", kubeconfig(tmp_path, api))
        watches = [asked.query["resourceVersion"] for asked in api.asked_for("WATCH")]
    assert (result.exit_code, watches) == (0, ["7", "7", "7"])


def test_a_run_that_is_deleted_while_it_is_watched_ends_with_5(tmp_path: Path) -> None:
    world = World(SAGA)

    def prepare(api: TinyApi) -> None:
        serving(world)(api)
        api.answers("WATCH", RUNS, stream(("DELETED", run_manifest(world, 8)), then="stall"))

    with served(prepare) as api:
        result = backstay("tree", "order-7f2", "-w", "--kubeconfig", kubeconfig(tmp_path, api))
    assert result.exit_code == 5 and "was deleted before it had ended" in result.stderr


# --------------------------------------------------------------------------------------------------------------- starting


def _workflow(**status_fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": "order", "namespace": "shop", "generation": 1}, "spec": SPEC, "status": status_fields}


def starting(world: World, **status_fields: Any) -> Any:
    def prepare(api: TinyApi) -> None:
        api.answers("GET", f"{WORKFLOWS}/order", reply(_workflow(**status_fields)))
        api.answers("POST", RUNS, reply(run_manifest(world), 201))
        api.answers("WATCH", RUNS, stream(then="stall"))
        serving(world)(api)

    return prepare


def test_a_run_is_created_with_typed_parameters(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("amount: 1\n")
    with served(starting(World(SAGA))) as api:
        config = kubeconfig(tmp_path, api)
        result = backstay("run", "order", "-f", str(file), "-p", "amount=12.5", "--service-account", "shop", "--kubeconfig", config)
        (asked,) = api.asked_for("POST")
    assert (result.exit_code, result.stdout) == (0, "workflowruns/order-7f2 created\n")
    assert asked.body == {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"generateName": "order-"},
        "spec": {"workflow": {"name": "order"}, "parameters": {"amount": 12.5}, "serviceAccountName": "shop"},
    }
    assert asked.query["fieldValidation"] == "Strict"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "amount=-1"], "parameters.amount: -1 is less than the minimum of 0"),
        ([], "amount"),
        (["-p", "amount=1", "-p", "colour=red"], 'no parameter "colour"'),
    ],
)
def test_parameters_that_do_not_fit_are_told_before_anything_is_created(arguments: list[str], words: str, tmp_path: Path) -> None:
    with served(starting(World(SAGA))) as api:
        result = backstay("run", "order", *arguments, "--kubeconfig", kubeconfig(tmp_path, api))
        assert api.asked_for("POST") == []
    assert result.exit_code == 2 and words in result.stderr


def test_a_workflow_that_cannot_be_run_is_not_started(tmp_path: Path) -> None:
    condition = {"type": "Valid", "status": "False", "message": "steps[0]: has no action"}
    with served(starting(World(SAGA), observedGeneration=1, conditions=[condition])) as api:
        result = backstay("run", "order", "-p", "amount=1", "--kubeconfig", kubeconfig(tmp_path, api))
        assert api.asked_for("POST") == []
    assert result.exit_code == 2 and "steps[0]: has no action" in result.stderr


def test_the_name_alone_is_printed_for_scripts_and_waiting_has_a_limit(tmp_path: Path) -> None:
    with served(starting(World(SAGA))) as api:
        result = backstay(
            "run", "order", "-p", "amount=1", "-o", "name", "--wait", "--timeout", "200ms", "--kubeconfig", kubeconfig(tmp_path, api)
        )
    assert (result.exit_code, result.stdout) == (4, "order-7f2\n")
    assert "has not ended in time, and goes on" in result.stderr


# --------------------------------------------------------------------------------------------------------------- asking


def test_cancelling_several_runs_asks_each_and_reports_the_one_that_refuses(tmp_path: Path) -> None:
    def prepare(api: TinyApi) -> None:
        serving(World(SAGA))(api)
        done = {**run_manifest(World(SAGA).succeed("reserve").succeed("ship"))}
        done["metadata"] = {**done["metadata"], "name": "done"}
        api.answers("GET", f"{RUNS}/done", reply(done))
        api.answers("PATCH", f"{RUNS}/order-7f2", reply(run_manifest(World(SAGA))))

    with served(prepare) as api:
        result = backstay("cancel", "done", "order-7f2", "-r", "changed her mind", "--kubeconfig", kubeconfig(tmp_path, api))
        (asked,) = api.asked_for("PATCH")
    assert result.exit_code == 1 and "done has succeeded and cannot be cancelled any more" in result.stderr
    assert asked.body["spec"] == {"cancel": {"compensate": True, "reason": "changed her mind"}}
    assert asked.body["metadata"]["uid"], "another run of the same name must not be hit"
    assert result.stdout.startswith("order-7f2 is cancelled: reserve is stopped")


# --------------------------------------------------------------------------------------------------------- without a cluster

WORKFLOW = "apiVersion: backstay.dev/v1alpha1\nkind: Workflow\nmetadata: {name: order}\nspec:\n  steps: [{name: a, set: {x: 1}}]\n"


def test_lint_reads_files_folders_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yaml").write_text(WORKFLOW)
    (tmp_path / "deep" / "b.yml").write_text(WORKFLOW.replace("set", "sett"))
    (tmp_path / "deep" / "values.yaml").write_text("replicas: 3\n")
    result = backstay("lint", str(tmp_path), "-", given=WORKFLOW)
    assert result.exit_code == 1
    assert re.fullmatch(rf"{tmp_path}/deep/b.yml:5: steps\[0\]: unknown field .*", result.stdout.splitlines()[0])
    assert "3 objects in 4 files" in result.stderr


def test_lint_as_data_is_one_json_object(tmp_path: Path) -> None:
    result = backstay("lint", "-", "-o", "json", given=WORKFLOW.replace("set", "sett"))
    data = json.loads(result.stdout)
    assert (result.exit_code, data["errors"] > 0, data["problems"][0]["line"], data["problems"][0]["object"]) == (
        1,
        True,
        5,
        "Workflow order",
    )


def test_lint_refuses_what_is_no_text_and_a_folder_without_manifests(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is no UTF-8 text" in backstay("lint", str(tmp_path / "binary.yaml")).stderr
    (tmp_path / "empty").mkdir()
    assert backstay("lint", str(tmp_path / "empty")).exit_code == 2


def test_a_workflow_in_a_file_is_drawn_without_a_cluster(tmp_path: Path) -> None:
    file = tmp_path / "order.yaml"
    file.write_text(WORKFLOW)
    assert backstay("graph", "-f", str(file)).stdout.startswith("flowchart TD\n")
    assert backstay("graph", "-f", "-", "-o", "dot", given=WORKFLOW).stdout.startswith("digraph workflow {\n")
    assert backstay("graph", "-f", "-", given="kind: ConfigMap\n").exit_code == 2
