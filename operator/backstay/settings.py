"""What an installation may set: environment and command line → one frozen object, read once at start."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from backstay.hosts.rules import HostRules
from backstay.names import digest

MOST_SHARDS: Final = 64
MAX_CHILD_DEPTH: Final = 16
"""What Settings.max_child_depth is where nobody sets it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the operator runs. Each field can be set by the environment variable BACKSTAY_<FIELD IN CAPITALS>."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to look after; empty means all of them."""
    log_format: str = "text"
    log_level: str = "info"
    metrics_port: int = 9090
    """0 serves no metrics."""
    health_port: int = 8080
    """0 serves no probes."""
    bind_address: str = "0.0.0.0"  # noqa: S104  probes come from the node, metrics from the cluster
    workers: int = 32
    """Runs that are reconciled at the same time."""
    sweep_seconds: float = 300.0
    """How often every run is listed: unfinished ones are looked at even if nothing seems to happen, finished ones leave when their time is over."""
    missing_workflow_seconds: float = 60.0
    """How long a run waits for a Workflow that is not there before it fails with WorkflowNotFound."""
    api_qps: float = 500.0
    """Requests a second to the API server at most, in the long run; 0 for any number. What the server itself allows is told by its 429s."""
    api_burst: int = 1000
    """How many requests may follow each other at once after a lull."""
    shards: int = 1
    """Into how many parts the runs are divided, each worked on by the process that holds its Lease (docs/high-availability.md). 0 takes no Lease and
    works on everything: whoever then starts a second process has two that work."""
    identity: str = ""
    """What this process is called in Leases. One that is started anew under the same name goes on at once; empty is the host's name, which in a pod is
    the pod's, and the process id."""
    lease_name: str = ""
    """What the Leases of this installation are called; empty is `backstay`."""
    lease_namespace: str = ""
    """Where they are; empty is the first of `namespaces`, else `default`."""
    lease_seconds: float = 8.0
    """How long a Lease lasts that is not renewed: how late another process takes over from one that is gone without a word."""
    max_active_runs: int = 0
    """How many runs may go on at the same time in all; more wait for their turn. 0 for any number."""
    max_active_runs_per_namespace: int = 0
    """How many runs may go on at the same time in one namespace; more wait for their turn. 0 for any number."""
    max_child_depth: int = MAX_CHILD_DEPTH
    """How deep child runs may nest; a `workflow` step that would go deeper fails with LimitExceeded."""
    dead_letter_ttl_seconds: float = 7 * 86_400.0
    """How long a DeadLetter is kept once it was replayed or discarded; 0 keeps it for ever. One that waits is kept, however long."""
    http_allowed_hosts: tuple[str, ...] = ()
    """Hosts that http steps may call, as `hosts/rules.py` reads them; none where it is empty."""
    http_internal_ranges: tuple[str, ...] = ()
    """Ranges of addresses that count as private although they are public elsewhere."""
    http_ca_file: str = ""
    """PEM file with further certificate authorities that http steps trust, besides those of the system."""

    @property
    def lease_place(self) -> tuple[str, str]:
        """Namespace and name of the Leases. By default an operator of other namespaces does not wait for this one."""
        name = "backstay" if len(self.namespaces) < 2 else f"backstay-{digest(*sorted(self.namespaces), length=8)}"
        return self.lease_namespace or next(iter(self.namespaces), "default"), self.lease_name or name

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **overrides: Any) -> "Settings":
        """Read the environment; `overrides` that are not None win. Raises ValueError naming the variable that cannot be read."""
        found = cls()
        for field in fields(cls):
            name = f"BACKSTAY_{field.name.upper()}"
            text = (os.environ if environment is None else environment).get(name)
            if text is None:
                continue
            try:
                found = replace(found, **{field.name: _read(getattr(found, field.name), text)})
                _RULES.get(field.name, lambda _: None)(getattr(found, field.name))
            except ValueError as error:
                raise ValueError(f"{name}={text!r}: {error}") from error
        return replace(found, **{name: value for name, value in overrides.items() if value is not None})


def _read(example: Any, text: str) -> Any:
    if isinstance(example, tuple):
        return tuple(part for part in text.replace(",", " ").split() if part)
    return type(example)(text)


def _readable(path: str) -> None:
    try:
        if path:
            Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from None


def _in_range(least: float, most: float) -> Callable[[float], None]:
    def check(value: float) -> None:
        if not least <= value <= most:
            raise ValueError(f"it must be from {least:g} to {most:g}")

    return check


_RULES: Final[Mapping[str, Callable[[Any], object]]] = {
    "shards": _in_range(0, MOST_SHARDS),
    "lease_seconds": _in_range(2, 3600),
    "http_allowed_hosts": HostRules.parse,
    "http_internal_ranges": lambda ranges: HostRules.parse((), (), ranges),
    "http_ca_file": _readable,
}
"""Fields whose form is judged at start. Each raises ValueError."""
