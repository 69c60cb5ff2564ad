"""Us and a peer under the same load, one after the other in one go, each on a fresh control plane of its own.

    python -m tests.bench.compare --peer argo --binary PATH           the workflow-controller of Argo Workflows, as it is delivered and tuned
    python -m tests.bench.compare --peer backstay --binary PATH       the command of another release, with --crds if its CRDs are others

The load is that of `make bench`, with the same variables (BENCH_SIZE=full for figures to publish): the same fake kubelet, the same control
plane, the same client, CPU from each process, writes by the API server's own log. Exit code 1: some runs did not succeed.
"""

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.bench.arena import Measured
from tests.bench.figures import Report, machine
from tests.bench.load import Ends
from tests.bench.peers import Backstay, Peer, argo
from tests.bench.sizes import Sizes
from tests.bench.throughput import many_at_once, one_at_a_time
from tests.cluster.build import GoMissing
from tests.cluster.control_plane import ControlPlane
from tests.support.cluster import CRDS, Cluster
from tests.support.fake_kubelet import fake_node
from tests.support.real_cluster import audit_arguments

_FILE = Path(__file__).parents[2] / ".backstay" / "compare.json"
_WARM_UP = "warm_up"
"""Not told: whoever is measured has only just started."""
OURS = Backstay("backstay", [sys.executable, "-m", "backstay.cli.main"])


async def measure(peer: Peer, folder: Path, sizes: Sizes, report: Report) -> list[str]:
    """Have a peer carry the load on a control plane of its own; its figures go into the report. Returns what did not succeed."""
    failed: list[str] = []
    with ControlPlane.start(folder, api_arguments=audit_arguments(folder)) as control_plane:
        cluster = Cluster("real", control_plane.kubeconfig, folder, folder / "audit.log")
        try:
            with peer.working(cluster) as pid, fake_node(cluster.kubeconfig, folder) as node_pid:
                for part, (steps, wanted) in _parts(sizes).items():
                    place = cluster.place(part)
                    measured = Measured([pid], peer.prepare(place, steps), peer.agent, control_plane)
                    if wanted:
                        ends, figures = await many_at_once(measured, place, node_pid, wanted, sizes)
                    else:
                        ends, figures = await one_at_a_time(measured, place, sizes)
                    report.parts[f"{peer.name}_{part}"] = figures
                    failed += _failed(f"{peer.name}, {part}", ends)
            del report.parts[f"{peer.name}_{_WARM_UP}"]
        finally:
            cluster.api.close()
    return failed


def _parts(sizes: Sizes) -> dict[str, tuple[int, int]]:
    """Return steps of a run and how many runs there are, by part; 0 is a few, one at a time."""
    return {_WARM_UP: (1, 0), "single": (3, 0), "one_step": (1, sizes.one_step_runs), "three_steps": (3, sizes.three_step_runs)}


def _failed(what: str, ends: Ends) -> list[str]:
    phases = Counter(ends.phases.values())
    return [] if phases == {"Succeeded": len(ends.asked)} else [f"{what}: of {len(ends.asked)} runs {dict(phases)}"]


def compare(peers: Sequence[Peer], file: Path, sizes: Sizes) -> list[str]:
    """Measure us and the peers, show the figures and write them; returns what did not succeed."""
    report, failed = Report(machine()), list[str]()
    for peer in peers:
        with TemporaryDirectory(prefix="backstay-compare-") as folder:
            print(f"measuring {peer.name} …", flush=True)
            failed += asyncio.run(measure(peer, Path(folder), sizes, report))
    Console(width=120).print(report.table())
    report.write(file)
    print(f"written to {file}")
    return failed


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare", description="Us and a peer under the same load.")
    parser.add_argument("--peer", choices=["argo", "backstay"], required=True)
    parser.add_argument("--binary", type=Path, required=True, help="the peer's program")
    parser.add_argument("--crds", type=Path, help="the CRDs of the peer's release (default: ours; Argo's without schemas)")
    parser.add_argument("--argument", action="append", default=[], help="a further argument for the peer; may be given several times")
    parser.add_argument("--json", type=Path, default=Path(os.environ.get("BENCH_JSON") or _FILE), help="where the figures go")
    asked = parser.parse_args()
    binary = asked.binary.absolute()
    if not os.access(binary, os.X_OK) or binary.is_dir():
        sys.exit(f"error: --binary {asked.binary} is no program; name the peer's executable, and see that it may be executed")
    another = Backstay("peer", [binary], asked.argument, {"PYTHONPATH": ""}, crds=asked.crds or CRDS)
    peers = argo(binary, asked.argument, asked.crds) if asked.peer == "argo" else [another]
    try:
        failed = compare([OURS, *peers], asked.json, Sizes.from_environment())
    except (GoMissing, ValueError) as error:
        sys.exit(f"error: {error}")
    sys.exit("\n".join(failed) if failed else 0)


if __name__ == "__main__":
    main()
