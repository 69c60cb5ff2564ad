"""How much is measured: enough for figures that mean something, little enough for a few minutes on two busy cores."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True)
class Sizes:
    """Numbers of runs, each of which can be set by the environment: BENCH_ and the field's name in capitals."""

    single_runs: int = 10
    one_step_runs: int = 300
    three_step_runs: int = 200
    at_once: int = 50
    """How many are under way at a time when throughput is measured."""
    at_most_seconds: int = 45
    """No run is begun for a throughput after so long, be their number reached or not: a busy machine makes a bench smaller, not longer."""
    active_runs: int = 100

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the environment; raises ValueError that names the variable which is no positive number."""
        return cls(**{each.name: _positive(environment, f"BENCH_{each.name.upper()}", each.default) for each in fields(cls)})


def _positive(environment: Mapping[str, str], variable: str, default: int) -> int:
    text = environment.get(variable, str(default))
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{variable}={text!r} is no positive number; write one, or unset it for {default}")
    return int(text)
