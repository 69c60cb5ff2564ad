"""The scenarios on the embedded cluster."""

from collections.abc import Iterator

import pytest

from tests.scenarios.availability import *  # noqa: F403
from tests.scenarios.suite import *  # noqa: F403
from tests.support.cluster import Cluster
from tests.support.embedded_cluster import embedded_cluster

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with embedded_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running
