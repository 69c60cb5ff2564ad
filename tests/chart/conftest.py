"""One control plane for all tests of the chart that need an operator at work: it is installed once, and each test leaves it as it was."""

from collections.abc import Iterator

import pytest

from tests.chart.operated import NARROW, RESTORER, Release, released


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart with its defaults, installed, and its operator running."""
    with released(tmp_path_factory.mktemp("release")) as found:
        found.install(values={"admissionPolicies": {"trusted": [RESTORER, NARROW]}})
        found.operator().start()
        yield found
