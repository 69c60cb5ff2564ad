"""docs/ held against what it speaks of: the table of troubles against the tests, links against files, commands against what there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from backstay.cli.main import app

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(ROOT)): page for page in [*sorted(DOCS.glob("**/*.md")), ROOT / "README.md"]}
"""Pages by their name."""
CITED = ("docs/troubleshooting.md", "docs/install.md", "docs/decisions/0011-clocks.md", "docs/timeouts.md", "docs/idempotency.md")
"""Pages that name tests."""
TROUBLES = ("tests/e2e/test_troubles_*.py", "tests/e2e/test_deletion.py", "tests/containers/test_troubles.py")
"""Where every test is a trouble of the table."""

_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|^ {4}\S.*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"(?:^ *|`|&& )make ([a-z0-9-]+)", re.MULTILINE)
_BACKSTAY = re.compile(r"(?:^ *(?:\$ )?|`|kubectl |&& |\$\()backstay ([a-z][a-z-]*)", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def names_in(file: Path) -> set[str]:
    """Return the names of the tests in a file."""
    return {
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def rows() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each trouble of the table with its tests."""
    _, _, table = (DOCS / "troubleshooting.md").read_text().partition("## What happens, and which test shows it")
    for line in table.splitlines():
        if line.startswith("|") and not line.startswith(("|---", "| trouble |")):
            yield line.split("|")[1].strip(), _TEST.findall(line)


def code(page: Path) -> str:
    """Return what stands as code in a page."""
    return "\n".join(_CODE.findall(page.read_text()))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    plain = (
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()) for heading in _HEADING.findall(page.read_text())
    )
    return {heading.strip().replace(" ", "-") for heading in plain}


def test_each_trouble_of_the_table_is_shown_by_tests() -> None:
    found = dict(rows())
    assert len(found) > 30
    assert [trouble for trouble, shown_by in found.items() if not shown_by or not all(name for _, name in shown_by)] == []


def test_each_test_of_a_trouble_stands_in_the_table() -> None:
    named = {(file, name) for _, shown_by in rows() for file, name in shown_by}
    there = {(str(file.relative_to(ROOT)), name) for pattern in TROUBLES for file in ROOT.glob(pattern) for name in names_in(file)}
    assert len(there) > 30
    assert there - named == set()


@pytest.mark.parametrize("page", CITED)
def test_each_test_that_a_page_names_is_there(page: str) -> None:
    named = _TEST.findall(PAGES[page].read_text())
    assert named
    missing = [f"{file}::{name}" for file, name in named if not (ROOT / file).exists() or (name and name not in names_in(ROOT / file))]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_somewhere(page: str) -> None:
    broken = []
    for link in _LINK.findall(PAGES[page].read_text()):
        path, _, anchor = link.partition("#")
        target = (PAGES[page].parent / path).resolve() if path else PAGES[page]
        if "://" in link:
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_each_target_of_make_is_one(page: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(_MAKE.findall(code(PAGES[page]))) - targets == set()


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_backstay_is_one(page: str) -> None:
    commands = set(getattr(get_command(app), "commands", {}))
    assert "why" in commands
    assert set(_BACKSTAY.findall(code(PAGES[page]))) - commands == set()
