"""What kopf runs: its settings, and the handlers for Workflows. Runs have an informer of their own (`runtime/runs.py`), as Jobs and Pods do."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import kopf

from backstay.handlers import login
from backstay.handlers.storages import DiffBase, Progress
from backstay.handlers.workflows import Judge
from backstay.kube.client import Client
from backstay.kube.login import Login
from backstay.names import GROUP, VERSION, WORKFLOWS
from backstay.observe.health import Health
from backstay.observe.metrics import Metrics
from backstay.runtime.operator import Operator
from backstay.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """The waiting times between kopf's tries of a request, without an end: kopf itself gives up after a minute, and the operator with it.

    An API server that is gone for long is no reason to end: a pod that ends again and again is kept waiting by Kubernetes, for up to five
    minutes, when the server is long back. The last time is how late we notice that it is.
    """

    first: tuple[float, ...] = (1, 1, 2, 3)
    then: float = 5

    def __iter__(self) -> Iterator[float]:
        return chain(self.first, repeat(self.then))


def configure(settings: kopf.OperatorSettings) -> None:
    """Set kopf up as DESIGN §3 measured it: no writes for runs, no events of its own, no silent stalls."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.persistence.diffbase_storage = DiffBase()
    settings.persistence.progress_storage = Progress()
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = Patience()
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


def registry_for(client: Client, access: Login, own: Settings, metrics: Metrics, health: Health) -> kopf.OperatorRegistry:
    """Return kopf's registry with our handlers, which feed an operator that lives as long as kopf's loop does."""
    registry = kopf.OperatorRegistry()
    login.register(registry, access)
    operator = Operator(client, own, metrics, health)
    judge = Judge(client, operator.shards)
    operator.when_gained(judge.look_at_all)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        await client.__aenter__()
        await operator.start()
        operator.spawn(judge.run(), "workflows")

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await operator.stop()
        await client.__aexit__(None, None, None)

    @kopf.on.event(GROUP, VERSION, WORKFLOWS, registry=registry)
    async def workflow_seen(type: str | None, body: kopf.Body, **_: Any) -> None:
        operator.workflow_seen(type, dict(body))
        judge.seen(type, dict(body))

    return registry
