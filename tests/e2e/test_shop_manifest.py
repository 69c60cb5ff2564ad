"""The example's shop for containers, on a real API server: it is taken, without a warning, where only restricted pods may run."""

from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.support.kubectl import Kubectl
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

SHOP = Path(__file__).parents[2] / "examples" / "order" / "shop.yaml"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


def test_the_shop_passes_the_restricted_pod_security_standard(real_control_plane: ControlPlane) -> None:
    name = "shop-manifest"
    kubectl = Kubectl(real_control_plane.kubeconfig, name)
    kubectl("create", "-f", "-", given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    kubectl("apply", "--warnings-as-errors", "-f", str(SHOP))
    wait_for(lambda: kubectl.json("get", "pods", "--selector=app.kubernetes.io/name=shop")["items"], what=lambda: kubectl("get", "events"))
