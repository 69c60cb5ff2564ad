"""A real Kubernetes control plane in a few seconds: etcd, API server, controller manager and scheduler, without nodes.

In tests:

    with ControlPlane.start(tmp_path) as control_plane:
        subprocess.run(["kubectl", "--kubeconfig", control_plane.kubeconfig, "get", "namespaces"])

For people, with the state under .backstay/ of the checkout:

    python -m tests.cluster.control_plane up
    python -m tests.cluster.control_plane down
"""

import argparse
import http.client
import json
import secrets
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.cluster import components
from tests.cluster.build import BuildError, build
from tests.cluster.certificates import make_certificates
from tests.cluster.components import Layout, Site
from tests.cluster.processes import ProcessesLeft, end_child, end_others, free_ports, runs, spawn, tail
from tests.support.cache import CacheBusy

_READY_LIMIT_SECONDS = 60
_REQUEST_LIMIT_SECONDS = 5
_POLL_SECONDS = 0.05
_STARTS = 3
_PORT_TAKEN = "address already in use"
_STATE = "state.json"
_PEOPLE = Path(__file__).parents[2] / ".backstay" / "control-plane"


HERE = Site()


@dataclass(frozen=True)
class User:
    """Somebody whom the API server knows by a token; what it may do is RBAC's business."""

    name: str
    token: str
    group: str


class ControlPlaneError(RuntimeError):
    """The control plane did not start or stop; the message ends with what its processes logged."""


class ControlPlane:
    """A running control plane. `kubeconfig` speaks as an administrator (group `system:masters`); RBAC holds for everybody else.

    Attributes: `directory` holds its files and logs, `kubeconfig` is self-contained, `server` is its https URL, `token` the administrator's.
    """

    def __init__(self, layout: Layout, binary: Path, *, bound: bool) -> None:
        """Prepare the files of a control plane that is not yet running: use `start`."""
        self.directory = layout.directory
        self.kubeconfig = layout.kubeconfig
        self.server = layout.api_url
        self.token = secrets.token_urlsafe(32)
        self._layout = layout
        self._binary = binary
        self._bound = bound
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._trust = ssl.create_default_context(cafile=layout.certificates.authority)

    @classmethod
    def start(
        cls, directory: Path, *, api_arguments: Sequence[str] = (), bound: bool = True, site: Site = HERE, users: Sequence[User] = ()
    ) -> Self:
        """Start a fresh control plane with its state in `directory`, and return when it is ready, which takes a few seconds.

        `api_arguments` are further flags for the API server, `users` may speak to it besides the administrator. A `bound` control plane ends
        with the calling process, however that ends. Raises BuildError when the binary cannot be had, ControlPlaneError with the tails of the
        logs when a component does not come up.
        """
        binary = build()
        for attempt in range(1, _STARTS + 1):
            control_plane = cls(_fresh_layout(directory, site), binary, bound=bound)
            try:
                control_plane._bring_up(api_arguments, users)
                return control_plane
            except BaseException as error:
                control_plane.stop()
                if not isinstance(error, ControlPlaneError) or _PORT_TAKEN not in str(error) or attempt == _STARTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def stop(self) -> None:
        """Kill the processes and wait until they are gone; may be called again.

        Killed rather than asked: an API server that is told to stop lingers for a minute when its etcd goes, and nothing here is worth keeping.
        """
        while self._processes:
            name = next(reversed(self._processes))
            end_child(self._processes[name])
            del self._processes[name]
        (self.directory / _STATE).unlink(missing_ok=True)

    def kill(self, component: str) -> None:
        """End one component as a power cut would, and wait until it is gone: `etcd`, `apiserver`, `controller-manager` or `scheduler`."""
        end_child(self._processes.pop(component))

    def start_again(self, component: str) -> None:
        """Start a component that was killed, with the arguments that it had, and wait until it answers."""
        self._run(self._commands[component])
        self._wait_until_it_answers(component)

    def restart(self, component: str) -> None:
        """Kill a component and start it again."""
        self.kill(component)
        self.start_again(component)

    def forget_history(self) -> None:
        """Compact etcd up to now: it answers whoever wants to watch from an earlier version with 410 Gone."""
        newest = self._ask_etcd("range", {"key": b64encode(b"\0").decode()})["header"]["revision"]
        self._ask_etcd("compaction", {"revision": newest, "physical": True})

    def _ask_etcd(self, what: str, body: dict[str, object]) -> Any:
        request = urllib.request.Request(f"{self._layout.etcd_url}/v3/kv/{what}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=_REQUEST_LIMIT_SECONDS) as answer:
            return json.load(answer)

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each running component, by name."""
        return {name: process.pid for name, process in self._processes.items()}

    def log(self, component: str) -> Path:
        """Return the log of `etcd`, `apiserver`, `controller-manager` or `scheduler`."""
        return self.directory / f"{component}.log"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _bring_up(self, api_arguments: Sequence[str], users: Sequence[User]) -> None:
        layout = self._layout
        everybody = [User("backstay-test-admin", self.token, "system:masters"), *users]
        _write_private(layout.users, "".join(f'{user.token},{user.name},{user.name},"{user.group}"\n' for user in everybody))
        _write_private(layout.kubeconfig, yaml.safe_dump(self._kubeconfig(self.server, self.token), sort_keys=False))
        self._run(components.etcd(layout))
        self._run(components.apiserver(layout, api_arguments))
        self._wait_until_it_answers("apiserver")
        self._run(components.controller_manager(layout))
        self._run(components.scheduler(layout))
        self._wait_until_it_answers("controller-manager")
        self._wait_until_it_answers("scheduler")

    def _wait_until_it_answers(self, component: str) -> None:
        api, scheduler = self._layout.api_port, self._layout.scheduler_port
        asked = {
            "etcd": (api, "/readyz/etcd"),
            "apiserver": (api, "/readyz"),
            # No pod can be made before its namespace has a service account, which is the controller manager's work.
            "controller-manager": (api, "/api/v1/namespaces/default/serviceaccounts/default"),
            "scheduler": (scheduler, "/healthz"),
        }
        self._wait_for(component, lambda: self._answers(*asked[component]))

    def _run(self, arguments: list[str]) -> None:
        name = arguments[0]
        self._commands[name] = arguments
        options = ["--while-stdin"] if self._bound else []
        self._processes[name] = spawn([*self._layout.site.enter, self._binary, *options, *arguments], self.log(name), bound=self._bound)
        _write_private(self.directory / _STATE, json.dumps({"server": self.server, "pids": self.pids}, indent=2))

    def _wait_for(self, what: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_LIMIT_SECONDS
        while not is_ready():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise ControlPlaneError(f"{name} ended with code {process.returncode} while it started\n{self._tails([name])}")
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"{what} is not ready after {_READY_LIMIT_SECONDS} s\n{self._tails(self._processes)}")
            time.sleep(_POLL_SECONDS)

    def _answers(self, port: int, path: str) -> bool:
        connection = http.client.HTTPSConnection(self._layout.site.address, port, timeout=_REQUEST_LIMIT_SECONDS, context=self._trust)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _tails(self, names: Sequence[str] | dict[str, subprocess.Popen[bytes]]) -> str:
        return "\n".join(f"  the end of {self.log(name)}:\n{tail(self.log(name))}" for name in names)

    def kubeconfig_for(self, user: User) -> str:
        """Return the kubeconfig, as text, with which `user` speaks to it from a node."""
        server = f"https://{self._layout.site.for_nodes}:{self._layout.api_port}"
        return yaml.safe_dump(self._kubeconfig(server, user.token), sort_keys=False)

    def _kubeconfig(self, server: str, token: str) -> dict[str, object]:
        authority = b64encode(self._layout.certificates.authority.read_bytes()).decode()
        name = "backstay-test"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }


def _fresh_layout(directory: Path, site: Site) -> Layout:
    """Clear away what an earlier control plane left in `directory`, and nothing else, and choose new keys and ports."""
    directory = directory.resolve()
    keys = directory / "certs"
    for old in (directory / "etcd", keys):
        shutil.rmtree(old, ignore_errors=True)
    for old in directory.glob("*.log"):
        old.unlink()
    keys.mkdir(parents=True)
    etcd_port, api_port, scheduler_port = free_ports(3)
    certificates = make_certificates(keys, [site.address, *([site.for_nodes] if site.for_nodes else [])])
    return Layout(directory, certificates, etcd_port, api_port, scheduler_port, site)


def _write_private(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content)


def up(directory: Path) -> str:
    """Start a control plane that outlives this process, unless one runs in `directory`; return how to use it."""
    if running := _running(directory):
        server = running["server"]
        started = "is running already"
    else:
        down(directory)
        server = ControlPlane.start(directory, bound=False).server
        started = "is ready"
    return f"the control plane {started} at {server}\nexport KUBECONFIG={directory.resolve() / 'kubeconfig'}"


def down(directory: Path) -> str:
    """End the control plane in `directory`, if there is one, and wait until its processes are gone."""
    state = _state(directory)
    if state is None:
        return "no control plane is running"
    end_others(state["pids"].values(), mark=str(directory.resolve()))
    (directory / _STATE).unlink(missing_ok=True)
    return "the control plane is gone"


def _state(directory: Path) -> dict[str, Any] | None:
    file = directory / _STATE
    return json.loads(file.read_text()) if file.exists() else None


def _running(directory: Path) -> dict[str, Any] | None:
    """Return the state of the control plane in `directory` if all its components are alive."""
    state = _state(directory)
    mark = str(directory.resolve())
    return state if state and len(state["pids"]) == 4 and all(runs(pid, mark) for pid in state["pids"].values()) else None


def main() -> None:
    """Run the command line: up or down."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.control_plane", description="A real control plane without nodes.")
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument(
        "--directory", type=Path, default=_PEOPLE, help="where its state is (default: .backstay/control-plane of the checkout)"
    )
    asked = parser.parse_args()
    try:
        print({"up": up, "down": down}[asked.command](asked.directory))
    except (BuildError, CacheBusy, ControlPlaneError, ProcessesLeft) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
