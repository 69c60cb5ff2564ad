"""How much is measured: by default enough for figures that mean something, and little enough for a few minutes on two busy cores."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self


@dataclass(frozen=True)
class Sizes:
    """Numbers, each of which can be set by the environment: BENCH_ and the field's name in capitals; BENCH_SIZE=full sets many at once."""

    single_runs: int = 10
    one_step_runs: int = 300
    three_step_runs: int = 200
    at_once: int = 50
    """How many are under way at a time when throughput is measured."""
    at_most_seconds: int = 45
    """No run is begun for a throughput after so long, be their number reached or not: a busy machine makes a bench smaller, not longer."""
    active_runs: int = 100
    parked_runs: tuple[int, ...] = (50, 200)
    """How many runs there are besides whose step takes for ever, when it is measured what another run costs; one measurement each."""
    shards: tuple[int, ...] = (1, 2)
    """On how many processes the runs are spread when throughput is measured, a shard each; one measurement each."""
    items: int = 100
    """Of a forEach with a Job for each item."""
    burst_runs: int = 300
    """New runs at once, beside runs that have begun and beside another namespace."""
    sustained_per_minute: int = 1200
    sustained_active: int = 5640
    """How many runs are to be under way at a time: it follows how long each of their steps takes."""
    sustained_minutes: int = 10
    """For so long once the runs that came first have begun to end."""
    soak_per_minute: int = 600
    soak_active: int = 2820
    soak_minutes: int = 60

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the environment; raises ValueError that names the variable which is not what it should be."""
        size = environment.get("BENCH_SIZE", "quick")
        if size not in _PRESETS:
            raise ValueError(f"BENCH_SIZE={size!r} is no size; write {' or '.join(_PRESETS)}, or unset it for quick")
        found = {each.name: _PRESETS[size].get(each.name, each.default) for each in fields(cls)}
        read = {name: _read(environment, f"BENCH_{name.upper()}", default) for name, default in found.items()}
        return cls(**read)


_PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "quick": {},
    "full": {
        "single_runs": 30,
        "one_step_runs": 4000,
        "three_step_runs": 1500,
        "at_once": 100,
        "at_most_seconds": 180,
        "active_runs": 5000,
        "parked_runs": (100, 1000, 10_000),
        "shards": (1, 2, 4),
        "items": 10_000,
        "burst_runs": 10_000,
    },
}


def _read(environment: Mapping[str, str], variable: str, default: Any) -> Any:
    read: Callable[[str, str, Any], Any] = _numbers if isinstance(default, tuple) else _positive
    return read(environment[variable], variable, default) if variable in environment else default


def _numbers(text: str, variable: str, default: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(_positive(part.strip(), variable, default) for part in text.split(",")))


def _positive(text: str, variable: str, default: Any) -> int:
    if not text.isdecimal() or int(text) == 0:
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        raise ValueError(f"{variable}: {text!r} is no positive number; write one, or unset it for {shown}")
    return int(text)
