"""Circuit breakers as they stand in the cluster: read, made and written. Every change of a status is conditional on the version it was made for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from backstay.api.circuit import CircuitState, WhenOpen
from backstay.api.validate import parse_circuit_breaker
from backstay.engine.codec import fault_to_json, time_from_json, time_to_json
from backstay.engine.conditions import condition
from backstay.engine.model import Fault
from backstay.engine.policies.breaker import Circuit, Failed, Probe, Rules, Wishes, rules_of
from backstay.errors import InvalidDefinition
from backstay.kube.client import Client, Object
from backstay.kube.resources import BREAKERS
from backstay.names import API_VERSION, BREAKER, LABEL_MANAGED_BY, MANAGER

DEFAULT_WORDS: Final = "Made by the operator, with the default settings, for steps that name it; change them here."
_WORDS: Final = 300
_LONGEST: Final = 2048


@dataclass(frozen=True, slots=True)
class SeenBreaker:
    """What is kept of a CircuitBreaker. `calls` and `failures` are those of its window when it was written last, at `counted_at`."""

    namespace: str
    name: str
    uid: str
    resource_version: int = field(compare=False)
    generation: int
    rules: Rules
    wishes: Wishes
    waits: bool
    circuit: Circuit
    calls: int = 0
    failures: int = 0
    counted_at: datetime | None = None
    last_error: Failed | None = None
    problem: str = ""
    """What is wrong with its spec: then the default settings go for it."""
    forced_words: str = ""
    reset_words: str = ""
    observed: int = -1
    conditions: tuple[Mapping[str, Any], ...] = ()
    run_uid: str = ""


def seen(manifest: Object) -> SeenBreaker:
    """Read a CircuitBreaker. What in its status cannot be read is left out: it stands as one that is new."""
    meta, given, status = manifest["metadata"], manifest.get("spec") or {}, manifest.get("status") or {}
    problem = ""
    try:
        spec = parse_circuit_breaker(given)
    except InvalidDefinition as error:
        problem, spec = str(error), parse_circuit_breaker({})
    forced = None if spec.forced is None else CircuitState(spec.forced.state)
    return SeenBreaker(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=meta.get("generation", 0),
        rules=rules_of(spec),
        wishes=Wishes(forced, spec.reset.id if spec.reset else ""),
        waits=spec.when_open is WhenOpen.WAIT,
        circuit=_circuit(status),
        calls=_number(status, "calls"),
        failures=_number(status, "failures"),
        counted_at=_time(status, "countedAt"),
        last_error=_last_error(status.get("lastError")),
        problem=problem,
        forced_words=spec.forced.reason if spec.forced else "",
        reset_words=spec.reset.reason if spec.reset else "",
        observed=_number(status, "observedGeneration", -1),
        conditions=tuple(item for item in status.get("conditions") or () if isinstance(item, Mapping) and "type" in item),
    )


def _circuit(status: Mapping[str, Any]) -> Circuit:
    try:
        state = CircuitState(status.get("state") or CircuitState.CLOSED)
    except ValueError:
        state = CircuitState.CLOSED
    return Circuit(
        state=state,
        since=_time(status, "since"),
        until=_time(status, "openUntil"),
        forced=bool(status.get("forced")),
        transitions=_number(status, "transitions"),
        probes={probe.id: probe for probe in _probes(status.get("probes"))},
        succeeded=_number(status, "succeeded"),
        reset=str(status.get("reset") or ""),
    )


def _probes(items: Any) -> Iterable[Probe]:
    for item in items if isinstance(items, list) else ():
        try:
            yield Probe(item["run"], item["uid"], item["step"], int(item.get("attempt") or 0), time_from_json(item["since"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue


def _last_error(item: Any) -> Failed | None:
    try:
        fault = Fault(item["type"], detail=item.get("detail", ""), step=item.get("step", ""), attempt=int(item.get("attempt") or 0))
        return Failed(fault, item.get("run", ""), time_from_json(item["at"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _number(status: Mapping[str, Any], name: str, default: int = 0) -> int:
    found = status.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def _time(status: Mapping[str, Any], name: str) -> datetime | None:
    try:
        return time_from_json(status[name]) if status.get(name) else None
    except (TypeError, ValueError):
        return None


def status_of(breaker: SeenBreaker, circuit: Circuit, calls: int, failures: int, error: Failed | None, now: datetime) -> dict[str, Any]:
    """Return the status to write."""
    found: dict[str, Any] = {
        "observedGeneration": breaker.generation,
        "state": str(circuit.state),
        "forced": circuit.forced,
        "since": time_to_json(circuit.since or now),
        "openUntil": circuit.until and _short(circuit.until),
        "transitions": circuit.transitions,
        "calls": calls,
        "failures": failures,
        "failed": f"{failures}/{calls}",
        "countedAt": time_to_json(now),
        "probes": [_probe_to_json(probe) for probe in circuit.probes.values()],
        "succeeded": circuit.succeeded,
        "reset": circuit.reset,
        "lastError": error and _error_to_json(error),
        "conditions": _conditions(breaker, circuit, error, now),
    }
    kept = ("observedGeneration", "state", "transitions", "calls", "failures", "failed")
    return {key: value for key, value in found.items() if value or key in kept}


def _short(moment: datetime) -> str:
    written = time_to_json(moment)
    return written if moment.microsecond else f"{written[:19]}Z"


def _probe_to_json(probe: Probe) -> dict[str, Any]:
    return {"run": probe.run, "uid": probe.uid, "step": probe.path, "attempt": probe.attempt, "since": time_to_json(probe.since)}


def _error_to_json(error: Failed) -> dict[str, Any]:
    told = fault_to_json(error.fault)
    told.pop("title", None)
    return {**told, "detail": (error.fault.detail or error.fault.title)[:_LONGEST], "run": error.run, "at": time_to_json(error.at)}


def _conditions(breaker: SeenBreaker, circuit: Circuit, error: Failed | None, now: datetime) -> list[dict[str, Any]]:
    ready = ("False", "InvalidSpec", f"the default settings go for it: {breaker.problem}") if breaker.problem else ("True", "Observed", "")
    is_closed = {CircuitState.CLOSED: "True", CircuitState.OPEN: "False", CircuitState.HALF_OPEN: "Unknown"}[circuit.state]
    words = why(breaker, circuit, error)
    return [
        condition("Ready", *ready, breaker.generation, breaker.conditions, now),
        condition(
            "Closed", is_closed, "Forced" if circuit.forced else str(circuit.state), words, breaker.generation, breaker.conditions, now
        ),
    ]


def why(breaker: SeenBreaker, circuit: Circuit, error: Failed | None) -> str:
    """Say why a breaker is as it is; nothing where that needs no words."""
    if circuit.forced:
        return f"held {circuit.state} by a person" + (f": {breaker.forced_words}" if breaker.forced_words else "")
    if circuit.state is CircuitState.CLOSED or error is None:
        return ""
    fault = error.fault
    words = f"{fault.type}: {fault.detail or fault.title}".rstrip(": ")
    return f"the latest failure was {words[:_WORDS]} (run {error.run}, step {fault.step})"


async def write(client: Client, breaker: SeenBreaker, status: Mapping[str, Any]) -> SeenBreaker:
    """Write a status over the version it was made for. Raises Conflict where there is a newer one."""
    precondition = {"op": "replace", "path": "/metadata/resourceVersion", "value": str(breaker.resource_version)}
    patch = [precondition, {"op": "add", "path": "/status", "value": status}]
    return seen(await client.patch(BREAKERS, breaker.namespace, breaker.name, patch, subresource="status", kind="json"))


async def make(client: Client, namespace: str, name: str) -> SeenBreaker:
    """Make one that nobody has made, with the default settings. Raises AlreadyExists."""
    meta = {"name": name, "namespace": namespace, "labels": {LABEL_MANAGED_BY: MANAGER}}
    body = {"apiVersion": API_VERSION, "kind": BREAKER, "metadata": meta, "spec": {"description": DEFAULT_WORDS}}
    return seen(await client.create(BREAKERS, namespace, body))
