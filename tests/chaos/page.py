"""Draw the kill tests' part of docs/proof.md anew from their tally, and keep the tally, without its single times, beside it.

python -m tests.chaos.page [.backstay/chaos.json]
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.support.tallies import between, table

_ROOT: Final = Path(__file__).parents[2]
_PAGE: Final = _ROOT / "docs" / "proof.md"
_KEPT: Final = _ROOT / "docs" / "proof" / "kills.json"
BEGIN: Final = "<!-- kills: drawn by python -m tests.chaos.page -->"
END: Final = "<!-- end of kills -->"


def told(tally: dict[str, Any]) -> str:
    """Return a tally's summary as a table, with what it was taken of above it."""
    about = ", ".join(f"{name} {value}" for name, value in tally["about"].items())
    seeds = [each["seed"] for each in tally["rounds"]]
    return table(
        f"{about}; sources {tally['sources']}; {len(seeds)} rounds, seeds {min(seeds, default=0)} to {max(seeds, default=0)}.",
        tally["summary"],
    )


def drawn(page: str, tally: dict[str, Any]) -> str:
    """Return a page whose part between the marks is the tally's table. Raises ValueError where the marks are missing."""
    return between(page, BEGIN, END, told(tally))


def main() -> None:
    """Draw the page of this checkout."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else _ROOT / ".backstay" / "chaos.json"
    tally = json.loads(file.read_text())
    for each in tally["rounds"]:
        each.pop("recoveries", None)
    _PAGE.write_text(drawn(_PAGE.read_text(), tally))
    _KEPT.parent.mkdir(parents=True, exist_ok=True)
    _KEPT.write_text(json.dumps(tally, indent=1) + "\n")


if __name__ == "__main__":
    main()
