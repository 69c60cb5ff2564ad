"""What the kill tests have done until now, round by round: kept as JSON, and gone on with."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.table import Table

from tests.bench.figures import percentile, shown
from tests.support.tallies import digest_of

_ROOT = Path(__file__).parents[2]
_SHARES = (50, 95, 99, 100)


@dataclass
class Round:
    """One round: a fresh control plane, a seed, and what came of it. Times are in seconds."""

    seed: int
    kills: dict[str, int] = field(default_factory=dict)
    """By the moment at which they came."""
    runs: dict[str, int] = field(default_factory=dict)
    """Runs by how they ended; "Gone" were deleted."""
    deeds: int = 0
    """Lines of the world's book that tell of something done."""
    undoings: int = 0
    repeated: int = 0
    """Requests that came again under a key that was known."""
    journals: int = 0
    """Runs whose state was found to be the fold of their journal."""
    seconds: float = 0
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


@dataclass
class Tally:
    """All rounds on one state of the sources; `sources` is its digest. `about` tells of the machine."""

    sources: str
    about: dict[str, Any] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)

    @classmethod
    def kept_in(cls, file: Path, wanted_kills: int, about: dict[str, Any]) -> Self:
        """Go on with the tally in `file`, unless it is of other sources or done already: then a new one begins."""
        sources = digest_of_sources()
        if file.exists():
            kept = json.loads(file.read_text())
            found = cls(kept["sources"], kept["about"], [Round(**each) for each in kept["rounds"]])
            if found.sources == sources and found.kills < wanted_kills and not found.broken:
                return found
        return cls(sources, about)

    @property
    def kills(self) -> int:
        """How many operators were killed."""
        return sum(sum(each.kills.values()) for each in self.rounds)

    @property
    def broken(self) -> list[str]:
        """Every rule that was broken, with the seed of its round."""
        return [f"seed {each.seed}: {words}" for each in self.rounds for words in each.broken]

    def write(self, file: Path) -> None:
        """Keep the tally; a file that is there is replaced as a whole."""
        file.parent.mkdir(parents=True, exist_ok=True)
        whole = {"sources": self.sources, "about": self.about, "summary": self.summary(), "rounds": [asdict(each) for each in self.rounds]}
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(whole, indent=1) + "\n")
        fresh.replace(file)

    def summary(self) -> dict[str, Any]:
        """Return the sums over all rounds, and recovery times as percentiles."""
        return {
            "kills": self.kills,
            **{f"kills {moment}": count for moment, count in _summed(each.kills for each in self.rounds).items()},
            "runs": sum(sum(each.runs.values()) for each in self.rounds),
            **{f"runs {phase}": count for phase, count in _summed(each.runs for each in self.rounds).items()},
            "deeds": sum(each.deeds for each in self.rounds),
            "undoings": sum(each.undoings for each in self.rounds),
            "repeated requests": sum(each.repeated for each in self.rounds),
            "journals verified": sum(each.journals for each in self.rounds),
            "minutes": sum(each.seconds for each in self.rounds) / 60,
            "rules broken": len(self.broken),
            **self._percentiles(),
        }

    def _percentiles(self) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for each in self.rounds:
            for name, values in each.recoveries.items():
                found.setdefault(name, []).extend(values)
        return {
            f"{name.replace('_', ' ')} {'max' if share == 100 else f'p{share}'} s": percentile(values, share)
            for name, values in sorted(found.items())
            if values
            for share in _SHARES
        }

    def table(self) -> Table:
        """Return the summary for people."""
        title = ", ".join(f"{name} {value}" for name, value in self.about.items())
        table = Table("what", title=title, title_justify="left")
        table.add_column("found", justify="right")
        for name, value in self.summary().items():
            table.add_row(name, shown(value))
        return table


def _summed(counts: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            found[name] = found.get(name, 0) + count
    return dict(sorted(found.items()))


def digest_of_sources(root: Path = _ROOT) -> str:
    """Return a digest of the operator and of these tests."""
    return digest_of(("operator/backstay", "tests/chaos"), root)
