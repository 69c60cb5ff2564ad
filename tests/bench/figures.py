"""What a bench found: figures by part, as a table for people and as JSON for programs. One flat dictionary is behind both."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

Figures = dict[str, float]
"""The figures of a part; each name ends in its unit, where it has one."""


@dataclass
class Report:
    """The figures of a whole bench. `machine` tells where and under what load they were taken."""

    machine: dict[str, object]
    parts: dict[str, Figures] = field(default_factory=dict)

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
        file.write_text(json.dumps({"machine": self.machine, **self.parts}, indent=2) + "\n")


def shown(value: float) -> str:
    """Return a figure with the digits that mean something."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` percent of the values do not exceed (nearest rank, ISO 3534)."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * share / 100)) - 1]
