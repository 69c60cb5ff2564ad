"""The build of the control plane for tests: keyed by what goes into it, told in plain words when it fails."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from backstay.cli import preflight
from tests.cluster import build as subject

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["newest", "oldest"])
def release(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each release in turn, asked for as people ask for it."""
    monkeypatch.setenv("BACKSTAY_KUBERNETES", request.param)
    return str(request.param)


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


def _staging() -> dict[str, str]:
    """Return the versions that stand in for the staging modules of the release asked for."""
    pinned = (subject.MODULES[subject.release()] / "go.mod").read_text()
    return dict(re.findall(r"(k8s\.io/[\w-]+) => \1 (v0\.\d+\.\d+)$", pinned, re.MULTILINE))


def test_every_staging_module_has_the_version_published_with_kubernetes_but_for_those_that_the_oldest_names(release: str) -> None:
    own = subject.kubernetes_version().replace("v1.", "v0.")
    others = {module.removeprefix("k8s.io/") for module, version in _staging().items() if version != own}
    missing = {"cri-api", "cri-client", "csi-translation-lib", "endpointslice", "kube-controller-manager", "kube-proxy", "kube-scheduler"}
    assert others == {"newest": set(), "oldest": missing}[release]


def test_the_newest_is_built_unless_the_oldest_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {}
    for asked in ("", "newest", "oldest"):
        monkeypatch.setenv("BACKSTAY_KUBERNETES", asked)
        versions[asked] = subject.kubernetes_version()
    assert versions[""] == versions["newest"]
    assert versions["newest"].startswith("v1.37.")
    assert versions["oldest"].startswith("v1.32.")


def test_another_word_for_a_release_is_refused_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_KUBERNETES", "1.32")
    with pytest.raises(subject.BuildError, match=r"BACKSTAY_KUBERNETES is '1\.32', .* write one of: newest, oldest"):
        subject.build()


def test_the_oldest_release_is_the_one_that_the_chart_and_the_operator_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_KUBERNETES", "oldest")
    assert subject.minor_version() == preflight.OLDEST[1]
    chart = yaml.safe_load((_ROOT / "charts" / "backstay" / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">=1.{subject.minor_version()}.0-0"


def test_both_releases_share_the_main_of_the_control_plane() -> None:
    assert (subject.MODULES["oldest"] / "main.go").resolve() == (subject.MODULES["newest"] / "main.go").resolve()


def test_the_path_in_the_cache_names_the_version_and_changes_with_the_module(
    empty_cache: Path, release: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = subject.binary_path()
    assert before.is_relative_to(empty_cache / "backstay" / "cluster")
    assert before.parent.name.startswith(f"{subject.kubernetes_version()}-")
    changed = shutil.copytree(subject.MODULES[release], tmp_path / "module")
    monkeypatch.setitem(subject.MODULES, release, changed)
    assert subject.binary_path() == before, "the same content elsewhere is the same binary"
    (changed / "more.go").write_text("package main")
    assert subject.binary_path() != before


def test_without_go_the_error_says_what_to_install_and_leaves_nothing(empty_cache: Path, own_path: Path) -> None:
    assert not subject.can_be_had()
    with pytest.raises(subject.GoMissing, match=r"no go on the PATH; install Go 1\.26"):
        subject.build()
    assert not subject.binary_path().exists()
    assert [path.name for path in subject.binary_path().parent.iterdir()] == [".cluster.lock"]


def test_a_failing_build_shows_what_go_said_and_what_it_needs(empty_cache: Path, own_path: Path, release: str) -> None:
    _go(own_path, "sys.exit('go: module lookup disabled')")
    needs = rf"(?s)code 1.*module lookup disabled.*Go 1\.26 or newer.*{subject.MODULES[release].name}/go\.sum.*module proxy"
    with pytest.raises(subject.BuildError, match=needs):
        subject.build()
    assert not subject.binary_path().exists()


def test_a_binary_is_built_once_and_its_progress_is_told(empty_cache: Path, own_path: Path, release: str) -> None:
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
        cwd=_ROOT,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: the control plane for tests is built with Go")
    assert "Traceback" not in result.stderr
