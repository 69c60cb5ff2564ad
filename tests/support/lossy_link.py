"""A network that loses packets: an operator in a network namespace of its own, behind a link that drops some of what passes, both ways.

Where the kernel has netem, that is what drops; else a rule of nftables that draws lots does, which is in most kernels. Needs root.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.components import Site
from tests.cluster.network import Hub, Namespace, NetworkError

_NUMBER = 1
_OPERATORS_END = "eth0"
_HUBS_END = f"node-{_NUMBER}"


@dataclass(frozen=True)
class LossyLink:
    """A control plane goes to `site`; what is started with `enter` reaches it over the link only."""

    site: Site
    enter: tuple[str, ...]
    means: str
    """What drops packets: netem or nftables."""
    _ends: tuple[tuple[Namespace, str], ...]

    def lose(self, percent: int) -> None:
        """From now on drop so many of a hundred packets each way; 100 cuts the link without a word to either side. Raises NetworkError."""
        for namespace, device in self._ends:
            namespace.shell(_netem(device, percent) if self.means == "netem" else _nftables(percent))

    def lost(self) -> int:
        """Return how many packets were dropped until now, by the kernel's count."""
        return sum(self._lost(namespace, device) for namespace, device in self._ends)

    def _lost(self, namespace: Namespace, device: str) -> int:
        if self.means == "netem":
            return int(json.loads(namespace.told("tc", "-s", "-j", "qdisc", "show", "dev", device))[0]["drops"])
        listed = json.loads(namespace.told("nft", "-j", "list", "counter", "netdev", "lossy", "dropped"))["nftables"]
        return sum(int(part["counter"]["packets"]) for part in listed if "counter" in part)


@contextmanager
def lossy_link(folder: Path) -> Iterator[LossyLink]:
    """Have a link, which loses nothing yet, while the block lasts. Raises NetworkError where this system cannot make one, and says why."""
    hub = Hub.opened(folder, bound=True)
    try:
        operators = Namespace.opened(folder, "operator", bound=True)
        try:
            hub.join(operators, _NUMBER)
            ends = ((hub.namespace, _HUBS_END), (operators, _OPERATORS_END))
            site = Site(enter=hub.namespace.enter, address=hub.address)
            yield LossyLink(site, operators.enter, _prepared(ends), ends)
        finally:
            operators.close()
    finally:
        hub.namespace.close()


def _prepared(ends: tuple[tuple[Namespace, str], ...]) -> str:
    """Put what drops packets in place at both ends, and return what it is."""
    try:
        for namespace, device in ends:
            namespace.shell(f"tc qdisc replace dev {device} root netem")
        return "netem"
    except NetworkError:
        for namespace, device in ends:
            chain = f"{{ type filter hook ingress device {device} priority 0; }}"
            namespace.shell(f"nft add table netdev lossy; nft add counter netdev lossy dropped; nft add chain netdev lossy way '{chain}'")
        return "nftables"


def _netem(device: str, percent: int) -> str:
    return f"tc qdisc replace dev {device} root netem loss {percent}%"


def _nftables(percent: int) -> str:
    lots = "" if percent == 100 else f"numgen random mod 100 '<' {percent} "
    add = f"nft add rule netdev lossy way {lots}counter name dropped drop" if percent else "true"
    return f"nft flush chain netdev lossy way; {add}"
