"""Whether the operator is alive, and whether it is ready: named checks, answered as Kubernetes' own components answer.

/healthz   alive: nothing has hung. Kubernetes starts anew what is not, so an API server that is gone is no reason to say no
/readyz    ready: what is in the cluster is known, and runs are, or could be, looked at
"""

from collections.abc import Callable
from dataclasses import dataclass, field

Check = Callable[[], str]
"""Says in words what is wrong; nothing where all is well. Does no I/O."""


@dataclass(slots=True)
class Health:
    """The checks, by name. What has none is alive and ready."""

    _alive: dict[str, Check] = field(default_factory=dict)
    _ready: dict[str, Check] = field(default_factory=dict)

    def alive(self, name: str, check: Check) -> None:
        """Have /healthz ask this."""
        self._alive[name] = check

    def ready(self, name: str, check: Check) -> None:
        """Have /readyz ask this."""
        self._ready[name] = check

    def is_alive(self) -> tuple[bool, str]:
        """Tell whether nothing has hung, and what each check says, a line each."""
        return _asked("healthz", self._alive)

    def is_ready(self) -> tuple[bool, str]:
        """Tell whether what is in the cluster is known, and what each check says, a line each."""
        return _asked("readyz", self._ready)


def _asked(page: str, checks: dict[str, Check]) -> tuple[bool, str]:
    wrong = {name: check() for name, check in checks.items()}
    lines = [f"[-]{name} failed: {words}" if words else f"[+]{name} ok" for name, words in wrong.items()]
    is_well = not any(wrong.values())
    return is_well, "\n".join([*lines, f"{page} check {'passed' if is_well else 'failed'}", ""])
