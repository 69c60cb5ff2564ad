"""The real control plane for tests marked `e2e`, `containers` or `chaos`: a pytest plugin with the fixtures `real_control_plane` and `fresh_control_plane`.

It is built before the first test marked so, outside of any test's time limit. Where it cannot be had, these tests are left out with the
reason, and the summary says so, also for a session that did not select them; with `CI=true` that is a failure. Named in tests/conftest.py
by `pytest_plugins = ["tests.support.control_plane_fixture"]`.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from tests.cluster.build import BuildError, GoMissing, build, can_be_had
from tests.cluster.control_plane import ControlPlane
from tests.support.cache import CacheBusy

_LEFT_OUT = pytest.StashKey[Counter[str]]()
_CANNOT = pytest.StashKey[BuildError | CacheBusy]()
_MARKS = {
    "e2e": "the real control plane",
    "containers": "a cluster with real containers",
    "chaos": "the real control plane whose operators are killed",
}
"""Marks of tests that need what Go builds, with what they run on."""


@pytest.fixture(scope="session")
def real_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running control plane without nodes, shared by the session: make namespaces of your own in it."""
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
def fresh_control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane for one module of tests, which may change what belongs to the whole cluster."""
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as control_plane:
        yield control_plane


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave a test out, before any of its fixtures, when the control plane that it needs cannot be had."""
    error = item.config.stash.get(_CANNOT, None)
    if error is None or not _marks(item):
        return
    if isinstance(error, GoMissing) and not in_ci():
        pytest.skip(f"left out, as the real control plane cannot be built: {error}")
    pytest.fail(f"the real control plane cannot be built: {error}", pytrace=False)


def in_ci() -> bool:
    """Tell whether this is a continuous-integration run, where nothing may be left out silently."""
    return os.environ.get("CI", "").lower() in ("1", "true")


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count the tests on the real control plane that the session was asked not to run, by their mark."""
    for item in items:
        item.config.stash.setdefault(_LEFT_OUT, Counter()).update(_marks(item))


def _marks(item: pytest.Item) -> list[str]:
    return [mark for mark in _MARKS if item.get_closest_marker(mark)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the control plane now if a test will want it: minutes the first time, and its progress is shown."""
    if session.config.option.collectonly or not any(_marks(item) for item in session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            build()
    except (BuildError, CacheBusy) as error:
        session.config.stash[_CANNOT] = error


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI session that had to leave out the tests on the real control plane because nothing could build it."""
    if session.config.stash.get(_LEFT_OUT, None) and not can_be_had() and in_ci() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which part of the proof this session left out."""
    for mark, count in config.stash.get(_LEFT_OUT, Counter()).items():
        where = _MARKS[mark]
        if can_be_had():
            terminalreporter.line(f"left out: {count} tests on {where}; `make {mark}` runs them")
            continue
        verdict = "with CI=true that is a failure; " if in_ci() else ""
        terminalreporter.line(
            f"left out: {count} tests on {where}, which is built with Go, and there is none; "
            f"{verdict}install Go 1.26 or newer, then `make {mark}` runs them",
            yellow=True,
        )
