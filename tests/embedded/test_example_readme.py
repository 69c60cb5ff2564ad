"""Every command in the example's README does what it says, in the order in which a newcomer types them.

Those in containers need them: tests/e2e and the suite on containers apply the same files.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import end_child
from tests.support.bound import spawn_bound
from tests.support.tools import kubectl
from tests.support.waiting import wait_for

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]
README, IN_CONTAINERS = (ROOT / "examples" / "order" / "README.md").read_text().split("## In containers")
LIMIT_SECONDS = 60
FAILS_AS_IT_SAYS = "backstay tree shipping-fails --watch"


def blocks() -> list[list[str]]:
    """Return the commands of each console block."""
    found = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    return [re.findall(r"^\$ (.*)$", block, re.MULTILINE) for block in found]


def test_the_image_gets_every_name_that_the_manifests_ask_for() -> None:
    manifests = "".join((ROOT / "examples" / "order" / name).read_text() for name in ("workflow.yaml", "shop.yaml"))
    (loaded,) = re.findall(r"^\$ kind load docker-image (.*)$", IN_CONTAINERS, re.MULTILINE)
    (others,) = re.findall(r"for name in (.*); do docker tag shop/stock:1 shop/\$name:1; done", IN_CONTAINERS)
    wanted = set(re.findall(r'image: "?(shop/\w+:1)', manifests))
    assert set(loaded.split()) == wanted == {"shop/stock:1", *(f"shop/{name}:1" for name in others.split())}


def test_the_image_holds_every_file_that_the_program_needs() -> None:
    folder = ROOT / "examples" / "order"
    (copied,) = re.findall(r"^COPY (.*) /shop/$", (folder / "Dockerfile").read_text(), re.MULTILINE)
    needed = set(
        re.findall(r"^from (\w+) import", "".join(file.read_text() for file in map(folder.joinpath, copied.split())), re.MULTILINE)
    )
    assert {f"{name}.py" for name in needed if (folder / f"{name}.py").exists()} | {"shop.py"} == set(copied.split())
    assert {line.removeprefix("!") for line in (folder / ".dockerignore").read_text().split()} == {"*", *copied.split()}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody who has kubectl and backstay on the PATH."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "kubectl").symlink_to(kubectl())
    yield {"PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])}


@pytest.mark.timeout(150)
def test_the_commands_of_the_readme_work_as_they_stand(tmp_path: Path, terminal: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def here(command: str) -> str:
        return command.replace("/tmp/shop", str(tmp_path / "shop"))

    (begin,), *others = blocks()
    monkeypatch.chdir(ROOT)
    cluster = spawn_bound(["sh", "-c", f"exec {here(begin)}"], tmp_path / "dev.log", terminal)
    try:
        wait_for(lambda: "export KUBECONFIG=" in (tmp_path / "dev.log").read_text(), what=lambda: (tmp_path / "dev.log").read_text())
        said = dict(session([here(command) for block in others for command in block], terminal))
    finally:
        cluster.terminate()
        try:
            cluster.wait(30)
        finally:
            end_child(cluster)
    assert "Undeliverable" in said[FAILS_AS_IT_SAYS]
    assert "Succeeded" in said["backstay tree good --watch"]
    log = said["python examples/order/shop.py log"]
    assert log.count('"command": "reserve"') == 3
    assert log.rindex('"command": "release"') > log.rindex('"command": "refund"') > log.rindex('"command": "unpack"')


def session(commands: list[str], environment: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Type commands one after the other into the same shell; yield each with what it prints."""
    for number, command in enumerate(commands):
        before = [earlier for earlier in commands[:number] if earlier.startswith("export ")]
        script = "\n".join([*before, command])
        result = subprocess.run(
            ["bash", "-c", script], env=os.environ | environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
        assert result.returncode == (1 if command == FAILS_AS_IT_SAYS else 0), f"$ {command}\n{result.stdout}{result.stderr}"
        yield command, result.stdout
