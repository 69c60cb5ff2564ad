"""The chart goes onto the oldest Kubernetes that it names, and onto none that is older."""

import pytest
import yaml

from backstay.cli import preflight
from tests.chart.helm import CHART, run_helm

OLDEST = ".".join(map(str, preflight.OLDEST))


@pytest.mark.parametrize("version", ["v1.32.0", "v1.32.13-eks-1a2b3c4", "v1.32.9-gke.1726000", "v1.37.2"])
def test_it_goes_onto_the_oldest_release_and_newer_ones_also_as_vendors_name_them(version: str) -> None:
    result = run_helm("template", "backstay", CHART, "--kube-version", version)
    assert result.returncode == 0, result.stderr
    assert any(manifest["kind"] == "Deployment" for manifest in yaml.safe_load_all(result.stdout) if manifest)


@pytest.mark.parametrize("version", ["v1.31.14", "v1.31.14-eks-1a2b3c4"])
def test_an_older_release_is_refused_with_what_is_needed(version: str) -> None:
    result = run_helm("template", "backstay", CHART, "--kube-version", version)
    assert result.returncode != 0
    assert f"chart requires kubeVersion: >={OLDEST}.0-0 which is incompatible with Kubernetes {version}" in result.stderr
