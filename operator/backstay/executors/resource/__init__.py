"""Resource steps: make, change, delete, read and wait for objects of Kubernetes, as the run's service account (DESIGN, promise 9)."""

from collections.abc import Sequence
from typing import Any

from backstay.engine.model import CallFact, CallState, Fault, Json, StartCall
from backstay.errors import ApiError
from backstay.executors.calls import CallContext
from backstay.executors.resource import acts
from backstay.executors.resource.discovery import UnknownKind
from backstay.executors.resource.doing import Doing
from backstay.executors.resource.faults import Account, fault_of
from backstay.executors.resource.seen import Later, Verdict, judge
from backstay.executors.resource.waiting import Place, TooMany, wait_until
from backstay.kube.client import Object

__all__ = ["execute"]


async def execute(context: CallContext, call: StartCall) -> CallFact:
    """Do what a resource step says, and wait for what it waits for."""
    target: dict[str, Any] = call.inputs["target"]
    named = " ".join(filter(None, (str(target.get("kind") or ""), str(target.get("name") or target.get("selector") or ""))))
    account = Account.of(context.run)
    try:
        doing = Doing.of(context, call)
    except ApiError as error:
        return CallFact(call.name, CallState.FAILED, fault=fault_of(error, "serviceAccountName", account))
    try:
        outputs, fault = await _do(doing, target)
    except TooMany as error:
        fault = Fault("LimitExceeded", "Too many objects", f"{named}: {error}")
    except UnknownKind as error:
        fault = fault_of(error, named, account)
    except ApiError as error:
        return CallFact(call.name, CallState.FAILED, fault=fault_of(error, named, account), retry_after_seconds=error.retry_after_seconds)
    finally:
        doing.teller.close()
    if fault is not None:
        return CallFact(call.name, CallState.FAILED, fault=fault)
    return CallFact(call.name, CallState.SUCCEEDED, outputs=outputs)


async def _do(doing: Doing, target: dict[str, Any]) -> tuple[Json, Fault | None]:
    inputs = doing.call.inputs
    resource = await doing.ask(lambda: doing.shared.discovery.find(doing.client, target["apiVersion"], target["kind"]))
    place, later = acts.place_of(doing, resource, target), Later.of(inputs)
    match inputs["act"]:
        case "create":
            found = await acts.create(doing, place, inputs)
        case "apply":
            found = await acts.apply(doing, place, inputs)
        case "patch":
            found = await acts.patch(doing, place, inputs)
        case "delete":
            await acts.delete(doing, place, inputs)
            return {}, None
        case "get":
            found = await acts.get(doing, place)
        case _:
            return await _wait(doing, place, later)
    if later.waits:
        return await _wait(doing, place, later, (found,))
    return later.take(found)


async def _wait(doing: Doing, place: Place, later: Later, at_first: Sequence[Object] = ()) -> tuple[Json, Fault | None]:
    """Wait for what the step says; `at_first` is what the act before has just answered."""
    if doing.call.inputs.get("gone"):
        await acts.gone(doing, place)
        return {}, None
    at_least = None if place.name is not None else doing.call.inputs.get("atLeast") or 0

    def judged(objects: Sequence[Object]) -> Verdict:
        return judge(later, objects, str(place), at_least)

    verdict, objects = (judged(at_first), list(at_first)) if at_first else (Verdict(), [])
    if not verdict.is_done and verdict.fault is None:
        verdict, objects = await wait_until(doing, place, judged)
    if verdict.fault is not None:
        return None, verdict.fault
    return ({"count": len(objects)}, None) if place.name is None else later.take(objects[0])
