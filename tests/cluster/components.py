"""The command lines of a test control plane: plain data in, lists of arguments out.

What differs from a production cluster, and why: etcd does not wait for the disk (the data dies with the test), the clients of the controller
manager and the scheduler are not throttled and more Jobs are synced at once (a test waits for results, not for a rate limit), nobody elects a
leader (there is one of each), and everything listens on 127.0.0.1 unless nodes are to join. RBAC, admission and all controllers are as
anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.certificates import Certificates

HOST = "127.0.0.1"
SERVICE_ADDRESSES = "10.96.0.0/16"

_UNTHROTTLED = ("--kube-api-qps", "500", "--kube-api-burst", "1000")


@dataclass(frozen=True)
class Site:
    """Where a control plane runs. By itself: as processes of this machine, which nothing but this machine reaches."""

    enter: tuple[str, ...] = ()
    """What every command begins with, as in `nsenter --net=…`."""
    address: str = HOST
    """Where it listens for the people and tests of this machine."""
    for_nodes: str | None = None
    """The address that nodes and pods use; None where there are none but those that share this machine's network."""


@dataclass(frozen=True)
class Layout:
    """Where one control plane keeps its files and listens; the files are its own, the folder is the caller's."""

    directory: Path
    certificates: Certificates
    etcd_port: int
    api_port: int
    scheduler_port: int
    site: Site = Site()

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
        return f"https://{self.site.address}:{self.api_port}"


def etcd(layout: Layout) -> list[str]:
    """Return the arguments of etcd: one member, which never asks the disk to sync."""
    return [
        "etcd",
        *("--data-dir", str(layout.etcd_data)),
        *("--listen-client-urls", layout.etcd_url),
        *("--advertise-client-urls", layout.etcd_url),
        *("--listen-peer-urls", f"http://{HOST}:0"),
        "--unsafe-no-fsync",
        # A bench of an hour writes more history than the 2 GB that etcd allows by default; the API server has it compacted every five minutes.
        *("--quota-backend-bytes", str(8 * 2**30)),
        *("--log-level", "warn"),
    ]


def apiserver(layout: Layout, more: Sequence[str] = ()) -> list[str]:
    """Return the arguments of kube-apiserver; `more` come last and win.

    It does not verify the certificate of a kubelet (`kubectl logs`), which is what it does without an authority for kubelets.
    """
    certificates = layout.certificates
    return [
        "apiserver",
        *("--etcd-servers", layout.etcd_url),
        *("--secure-port", str(layout.api_port)),
        *_reach(layout.site),
        *("--tls-cert-file", str(certificates.server)),
        *("--tls-private-key-file", str(certificates.server_key)),
        *("--service-account-key-file", str(certificates.tokens_public)),
        *("--service-account-signing-key-file", str(certificates.tokens_key)),
        *("--service-account-issuer", "https://kubernetes.default.svc"),
        *("--service-cluster-ip-range", SERVICE_ADDRESSES),
        *("--token-auth-file", str(layout.users)),
        *("--kubelet-preferred-address-types", "InternalIP,Hostname"),
        "--allow-privileged=true",
        *more,
    ]


def _reach(site: Site) -> list[str]:
    """Return what depends on whether nodes join: addresses, and the rights of kubelets (NodeRestriction, node authorizer).

    Without nodes nothing is entered as the endpoint of the `kubernetes` service: a loopback address is not allowed there. With nodes, pods of
    one that is lost are given up within seconds, not minutes: tests wait for it.
    """
    if site.for_nodes is None:
        return [
            *("--bind-address", site.address),
            *("--advertise-address", site.address),
            *("--endpoint-reconciler-type", "none"),
            *("--authorization-mode", "RBAC"),
        ]
    return [
        *("--bind-address", "0.0.0.0"),
        *("--advertise-address", site.for_nodes),
        *("--authorization-mode", "Node,RBAC"),
        *("--enable-admission-plugins", "NodeRestriction"),
        *("--default-not-ready-toleration-seconds", "5"),
        *("--default-unreachable-toleration-seconds", "5"),
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
        # The pod runner, the node of a control plane by itself, renews its lease each 10 s as a kubelet does: 12 s would be missed under load.
        *(("--node-monitor-grace-period", "12s") if layout.site.for_nodes else ()),
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
        *("--bind-address", layout.site.address),
        *("--secure-port", str(layout.scheduler_port)),
        *("--tls-cert-file", str(certificates.server)),
        *("--tls-private-key-file", str(certificates.server_key)),
        *_UNTHROTTLED,
    ]
