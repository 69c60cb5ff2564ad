"""What is asked of kind and Docker, held against the project's own files: there is not a Docker wherever these tests run."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.cluster.providers import ROOT, SHOP_TAGS, Kind, ToolMissing


class Asked:
    """Takes commands down instead of running them; `clusters` is what kind says is there."""

    def __init__(self, clusters: str = "") -> None:
        self.commands: list[list[str]] = []
        self._clusters = clusters

    def __call__(self, command: Sequence[str]) -> str:
        self.commands.append(list(command))
        return self._clusters if command[:3] == ["kind", "get", "clusters"] else ""

    def named(self, *words: str) -> list[str]:
        """Return the one command that begins with these words."""
        (found,) = [command for command in self.commands if command[: len(words)] == list(words)]
        return found


def up(asked: Asked, folder: Path) -> Kind:
    kind = Kind(folder / "cluster", asked)
    kind.up(lambda line: None)
    return kind


def test_a_new_kind_cluster_is_made_of_the_projects_configuration_and_gets_the_images(tmp_path: Path) -> None:
    asked = Asked()
    kind = up(asked, tmp_path)
    create = asked.named("kind", "create", "cluster")
    assert create[create.index("--kubeconfig") + 1] == str(kind.kubeconfig)
    config = yaml.safe_load(Path(create[create.index("--config") + 1]).read_text())
    assert config["kind"] == "Cluster"
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    assert asked.named("kind", "load", "docker-image")[-6:] == ["backstay:dev", *SHOP_TAGS]


def test_the_images_are_built_where_there_is_a_dockerfile_and_are_those_that_the_workflow_asks_for(tmp_path: Path) -> None:
    asked = Asked()
    up(asked, tmp_path)
    built = [command for command in asked.commands if command[:2] == ["docker", "build"]]
    assert all(Path(command[-1], "Dockerfile").exists() for command in built)
    tags = {command[place + 1] for command in built for place, word in enumerate(command) if word == "--tag"}
    workflow = (ROOT / "examples" / "order" / "workflow.yaml").read_text()
    assert {tag for tag in tags if tag in workflow} == set(SHOP_TAGS)
    assert tags == {"backstay:dev", *SHOP_TAGS}


def test_a_kind_cluster_that_is_there_is_used_again_with_new_images(tmp_path: Path) -> None:
    asked = Asked(clusters="other\nbackstay\n")
    up(asked, tmp_path)
    assert not [command for command in asked.commands if command[:3] == ["kind", "create", "cluster"]]
    asked.named("kind", "export", "kubeconfig")
    asked.named("kind", "load", "docker-image")


def test_without_docker_the_way_without_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"there is no kind on the PATH; .* or run `make cluster`"):
        Kind(tmp_path / "cluster").up(lambda line: None)
