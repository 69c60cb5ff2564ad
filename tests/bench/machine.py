"""What processes take, and what is left to them: read from /proc. Linux only, as the control plane is."""

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.support.waiting import wait_for

OTHERS: Final = "others"
"""Everything on the machine that is none of ours."""

_TICKS = os.sysconf("SC_CLK_TCK")
_SETTLE_SECONDS = 0.25
_SETTLE_LIMIT_SECONDS = 20
_LOOKS = 5
_IDLE = (3, 4)
"""The fields of /proc/stat that are no work: idle and iowait."""
_GUEST = 8
"""From here on the fields of /proc/stat repeat what is counted before."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process of ours has used since it began, in user and system mode; the kernel counts in steps of 10 ms."""
    # The command's name, in parentheses, may hold anything; utime and stime are the 12th and 13th fields after it (proc_pid_stat(5)).
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_rss_bytes(pid: int) -> int:
    """Return the most memory that a process has held at a time since it began."""
    return _status_bytes(pid, "VmHWM")


def rss_bytes(pid: int) -> int:
    """Return the memory that a process holds now."""
    return _status_bytes(pid, "VmRSS")


def _status_bytes(pid: int, field: str) -> int:
    for line in Path("/proc", str(pid), "status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status has no {field}; the process has ended")


def settled(pid: int, limit_seconds: float = _SETTLE_LIMIT_SECONDS) -> None:
    """Wait until a process has nothing left to do: it has used no more than one tick in a quarter of a second."""
    used = [cpu_seconds(pid)]

    def rests() -> bool:
        used.append(cpu_seconds(pid))
        return len(used) > _LOOKS and used[-1] - used[-1 - _LOOKS] <= 1 / _TICKS

    wait_for(rests, limit_seconds, poll_seconds=_SETTLE_SECONDS / _LOOKS, what=f"process {pid} is still busy")


@dataclass(frozen=True)
class Reading:
    """The CPU seconds used until a moment: by groups of processes of ours, and by the whole machine."""

    moment: float
    machine: float
    groups: Mapping[str, float]

    @classmethod
    def of(cls, groups: Mapping[str, Collection[int]]) -> Self:
        """Read what groups of processes have used; the process ids of each."""
        return cls(time.monotonic(), _machine_seconds(), {name: sum(map(cpu_seconds, pids)) for name, pids in groups.items()})

    def since(self, before: "Reading") -> dict[str, float]:
        """Return the CPU seconds that each group used in between; under OTHERS what the rest of the machine did."""
        used = {name: seconds - before.groups[name] for name, seconds in self.groups.items()}
        return {**used, OTHERS: max(0.0, self.machine - before.machine - sum(used.values()))}


def _machine_seconds() -> float:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return sum(ticks for number, ticks in enumerate(fields[:_GUEST]) if number not in _IDLE) / _TICKS
