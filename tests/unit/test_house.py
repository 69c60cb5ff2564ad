"""The house itself: what must, or must not, stand where."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "backstay"


def test_the_folder_operator_is_no_package_because_it_would_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    found = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.itemgetter(0)([7]))"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout == "7\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_package(wheel: set[str]) -> None:
    ours = {str(path.relative_to(PACKAGE.parent)) for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert ours <= wheel
    assert {name.split("/")[0] for name in wheel if not name.startswith("backstay-")} == {"backstay"}


def test_the_lock_files_hold_hashes_and_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / name).read_text().splitlines()
        pins = [line for line in lines if "==" in line and not line.startswith(" ")]
        assert pins, name
        assert all(line.rstrip().endswith("\\") for line in pins), "a pin without a hash"
        assert not [
            line for line in lines if "http" in line.replace("aiohttp", "").replace("httptools", "").lower() or line.startswith("-")
        ]


def test_every_decision_is_numbered_once() -> None:
    numbers = [path.name.split("-")[0] for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_no_two_scenarios_share_a_name_because_the_suite_imports_all_of_them() -> None:
    """The later one would take the place of the earlier one: a test would not run, or get another's fixture."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests" / "scenarios").glob("*.py")):
        for item in ast.parse(file.read_text()).body:
            if isinstance(item, ast.FunctionDef) and (item.name.startswith("test_") or "fixture" in map(_last_name, item.decorator_list)):
                found.setdefault(item.name, []).append(file.name)
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def _last_name(decorator: ast.expr) -> str:
    decorator = decorator.func if isinstance(decorator, ast.Call) else decorator
    return decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
