"""What /healthz and /readyz ask: has anything hung, and is it known what is in the cluster?

An API server that is gone, slow, or turns us away is no hang: informers try again and looks fail, and both count as movement. What does not
move for far longer than any request may last never will, and Kubernetes is to start the operator anew; it goes on from what is written.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from backstay.kube.informer import Informer
from backstay.observe.health import Health
from backstay.runtime.queue import KeyedQueue

INFORMER_LIMIT_SECONDS: Final = 180.0
"""A watch lasts 38 s and ten more at most, a page of a list 30 s, and a pause after a failure as long as the server says."""
QUEUE_LIMIT_SECONDS: Final = 180.0
"""A look that the API server does not answer ends within two requests of 30 s, and a pause after a 429 lasts 60 s at most."""

Informers = Callable[[], Iterable[tuple[str, Informer[Any]]]]


def register(health: Health, informers: Informers, queue: KeyedQueue, has_started: Callable[[], bool]) -> None:
    """Have both pages ask the operator's informers and its queue."""
    health.ready("operator", lambda: "" if has_started() else "it has not started")
    health.ready("informers", partial(_not_listed, informers))
    health.alive("informers", partial(_hung, informers, has_started))
    health.alive("queue", partial(_stuck, queue))


def _not_listed(informers: Informers) -> str:
    missing = dict.fromkeys(name for name, informer in informers() if not informer.synced.is_set())
    return f"not listed yet: {', '.join(missing)}" if missing else ""


def _hung(informers: Informers, has_started: Callable[[], bool]) -> str:
    if not has_started():
        return ""
    return "; ".join(
        f"nothing has happened to the watch of {name} for {informer.idle_seconds:.0f} s"
        for name, informer in informers()
        if informer.idle_seconds > INFORMER_LIMIT_SECONDS
    )


def _stuck(queue: KeyedQueue) -> str:
    seconds = queue.stuck_seconds()
    if seconds <= QUEUE_LIMIT_SECONDS:
        return ""
    return f"{len(queue)} runs are ready, and none was taken for {seconds:.0f} s; {queue.busy()} are being looked at"
