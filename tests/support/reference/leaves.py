"""Steps that hold no steps: each is a generator that returns its outputs."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from backstay.api.base import parse_duration
from backstay.api.faults import matches
from tests.support.reference.crew import pause
from tests.support.reference.lists import Scope
from tests.support.reference.words import Fate, Fault, Going, Jump, Late, Spec, Stop, length_of

if TYPE_CHECKING:
    from tests.support.reference.run import Reference


def job(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    defaults = run.spec.get("defaults", {})
    retry = step.get("retry") or run.retry or {"maxAttempts": 1}
    run.opened(step, path, scope)
    limit = length_of(step.get("attemptTimeout", defaults.get("attemptTimeout")))
    for number in range(1, retry.get("maxAttempts", 3) + 1):
        run.account.attempts[path] = number
        run.changes += 1
        try:
            return (yield from attempt(run, run.script(path, number), path, limit))
        except Fault as fault:
            if number == retry.get("maxAttempts", 3) or not matches(fault.type, retry.get("errors", ["Transient", "Timeout"])):
                while ":compensate" in path:
                    yield  # what undoes a step waits for a person, who does not come
                raise
        delay = parse_duration(retry.get("interval", "1s")).total_seconds() * retry.get("backoffRate", 2) ** (number - 1)
        due = run.now + min(timedelta(seconds=delay), parse_duration(retry.get("maxDelay", "1m")))
        while not run.reached(due):
            yield
    raise AssertionError("not reached")


def attempt(run: "Reference", fate: Fate, path: str, limit: timedelta | None) -> Going:
    began = run.now
    over = began + limit if limit else None
    while not run.reached(began + fate.takes):
        late = run.reached(over)
        if not late and not (yield from pause()):
            continue
        if run.now == began:
            raise Stop  # it was never made: what is done follows from what was decided at a moment as a whole
        run.changes += 1
        run.unknown[path] = run.changes
        stopped, gone = not late, run.now + fate.lingers
        while not (run.reached(began + fate.takes) or run.reached(gone)):
            stopped = (yield from pause()) or stopped
        if not stopped:
            raise Fault("Timeout", path)
        raise Late(fate.outputs) if run.reached(began + fate.takes) and not fate.error else Stop
    if fate.error:
        raise Fault(fate.error, path)
    return fate.outputs


def set_(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    run.account.vars.update(scope.value(step["set"]))
    return {}
    yield


def wait(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    wait = step["wait"]
    due = run.now + parse_duration(scope.value(wait["duration"])) if "duration" in wait else None
    if due is not None:
        run.due[path] = due
    run.opened(step, path, scope)
    if "opens" in step:
        yield  # which of several events is the first is only judged when all are open
    while not (scope.holds(wait["condition"]) if due is None else run.reached(due)):
        yield
    return {}


def fail(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    if step["fail"].get("rethrow"):
        error = scope.values["error"]
        raise Fault(error["type"], error["step"])
    raise Fault(step["fail"]["error"], path)
    yield


def end_run(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    result = step["end"].get("result", "Succeeded")
    run.ending = result, Fault("Ended", path) if result == "Failed" else None
    return {}
    yield


def goto(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    name = step["goto"]["step"]
    listing = next(listing for listing in scope.lists if name in listing.views)
    if listing.visits[name] >= step["goto"].get("maxVisits", 100):
        raise Fault("LimitExceeded", path)
    return Jump(listing, name)
    yield


def cancel(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    first, *rest = step["cancel"]["step"].split("/")
    listing = next(listing for listing in scope.lists if first in listing.views)
    aim = static("/".join(filter(None, (listing.prefix, first, *rest))))
    while targets := [other for other in run.going if static(other) == aim and other.startswith(listing.prefix)]:
        run.to_cancel += targets
        yield
    return {}


def static(path: str) -> str:
    """A path without the numbers of iterations and laps."""
    return re.sub(r"\[\d+\]|~\d+", "", path)
