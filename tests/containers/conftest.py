"""One cluster with real containers for all tests of the session, with the operator as a pod of the chart."""

from collections.abc import Iterator

import pytest

from tests.scenarios.fixtures import *  # noqa: F403
from tests.support.container_cluster import Containers, container_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    with container_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running
