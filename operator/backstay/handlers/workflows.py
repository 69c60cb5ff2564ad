"""A Workflow was applied: judge it, and make its revision."""

import asyncio
import copy
import logging
from collections.abc import Mapping
from typing import Any, Final

import orjson

from backstay.api.validate import check_workflow, parse_workflow
from backstay.engine.conditions import condition
from backstay.engine.program import compile_program
from backstay.errors import AlreadyExists, ApiError, Conflict, InvalidDefinition, NotFound, Problem
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.names import LABEL_MANAGED_BY, LABEL_WORKFLOW, MANAGER, digest, label_value
from backstay.runtime.ownership import ALONE, Ownership
from backstay.runtime.patch import status_patch
from backstay.runtime.queue import Key, KeyedQueue
from backstay.runtime.reconciler import utc_now
from backstay.runtime.view import key_of

log = logging.getLogger(__name__)

Status = dict[str, Any]
MOST_PROBLEMS = 20
MESSAGE_LIMIT = 8192
_WORKERS: Final = 4


class Judge:
    """Writes the status of each Workflow: when this process first sees it, and whenever its spec has changed.

    These are no change handlers of kopf's, which keep what they have handled in an annotation of the Workflow: that is a write a change and a
    right to it, and a Workflow that was copied with the annotation would never be looked at.
    """

    def __init__(self, client: Client, shards: Ownership = ALONE) -> None:
        self._client = client
        self._queue = KeyedQueue(owns=lambda key: shards.owns_name(key.namespace, key.name))
        self._newest: dict[Key, Mapping[str, Any]] = {}
        self._judged: dict[Key, int] = {}
        """The generation that this process has judged."""

    async def run(self) -> None:
        """Judge what is seen until cancelled."""
        await self._queue.serve(self._look, _WORKERS)

    def seen(self, event: str | None, workflow: Mapping[str, Any]) -> None:
        """A Workflow was added, has changed, or is gone. Does no I/O."""
        key = key_of(workflow)
        if event == "DELETED":
            self._newest.pop(key, None)
            self._judged.pop(key, None)
            self._queue.forget(key)
            return
        self._newest[key] = workflow
        if not self._is_judged(key):
            self._queue.wake(key)

    def look_at_all(self) -> None:
        """Workflows are ours to judge that were another process's before, or nobody's."""
        for key in self._newest:
            if not self._is_judged(key):
                self._queue.wake(key)

    def _is_judged(self, key: Key) -> bool:
        workflow = self._newest[key]
        generation: int = workflow["metadata"].get("generation", 0)
        return generation == self._judged.get(key) and generation == (workflow.get("status") or {}).get("observedGeneration")

    async def _look(self, key: Key) -> None:
        """Judge a Workflow once. After a conflict the newer version is on its way here; any other fault is tried again."""
        workflow = self._newest.get(key)
        if workflow is None:
            return
        try:
            status = await status_of(self._client, workflow)
            if status != workflow.get("status"):
                patch = status_patch(workflow, status)
                await self._client.patch(resources.WORKFLOWS, key.namespace, key.name, patch, subresource="status", kind="json")
            self._judged[key] = workflow["metadata"].get("generation", 0)
            self._queue.succeeded(key)
        except (Conflict, NotFound):
            return
        except ApiError as error:
            delay = self._queue.retry(key, 1.0)
            log.warning("the status of Workflow %s could not be written: %s; trying again in %.0f s", key, error, delay)


def judge(spec: Mapping[str, Any]) -> list[Problem]:
    """Return all that is wrong with a definition; an empty list, or warnings alone, mean that it can be run."""
    try:
        parsed = parse_workflow(spec)
        problems = list(check_workflow(parsed))
        if not any(problem.severity == "error" for problem in problems):
            for body in () if parsed.is_library else (parsed,):
                compile_program(body)
            for template in parsed.templates:
                compile_program(parsed.of_template(template.name) or parsed)
        return problems
    except InvalidDefinition as error:
        return list(error.problems)


async def status_of(client: Client, body: Mapping[str, Any]) -> Status:
    """Return the status that a Workflow should have; makes its revision where the definition is valid and has none yet."""
    meta = body["metadata"]
    problems = await asyncio.to_thread(judge, body["spec"])  # thousands of steps take seconds
    errors = [problem for problem in problems if problem.severity == "error"]
    before = (body.get("status") or {}).get("conditions") or ()
    generation, now = meta.get("generation", 0), utc_now()
    holds, ready_reason = ("False", "Invalid") if errors else ("True", "RevisionReady")
    revision = (body.get("status") or {}).get("revision")
    if not errors:
        revision = await ensure_revision(client, meta["namespace"], meta["name"], body["spec"])
    conditions = [
        condition("Valid", holds, "Invalid" if errors else "Valid", _words(errors or problems), generation, before, now, MESSAGE_LIMIT),
        condition("Ready", holds, ready_reason, _ready_words(errors, revision), generation, before, now, MESSAGE_LIMIT),
    ]
    return {"observedGeneration": generation, "conditions": conditions, **({"revision": revision} if revision else {})}


def _words(problems: list[Problem]) -> str:
    lines = [f"{'warning: ' if problem.severity == 'warning' else ''}{problem}" for problem in problems[:MOST_PROBLEMS]]
    more = len(problems) - MOST_PROBLEMS
    return "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])])


def _ready_words(errors: list[Problem], revision: Mapping[str, Any] | None) -> str:
    if not errors and revision:
        return f"new runs use revision {revision['number']}"
    return "new runs of this definition would fail; see Valid"


async def ensure_revision(client: Client, namespace: str, name: str, spec: Mapping[str, Any]) -> Status:
    """Return the revision that snapshots a definition, made where there is none. Going back to an old definition finds its old revision.

    Nothing owns a revision: deleting a Workflow leaves its live runs, and their revisions, to finish (DESIGN §4).
    """
    page = await client.list(resources.CONTROLLER_REVISIONS, namespace, label_selector=f"{LABEL_WORKFLOW}={label_value(name)}")
    same = next((item for item in page.items if item.get("data") == spec), None)
    if same is not None:
        return {"name": same["metadata"]["name"], "number": same["revision"]}
    number = max((int(item.get("revision") or 0) for item in page.items), default=0) + 1
    body = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{name[:200]}-{digest(name, number, _text(spec), length=10)}",
            "namespace": namespace,
            "labels": {LABEL_WORKFLOW: label_value(name), LABEL_MANAGED_BY: MANAGER},
        },
        "data": copy.deepcopy(dict(spec)),
        "revision": number,
    }
    try:
        made = await client.create(resources.CONTROLLER_REVISIONS, namespace, body)
    except AlreadyExists:
        made = await client.get(resources.CONTROLLER_REVISIONS, namespace, body["metadata"]["name"])  # type: ignore[index]
    return {"name": made["metadata"]["name"], "number": made["revision"]}


def _text(spec: Mapping[str, Any]) -> str:
    return orjson.dumps(spec, option=orjson.OPT_SORT_KEYS).decode()
