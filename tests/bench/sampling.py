"""How something changes over a long load: samples of a process at regular times, and whether they stay flat."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

from tests.bench.machine import rss_bytes


@dataclass
class Samples:
    """Values by name, each as many as there are times; `seconds` counts from when sampling began."""

    seconds: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def take(self, moment: float, found: Mapping[str, float]) -> None:
        """Add a sample of each."""
        self.seconds.append(round(moment, 1))
        for name, value in found.items():
            self.values.setdefault(name, []).append(round(value, 3))

    def between(self, name: str, begin: float, end: float) -> list[float]:
        """Return the values of a name that were sampled from `begin` until `end`."""
        return [value for moment, value in zip(self.seconds, self.values[name], strict=True) if begin <= moment <= end]

    def series(self) -> dict[str, list[float]]:
        """Return all of it as JSON has it."""
        return {"seconds": self.seconds, **self.values}


@asynccontextmanager
async def sampling(every_seconds: float, look: Callable[[], Mapping[str, float]]) -> AsyncIterator[Samples]:
    """Sample what `look` finds, in a thread of its own, until the block ends; one sample is taken at its end."""
    samples = Samples()
    begun = time.monotonic()

    async def sample() -> None:
        found = await asyncio.to_thread(look)
        samples.take(time.monotonic() - begun, found)

    async def go_on() -> None:
        while True:
            await sample()
            await asyncio.sleep(every_seconds)

    task = asyncio.create_task(go_on())
    try:
        yield samples
        assert not task.done(), f"sampling has ended: {task.exception()!r}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await sample()


def of_process(pid: int) -> dict[str, float]:
    """Return the memory (10⁶ bytes), file handles and threads that a process of ours has now."""
    root = Path("/proc", str(pid))
    return {
        "rss_mb": rss_bytes(pid) / 1e6,
        "handles": sum(1 for _ in (root / "fd").iterdir()),
        "threads": sum(1 for _ in (root / "task").iterdir()),
    }


# ------------------------------------------------------------------------------------------------------------- verdict


@dataclass(frozen=True)
class Trend:
    """How samples changed: their slope by least squares, and the medians of the first and the last quarter."""

    slope_per_hour: float
    first_quarter: float
    last_quarter: float

    @classmethod
    def of(cls, seconds: Sequence[float], values: Sequence[float]) -> "Trend":
        """Find the trend of at least four samples."""
        assert len(values) >= 4, f"{len(values)} samples have no trend"
        quarter = len(values) // 4
        mean_seconds, mean = fmean(seconds), fmean(values)
        spread = sum((moment - mean_seconds) ** 2 for moment in seconds)
        slope = sum((moment - mean_seconds) * (value - mean) for moment, value in zip(seconds, values, strict=True)) / spread
        return cls(slope * 3600, median(values[:quarter]), median(values[-quarter:]))

    def is_flat(self, *, share: float, room: float) -> bool:
        """Tell whether the last quarter is at most so much above the first one: a share of it, and some room for what comes and goes."""
        return self.last_quarter <= self.first_quarter * (1 + share) + room
