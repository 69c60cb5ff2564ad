"""The command lines of a test control plane: plain data in, lists of arguments out.

What differs from a production cluster, and why: etcd does not wait for the disk (the data dies with the test), the clients of the controller
manager and the scheduler are not throttled and more Jobs are synced at once (a test waits for results, not for a rate limit), nobody elects a
leader (there is one of each), and everything listens on 127.0.0.1. RBAC, admission and all controllers are as anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.certificates import Certificates

HOST = "127.0.0.1"
SERVICE_ADDRESSES = "10.96.0.0/16"

_UNTHROTTLED = ("--kube-api-qps", "500", "--kube-api-burst", "1000")


@dataclass(frozen=True)
class Layout:
    """Where one control plane keeps its files and listens; the files are its own, the folder is the caller's."""

    directory: Path
    certificates: Certificates
    etcd_port: int
    api_port: int
    scheduler_port: int

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def users(self) -> Path:
        """The API server's token file: token, user, uid, groups."""
        return self.directory / "tokens.csv"

    @property
    def etcd_data(self) -> Path:
        return self.directory / "etcd"

    @property
    def etcd_url(self) -> str:
        return f"http://{HOST}:{self.etcd_port}"

    @property
    def api_url(self) -> str:
        return f"https://{HOST}:{self.api_port}"


def etcd(layout: Layout) -> list[str]:
    """Return the arguments of etcd: one member, which never asks the disk to sync."""
    return [
        "etcd",
        *("--data-dir", str(layout.etcd_data)),
        *("--listen-client-urls", layout.etcd_url),
        *("--advertise-client-urls", layout.etcd_url),
        *("--listen-peer-urls", f"http://{HOST}:0"),
        "--unsafe-no-fsync",
        *("--log-level", "warn"),
    ]


def apiserver(layout: Layout, more: Sequence[str] = ()) -> list[str]:
    """Return the arguments of kube-apiserver; `more` come last and win.

    It may reach a kubelet on 127.0.0.1 (`kubectl logs`) and does not verify its certificate, which is what it does without an authority for
    kubelets. Nothing is entered as the endpoint of the `kubernetes` service: a loopback address is not allowed there.
    """
    certificates = layout.certificates
    return [
        "apiserver",
        *("--etcd-servers", layout.etcd_url),
        *("--bind-address", HOST),
        *("--secure-port", str(layout.api_port)),
        *("--advertise-address", HOST),
        *("--endpoint-reconciler-type", "none"),
        *("--tls-cert-file", str(certificates.server)),
        *("--tls-private-key-file", str(certificates.server_key)),
        *("--service-account-key-file", str(certificates.tokens_public)),
        *("--service-account-signing-key-file", str(certificates.tokens_key)),
        *("--service-account-issuer", "https://kubernetes.default.svc"),
        *("--service-cluster-ip-range", SERVICE_ADDRESSES),
        *("--authorization-mode", "RBAC"),
        *("--token-auth-file", str(layout.users)),
        *("--kubelet-preferred-address-types", "InternalIP,Hostname"),
        "--allow-privileged=true",
        *more,
    ]


def controller_manager(layout: Layout) -> list[str]:
    """Return the arguments of kube-controller-manager: all controllers, each with its own service account and only its own rights."""
    certificates = layout.certificates
    return [
        "controller-manager",
        *("--kubeconfig", str(layout.kubeconfig)),
        *("--service-account-private-key-file", str(certificates.tokens_key)),
        *("--root-ca-file", str(certificates.authority)),
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        *("--controllers", "*"),
        *("--concurrent-job-syncs", "20"),
        *("--secure-port", "0"),
        *_UNTHROTTLED,
    ]


def scheduler(layout: Layout) -> list[str]:
    """Return the arguments of kube-scheduler."""
    certificates = layout.certificates
    return [
        "scheduler",
        *("--kubeconfig", str(layout.kubeconfig)),
        "--leader-elect=false",
        *("--bind-address", HOST),
        *("--secure-port", str(layout.scheduler_port)),
        *("--tls-cert-file", str(certificates.server)),
        *("--tls-private-key-file", str(certificates.server_key)),
        *_UNTHROTTLED,
    ]
