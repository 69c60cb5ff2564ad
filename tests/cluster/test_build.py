"""The build of the control plane for tests: keyed by what goes into it, told in plain words when it fails."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import build as subject


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def own_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but what the test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _go(folder: Path, script: str) -> None:
    go = folder / "go"
    go.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{script}\n")
    go.chmod(0o755)


def test_the_versions_are_those_of_the_module() -> None:
    module = (subject.MODULE / "go.mod").read_text()
    minor = re.fullmatch(r"v1\.(\d+\.\d+)", subject.kubernetes_version())
    assert minor, subject.kubernetes_version()
    staging = set(re.findall(r"k8s\.io/[\w-]+ => k8s\.io/[\w-]+ v0\.(\S+)", module))
    assert staging == {minor.group(1)}, "every staging module has the version published with Kubernetes itself"


def test_the_path_in_the_cache_names_the_version_and_changes_with_the_module(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = subject.binary_path()
    assert before.is_relative_to(empty_cache / "backstay" / "cluster")
    assert before.parent.name.startswith(f"{subject.kubernetes_version()}-")
    changed = tmp_path / "gomodule"
    changed.mkdir()
    for name in ("go.mod", "go.sum", "main.go"):
        (changed / name).write_bytes((subject.MODULE / name).read_bytes())
    monkeypatch.setattr(subject, "MODULE", changed)
    assert subject.binary_path() == before, "the same content elsewhere is the same binary"
    (changed / "main.go").write_text("package main")
    assert subject.binary_path() != before


def test_without_go_the_error_says_what_to_install_and_leaves_nothing(empty_cache: Path, own_path: Path) -> None:
    assert not subject.can_be_had()
    with pytest.raises(subject.GoMissing, match=r"no go on the PATH; install Go 1\.26"):
        subject.build()
    assert not subject.binary_path().exists()
    assert [path.name for path in subject.binary_path().parent.iterdir()] == [".cluster.lock"]


def test_a_failing_build_shows_what_go_said_and_what_it_needs(empty_cache: Path, own_path: Path) -> None:
    _go(own_path, "sys.exit('go: module lookup disabled')")
    with pytest.raises(subject.BuildError, match=r"(?s)code 1.*module lookup disabled.*Go 1\.26 or newer.*module proxy"):
        subject.build()
    assert not subject.binary_path().exists()


def test_a_binary_is_built_once_and_its_progress_is_told(empty_cache: Path, own_path: Path) -> None:
    _go(own_path, "Path(sys.argv[sys.argv.index('-o') + 1]).write_text('built')")
    said: list[str] = []
    assert subject.build(said.append).read_text() == "built"
    assert said[0].startswith(f"building Kubernetes {subject.kubernetes_version()}")
    (own_path / "go").unlink()
    assert subject.can_be_had()
    assert subject.build(said.append) == subject.binary_path()
    assert len(said) == 2


def test_the_command_line_prints_the_error_without_a_traceback(empty_cache: Path, own_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.cluster.build"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: the control plane for tests is built with Go")
    assert "Traceback" not in result.stderr
