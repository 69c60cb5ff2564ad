"""Every command of the command line against a cluster that really runs what it starts; some as a process of their own, as users start them."""

import fcntl
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backstay.cli.main import app
from tests.support.cluster import Cluster, Place, condition, phase_of
from tests.support.embedded_cluster import embedded_cluster
from tests.support.tools import kubectl
from tests.support.waiting import wait_for

pytestmark = pytest.mark.embedded

LIMIT_SECONDS = 60

WORKFLOW = """
apiVersion: backstay.dev/v1alpha1
kind: Workflow
metadata: {name: order}
spec:
  parameters:
  - {name: amount, schema: {type: number, minimum: 0}}
  - {name: image, schema: {type: string}, default: "busybox:1.36"}
  - {name: script, schema: {type: string}, default: "echo shipping"}
  steps:
  - name: reserve
    job: {image: "busybox:1.36", command: [sh, -c, "echo reserving $0", "${ params.amount }"]}
    compensate: {job: {image: "busybox:1.36", command: [sh, -c, "echo releasing"]}}
  - name: charge
    job: {image: "busybox:1.36", command: [sh, -c, "echo attempt $BACKSTAY_ATTEMPT; test $BACKSTAY_ATTEMPT -ge 2"]}
    retry: {maxAttempts: 3, interval: 100ms, errors: [Transient]}
  - name: ship
    job: {image: "${ params.image }", command: [sh, -c, "${ params.script }"]}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with embedded_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@dataclass(frozen=True)
class Answer:
    """What a command has printed, and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Backstay:
    """The command line in one namespace."""

    place: Place

    def __call__(self, *arguments: str) -> Answer:
        """Run a command in this process, which saves a second."""
        result = CliRunner().invoke(app, [*arguments, *self._where()], catch_exceptions=False)
        return Answer(result.exit_code, result.stdout, result.stderr)

    def process(self, *arguments: str) -> Answer:
        """Run a command as a process of its own."""
        command = self.command(*arguments)
        result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, stdin=subprocess.DEVNULL)
        return Answer(result.returncode, result.stdout, result.stderr)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "backstay.cli.main", *arguments, *self._where()]

    def _where(self) -> list[str]:
        return ["--kubeconfig", str(self.place.cluster.kubeconfig), "-n", self.place.name]

    def start(self, name: str, *arguments: str) -> str:
        answer = self("run", "order", "--name", name, "-p", "amount=7", "-o", "name", *arguments)
        assert (answer.code, answer.out) == (0, f"{name}\n"), answer
        return name


@pytest.fixture
def backstay(cluster: Cluster, request: pytest.FixtureRequest) -> Backstay:
    place = cluster.place(request.node.name.removeprefix("test_"))
    place.apply(WORKFLOW)
    wait_for(lambda: condition(place.workflow("order"), "Ready") == "True", what="the workflow is not ready")
    return Backstay(place)


def words(text: str) -> str:
    """Text with runs of spaces made one: columns are as wide as times are long."""
    return re.sub(r" +", " ", text)


def test_a_run_that_is_watched_tells_each_step_and_ends_with_its_tree(backstay: Backstay) -> None:
    answer = backstay.process("run", "order", "-p", "amount=7", "--name", "good", "--watch")
    assert answer.code == 0, answer
    assert "\x1b" not in answer.out and "\r" not in answer.out
    assert re.search(r"^\d\d:\d\d:\d\d  ✔ reserve  Succeeded$", answer.out, re.MULTILINE)
    assert "✔ good order, revision 1 Succeeded 3/3" in words(answer.out)
    assert "✔ charge Succeeded, attempt 2/3" in words(answer.out)


def test_the_logs_of_a_run_are_those_of_its_steps(backstay: Backstay) -> None:
    name = backstay.start("noisy", "--wait")
    assert backstay("logs", name).out.splitlines() == [
        "[reserve] reserving 7",
        "[charge] attempt 1",
        "[charge #2] attempt 2",
        "[ship] shipping",
    ]
    assert backstay("logs", name, "charge", "--previous").out == "attempt 1\n"
    assert backstay("logs", name, "reserve").out == "reserving 7\n"
    missing = backstay("logs", name, "shipp")
    assert missing.code == 5 and 'has no step "shipp"' in missing.err and 'did you mean "ship"?' in missing.err


def test_logs_are_followed_until_the_run_has_ended(backstay: Backstay) -> None:
    name = backstay.start("long", "-p", "script=for i in 1 2 3; do echo line $i; sleep 0.5; done")
    answer = backstay("logs", name, "-f")
    assert answer.code == 0
    assert [line for line in answer.out.splitlines() if "[ship]" in line] == [f"[ship] line {number}" for number in (1, 2, 3)]


def test_a_run_that_fails_ends_with_1_and_shows_how_it_was_undone(backstay: Backstay) -> None:
    answer = backstay("run", "order", "-p", "amount=7", "-p", "script=exit 3", "--name", "bad", "--wait")
    assert (answer.code, answer.err) == (1, "bad has failed\n")
    tree = words(backstay("tree", "bad").out)
    assert "ExitCode: exit code 3" in tree and "⟲ reserve Compensated" in tree
    assert tree.split("undoing, the last step done first\n")[1].startswith("✔ reserve Succeeded")
    why = backstay("why", "bad").out
    assert "it waits for nothing: it failed" in why and "backstay logs bad ship" in why
    assert '["✖ ship<br/>' in backstay("graph", "bad").out
    history = backstay("history", "bad")
    assert history.code == 0 and "reserve is undone" in history.out and "is exactly what follows from it" in history.out


def test_a_history_that_was_changed_by_hand_is_not_believed(backstay: Backstay) -> None:
    name = backstay.start("forged", "--wait")
    backstay.place.kubectl("patch", "wfrun", name, "--subresource=status", "--type=merge", "-p", '{"status": {"outputs": {"paid": true}}}')
    answer = backstay("history", name)
    assert answer.code == 1 and "NOT TO BE TRUSTED" in answer.out


def test_suspending_resuming_and_cancelling_do_what_they_say(backstay: Backstay) -> None:
    name = backstay.start("held", "-p", "script=sleep 60")
    backstay.place.reached(name, "ship")
    assert "nothing new starts; ship goes on to its end" in backstay("suspend", name).out
    backstay.place.until(name, lambda run: condition(run, "Suspended") == "True")
    assert "it has been suspended" in backstay("why", name).out
    assert backstay("resume", name).out == f"{name} goes on\n"
    backstay.place.until(name, lambda run: condition(run, "Suspended") == "False")
    cancelled = backstay("cancel", name, "--reason", "changed her mind")
    assert "ship is stopped; then reserve is undone" in cancelled.out
    assert backstay("tree", name, "-w").code == 3
    run = backstay.place.run(name)
    assert (run["status"]["error"]["detail"], phase_of(run, "reserve")) == ("cancelled: changed her mind", "Compensated")
    again = backstay("cancel", name)
    assert again.code == 1 and "cannot be cancelled any more" in again.err


def test_an_image_that_cannot_be_pulled_is_why_a_run_waits(backstay: Backstay) -> None:
    name = backstay.start("stuck", "-p", "image=missing/ship:1")
    backstay.place.until(name, lambda run: "ImagePull" in json.dumps(run.get("status") or {}))
    answer = json.loads(backstay("why", name, "-o", "json").out)
    assert (answer["waitsFor"], answer["step"]) == ("Person", "ship")
    assert "missing/ship:1" in answer["sentence"] and "kubectl describe pod" in answer["mend"]


def test_a_run_that_was_created_suspended_waits_to_be_resumed(backstay: Backstay) -> None:
    name = backstay.start("later", "--suspended")
    assert "it was created suspended" in backstay("why", name).out
    backstay("resume", name)
    assert backstay.place.ended(name)["status"]["phase"] == "Succeeded"


def test_wrong_parameters_are_told_and_nothing_is_created(backstay: Backstay) -> None:
    answer = backstay("run", "order", "-p", "amount=lots")
    assert answer.code == 2 and 'parameter amount: expected a number, found "lots"' in answer.err
    assert backstay("run", "ordr").code == 5
    assert backstay.place.cluster.api.list("workflowruns", backstay.place.name) == []


def test_kubectl_finds_it_as_its_plugin(backstay: Backstay) -> None:
    name = backstay.start("plugged", "--wait")
    folder = Path(sys.executable).parent
    if not (folder / "kubectl-backstay").exists():
        pytest.skip("the console scripts are not beside this Python")
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "KUBECONFIG": str(backstay.place.cluster.kubeconfig)}
    command = [str(kubectl()), "backstay", "why", name, "-n", backstay.place.name]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_SECONDS, check=False)
    assert (result.returncode, "it succeeded" in result.stdout) == (0, True), result.stderr


def test_on_a_terminal_the_tree_changes_in_place_and_fits_the_window(backstay: Backstay) -> None:
    code, shown = on_a_terminal(backstay.command("run", "order", "-p", "amount=7", "--name", "seen", "-w"), rows=8)
    assert code == 0
    frames = re.split(r"(?:\x1b\[2K|\x1b\[1A)+", shown)
    assert len(frames) > 3, "it was drawn once only"
    assert max(frame.count("\n") for frame in frames[:-1]) <= 8
    assert "✔ seen" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frames[-1])
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is left hidden"


def test_an_operator_whose_port_is_taken_says_so(backstay: Backstay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = backstay.process("operator", "--metrics-port", str(taken.getsockname()[1]), "--health-port", "0")
    assert answer.code == 2 and "a port cannot be listened on" in answer.err.splitlines()[-1]


def test_an_operator_that_is_asked_to_end_ends_well_and_soon(cluster: Cluster) -> None:
    assert cluster.operator.is_running
    began = time.monotonic()
    code = cluster.operator.stop()
    took = time.monotonic() - began
    cluster.operator.start()
    assert code == 0 and took < 10


def on_a_terminal(command: list[str], rows: int, columns: int = 100) -> tuple[int, str]:
    """Run a command as if somebody looked on; return its exit code and all that the terminal got."""
    terminal, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=environment, start_new_session=True)
    os.close(end)
    shown, deadline = b"", time.monotonic() + LIMIT_SECONDS
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    shown += os.read(terminal, 65536)
                except OSError:  # the other end is closed
                    break
        return process.wait(LIMIT_SECONDS), shown.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


PARCELS = """
apiVersion: backstay.dev/v1alpha1
kind: WorkflowRun
metadata: {name: parcels}
spec:
  workflow:
    inline:
      steps:
      - name: pack
        forEach:
          in: [slow, slow]
          steps: [{name: box, job: {image: "busybox:1.36", command: [sh, -c, "test $0 = quick || sleep 600", "${ item }"]}}]
          collect: ${ item }
      outputs: [{name: packed, value: "${ steps.pack.outputs.items }"}]
"""


def test_single_steps_can_be_cancelled_completed_and_given_more_to_do(backstay: Backstay) -> None:
    backstay.place.apply(PARCELS)
    backstay.place.reached("parcels", "pack[1]/box")
    assert backstay("cancel-step", "parcels", "pack[0]", "--reason", "sold out").out == "pack[0]: cancelled\n"
    assert backstay("add-items", "parcels", "pack", "quick").out == "pack: items are added\n"
    backstay.place.reached("parcels", "pack[2]/box", "Succeeded")
    again = backstay("cancel-step", "parcels", "pack[0]")
    assert again.code == 1 and "pack[0]: Refused: iteration 0 of pack does not go on" in again.err
    missing = backstay("complete-step", "parcels", "pakc")
    assert missing.code == 1 and 'no step "pakc" of parcels has begun' in missing.err
    assert "1 of 3 done, 1 cancelled, 1 going on" in backstay("tree", "parcels").out
    assert backstay("complete-step", "parcels", "pack").out == "pack: completed\n"
    run = backstay.place.ended("parcels")
    assert run["status"]["outputs"] == {"packed": [None, None, "quick"]}
    story = words(backstay("history", "parcels").out)
    assert "sold out" in story
    over = backstay("cancel-step", "parcels", "pack")
    assert over.code == 1 and "has succeeded and cannot be asked for anything any more" in over.err
