"""What the tallies of long runs have in common: of which sources they tell, and the place on a page at which they are drawn."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.bench.figures import shown

ROOT = Path(__file__).parents[2]


def digest_of(folders: Iterable[str], root: Path = ROOT) -> str:
    """Return a digest of all Python sources in folders: a tally proves something of these very sources."""
    found = hashlib.sha256()
    for folder in folders:
        for file in sorted((root / folder).rglob("*.py")):
            found.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def table(told: str, rows: Mapping[str, float | str]) -> str:
    """Return a table of what was found, with what it was taken of above it."""
    return "\n".join([told, "", "| what | found |", "|---|---:|", *(f"| {name} | {shown(value)} |" for name, value in rows.items())])


def between(page: str, begin: str, end: str, text: str) -> str:
    """Return a page with another text between two marks. Raises ValueError where the marks are missing."""
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"the page has no {begin} … {end}; put both lines where the table is to stand")
    return f"{before}{begin}\n{text}\n{end}{after}"
