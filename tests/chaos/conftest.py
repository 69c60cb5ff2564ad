"""What the kill tests need: how many kills, which seed, and where their tally is kept; and the tally at the end."""

import os
import platform
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from backstay import __version__
from tests.chaos.tally import Tally
from tests.cluster.build import kubernetes_version

_TALLY = pytest.StashKey[Tally]()
_FILE = Path(__file__).parents[2] / ".backstay" / "chaos.json"
_WIDTH = 120


@dataclass(frozen=True)
class Asked:
    """What the environment asks for: CHAOS_KILLS, CHAOS_SEED, CHAOS_JSON, CHAOS_ROUND_KILLS."""

    kills: int
    """How many operators are killed in all; what the kept tally has counts."""
    seed: int
    """Of the first round; the next round has the next one."""
    file: Path
    round_kills: int
    """How many operators are killed before a round ends with everything judged, and the next one has a fresh control plane."""


@pytest.fixture(scope="session")
def asked() -> Asked:
    environment = os.environ
    seed = int(environment.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
    file = Path(environment.get("CHAOS_JSON") or _FILE)
    return Asked(int(environment.get("CHAOS_KILLS") or 300), seed, file, int(environment.get("CHAOS_ROUND_KILLS") or 300))


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest, asked: Asked) -> Tally:
    """The tally, gone on with where one is kept; shown when the session ends."""
    about: dict[str, Any] = {"backstay": __version__, "kubernetes": kubernetes_version(), "python": platform.python_version()}
    made = Tally.kept_in(asked.file, asked.kills, {**about, "cores": os.cpu_count(), "load before": round(os.getloadavg()[0], 1)})
    request.config.stash[_TALLY] = made
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the tally."""
    made = config.stash.get(_TALLY, None)
    if made is None or not made.rounds:
        return
    terminalreporter.section("kills")
    console = Console(width=_WIDTH)
    with console.capture() as text:
        console.print(made.table())
    terminalreporter.write(text.get())
