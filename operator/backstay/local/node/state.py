"""What a pod's status says, worked out from the state of its containers. Pure: the clock is handed in.

    a container is      which becomes
    Waiting(reason)     Running, or Terminated where it could not be started
    Running(since)      Terminated
    Terminated(...)     Waiting(CrashLoopBackOff) or Running again, where the restart policy wants that

The phase follows from them as the kubelet has it (pkg/kubelet/kubelet_pods.go, getPhase).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from backstay.local.node.api import Obj
from backstay.local.node.references import POD_IP

RUNTIME: Final = "backstay"
NEVER_STARTED: Final = datetime.fromtimestamp(0, UTC)
LOST_CODE: Final = 137


@dataclass(frozen=True, slots=True)
class Waiting:
    reason: str
    message: str = ""

    def render(self) -> Obj:
        return {"waiting": {"reason": self.reason} | ({"message": self.message} if self.message else {})}


@dataclass(frozen=True, slots=True)
class Running:
    since: datetime

    def render(self) -> Obj:
        return {"running": {"startedAt": timestamp(self.since)}}


@dataclass(frozen=True, slots=True)
class Terminated:
    """An end: `reason` is Completed, Error, StartError or ContainerStatusUnknown."""

    exit_code: int
    reason: str
    started_at: datetime = NEVER_STARTED
    finished_at: datetime = NEVER_STARTED
    message: str = ""
    container_id: str = ""

    def render(self) -> Obj:
        shown: dict[str, Any] = {
            "exitCode": self.exit_code,
            "reason": self.reason,
            "startedAt": timestamp(self.started_at),
            "finishedAt": timestamp(self.finished_at),
        }
        if self.message:
            shown["message"] = self.message
        if self.container_id:
            shown["containerID"] = self.container_id
        return {"terminated": shown}


ContainerState = Waiting | Running | Terminated
LOST: Final = Terminated(LOST_CODE, "ContainerStatusUnknown", message="The container could not be located when the pod was terminated")


@dataclass(slots=True)
class Container:
    """One container of a pod: its specification, and how it is."""

    spec: Obj
    is_init: bool
    state: ContainerState = field(default_factory=lambda: Waiting("ContainerCreating"))
    last: Terminated | None = None
    restarts: int = 0
    container_id: str = ""

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def is_sidecar(self) -> bool:
        """An init container that runs beside the others (KEP-753)."""
        return self.is_init and self.spec.get("restartPolicy") == "Always"

    @property
    def succeeded(self) -> bool:
        return isinstance(self.state, Terminated) and self.state.exit_code == 0

    @property
    def ready(self) -> bool:
        if self.is_init and not self.is_sidecar:
            return self.succeeded
        return isinstance(self.state, Running)

    def status(self) -> Obj:
        """Return the entry of `containerStatuses`."""
        shown: Obj = {
            "name": self.name,
            "image": self.spec.get("image", ""),
            "imageID": f"{RUNTIME}://{self.spec.get('image', '')}" if self.container_id else "",
            "ready": self.ready,
            "started": isinstance(self.state, Running),
            "restartCount": self.restarts,
            "state": self.state.render(),
            "lastState": self.last.render() if self.last else {},
        }
        return shown | ({"containerID": self.container_id} if self.container_id else {})


@dataclass(slots=True)
class PodState:
    """A pod as the node sees it. `failure` is (reason, message) of a pod that the node itself ended."""

    containers: list[Container]
    started_at: datetime | None = None
    failure: tuple[str, str] | None = None
    finished: bool = False
    """Nothing runs, and nothing will be started again."""
    disrupted: str = ""
    """Why the infrastructure ended the pod: told as the condition DisruptionTarget, which a podFailurePolicy can ignore."""

    @classmethod
    def of(cls, pod: Obj) -> "PodState":
        """Return the state before anything ran; the first waits of init containers are the kubelet's."""
        init = pod["spec"].get("initContainers") or ()
        reason = "PodInitializing" if init else "ContainerCreating"
        inits = [Container(spec, is_init=True, state=Waiting("PodInitializing")) for spec in init]
        return cls([*inits, *(Container(spec, is_init=False, state=Waiting(reason)) for spec in pod["spec"]["containers"])])

    @property
    def mains(self) -> list[Container]:
        return [container for container in self.containers if not container.is_init]

    @property
    def inits(self) -> list[Container]:
        return [container for container in self.containers if container.is_init]

    @property
    def phase(self) -> str:
        if self.finished:
            return "Succeeded" if self.failure is None and all(main.succeeded for main in self.mains) else "Failed"
        initialised = all(init.ready for init in self.inits)
        begun = any(not isinstance(main.state, Waiting) or main.last for main in self.mains)
        return "Running" if initialised and begun else "Pending"


def status_of(pod: Obj, state: PodState, now: datetime) -> Obj:
    """Return the fields of `status` that a node reports, to be merged into the pod's.

    Conditions that others set (PodScheduled, DisruptionTarget) are kept; a transition time moves only when its status does.
    """
    phase = state.phase
    before = (pod.get("status") or {}).get("conditions") or []
    status: Obj = {
        "phase": phase,
        "hostIP": POD_IP,
        "hostIPs": [{"ip": POD_IP}],
        "podIP": POD_IP,
        "podIPs": [{"ip": POD_IP}],
        "conditions": _merged(before, _conditions(state, phase), now),
        "containerStatuses": [container.status() for container in state.mains],
    }
    if state.inits:
        status["initContainerStatuses"] = [container.status() for container in state.inits]
    if state.started_at is not None:
        status["startTime"] = timestamp(state.started_at)
    if state.failure is not None:
        status["reason"], status["message"] = state.failure
    return status


def _conditions(state: PodState, phase: str) -> list[Obj]:
    over = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    unready = [main.name for main in state.mains if not main.ready]
    unready_why = {"reason": "ContainersNotReady", "message": f"containers with unready status: [{' '.join(unready)}]"} if unready else {}
    ready = _condition(not (over or unready), {"reason": over} if over else unready_why)
    unfinished = [init.name for init in state.inits if not init.ready]
    initialised = not unfinished or phase == "Succeeded" or phase == "Running"
    incomplete = {"reason": "ContainersNotInitialized", "message": f"containers with incomplete status: [{' '.join(unfinished)}]"}
    conditions = [
        {"type": "PodReadyToStartContainers", **_condition(state.started_at is not None and not over, {})},
        {
            "type": "Initialized",
            **_condition(initialised, {"reason": over} if over == "PodCompleted" else {} if initialised else incomplete),
        },
        {"type": "Ready", **ready},
        {"type": "ContainersReady", **ready},
    ]
    if state.disrupted:
        conditions.append({"type": "DisruptionTarget", **_condition(True, {"reason": "TerminationByKubelet", "message": state.disrupted})})
    return conditions


def _condition(value: bool, why: Obj) -> Obj:
    return {"status": "True" if value else "False", **why}


def _merged(before: list[Obj], new: list[Obj], now: datetime) -> list[Obj]:
    known = {condition["type"]: condition for condition in before}
    mine = {condition["type"] for condition in new}
    merged = [condition for condition in before if condition["type"] not in mine]
    for condition in new:
        old = known.get(condition["type"])
        same = old is not None and old["status"] == condition["status"]
        moved = old["lastTransitionTime"] if old and same and "lastTransitionTime" in old else timestamp(now)
        merged.append({**condition, "lastTransitionTime": moved})
    return merged


def unfinished_as_lost(pod: Obj, known: dict[str, Terminated], now: datetime) -> PodState:
    """Return the end of a pod that ran when its node was killed: what is known of each container, the rest as ContainerStatusUnknown."""
    state = PodState.of(pod)
    status = pod.get("status") or {}
    reported = {entry["name"]: entry for key in ("initContainerStatuses", "containerStatuses") for entry in status.get(key) or ()}
    for container in state.containers:
        told = reported.get(container.name, {})
        container.restarts, container.container_id = told.get("restartCount", 0), told.get("containerID", "")
        container.state = known.get(container.name) or _reported_end(told) or LOST
    state.started_at = datetime.fromisoformat(status["startTime"]) if status.get("startTime") else now
    state.finished = True
    return state


def _reported_end(entry: Obj) -> Terminated | None:
    end = (entry.get("state") or {}).get("terminated")
    if end is None:
        return None
    times = {
        key: datetime.fromisoformat(end[name])
        for key, name in (("started_at", "startedAt"), ("finished_at", "finishedAt"))
        if end.get(name)
    }
    return Terminated(
        end["exitCode"], end.get("reason", ""), message=end.get("message", ""), container_id=end.get("containerID", ""), **times
    )


def is_terminal(pod: Obj) -> bool:
    """Tell whether the pod's outcome is in its status."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def timestamp(moment: datetime) -> str:
    """Return a moment as Kubernetes writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
