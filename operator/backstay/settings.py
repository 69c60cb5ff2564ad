"""What an installation may set: environment and command line → one frozen object, read once at start."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from backstay.hosts.rules import HostRules

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


_RULES: Final[Mapping[str, Callable[[Any], object]]] = {
    "http_allowed_hosts": HostRules.parse,
    "http_internal_ranges": lambda ranges: HostRules.parse((), (), ranges),
    "http_ca_file": _readable,
}
"""Fields whose form is judged at start. Each raises ValueError."""
