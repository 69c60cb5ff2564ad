"""Where the bench takes place: a control plane that records all writes, the operator's process, and how to look at both."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backstay import names
from tests.bench.load import Ends, workflow
from tests.bench.machine import Reading
from tests.cluster.control_plane import ControlPlane
from tests.support.cluster import Cluster, Place
from tests.support.fake_kubelet import fake_node
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import wait_for

SLOW_SECONDS: Final = 8
"""What takes longer may hold a Job that is 10 s old: the operator then writes its UID down, or that it has no pod yet. Ages are known in whole
seconds, and a run is a little older than its Job."""

_OF_RUNS = (names.RUNS, "jobs", "events")
_RUN_NAME = re.compile(r"run-\d+(?=$|[-.])")
"""In the name of a run, of its Jobs and of Events about it."""


class MeasuredOperator(OperatorProcess):
    """The operator with its defaults, and its process id to measure it by."""

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
        operator = MeasuredOperator(control_plane.kubeconfig, folder, "--metrics-port", "0", "--health-port", "0")
        cluster.operator = operator
        try:
            cluster.install()
            yield cls(cluster, operator, control_plane)
        finally:
            operator.kill9()
            cluster.api.close()

    @contextmanager
    def node(self, *, delay_seconds: float = 0) -> Iterator[int]:
        """Have a node whose pods succeed after `delay_seconds`; gives its process id."""
        with fake_node(self.cluster.kubeconfig, self.cluster.folder, delay_seconds=delay_seconds) as pid:
            yield pid

    def place(self, purpose: str, steps: int) -> Place:
        """Make a namespace with a workflow `w` of so many steps, and wait until its revision is there."""
        place = self.cluster.place(purpose)
        place.create(workflow("w", steps))
        wait_for(lambda: place.workflow("w").get("status", {}).get("revision"), what="the workflow has no revision")
        return place

    def reading(self, node_pid: int) -> Reading:
        """Read what the operator, the control plane, and the bench with its node have used until now."""
        ours = {"operator": [self.operator.pid], "control_plane": self.control_plane.pids.values(), "bench": [os.getpid(), node_pid]}
        return Reading.of(ours)


def writes_by_run(place: Place) -> dict[str, list[str]]:
    """Return what the operator wrote for each run of a place, by the API server's own record: runs, Jobs, Events, also what was refused."""
    found: dict[str, list[str]] = {}
    for write in place.cluster.writes(place.name):
        if write.resource in _OF_RUNS and (run := _RUN_NAME.match(write.name)):
            found.setdefault(run[0], []).append(str(write))
    return found


def assert_within_budget(writes: Mapping[str, Sequence[str]], ends: Ends, steps: int) -> None:
    """No run of n Jobs cost more than 2n+1 writes; only runs that took too long are not counted, as each of their Jobs may be noted once more."""
    assert writes.keys() == ends.ended.keys()
    beyond = {name: listed for name, listed in writes.items() if len(listed) > 2 * steps + 1 and ends.latency(name) < SLOW_SECONDS}
    told = "\n".join(f"{name}, {ends.latency(name):.1f} s: {', '.join(listed)}" for name, listed in list(beyond.items())[:5])
    assert not beyond, f"{len(beyond)} of {len(writes)} runs cost more than {2 * steps + 1} writes:\n{told}"


def assert_each_step_had_one_job(place: Place, runs: int, steps: int) -> None:
    """Count Jobs by run and step, pods, and Jobs that were ever made: a step that ran twice would have two of one of them."""
    of_steps = Counter(
        (job["metadata"]["labels"][names.LABEL_RUN], job["metadata"]["annotations"][names.ANNOTATION_PATH]) for job in place.jobs()
    )
    twice = {step: count for step, count in of_steps.items() if count != 1}
    assert not twice, f"{len(twice)} steps had more than one Job, as {next(iter(twice.items()))}"
    pods = place.cluster.api.list("pods", place.name)
    made = [write for write in place.cluster.writes(place.name) if (write.verb, write.resource, write.code) == ("create", "jobs", 201)]
    found = {"steps": len(of_steps), "pods": len(pods), "Jobs ever made": len(made)}
    assert set(found.values()) == {runs * steps}, f"{runs} runs of {steps} steps, and there are {found}"
