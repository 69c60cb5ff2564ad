"""What kopf runs: its settings, and the handlers for runs and workflows."""

import logging
from typing import Any

import kopf

from backstay.errors import ApiError, NotFound
from backstay.handlers import login
from backstay.handlers.storages import DiffBase, Progress
from backstay.handlers.workflows import status_of
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.kube.login import Login
from backstay.names import GROUP, RUNS, VERSION, WORKFLOWS
from backstay.observe.metrics import Metrics
from backstay.runtime.operator import Operator
from backstay.runtime.patch import status_patch
from backstay.settings import Settings

log = logging.getLogger(__name__)

UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled"
"""Finished runs cost the operator nothing: the server leaves them out (CRD selectableFields, stable since Kubernetes 1.32)."""


def configure(settings: kopf.OperatorSettings) -> None:
    """Set kopf up as DESIGN §3 measured it: no writes for runs, no events of its own, no silent stalls."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.field_selectors[GROUP, RUNS] = UNFINISHED
    settings.persistence.diffbase_storage = DiffBase()
    settings.persistence.progress_storage = Progress()
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.networking.request_timeout = 30
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


def registry_for(client: Client, access: Login, own: Settings, metrics: Metrics) -> kopf.OperatorRegistry:
    """Return kopf's registry with our handlers, which feed an operator that lives as long as kopf's loop does."""
    registry = kopf.OperatorRegistry()
    login.register(registry, access)
    operator = Operator(client, own, metrics)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        await client.__aenter__()
        await operator.start()

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await operator.stop()
        await client.__aexit__(None, None, None)

    @kopf.on.event(GROUP, VERSION, RUNS, registry=registry)
    async def run_seen(type: str | None, body: kopf.Body, **_: Any) -> None:
        operator.run_seen(type, dict(body))

    @kopf.on.event(GROUP, VERSION, WORKFLOWS, registry=registry)
    async def workflow_seen(type: str | None, body: kopf.Body, **_: Any) -> None:
        operator.workflow_seen(type, dict(body))

    @kopf.on.resume(GROUP, VERSION, WORKFLOWS, registry=registry)
    @kopf.on.create(GROUP, VERSION, WORKFLOWS, registry=registry)
    @kopf.on.update(GROUP, VERSION, WORKFLOWS, registry=registry, field="spec")
    async def workflow_changed(body: kopf.Body, **_: Any) -> None:
        await judge_workflow(client, dict(body))

    return registry


async def judge_workflow(client: Client, body: dict[str, Any]) -> None:
    """Write a Workflow's status where it is not right yet; a conflict or a fault is tried again by kopf."""
    meta = body["metadata"]
    try:
        status = await status_of(client, body)
        if status != body.get("status"):
            patch = status_patch(body, status)
            await client.patch(resources.WORKFLOWS, meta["namespace"], meta["name"], patch, subresource="status", kind="json")
    except NotFound:
        return  # it is gone
    except ApiError as error:
        raise kopf.TemporaryError(f"the status of Workflow {meta['name']} could not be written: {error}", delay=1) from error
