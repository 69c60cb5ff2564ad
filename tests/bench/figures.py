"""What a bench found: figures by part, as a table for people and as JSON for programs. One flat dictionary is behind both."""

import json
import math
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from backstay import __version__
from tests.cluster.build import kubernetes_version

Figures = dict[str, float]
"""The figures of a part; each name ends in its unit, where it has one."""


@dataclass
class Report:
    """The figures of a whole bench. `machine` tells where and under what load they were taken."""

    machine: dict[str, object]
    parts: dict[str, Figures] = field(default_factory=dict)
    series: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """What was sampled over time, by part: lists of the same length, of which `seconds` is one."""

    def table(self) -> Table:
        """Return all figures, a section a part."""
        title = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.machine.items())
        table = Table("part", "figure", title=title, title_justify="left")
        table.add_column("measured", justify="right")
        for part, figures in self.parts.items():
            for number, (name, value) in enumerate(figures.items()):
                table.add_row(part.replace("_", " ") if number == 0 else "", name.replace("_", " "), shown(value))
            table.add_section()
        return table

    def write(self, file: Path) -> None:
        """Write all figures as one JSON object; its folder is made."""
        file.parent.mkdir(parents=True, exist_ok=True)
        series = {"series": self.series} if self.series else {}
        file.write_text(_one_line_a_list(json.dumps({"machine": self.machine, **self.parts, **series}, indent=2)) + "\n")


def machine() -> dict[str, object]:
    """Return what a report says of where and when it was made."""
    return {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "backstay": __version__,
        "kubernetes": kubernetes_version(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def _one_line_a_list(text: str) -> str:
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text)


def shown(value: float) -> str:
    """Return a figure with the digits that mean something."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` percent of the values do not exceed (nearest rank, ISO 3534)."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * share / 100)) - 1]
