"""Steps that hold steps: each is a generator that returns its outputs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from backstay.errors import EvaluationError
from tests.support.reference.crew import Crew, pause
from tests.support.reference.lists import Listing, Scope, filled
from tests.support.reference.words import Fault, Going, Json, Jump, Late, Spec, Stop

if TYPE_CHECKING:
    from tests.support.reference.run import Reference


def block(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    run.opened(step, path, scope)
    return (yield from run.list(run.top if path == "/" else Listing(path, step["steps"]), scope))


def switch(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    spec, lists = step["switch"], {}
    for index, case in enumerate(spec["cases"]):
        if scope.holds(case["when"]):
            lists[case.get("name", str(index))] = case["steps"]
            if spec.get("mode", "First") == "First":
                break
    if not lists and "default" in spec:
        lists["default"] = spec["default"]
    outputs = yield from side_by_side(run, step, path, scope, lists, len(lists), cancel_rest=True)
    return outputs if spec.get("mode") == "Every" else next(iter(outputs.values()), {})


def parallel(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    spec = step["parallel"]
    lists = {branch["name"]: branch["steps"] for branch in spec["branches"]}
    needed = enough(spec.get("join", "All"), len(lists))
    return (yield from side_by_side(run, step, path, scope, lists, needed, cancel_rest=spec.get("cancelRest", True)))


def side_by_side(
    run: "Reference", step: Spec, path: str, scope: Scope, branches: Mapping[str, Sequence[Spec]], needed: int, *, cancel_rest: bool
) -> Going:
    """Lists that go on at the same time, until so many have succeeded. The rest is stopped, or goes on beside what follows."""
    run.opened(step, path, scope)
    lists = {name: Listing(f"{path}/{name}", steps) for name, steps in branches.items()}
    crew = Crew(run, {name: run.list(listing, scope) for name, listing in lists.items()})

    def outputs() -> dict[str, Json]:
        return filled({name: listing.outputs() for name, listing in lists.items()})

    while True:
        crew.go_on()
        if path in run.joined:
            scope.lists[0].views[step["name"]]["outputs"] = outputs()
            if not crew.live:
                return outputs()
        elif not run.halted:
            if len(crew.done) >= needed and (not crew.live or cancel_rest):
                if (yield from settle(run, crew, path)):
                    raise Late(outputs())
                return outputs()
            if len(crew.done) >= needed:
                run.settled.add(path)
                run.joined[path] = run.changes = run.changes + 1
                continue
            if crew.jump:
                yield from settle(run, crew, path, crew.jump)
            if len(crew.failed) > len(lists) - needed:
                decisive = crew.failures(lists)[len(lists) - needed]
                yield from settle(run, crew, path, crew.failed[decisive])
        if (yield from pause()):
            yield from crew.stopped()
            raise Late(outputs()) if path in run.joined else Stop


def dag(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    run.opened(step, path, scope)
    spec = step["dag"]
    steps = {item["name"]: item for item in spec["steps"]}
    needs = {name: [_dependency(given) for given in item.get("dependsOn", ())] for name, item in steps.items()}
    listing = run.top if path == "/" else Listing(path, spec["steps"])
    crew, waiting, left_out = Crew(run), dict(steps), set[str]()

    def behind(name: str) -> bool:
        return name in crew.done or name in crew.failed or listing.path(name) in run.joined

    def met(name: str, outcome: str) -> bool:
        """Whether a step ended as another one asks for. One that was left out did not succeed; one that its own `if` skipped did."""
        answers = {
            "Succeeded": (name in crew.done or listing.path(name) in run.joined) and name not in left_out,
            "Failed": name in crew.failed,
            "Skipped": listing.views[name]["phase"] == "Skipped",
            "Done": behind(name),
        }
        return answers[outcome]

    def nobody_deals_with(failed: str) -> bool:
        heirs = [name for name in steps if (failed, "Failed") in needs[name] or (failed, "Done") in needs[name]]
        return all(listing.views[heir]["phase"] == "Skipped" for heir in heirs)

    def sweep() -> None:
        """Bring each step as far as it goes, and those that become ready by that."""
        looked_at: set[str] = set()
        before = -1
        while before != (before := sum(map(behind, steps))):
            for name in steps:
                if name in waiting and all(met(*need) for need in needs[name]) and not run.halted:
                    crew.live[name] = run.step(waiting.pop(name), listing.path(name), listing, scope.within(listing))
                if name not in waiting and name not in looked_at:
                    looked_at.add(name)
                    crew.go_on(name)

    while True:
        sweep()
        if not run.halted:
            failures = [crew.failed[name] for name in crew.failures(steps) if nobody_deals_with(name)]
            if failures and spec.get("failFast", True):
                yield from settle(run, crew, path, failures[0])
            lost = [name for name in waiting if all(behind(other) for other, _ in needs[name])]
            for name in lost:
                run.end(waiting.pop(name), listing.path(name), listing, scope, "Skipped")
                left_out.add(name)
                crew.done[name] = None
            if lost:
                continue
            if failures and not crew.live:
                yield from settle(run, crew, path, failures[0])
            if not waiting and not crew.live:
                return listing.outputs()
        if (yield from pause()):
            yield from crew.stopped()
            raise Stop


def race(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    run.opened(step, path, scope)
    branches = {branch.get("name", str(index)): branch for index, branch in enumerate(step["race"])}
    listing = Listing(path, [{"name": name, "wait": branch["wait"], "opens": True} for name, branch in branches.items()])
    crew = Crew(run, {item["name"]: run.step(item, listing.path(item["name"]), listing, scope) for item in listing.steps})
    crew.go_on()
    while True:
        for name in sorted(branches, key=lambda name: run.due.get(listing.path(name), run.now)):
            if not crew.done and not crew.failed:
                crew.go_on(name)
        if crew.done or crew.failed:
            break
        if (yield from pause()):
            yield from crew.stopped()
            raise Stop
    yield from crew.stopped()
    if crew.failed:
        raise crew.fault(0)
    (winner,) = crew.done
    return (yield from run.list(Listing(listing.path(winner), branches[winner].get("steps", ())), scope))


def loop(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    spec, index = step["while"], 0
    inside, listing = scope, Listing("", ())
    while True:
        if "condition" in spec and not scope.knowing({"index": index}).holds(spec["condition"]):
            break
        if "until" in spec and index and inside.within(listing).holds(spec["until"]):
            break
        if index >= spec.get("maxIterations", 1000):
            raise Fault("LimitExceeded", path)
        if not index:
            run.opened(step, path, scope)
        inside, listing = scope.knowing({"index": index}), Listing(f"{path}[{index}]", spec["steps"])
        run.changes += 1
        yield from run.list(listing, inside)
        index += 1
    return {"iterations": index, "last": listing.outputs()} if index else {"iterations": 0}


def for_each(run: "Reference", step: Spec, path: str, scope: Scope) -> Going:
    spec = step["forEach"]
    items = _items(scope.value(spec["in"])) if "in" in spec else list(range(_number(scope.value(spec["count"]))))
    if len(items) > spec.get("maxItems", 10_000):
        raise Fault("LimitExceeded", path)
    run.opened(step, path, scope)
    crew, scopes, collected, begun = Crew(run), {}, {}, 0

    def outputs() -> dict[str, Json]:
        counts = {"total": len(items), "succeeded": len(crew.done), "failed": len(crew.failed)}
        return {**counts, "items": [collected.get(index) for index in range(begun)]} if "collect" in spec else counts

    def gather(index: str) -> None:
        """What an iteration leaves behind, and the items that it found."""
        try:
            if "collect" in spec:
                collected[int(index)] = scopes[index].value(spec["collect"])
            if "add" in spec:
                items.extend(scopes[index].value(spec["add"]))
        except EvaluationError:
            del crew.done[index]
            crew.failed[index] = Fault("ExpressionError", f"{path}[{index}]")

    def enough_failed() -> int:
        tolerate = spec.get("tolerate", 0)
        return tolerate if isinstance(tolerate, int) else len(items) * int(tolerate[:-1]) // 100

    def verdict() -> Fault | bool | None:
        """The fault that it fails with, or whether it has succeeded: True with what still goes on to be stopped."""
        counted = scope.knowing({"done": len(crew.done), "failed": len(crew.failed), "total": len(items)})
        try:
            if len(crew.failed) > enough_failed():
                return crew.fault(enough_failed())
            if "completeWhen" in spec and (crew.done or crew.failed) and counted.holds(spec["completeWhen"]):
                return True
            return not crew.live and begun == len(items) and ("until" not in spec or counted.holds(spec["until"]))
        except EvaluationError:
            return Fault("ExpressionError", path)

    while True:
        before = run.changes
        for index in list(crew.live):
            crew.go_on(index)
            if index in crew.done:
                gather(index)
            if crew.jump:
                yield from settle(run, crew, path, crew.jump)
        if not run.halted:
            if (how := verdict()) is True:
                if (yield from settle(run, crew, path)):
                    raise Late(outputs())
                return outputs()
            if how:
                yield from settle(run, crew, path, how)
            while len(crew.live) < spec.get("parallelism", 10) and begun < len(items):
                known = {"item": items[begun], spec.get("as", "item"): items[begun], "index": begun}
                listing = Listing(f"{path}[{begun}]", spec["steps"])
                scopes[str(begun)] = scope.knowing(known).within(listing)
                crew.live[str(begun)] = run.list(listing, scope.knowing(known))
                begun, run.changes = begun + 1, run.changes + 1
        if before != run.changes:
            continue
        if (yield from pause()):
            yield from crew.stopped()
            raise Stop


def settle(run: "Reference", crew: Crew, path: str, how: Fault | Jump | None = None) -> Going:
    """It is decided how a structure ends: stop what still goes on in it. A timeout changes nothing now, and a stop only what has failed."""
    run.settled.add(path)
    asked = yield from crew.stopped()
    if asked and isinstance(how, Fault):
        raise Stop
    if how is not None:
        raise how
    return asked


def enough(join: int | str, count: int) -> int:
    """How many must succeed."""
    if isinstance(join, int):
        return join
    return {"All": count, "Any": 1}.get(join) or -(-count * int(join[:-1]) // 100)


def _dependency(given: str | Spec) -> tuple[str, str]:
    return (given, "Succeeded") if isinstance(given, str) else (given["step"], given.get("outcome", "Succeeded"))


def _items(given: Json) -> list[Json]:
    if isinstance(given, dict):
        return [{"key": key, "value": given[key]} for key in sorted(given)]
    if isinstance(given, list):
        return list(given)
    raise EvaluationError(f"{given!r} holds no items")


def _number(given: Json) -> int:
    if isinstance(given, bool) or not isinstance(given, int | float) or given != int(given) or given < 0:
        raise EvaluationError(f"{given!r} is no number of iterations")
    return int(given)
