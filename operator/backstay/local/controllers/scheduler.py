"""A trivial scheduler: the first node that a pod fits on, in the order of their free pod slots.

It knows readiness, cordons, taints, nodeSelector, required node affinity and resource requests; not preferences, spreading, pod affinity, volumes or
preemption. Messages are worded as the real one's, because people and programs look for them.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final

from backstay import errors
from backstay.local.apiserver.quantity import parse_quantity
from backstay.local.controllers.job_view import is_ended
from backstay.local.controllers.work import WorkQueue
from backstay.local.node.api import Api, Obj, Reflector
from backstay.local.node.state import timestamp

log = logging.getLogger(__name__)

NAME: Final = "default-scheduler"
Requests = dict[str, Fraction]
"""Amounts by resource."""


class Scheduler:
    """Binds pods that have no node. `run` works until cancelled."""

    def __init__(self, api: Api, nodes: Reflector, pods: Reflector) -> None:
        """Work on what the two reflectors follow, which have to run besides."""
        self._api, self._nodes, self._pods = api, nodes, pods
        self._placed: dict[str, tuple[str, Requests]] = {}
        """Node and requests of every pod that takes room, by UID; a binding counts as soon as it is decided."""
        self._stuck: set[str] = set()
        self._queue = WorkQueue("pod", self._schedule)
        nodes.listen(lambda *_: self._try_stuck())
        pods.listen(self._on_pod)

    async def run(self) -> None:
        await self._nodes.synced.wait()
        await self._pods.synced.wait()
        await self._queue.run()

    def _on_pod(self, kind: str, pod: Obj) -> None:
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        if kind == "DELETED" or is_ended(pod):
            self._stuck.discard(uid)
            if self._placed.pop(uid, None):
                self._try_stuck()
        elif node:
            self._stuck.discard(uid)
            self._placed[uid] = (node, requests_of(pod))
        elif _is_waiting(pod) and uid not in self._stuck:
            self._queue.add(uid)

    def _try_stuck(self) -> None:
        for uid in self._stuck:
            self._queue.add(uid)

    async def _schedule(self, uid: str) -> None:
        pod = self._pods.cache.get(uid)
        if pod is None or not _is_waiting(pod) or uid in self._placed:
            return
        node, why_not = choose(pod, self._nodes.cache.values(), self._used())
        if node is None:
            self._stuck.add(uid)
            await self._tell(pod, why_not)
            return
        self._stuck.discard(uid)
        self._placed[uid] = (node, requests_of(pod))
        try:
            await self._bind(pod, node)
        except BaseException:
            self._placed.pop(uid, None)
            raise

    def _used(self) -> dict[str, Requests]:
        used: dict[str, Requests] = {}
        for node, requests in self._placed.values():
            used[node] = _sum(used.get(node, {}), requests)
        return used

    async def _bind(self, pod: Obj, node: str) -> None:
        metadata = pod["metadata"]
        binding: Obj = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        with contextlib.suppress(errors.NotFound, errors.Conflict):  # gone, or bound by someone else: the watch tells
            await self._api.create(f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding", binding)

    async def _tell(self, pod: Obj, message: str) -> None:
        """Write why the pod has no node into its status, unless it stands there."""
        metadata = pod["metadata"]
        conditions: list[Obj] = list((pod.get("status") or {}).get("conditions") or ())
        known: Obj = next((condition for condition in conditions if condition["type"] == "PodScheduled"), {})
        new: Obj = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        if new.items() <= known.items():
            return
        since = known.get("lastTransitionTime") if known.get("status") == "False" else None
        new["lastTransitionTime"] = since or timestamp(datetime.now(UTC))
        others = [condition for condition in conditions if condition["type"] != "PodScheduled"]
        patch = {
            "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
            "status": {"conditions": [*others, new]},
        }
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        self._pods.take("MODIFIED", await self._api.patch(path, patch))


def _is_waiting(pod: Obj) -> bool:
    spec = pod["spec"]
    mine = spec.get("schedulerName", NAME) == NAME and not spec.get("schedulingGates")
    return mine and not spec.get("nodeName") and not is_ended(pod) and not pod["metadata"].get("deletionTimestamp")


def choose(pod: Obj, nodes: list[Obj], used: Mapping[str, Requests]) -> tuple[str | None, str]:
    """Return the node for a pod; or None, and in the second place why none fits.

    `used` is what is taken of each node already, by its name; a node that is not in it is empty.
    """
    if not nodes:
        return None, "no nodes available to schedule pods"
    reasons: Counter[str] = Counter()
    fitting = []
    for node in nodes:
        name = node["metadata"]["name"]
        obstacles = _obstacles(pod, node, used.get(name, {}))
        reasons.update(obstacles)
        if not obstacles:
            fitting.append((used.get(name, {}).get("pods", 0), name))
    if fitting:
        return min(fitting)[1], ""
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return None, f"0/{len(nodes)} nodes are available: {told}."


def _obstacles(pod: Obj, node: Obj, used: Requests) -> list[str]:
    """Return why a pod cannot go to a node; the cheap and telling reasons first, as the real filters do."""
    spec = node.get("spec") or {}
    if spec.get("unschedulable"):
        return ["node(s) were unschedulable"]
    if not _is_ready(node):
        return ["node(s) were not ready"]
    if not _selected(pod["spec"], node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    untolerated = [
        taint for taint in spec.get("taints") or () if taint["effect"] != "PreferNoSchedule" and not _tolerates(pod["spec"], taint)
    ]
    if untolerated:
        return [f"node(s) had untolerated taint(s) {{{untolerated[0]['key']}: {untolerated[0].get('value', '')}}}"]
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    short = []
    for resource, amount in requests_of(pod).items():
        if amount and used.get(resource, 0) + amount > parse_quantity(allocatable.get(resource, 0)):
            short.append("Too many pods" if resource == "pods" else f"Insufficient {resource}")
    return short


def requests_of(pod: Obj) -> Requests:
    """Return what a pod takes of a node: the sum of its containers, or its largest init container; and one of `pods`."""
    total: Requests = {"pods": Fraction(1)}
    for container in pod["spec"]["containers"]:
        total = _sum(total, _requests(container))
    for init in pod["spec"].get("initContainers") or ():
        total |= {resource: max(total.get(resource, Fraction(0)), amount) for resource, amount in _requests(init).items()}
    return total


def _requests(container: Obj) -> Requests:
    """A limit without a request is the request."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {resource: parse_quantity(amount) for resource, amount in asked.items()}


def _sum(one: Requests, other: Requests) -> Requests:
    return one | {resource: one.get(resource, Fraction(0)) + amount for resource, amount in other.items()}


def _is_ready(node: Obj) -> bool:
    return any(known["type"] == "Ready" and known["status"] == "True" for known in (node.get("status") or {}).get("conditions") or ())


def _tolerates(spec: Obj, taint: Obj) -> bool:
    for toleration in spec.get("tolerations") or ():
        key_fits = not toleration.get("key") or toleration["key"] == taint["key"]
        value_fits = toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
        if key_fits and value_fits and toleration.get("effect") in (None, "", taint["effect"]):
            return True
    return False


def _selected(spec: Obj, node: Obj) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms")
    return terms is None or any(_term_fits(term, labels, node["metadata"]["name"]) for term in terms)


def _term_fits(term: Obj, labels: dict[str, str], name: str) -> bool:
    expressions = [(wanted, labels.get(wanted["key"])) for wanted in term.get("matchExpressions") or ()]
    expressions += [(wanted, name if wanted["key"] == "metadata.name" else None) for wanted in term.get("matchFields") or ()]
    return bool(expressions) and all(_fits(wanted, value) for wanted, value in expressions)


def _fits(wanted: Obj, value: str | None) -> bool:
    values = wanted.get("values") or []
    match wanted["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" if value is not None and value.lstrip("-").isdigit():
            return int(value) > int(values[0]) if wanted["operator"] == "Gt" else int(value) < int(values[0])
    return False
