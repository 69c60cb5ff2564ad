"""Where the bench takes place: a control plane that records all writes, the operator's process, and how to look at both."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backstay import names
from tests.bench.figures import Figures
from tests.bench.load import OURS, Ends, Kind, workflow
from tests.bench.machine import OTHERS, Reading
from tests.bench.record import AGENT, Record, written
from tests.cluster.control_plane import ControlPlane
from tests.cluster.processes import free_ports
from tests.support.cluster import Cluster, Place
from tests.support.fake_kubelet import fake_node
from tests.support.metrics import metrics_of, total
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import wait_for

SLOW_SECONDS: Final = 8
"""What takes longer may hold a Job that is 10 s old: the operator then writes its UID down, or that it has no pod yet. Ages are known in whole
seconds, and a run is a little older than its Job."""

_OF_RUNS = (names.RUNS, "jobs", "events")


@dataclass(frozen=True)
class Measured:
    """Whoever does the runs: its processes, what a run of its is, what its requests have in their user agent, and where it works."""

    pids: Sequence[int]
    kind: Kind
    agent: str
    control_plane: ControlPlane


class MeasuredOperator(OperatorProcess):
    """The operator with its defaults, its process id to measure it by, and what it tells of itself."""

    def __init__(self, kubeconfig: Path, folder: Path, environment: dict[str, str] | None = None) -> None:
        (self._port,) = free_ports(1)
        super().__init__(kubeconfig, folder, "--metrics-port", str(self._port), "--health-port", "0", environment=environment)

    @property
    def answers(self) -> bool:
        """Whether its metrics can be read yet."""
        try:
            return bool(metrics_of(self._port))
        except OSError:
            return False

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        return total(metrics_of(self._port), name, **labels)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid


@dataclass
class Arena:
    """A cluster without nodes in which Backstay is installed."""

    cluster: Cluster
    operator: MeasuredOperator
    control_plane: ControlPlane

    @classmethod
    @contextmanager
    def opened(cls, control_plane: ControlPlane, audit_log: Path) -> Iterator["Arena"]:
        """Install Backstay and start the operator; end it afterwards."""
        folder = control_plane.directory
        cluster = Cluster("real", control_plane.kubeconfig, folder, audit_log)
        operator = MeasuredOperator(control_plane.kubeconfig, folder)
        cluster.operator = operator
        try:
            cluster.install()
            yield cls(cluster, operator, control_plane)
        finally:
            operator.kill9()
            cluster.api.close()

    @property
    def measured(self) -> Measured:
        """The operator, as what is measured."""
        return Measured([self.operator.pid], OURS, AGENT, self.control_plane)

    @contextmanager
    def node(self, *, delay_seconds: float = 0) -> Iterator[int]:
        """Have a node whose pods succeed after `delay_seconds`; gives its process id."""
        with fake_node(self.cluster.kubeconfig, self.cluster.folder, delay_seconds=delay_seconds) as pid:
            yield pid

    def place(self, purpose: str, steps: int, *, seconds: float = 0) -> Place:
        """Make a namespace with a workflow `w` of so many steps, each of which takes so long, and wait until its revision is there."""
        place = self.cluster.place(purpose)
        place.create(workflow("w", steps, seconds))
        wait_for(lambda: place.workflow("w").get("status", {}).get("revision"), what="the workflow has no revision")
        return place

    def reading(self, node_pid: int) -> Reading:
        """Read what the operator, the control plane, and the bench with its node have used until now."""
        return reading(self.measured, node_pid)


def reading(measured: Measured, node_pid: int) -> Reading:
    """Read what whoever is measured, each part of the control plane, and the bench with its node have used until now."""
    parts = {name.replace("-", "_"): [pid] for name, pid in measured.control_plane.pids.items()}
    return Reading.of({"operator": measured.pids, **parts, "bench": [os.getpid(), node_pid]})


def costs(after: Reading, before: Reading, runs: int) -> Figures:
    """Return what so many runs have cost: CPU time a run, and who had the machine; the control plane as a whole and by its parts."""
    used, seconds = after.since(before), after.moment - before.moment
    parts = {name: spent for name, spent in used.items() if name not in ("operator", "bench", OTHERS)}
    groups = {"operator": used["operator"], "control_plane": sum(parts.values()), **parts}
    return {
        **{f"{name}_cpu_ms_per_run": spent / runs * 1000 for name, spent in groups.items()},
        **{f"cores_used_by_{name}": spent / seconds for name, spent in {**groups, "bench": used["bench"], OTHERS: used[OTHERS]}.items()},
    }


def writes_by_run(place: Place) -> dict[str, list[str]]:
    """Return what the operator wrote for each run of a place, by the API server's own record: runs, Jobs, Events, also what was refused."""
    found: dict[str, list[str]] = {}
    for write in written(place.cluster.audit_log, place.name):
        if AGENT in write.agent and write.resource in _OF_RUNS and write.run:
            found.setdefault(write.run, []).append(str(write))
    return found


def assert_succeeded(phases: Iterable[str], count: int) -> None:
    """All of so many runs have succeeded."""
    assert Counter(phases) == {"Succeeded": count}


def assert_within_budget(writes: Mapping[str, Sequence[str]], ends: Ends, steps: int) -> None:
    """No run of n Jobs cost more than 2n+1 writes; only runs that took too long are not counted, as each of their Jobs may be noted once more."""
    assert writes.keys() == ends.ended.keys()
    beyond = {name: listed for name, listed in writes.items() if len(listed) > 2 * steps + 1 and ends.latency(name) < SLOW_SECONDS}
    told = "\n".join(f"{name}, {ends.latency(name):.1f} s: {', '.join(listed)}" for name, listed in list(beyond.items())[:5])
    assert not beyond, f"{len(beyond)} of {len(writes)} runs cost more than {2 * steps + 1} writes:\n{told}"


def assert_each_step_had_one_job(place: Place, runs: int, steps: int) -> None:
    """Count Jobs by name and run, and pods that were given to a node, by the API server's own record: a step that ran twice would have two of one
    of them. It still knows of pods that Kubernetes has cleared away since, which it does beyond 12,500 of them."""
    wrong = Record.of(place.cluster.audit_log, place.name).wrong(runs, steps)
    assert not wrong, "\n".join(wrong[:5])
