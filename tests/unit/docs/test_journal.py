"""docs/journal.md: its findings are those that there are, and its shell script checks an export."""

import re
import subprocess
from pathlib import Path

import pytest

from backstay.engine.audit import Kind
from backstay.engine.audit.export import lines_of
from tests.support.audited import Held
from tests.support.world import World

PAGE = (Path(__file__).parents[3] / "docs/journal.md").read_text()
SCRIPT = re.search(r"```sh\n(seal=.*?)```", PAGE, re.DOTALL)
LINES = 6


@pytest.fixture(scope="module")
def export() -> list[bytes]:
    world = World('steps: [{name: a, set: {x: "é \\" 1"}}]')
    held = Held.of(world)
    meta = {"name": held.name, "namespace": "shop", "uid": held.uid}
    return [*lines_of({"metadata": meta, "status": held.status}, held.audit())]


def test_every_finding_has_its_row() -> None:
    assert re.findall(r"^\| `(\w+)` \| ", PAGE.partition("| finding |")[2].partition("\n\n")[0], re.MULTILINE) == [
        str(kind) for kind in Kind
    ]


def script(folder: Path, lines: list[bytes]) -> tuple[str, str]:
    assert SCRIPT is not None
    (folder / "order-7f2.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    done = subprocess.run(["sh", "-c", SCRIPT[1]], cwd=folder, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip(), done.stderr


def test_the_script_works_out_the_seal_that_the_header_gives(export: list[bytes], tmp_path: Path) -> None:
    seal, trouble = script(tmp_path, export)
    assert (len(export), trouble) == (LINES + 1, "")
    assert f'"head":"{seal}"' in export[0].decode()


@pytest.mark.parametrize("line", range(1, LINES))
def test_the_script_finds_a_line_that_was_changed_or_taken_away(export: list[bytes], line: int, tmp_path: Path) -> None:
    changed = export[line].replace(b'"time":"2026', b'"time":"2025')
    assert script(tmp_path, [*export[:line], changed, *export[line + 1 :]])[1].startswith("broken: ")
    if line > 1:
        assert script(tmp_path, [*export[:line], *export[line + 1 :]])[1].startswith("broken: ")
