"""A modelled API server with a Job controller and a kubelet in it, in memory, for the real operator: and faults, at exactly the call that a test names.

Implements what `kube.client.Client` offers, with resourceVersions, conflicts, finalizers, garbage collection of owned Jobs and watches.
Pods end as soon as their Job is made, as the test's `outcome` says. Its answers are held against real servers by the scenario suite.
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import jsonpatch
import orjson

from backstay import errors, names
from backstay.kube.client import ListPage
from backstay.kube.resources import CONTROLLER_REVISIONS, JOBS, JOURNALS, PODS, RUNS, Resource

Object = dict[str, Any]
Outcome = Callable[[Object], tuple[int, str] | None]
"""From a Job to its container's exit code and output; None lets it run on."""


class FakeApi:
    """One API server. `fault(number, verb, plural)` is asked at every write: None, or `conflict`, `unavailable`, `lost` (done, answer lost),
    `hang` (never done, never answered), `hang-after` (done, never answered), or how it is refused: `quota`, `webhook is down`, `denied`, `terminating`, `no right`."""

    def __init__(self, outcome: Outcome) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.outcome = outcome
        self.fault: Callable[[int, str, str], str | None] = lambda number, verb, plural: None
        self.version = 0
        self.writes: list[tuple[str, str]] = []
        self.created: list[str] = []
        self.hung = asyncio.Event()
        self.silent: set[str] = set()
        """Kinds whose lists are never answered."""
        self.terminating: set[str] = set()
        """Namespaces that are being deleted: they take no new Jobs."""
        self._watchers: list[tuple[str, asyncio.Queue[tuple[str, Object]]]] = []
        self.calls: Any = None
        self.server = "https://10.96.0.1"
        self.clock_skew_seconds: float | None = None

    # ------------------------------------------------------------------------------------------------------- the client

    async def __aenter__(self) -> FakeApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        await asyncio.sleep(0)
        return copy.deepcopy(self._found(resource.plural, namespace or "", name))

    async def list(self, resource: Resource, namespace: str | None = None, *, label_selector: str = "", **_: Any) -> ListPage:
        await asyncio.sleep(0)
        if resource.plural in self.silent:
            await asyncio.Event().wait()
        return ListPage([copy.deepcopy(one) for one in self.all(resource.plural) if _selected(one, label_selector)], str(self.version))

    async def pages(self, resource: Resource, namespace: str | None = None, **selectors: Any) -> AsyncGenerator[ListPage, None]:
        chosen = selectors.pop("field_selector", "")
        page = await self.list(resource, namespace, **selectors)
        yield ListPage([one for one in page.items if _matches(one, chosen)], page.resource_version)

    async def watch(
        self, resource: Resource, namespace: str | None = None, *, resource_version: str, field_selector: str = "", **_: Any
    ) -> AsyncGenerator[tuple[str, Object], None]:
        queue: asyncio.Queue[tuple[str, Object]] = asyncio.Queue()
        for one in sorted(self.all(resource.plural), key=lambda one: int(one["metadata"]["resourceVersion"])):
            if int(one["metadata"]["resourceVersion"]) > int(resource_version):
                queue.put_nowait(("MODIFIED", copy.deepcopy(one)))
        entry = (resource.plural, queue)
        self._watchers.append(entry)
        try:
            while True:
                event, one = await queue.get()
                if _matches(one, field_selector):
                    yield event, one
                elif event != "ADDED":
                    yield "DELETED", one  # as of an object that has left what the watch selects
        finally:
            self._watchers.remove(entry)

    async def create(
        self, resource: Resource, namespace: str | None, body: Mapping[str, Any], *, dry_run: bool = False, **_: Any
    ) -> Object:
        if resource is JOBS and (namespace or "") in self.terminating:
            raise errors.Forbidden(403, "Forbidden", "it is being terminated", causes=["NamespaceTerminating"])
        if dry_run:
            await asyncio.sleep(0)
            return copy.deepcopy(dict(body))

        def do() -> Object:
            made = copy.deepcopy(dict(body))
            meta = made["metadata"]
            if (resource.plural, namespace or "", meta["name"]) in self.objects:
                raise errors.AlreadyExists(409, "AlreadyExists", f"{resource.plural} {meta['name']} already exists")
            meta |= {
                "namespace": namespace or "",
                "uid": f"uid-{self.version + 1}",
                "generation": 1,
                # The sweeper takes away revisions of an age that nobody needs: one that is made now is young, whatever the clock says.
                "creationTimestamp": "2099-01-01T00:00:00Z" if resource is CONTROLLER_REVISIONS else "2026-11-23T09:00:00Z",
            }
            self._store(resource.plural, made, "ADDED")
            answer = copy.deepcopy(made)
            if resource is JOBS:
                self.created.append(meta["name"])
                self.finish(made)
            return answer

        return await self._write("create", resource, do)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any] | Sequence[Any],
        *,
        subresource: str | None = None,
        kind: str = "merge",
        **_: Any,
    ) -> Object:
        def do() -> Object:
            old = self._found(resource.plural, namespace or "", name)
            new = _patched(old, body) if kind == "json" else _merged(old, dict(body))  # type: ignore[call-overload]
            if any(new["metadata"][key] != old["metadata"][key] for key in ("resourceVersion", "uid")):
                raise errors.Conflict(409, "Conflict", "the object has been modified")
            if subresource == "status":
                new = {**copy.deepcopy(old), "status": new.get("status")}
            self._store(resource.plural, new, "MODIFIED")
            self._release(resource.plural, new)
            return new

        return await self._write("patch", resource, do)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        **_: Any,
    ) -> None:
        def do() -> Object:
            found = self._found(resource.plural, namespace or "", name)
            if uid is not None and found["metadata"]["uid"] != uid:
                raise errors.Conflict(409, "Conflict", "the UID is another")
            if resource_version is not None and found["metadata"]["resourceVersion"] != resource_version:
                raise errors.Conflict(409, "Conflict", "the object has been modified")
            self.remove(resource.plural, found)
            return found

        await self._write("delete", resource, do)

    async def _write(self, verb: str, resource: Resource, do: Callable[[], Object]) -> Object:
        await asyncio.sleep(0)
        fault = self.fault(len(self.writes), verb, resource.plural)
        self.writes.append((verb, resource.plural))
        match fault:
            case "conflict":
                raise errors.Conflict(409, "Conflict", "somebody else was faster")
            case "unavailable":
                raise errors.Unavailable(503, "ServiceUnavailable", "not now")
            case "busy":
                raise errors.TooManyRequests(429, "TooManyRequests", "slower", retry_after_seconds=0.01)
            case "quota":
                raise errors.Forbidden(403, "Forbidden", 'jobs.batch "x" is forbidden: exceeded quota: small, used: 5')
            case "terminating":
                raise errors.Forbidden(403, "Forbidden", "it is being terminated", causes=["NamespaceTerminating"])
            case "no right":
                words = (
                    f'{resource.plural} is forbidden: User "x" cannot {verb} resource "{resource.plural}" in API group "{resource.group}"'
                )
                raise errors.Forbidden(403, "Forbidden", words)
            case "webhook is down":
                raise errors.Unavailable(500, "InternalError", 'Internal error occurred: failed calling webhook "x": connection refused')
            case "denied":
                raise errors.Denied(403, "Forbidden", 'admission webhook "x" denied the request: not on Sundays')
            case "hang":
                await self._hang()
        found = copy.deepcopy(do())
        if fault == "lost":
            raise errors.Unavailable(0, "Timeout", "the answer was lost")
        if fault == "hang-after":
            await self._hang()
        return found

    async def _hang(self) -> None:
        self.hung.set()
        await asyncio.Event().wait()

    # -------------------------------------------------------------------------------------------------------- the server

    def all(self, plural: str) -> list[Object]:
        return [one for (kind, _, _), one in self.objects.items() if kind == plural]

    def _found(self, plural: str, namespace: str, name: str) -> Object:
        try:
            return self.objects[plural, namespace, name]
        except KeyError:
            raise errors.NotFound(404, "NotFound", f"{plural} {name} not found") from None

    def _store(self, plural: str, one: Object, event: str) -> None:
        self.version += 1
        one["metadata"]["resourceVersion"] = str(self.version)
        one = orjson.loads(orjson.dumps(one))
        self.objects[plural, one["metadata"].get("namespace", ""), one["metadata"]["name"]] = one
        self._tell(plural, event, one)

    def _tell(self, plural: str, event: str, one: Object) -> None:
        for wanted, queue in self._watchers:
            if wanted == plural:
                queue.put_nowait((event, copy.deepcopy(one)))

    def remove(self, plural: str, one: Object) -> None:
        """Delete an object; its finalizers hold it, and what it owns goes with it."""
        if one["metadata"].get("finalizers"):
            marked = {**one, "metadata": {**one["metadata"], "deletionTimestamp": "2026-11-23T09:00:00Z"}}
            self._store(plural, marked, "MODIFIED")
            return
        self.version += 1
        one["metadata"]["resourceVersion"] = str(self.version)
        self.objects.pop((plural, one["metadata"]["namespace"], one["metadata"]["name"]), None)
        self._tell(plural, "DELETED", one)
        for kind in (JOBS.plural, PODS.plural, RUNS.plural, JOURNALS.plural):
            for dependent in self.all(kind):
                if any(owner["uid"] == one["metadata"]["uid"] for owner in dependent["metadata"].get("ownerReferences") or ()):
                    self.remove(kind, dependent)

    def _release(self, plural: str, one: Object) -> None:
        if one["metadata"].get("deletionTimestamp") and not one["metadata"].get("finalizers"):
            self.remove(plural, one)

    def finish(self, job: Object) -> None:
        """Run a Job's pod: it ends at once, unless the outcome is that it does not."""
        outcome = self.outcome(job)
        if outcome is not None:
            self._end(job, outcome)

    def forget(self, plural: str, name: str) -> None:
        """An object is gone, and whoever begins to watch now never hears of it."""
        del self.objects[plural, "shop", name]

    def finish_job(self, index: int, outcome: tuple[int, str]) -> None:
        """End the Job that was made as the `index`-th."""
        self._end(self._found(JOBS.plural, "shop", self.created[index]), outcome)

    def _end(self, job: Object, outcome: tuple[int, str]) -> None:
        code, output = outcome
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
            "controller": True,
        }
        terminated = {"exitCode": code, "message": output, "reason": "Error" if code else "Completed"}
        pod = {
            "metadata": {
                "name": f"{job['metadata']['name']}-x",
                "namespace": job["metadata"]["namespace"],
                "uid": f"pod-{self.version}",
                "labels": {**job["spec"]["template"]["metadata"]["labels"], "batch.kubernetes.io/job-name": job["metadata"]["name"]},
                "ownerReferences": [owner],
                "creationTimestamp": "2026-11-23T09:00:00Z",
            },
            "spec": job["spec"]["template"]["spec"],
            "status": {
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [{"name": names.CONTAINER, "state": {"terminated": terminated}}],
            },
        }
        self._store(PODS.plural, pod, "ADDED")
        done = {"type": "Failed" if code else "Complete", "status": "True", "reason": "BackoffLimitExceeded" if code else ""}
        self._store(JOBS.plural, {**job, "status": {"conditions": [done]}}, "MODIFIED")

    # ----------------------------------------------------------------------------------------------------------- users

    def apply_run(self, spec: Object, name: str = "r1") -> Object:
        """A user makes a run."""
        meta = {"name": name, "namespace": "shop", "uid": f"run-{name}", "generation": 1, "creationTimestamp": "2026-11-23T09:00:00Z"}
        self._store(RUNS.plural, {"kind": names.RUN, "metadata": meta, "spec": spec}, "ADDED")
        return self._found(RUNS.plural, "shop", name)

    def put(self, plural: str, one: Object) -> Object:
        """An object is there, as somebody made it."""
        self._store(plural, one, "ADDED")
        return self._found(plural, one["metadata"]["namespace"], one["metadata"]["name"])

    def edit_run(self, change: Callable[[Object], None], name: str = "r1") -> None:
        """A user changes a run: spec, metadata, or its status by hand."""
        run = copy.deepcopy(self._found(RUNS.plural, "shop", name))
        change(run)
        self._store(RUNS.plural, run, "MODIFIED")
        self._release(RUNS.plural, run)

    def run(self, name: str = "r1") -> Object | None:
        return self.objects.get((RUNS.plural, "shop", name))


def _selected(one: Object, selector: str) -> bool:
    labels = one["metadata"].get("labels") or {}
    return all(
        labels.get(part.partition("=")[0]) == part.partition("=")[2] if "=" in part else part in labels
        for part in selector.split(",")
        if part
    )


def _matches(one: Object, selector: str) -> bool:
    """Fields as the server selects by them; what is missing counts as empty."""
    for part in selector.split(",") if selector else ():
        path, operator, wanted = re.fullmatch(r"([^!=]+)(!=|=)(.*)", part).groups()  # type: ignore[union-attr]
        found: Any = one
        for name in path.split("."):
            found = (found or {}).get(name)
        if ((found or "") == wanted) != (operator == "="):
            return False
    return True


def _patched(old: Object, patch: Any) -> Object:
    """The real server, too, applies a JSON Patch before it compares versions."""
    try:
        new: Object = jsonpatch.apply_patch(old, list(patch))
    except jsonpatch.JsonPatchException:
        raise errors.Invalid(422, "Invalid", "the server rejected our request due to an error in our request") from None
    return new


def _merged(old: Object, patch: Object) -> Object:
    new = copy.deepcopy(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict) and isinstance(new.get(key), dict):
            new[key] = _merged(new[key], value)
        else:
            new[key] = copy.deepcopy(value)
    return new
