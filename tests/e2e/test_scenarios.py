"""The scenarios on the real control plane, with the pod runner as its node."""

from collections.abc import Iterator

import pytest

from tests.scenarios.availability import *  # noqa: F403
from tests.scenarios.http_rights import *  # noqa: F403
from tests.scenarios.resource_rights import *  # noqa: F403
from tests.scenarios.suite import *  # noqa: F403
from tests.support.cluster import Cluster
from tests.support.real_cluster import real_cluster

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with real_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running
