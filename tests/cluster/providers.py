"""Where a cluster for trying Backstay in containers comes from: made here out of processes, or kind where there is Docker. Both end alike."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tests.cluster import containers
from tests.cluster.images import operator_image, shop_image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".backstay" / "cluster"
SHOP_TAGS = tuple(f"shop/{name}:1" for name in ("stock", "pay", "mail", "pack", "carrier"))

_COMMAND_LIMIT_SECONDS = 900

Say = Callable[[str], None]


class ToolMissing(RuntimeError):
    """A provider needs a program that is not there; the message says which, and what to use instead."""


class Provider(Protocol):
    """A kind of cluster. After `up`, `kubeconfig` speaks as its administrator and its nodes have the images `backstay:dev` and the shop's."""

    kubeconfig: Path

    def up(self, say: Say) -> None:
        """Bring it up, unless it is up, with the images in their newest state."""

    def down(self, say: Say) -> None:
        """Take it away, with all that it left."""


class Containers:
    """Control plane and nodes as processes of this machine, as root, without Docker."""

    def __init__(self, folder: Path = FOLDER, nodes: int = 2) -> None:
        self._folder, self._nodes = folder, nodes
        self.kubeconfig = containers.kubeconfig_in(folder)

    def up(self, say: Say) -> None:
        say(containers.up(self._folder, self._nodes))
        for make in (operator_image, shop_image):
            image = make()
            say(f"loading {image.name}, {image.stat().st_size / 1e6:.0f} MB")
            containers.load_into(self._folder, image)

    def down(self, say: Say) -> None:
        say(containers.down(self._folder))


class Kind:
    """kind (https://kind.sigs.k8s.io), with the nodes of kind-config.yaml as Docker containers."""

    name = "backstay"

    def __init__(self, folder: Path = FOLDER, run: Callable[[Sequence[str]], str] | None = None) -> None:
        self.kubeconfig = folder.with_name("kind.kubeconfig")
        self._run = run or _run

    def up(self, say: Say) -> None:
        if self.name in self._run(["kind", "get", "clusters"]).split():
            say("the kind cluster runs already")
            self._run(["kind", "export", "kubeconfig", "--name", self.name, "--kubeconfig", str(self.kubeconfig)])
        else:
            say("creating the kind cluster")
            self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
            config = ["--config", str(ROOT / "kind-config.yaml"), "--kubeconfig", str(self.kubeconfig), "--wait", "120s"]
            self._run(["kind", "create", "cluster", "--name", self.name, *config])
        say("building the images")
        self._run(["docker", "build", "--tag", "backstay:dev", str(ROOT)])
        tags = [part for tag in SHOP_TAGS for part in ("--tag", tag)]
        self._run(["docker", "build", *tags, str(ROOT / "examples" / "order")])
        say("loading the images")
        self._run(["kind", "load", "docker-image", "--name", self.name, "backstay:dev", *SHOP_TAGS])

    def down(self, say: Say) -> None:
        self._run(["kind", "delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig)])
        self.kubeconfig.unlink(missing_ok=True)
        say("the kind cluster is gone")


def _run(command: Sequence[str]) -> str:
    """Run a command with what it says shown; return what it prints for programs. Raises ToolMissing, and CalledProcessError."""
    if shutil.which(command[0]) is None:
        mend = "install kind (https://kind.sigs.k8s.io) and Docker, or run `make cluster`, which needs neither (as root, with Go)"
        raise ToolMissing(f"there is no {command[0]} on the PATH; {mend}")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_COMMAND_LIMIT_SECONDS, check=True, env=dict(os.environ))
    return done.stdout
