"""The network of a cluster with real nodes: namespaces that go with the process that holds them, and every link in them with it.

    this machine   198.18.N.1 ─┐                           kubectl and tests
                      the hub  198.18.N.2 and 10.89.0.1    the control plane
                               ├── node-1  10.89.0.11      its pods 10.244.1.0/24
                               └── node-2  10.89.0.12      its pods 10.244.2.0/24

All but the link on top exists inside the namespaces only: nothing else on this machine sees these addresses. The link is in 198.18.0.0/15,
which is set apart for tests (RFC 2544). Pods reach the cluster and, under the hub's address, this machine; nothing is forwarded further.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.processes import end_child, spawn
from tests.support.bound import spawn_bound

HUB = "10.89.0.1"
PODS = "10.244.0.0/16"
MAX_NODES = 200

_LIMIT_SECONDS = 20
_POLL_SECONDS = 0.02


class NetworkError(RuntimeError):
    """A namespace or a link cannot be made; the message says what was tried and what the system answered."""


class Namespace:
    """A network namespace, held open by a process of its own. Its link-local side is up, and it forwards."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        """Wrap the holder: use `opened`."""
        self._holder = holder
        self.pid = holder.pid

    @classmethod
    def opened(cls, directory: Path, name: str, *, bound: bool) -> "Namespace":
        """Make a namespace; `directory` stands in the command line of its holder, so that it can be recognised."""
        command = ["unshare", "--net", sys.executable, "-c", "import signal; signal.pause()", str(directory), name]
        log = directory / f"network-{name}.log"
        namespace = cls(spawn_bound(command, log) if bound else spawn(command, log, bound=False))
        deadline = time.monotonic() + _LIMIT_SECONDS
        while namespace._is_ours():
            if time.monotonic() > deadline or namespace._holder.poll() is not None:
                namespace.close()
                raise NetworkError(f"cannot make a network namespace, which needs root: {log.read_text().strip()}")
            time.sleep(_POLL_SECONDS)
        namespace.ip("link set lo up")
        # A namespace lives for as long as a connection in it waits for a peer that is gone: by default for minutes.
        settings = {"ip_forward": 1, "tcp_orphan_retries": 1, "tcp_fin_timeout": 1}
        namespace.shell("; ".join(f"echo {value} > /proc/sys/net/ipv4/{name}" for name, value in settings.items()))
        return namespace

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command in this namespace begins with."""
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net")

    def ip(self, *lines: str) -> None:
        """Run lines of `ip` in the namespace, all or none of what follows a bad one; raises NetworkError."""
        _run([*self.enter, "ip", "-batch", "-"], "\n".join(lines))

    def shell(self, line: str) -> None:
        """Run a line of shell in the namespace; raises NetworkError."""
        _run([*self.enter, "sh", "-ec", line])

    def told(self, *command: str) -> str:
        """Run a command in the namespace and return what it prints; raises NetworkError."""
        return _run([*self.enter, *command])

    def close(self) -> None:
        """Let go of the namespace: it vanishes with the last process in it, and its links with it."""
        end_child(self._holder)

    def _is_ours(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
        except FileNotFoundError:
            return True


@dataclass(frozen=True)
class Hub:
    """The middle of a cluster's network, where its control plane is. `address` is where this machine reaches it, `machine` where it is reached."""

    namespace: Namespace
    address: str
    machine: str

    @classmethod
    def opened(cls, directory: Path, *, bound: bool) -> "Hub":
        """Make the hub and its link to this machine; raises NetworkError."""
        namespace = Namespace.opened(directory, "hub", bound=bound)
        try:
            namespace.ip("link add hub type bridge", f"addr add {HUB}/24 dev hub", "link set hub up")
            machine, address = _linked_to_this_machine(namespace)
            return cls(namespace, address, machine)
        except BaseException:
            namespace.close()
            raise

    def join(self, node: Namespace, number: int) -> None:
        """Link a node's namespace to the hub; its pods are reached through it."""
        address = node_address(number)
        self.namespace.ip(
            f"link add node-{number} type veth peer name eth0 netns {node.pid}",
            f"link set node-{number} master hub up",
            f"route add {pod_range(number)} via {address} onlink dev hub",
        )
        node.ip(f"addr add {address}/24 dev eth0", "link set eth0 up", f"route add default via {HUB}")


def node_address(number: int) -> str:
    """Return the address of node `number`, from 1 on."""
    return f"10.89.0.{10 + number}"


def pod_range(number: int) -> str:
    """Return the range of the pods of node `number`."""
    return f"10.244.{number}.0/24"


def _linked_to_this_machine(namespace: Namespace) -> tuple[str, str]:
    """Link this machine with the hub at the first pair of addresses that is free, and return the pair.

    What pods send to this machine comes from the hub's address: this machine needs no route to them.
    """
    taken = _addresses_of_this_machine()
    # Beginning at another place each time, so that two clusters that start at the same time do not meet.
    for number in (*range(namespace.pid % 256, 256), *range(namespace.pid % 256)):
        ours, theirs = f"198.18.{number}.1", f"198.18.{number}.2"
        if ours in taken:
            continue
        name = f"backstay{namespace.pid}"[:15]
        make = f"link add {name} type veth peer name machine netns {namespace.pid}"
        _run(["ip", "-batch", "-"], f"{make}\naddr add {ours}/30 dev {name}\nlink set {name} up")
        namespace.ip(f"addr add {theirs}/30 dev machine", "link set machine up")
        chain = "nft add chain ip hub out '{ type nat hook postrouting priority srcnat; }'"
        namespace.shell(f"nft add table ip hub; {chain}; nft add rule ip hub out oifname machine masquerade")
        return ours, theirs
    raise NetworkError("all of 198.18.0.0/16 is in use on this machine; `ip link` shows by what, `ip link delete NAME` frees one")


def _addresses_of_this_machine() -> set[str]:
    links = json.loads(_run(["ip", "-json", "addr"]))
    return {address["local"] for link in links for address in link["addr_info"]}


def _run(command: Sequence[str], text: str = "") -> str:
    plain = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False, env=plain)
    if done.returncode:
        raise NetworkError(f"{' '.join(command)} ended with code {done.returncode}: {done.stderr.strip()}\n{text}")
    return done.stdout
