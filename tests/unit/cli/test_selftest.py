"""`backstay selftest`: what it starts, what it says, what it leaves behind."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from backstay.cli import main as cli
from tests.support.tiny_api import TinyApi, page, reply, status, stream
from tests.support.world import World
from tests.unit.cli.runs import manifest_of
from tests.unit.cli.serving import NAMESPACE, RUNS, kubeconfig, served

HELLO = """
steps:
- {name: greet, set: {greeting: hello}}
- {name: work, job: {image: backstay, args: [version]}}
"""


def selftest(folder: Path, api: TinyApi, *arguments: str) -> Result:
    command = ["selftest", "--kubeconfig", kubeconfig(folder, api), *arguments]
    return CliRunner().invoke(cli.app, command, prog_name="backstay", catch_exceptions=False)


def a_run(world: World, version: int) -> dict[str, Any]:
    manifest = manifest_of(world, resourceVersion=str(version))
    return {**manifest, "spec": {"workflow": {"inline": world.program.spec.to_json()}}}


def serving(before: dict[str, Any], after: dict[str, Any], *creations: Any) -> Any:
    """Prepare a server where the run is as `before` when it is made, and then as `after`."""

    def prepare(api: TinyApi) -> None:
        api.answers("POST", RUNS, *creations, reply(before))
        api.answers("GET", RUNS, page([before], 7))
        api.answers("WATCH", RUNS, *([stream(("MODIFIED", after), then="stall")] if after is not before else [stream(then="stall")]))
        api.answers("GET", f"{RUNS}/order-7f2", reply(after))
        api.answers("GET", f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs", page([], 7))
        api.answers("GET", f"/api/v1/namespaces/{NAMESPACE}/pods", page([], 7))
        api.answers("GET", f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events", page([], 7))
        api.answers("DELETE", f"{RUNS}/order-7f2", reply({"kind": "Status", "status": "Success"}))

    return prepare


def test_a_run_that_succeeds_is_told_and_removed(tmp_path: Path) -> None:
    world = World(HELLO)
    before = a_run(world, 7)
    with served(serving(before, a_run(world.succeed("work"), 8))) as api:
        result = selftest(tmp_path, api, "--image", "backstay:1", "--pull-policy", "Never", "--pull-secret", "registry")
        made = api.asked_for("POST")[0].body
        assert len(api.asked_for("DELETE")) == 1
    assert result.exit_code == 0, result.output
    assert "the run has succeeded" in result.stdout and result.stdout.endswith("order-7f2: the installation works\n")
    (_, work) = made["spec"]["workflow"]["inline"]["steps"]
    assert work["job"] == {
        "image": "backstay:1",
        "args": ["version"],
        "imagePullPolicy": "Never",
        "template": {"spec": {"imagePullSecrets": [{"name": "registry"}]}},
    }


def test_a_run_that_fails_ends_with_1_and_says_why(tmp_path: Path) -> None:
    world = World(HELLO)
    before = a_run(world, 7)
    with served(serving(before, a_run(world.fail("work", "ImagePull"), 8))) as api:
        result = selftest(tmp_path, api, "--keep", "-o", "json")
        assert api.asked_for("DELETE") == []
    told = json.loads(result.stdout)
    assert (result.exit_code, told["exitCode"]) == (1, 1)
    assert "ImagePull" in told["verdict"]


def test_a_run_that_nobody_looks_at_ends_with_4_and_is_removed(tmp_path: Path) -> None:
    untouched = {**a_run(World(HELLO), 7), "status": {}}
    with served(serving(untouched, untouched)) as api:
        result = selftest(tmp_path, api, "--timeout", "1s")
        assert len(api.asked_for("DELETE")) == 1
    assert result.exit_code == 4
    assert "is the operator running, and does it look after this namespace?" in result.stdout


def test_an_api_server_that_has_just_learnt_of_runs_is_waited_for(tmp_path: Path) -> None:
    world = World(HELLO)
    before, delayed = a_run(world, 7), status(503, "ServiceUnavailable", "Resource kind WorkflowRun not found. There can be a delay")
    with served(serving(before, a_run(world.succeed("work"), 8), delayed)) as api:
        assert selftest(tmp_path, api).exit_code == 0
        assert len(api.asked_for("POST")) == 2


def test_options_of_an_image_need_one(tmp_path: Path) -> None:
    with served(lambda api: None) as api:
        result = selftest(tmp_path, api, "--pull-policy", "Never")
    assert result.exit_code == 2
    assert "name one with --image" in result.stderr
