"""What the bench needs: its control plane, its sizes, and a report at the end, also of a bench that was stopped half-way."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench.arena import Arena
from tests.bench.figures import Report, machine
from tests.bench.sizes import Sizes
from tests.cluster.build import GoMissing
from tests.cluster.control_plane import ControlPlane
from tests.support.control_plane_fixture import in_ci
from tests.support.real_cluster import audit_arguments

_REPORT = pytest.StashKey[Report]()
_FILE = Path(__file__).parents[2] / ".backstay" / "bench.json"
_WIDTH = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have the figures written where the caller wants them."""
    parser.addoption("--bench-json", type=Path, metavar="FILE", help="where the figures go (default: $BENCH_JSON, or .backstay/bench.json)")


@pytest.fixture(scope="session")
def sizes() -> Sizes:
    return Sizes.from_environment()


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    """The figures; what is in it when the session ends is shown and written."""
    made = Report(machine())
    request.config.stash[_REPORT] = made
    return made


@pytest.fixture(scope="session")
def fresh_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """As in tests/support/control_plane_fixture.py, which builds it beforehand for a fixture of this name; this one records all writes."""
    folder = tmp_path_factory.mktemp("bench")
    try:
        control_plane = ControlPlane.start(folder, api_arguments=audit_arguments(folder))
    except GoMissing as error:
        if in_ci():
            raise
        pytest.skip(f"left out, as the real control plane cannot be built: {error}")
    with control_plane:
        yield control_plane


@pytest.fixture(scope="session")
def arena(fresh_control_plane: ControlPlane) -> Iterator[Arena]:
    with Arena.opened(fresh_control_plane, fresh_control_plane.directory / "audit.log") as opened:
        yield opened


@pytest.fixture
def own_arena(tmp_path_factory: pytest.TempPathFactory, fresh_control_plane: ControlPlane) -> Iterator[Arena]:
    """One for a bench that leaves much behind. The shared one, which has told that all can be built, rests meanwhile."""
    folder = tmp_path_factory.mktemp("own-bench")
    control_plane = ControlPlane.start(folder, api_arguments=audit_arguments(folder))
    with control_plane, Arena.opened(control_plane, folder / "audit.log") as opened:
        yield opened


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the figures and write them."""
    made = config.stash.get(_REPORT, None)
    if made is None or not made.parts:
        return
    chosen = config.getoption("bench_json", None) or Path(os.environ.get("BENCH_JSON") or _FILE)
    made.write(chosen)
    terminalreporter.section("bench")
    console = Console(width=_WIDTH)
    with console.capture() as text:
        console.print(made.table())
    terminalreporter.write(text.get())
    terminalreporter.line(f"written to {chosen}")
