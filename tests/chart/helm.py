"""The real helm on the project's chart."""

import functools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.tools import helm

CHART = Path(__file__).parents[2] / "charts" / "backstay"
NAMESPACE = "backstay-system"

_CALL_LIMIT_SECONDS = 100

Manifest = dict[str, Any]


def run_helm(*arguments: str | Path, values: Manifest | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm; `values` are handed over as a values file on its standard input."""
    given = ["--values", "-"] if values is not None else []
    command = [str(helm()), *map(str, arguments), *given]
    return subprocess.run(
        command, input=yaml.safe_dump(values or {}), capture_output=True, text=True, timeout=_CALL_LIMIT_SECONDS, check=False
    )


def rendered(values: Manifest | None = None, *, chart: Path = CHART, release: str = "backstay") -> list[Manifest]:
    """Return the manifests that the chart makes with `values`; they are shared, so change none of them."""
    return _rendered(json.dumps(values or {}), chart, release)


@functools.cache
def _rendered(values: str, chart: Path, release: str) -> list[Manifest]:
    result = run_helm("template", release, chart, "--namespace", NAMESPACE, values=json.loads(values))
    assert result.returncode == 0, result.stderr
    return [each for each in parsed(result.stdout) if each]


def parsed(text: str) -> Iterator[Any]:
    """Parse YAML documents with libyaml: the definitions are large, and the parser in Python takes seconds for them."""
    return yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def refused(values: Manifest) -> str:
    """Return what helm says to values that the chart must refuse."""
    result = run_helm("template", "backstay", CHART, values=values)
    assert result.returncode != 0, f"{values} should have been refused"
    return result.stderr


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Return the manifests of one kind."""
    return [each for each in manifests if each["kind"] == kind]


def the(manifests: list[Manifest], kind: str) -> Manifest:
    """Return the only manifest of a kind."""
    found = of_kind(manifests, kind)
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]
