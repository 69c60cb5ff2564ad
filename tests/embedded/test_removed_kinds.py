"""Somebody removes a kind of ours from the cluster while the operator works."""

from pathlib import Path

import pytest

from tests.scenarios.manifests import run_of, shell
from tests.support.embedded_cluster import embedded_cluster

pytestmark = pytest.mark.embedded
CANNOT_BEGIN = 5


def test_an_operator_whose_kind_is_removed_ends_and_says_so_and_goes_on_once_it_is_back(tmp_path: Path) -> None:
    with embedded_cluster(tmp_path) as cluster:
        place = cluster.place("removed kinds")
        go = tmp_path / "go"
        place.apply(
            run_of("under-way", {"name": "a", "job": shell(f"until [ -e {go} ]; do sleep 0.1; done")}, {"name": "b", "job": shell()})
        )
        place.reached("under-way", "a")
        cluster.kubectl("delete", "crd", "workflows.backstay.dev")
        assert cluster.operator.ended() == CANNOT_BEGIN
        mend = "this cluster does not know workflows.backstay.dev; install the custom resources: kubectl apply --server-side -f crds/"
        assert mend in cluster.operator.log.read_text()
        go.touch()
        cluster.install()
        assert place.ended("under-way")["status"]["phase"] == "Succeeded"
