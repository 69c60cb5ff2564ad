"""`make demo` shows a saga that undoes itself, and leaves nothing behind, however it ends."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_for

pytestmark = pytest.mark.embedded

DEMO = Path(__file__).parents[2] / "examples" / "order" / "demo.py"
LIMIT_SECONDS = 60


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where the demo puts its files; everything that it starts names this folder in its command line or environment."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    yield folder
    wait_for(lambda: not _processes_of(folder), 10, what=lambda: f"processes are left: {_processes_of(folder)}")
    assert list(folder.iterdir()) == []


def _processes_of(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and int(process.name) != os.getpid() and str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except (OSError, ProcessLookupError):
            continue
    return found


def _start(temporary: Path, **environment: str) -> subprocess.Popen[str]:
    variables = os.environ | {"TMPDIR": str(temporary)} | environment
    command = [sys.executable, str(DEMO)]
    # A shell has what it runs in the background ignore SIGINT, and that is inherited: the demo is begun as a terminal begins it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.timeout(LIMIT_SECONDS + 20)
def test_the_demo_undoes_an_order_in_less_than_a_minute(temporary: Path) -> None:
    with _start(temporary, PATH="/nowhere") as demo:
        shown, _ = demo.communicate(timeout=LIMIT_SECONDS)
    assert demo.returncode == 0, shown
    assert re.search(r"✔ good .* Succeeded", shown), shown
    assert re.search(r"✖ shipping-fails .* Failed", shown), shown
    for step in ("reserve", "charge", "check"):
        assert re.search(rf"⟲ {step} +Compensated", shown), shown
    assert "the run knew the way back" in shown


@pytest.mark.timeout(LIMIT_SECONDS + 20)
def test_the_demo_can_be_interrupted_at_any_time(temporary: Path) -> None:
    with _start(temporary) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "backstay tree good" in line:
                demo.send_signal(signal.SIGINT)
                break
        rest = demo.communicate(timeout=LIMIT_SECONDS)[0]
    assert demo.returncode == 130, rest
