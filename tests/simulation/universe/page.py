"""Draw the simulation's part of docs/proof.md anew from the tally of a long run, and keep the tally beside it.

python -m tests.simulation.universe.page [.backstay/simulation.json]
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.simulation.universe.many import CHUNK
from tests.support.tallies import ROOT, between, table

_PAGE: Final = ROOT / "docs" / "proof.md"
_KEPT: Final = ROOT / "docs" / "proof" / "simulation.json"
BEGIN: Final = "<!-- universes: drawn by python -m tests.simulation.universe.page -->"
END: Final = "<!-- end of universes -->"


def told(tally: dict[str, Any]) -> str:
    """Return a tally as a table, with what it was taken of above it. `seeds` are the first and the last one."""
    about = ", ".join(f"{name} {value}" for name, value in tally["about"].items())
    rows: dict[str, Any] = {name: tally[name] for name in ("universes", "runs", "jobs", "requests")}
    rows |= {f"runs {phase}": count for phase, count in sorted(tally["phases"].items())}
    rows |= {"operators lost": tally["operators_lost"], "faults planned": sum(tally["faults"].values())}
    rows |= {f"planned: {kind}": count for kind, count in sorted(tally["faults"].items())}
    rows |= {"days of virtual time": tally["virtual_seconds"] / 86_400, "minutes": tally["wall_seconds"] / 60}
    rows |= {
        "ms of CPU a universe": 1000 * tally["cpu_seconds"] / max(1, tally["universes"]),
        "universes that break a promise": len(tally["failures"]),
    }
    first, last = tally["seeds"]
    return table(f"{about}; sources {tally['sources']}; seeds {first} to {last}.", rows)


def shortened(tally: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a tally: the seeds that were played as the first and the last one, for all between them were."""
    chunks = sorted(tally["played"])
    if chunks != list(range(chunks[0], chunks[-1] + 1)):
        raise ValueError(
            f"the tally has gaps between chunk {chunks[0]} and {chunks[-1]}: go on with it until it is full, then draw the page"
        )
    rest = {name: value for name, value in tally.items() if name != "played"}
    return {**rest, "seeds": [chunks[0] * CHUNK, (chunks[-1] + 1) * CHUNK - 1]}


def drawn(page: str, tally: dict[str, Any]) -> str:
    """Return a page whose part between the marks is the tally's table. Raises ValueError where the marks are missing."""
    return between(page, BEGIN, END, told(tally))


def main() -> None:
    """Draw the page of this checkout."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".backstay" / "simulation.json"
    tally = shortened(json.loads(file.read_text()))
    _PAGE.write_text(drawn(_PAGE.read_text(), tally))
    _KEPT.parent.mkdir(parents=True, exist_ok=True)
    _KEPT.write_text(json.dumps(tally, indent=1) + "\n")


if __name__ == "__main__":
    main()
