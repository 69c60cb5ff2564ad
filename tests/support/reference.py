"""What a run comes to, worked out a second time: from the words of docs/workflow.md, with nothing of the engine's.

A step is a generator. It yields when it can do no more at this moment, and is resumed whenever something happens anywhere. It ends by
returning its outputs (it is done), or by raising: Fault (it failed), Jump (a goto leads out of it), or Stop, which is thrown into a step
that is no longer wanted and comes out of it again once nothing of it goes on. Time is virtual; a Script says how every Job goes.

At one moment lists go on in the order in which they are written, each as far as it goes; then what is around them judges. That is
repeated until nothing changes; then time goes on.
"""

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from backstay.api.base import parse_duration
from backstay.api.faults import matches
from backstay.errors import EvaluationError
from backstay.expressions.template import Template, compile_template

Json = Any
Spec = Mapping[str, Any]
Going = Generator[None, None, Json]


class Fate(NamedTuple):
    """How one attempt's Job goes: when it ends, how (an error type, or outputs), and how long it takes to be gone once it is deleted."""

    takes: timedelta
    error: str = ""
    outputs: Json = None
    lingers: timedelta = timedelta(seconds=1)


Script = Callable[[str, int], Fate]
"""The fate of a Job by its step's path and its attempt."""


class Fault(Exception):
    """A step failed."""

    def __init__(self, type_: str, path: str) -> None:
        super().__init__(type_, path)
        self.type, self.path = type_, path


class Stop(Exception):
    """A step is not wanted any more."""


class Late(Stop):
    """It came to a good end while it was being stopped: that counts."""

    def __init__(self, outputs: Json) -> None:
        super().__init__()
        self.outputs = outputs


class Jump(Exception):
    """The run goes on at a step of a list."""

    def __init__(self, listing: "Listing", name: str) -> None:
        super().__init__(name)
        self.listing, self.name = listing, name


@dataclass
class Account:
    """What became of a run."""

    phase: str = ""
    error: tuple[str, str] | None = None
    """Type, and the path of the step that raised it."""
    vars: dict[str, Json] = field(default_factory=dict)
    outputs: Json = None
    took: timedelta = timedelta(0)
    began: dict[str, timedelta] = field(default_factory=dict)
    """When each step began, counted from the start of the run."""
    ended: dict[str, tuple[str, timedelta]] = field(default_factory=dict)
    """How each step ended, and when."""
    attempts: dict[str, int] = field(default_factory=dict)
    undone: list[str] = field(default_factory=list)
    """The steps that were undone, in that order."""


class Listing:
    """One list of steps: a block's, a branch's, an iteration's. A goto that leads back begins its next lap."""

    def __init__(self, prefix: str, steps: Sequence[Spec]) -> None:
        self.prefix, self.steps, self.lap = prefix, steps, 1
        self.visits: Counter[str] = Counter()
        self.views = {step["name"]: _view("Pending") for step in steps}
        """How expressions see its steps."""

    def path(self, name: str) -> str:
        """Where a step of it stands in this lap."""
        return (f"{self.prefix}/{name}" if self.prefix else name) + (f"~{self.lap}" if self.lap > 1 else "")

    def outputs(self) -> dict[str, Json]:
        """What its steps produced, by name."""
        return _filled({name: view["outputs"] for name, view in self.views.items()})


@dataclass(frozen=True)
class Scope:
    """What expressions see: the lists around them, innermost first, and values by name."""

    values: Mapping[str, Json]
    lists: tuple[Listing, ...] = ()

    def within(self, listing: Listing) -> "Scope":
        return Scope(self.values, (listing, *self.lists))

    def knowing(self, values: Mapping[str, Json]) -> "Scope":
        return Scope({**self.values, **values}, self.lists)

    def value(self, value: Json) -> Json:
        steps = {name: view for listing in reversed(self.lists) for name, view in listing.views.items()}
        return _compiled(orjson.dumps(value), ("steps", *self.values)).render({**self.values, "steps": steps})

    def holds(self, condition: str) -> bool:
        answer = self.value(condition)
        if not isinstance(answer, bool):
            raise EvaluationError(f"{answer!r} is neither true nor false")
        return answer


class Crew:
    """Lists or steps that go on at the same time, by name, and how those ended that do no longer."""

    def __init__(self, reference: "Reference", members: Mapping[str, Going] | None = None) -> None:
        self.reference = reference
        self.live = dict(members or {})
        self.done: dict[str, Json] = {}
        self.failed: dict[str, Fault] = {}
        self.failed_at: dict[str, timedelta] = {}
        self.stop: Stop | None = None
        self.jump: Jump | None = None
        self.is_cancelled = False

    def go_on(self, *names: str) -> None:
        """Bring every member, or those named, as far as it goes now."""
        for name in names or list(self.live):
            if name in self.live and not self.reference.halted:
                self._resume(name, lambda member: next(member))

    def tell(self) -> None:
        """Tell every member that it is no longer wanted."""
        for name in list(self.live):
            self._resume(name, lambda member: member.throw(Stop()))

    def _resume(self, name: str, how: Callable[[Going], object]) -> None:
        try:
            how(self.live[name])
            return
        except StopIteration as end:
            self.done[name] = end.value
        except Fault as fault:
            self.failed[name], self.failed_at[name] = fault, self.reference.now
        except Stop as stop:
            self.stop = stop
        except Jump as jump:
            self.jump = jump
        self.live.pop(name)

    def stopped(self) -> Generator[None, None, bool]:
        """Stop what goes on, and wait until nothing does. Returns whether whoever waited was stopped meanwhile."""
        asked = False
        self.tell()
        while self.live:
            asked = (yield from pause()) or asked
            for name in list(self.live):
                self._resume(name, lambda member: next(member))
        return asked

    def fault(self, number: int) -> Fault:
        """The failure of this number, counted from 0, as they happened."""
        return list(self.failed.values())[number]

    def failures(self, names: Iterable[str]) -> list[str]:
        """Those that failed, in the order of time; of the same moment, in the order in which they are written."""
        return sorted((name for name in names if name in self.failed), key=self.failed_at.__getitem__)


class Reference:
    """One run of a workflow (its spec as a mapping)."""

    def __init__(self, spec: Spec, script: Script, *, cancel_at: timedelta | None = None) -> None:
        self.spec, self.script, self.cancel_at = spec, script, cancel_at
        self.account = Account()
        self.now = timedelta(0)
        self.moments: set[timedelta] = set()
        self.changes = 0
        self.ending: tuple[str, Fault | None] | None = None
        """How an `end` ended the run."""
        self.stopping = False
        self.going: dict[str, Crew] = {}
        """The steps that go on, by path."""
        self.to_cancel: list[str] = []
        self.settled: set[str] = set()
        """Steps of which it is decided how they end: no timeout changes that."""
        self.joined: dict[str, int] = {}
        """Steps behind which the run goes on already, and their place in the order of completion."""
        self.completed: list[tuple[int, str, Spec, Scope]] = []
        """What can be undone, with its place in the order of completion."""
        self.due: dict[str, timedelta] = {}
        """When waits are over, by path."""
        self.retry: Spec | None = spec.get("defaults", {}).get("retry")

    @property
    def halted(self) -> bool:
        """An `end` was reached: nothing goes on before everything is stopped."""
        return self.ending is not None and not self.stopping

    # ------------------------------------------------------------------------------------------------------------- time

    def play(self) -> Account:
        """Run it to its end."""
        run = self.run()
        while True:
            before = -1
            while before != self.changes:
                before = self.changes
                for path in self.to_cancel:
                    if path in self.going:
                        self.going[path].is_cancelled = True
                        self.going[path].tell()
                self.to_cancel.clear()
                try:
                    next(run)
                except StopIteration:
                    self.account.took = self.now
                    return self.account
            self.moments = {moment for moment in self.moments if moment > self.now}
            assert self.moments, "nothing happens any more, and the run has not ended"
            self.now = min(self.moments)

    def reached(self, moment: timedelta | None) -> bool:
        """Whether it is as late as that; the clock will stop there in any case."""
        if moment is not None and moment > self.now:
            self.moments.add(moment)
        return moment is not None and moment <= self.now

    # ------------------------------------------------------------------------------------------------------ the whole run

    def run(self) -> Going:
        spec, account = self.spec, self.account
        params = {item["name"]: item.get("default") for item in spec.get("parameters", ())}
        scope = Scope({"params": params, "vars": account.vars, "run": {}})
        self.top = Listing("", spec.get("steps") or spec["dag"]["steps"])
        body = {"name": "", **{key: spec[key] for key in ("steps", "dag", "catch") if key in spec}}
        crew = Crew(self, {"/": self.step(body, "/", Listing("", [body]), scope)})
        deadline = _length(spec.get("timeout"))
        account.phase, compensate = "Succeeded", spec.get("onFailure", {}).get("compensate", True)
        fault: Fault | None = None
        while crew.live:
            if self.reached(self.cancel_at):
                account.phase, fault, compensate = "Cancelled", Fault("Cancelled", ""), True
            elif self.reached(deadline):
                account.phase, fault = "Failed", Fault("DeadlineExceeded", "")
            else:
                crew.go_on()
                if self.ending is not None:
                    account.phase, fault = self.ending
            if fault or self.ending:
                self.stopping = True
                yield from crew.stopped()
            elif crew.live:
                yield
        if crew.failed and not self.stopping:
            account.phase, fault = "Failed", crew.fault(0)
        if "/" in crew.done and not self.stopping and account.ended["/"][0] == "Succeeded":
            try:
                outputs = {item["name"]: item["value"] for item in spec.get("outputs", ())}
                account.outputs = scope.within(self.top).value(outputs) or None
            except EvaluationError:
                account.phase, fault = "Failed", Fault("ExpressionError", "")
        account.error = (fault.type, fault.path) if fault else None
        self.stopping = True
        if account.phase != "Succeeded" and compensate:
            yield from self.undo(fault)

    def undo(self, fault: Fault | None) -> Going:
        """Undo the completed steps one at a time, the last one first, until one cannot be or the time is over."""
        over = self.now + parse_duration(self.spec.get("compensationTimeout", "1d"))
        structures = [path for _, path, _, _ in self.completed]
        for _, path, step, scope in sorted(self.completed, key=lambda item: -item[0]):
            if any(path.startswith((f"{other}/", f"{other}:", f"{other}[")) for other in structures):
                continue
            how = {"name": step["name"], **step["compensate"]}
            self.retry = how.pop("retry", {"maxAttempts": 5, "errors": ["*"]})
            inside = scope.knowing({"self": scope.lists[0].views[step["name"]], "error": _error(fault)})
            crew = Crew(self, {"": self.step(how, f"{path}:compensate", Listing("", [how]), inside)})
            while "" not in crew.done:
                if self.reached(over):
                    return
                crew.go_on()
                if "" not in crew.done:
                    yield
            self.account.undone.append(path)
            self.account.ended[path] = "Compensated", self.account.ended[path][1]
            self.changes += 1

    # --------------------------------------------------------------------------------------------------------- any step

    def step(self, step: Spec, path: str, listing: Listing, scope: Scope) -> Going:
        """A step that may be cancelled: then what follows it goes on."""
        crew = self.going[path] = Crew(self, {"": self.lived(step, path, listing, scope)})
        try:
            while True:
                crew.go_on()
                if not crew.live:
                    return self.outcome(crew)
                if (yield from pause()):
                    yield from crew.stopped()
                    raise crew.jump or Stop
        finally:
            del self.going[path]

    def outcome(self, crew: Crew) -> Json:
        """What a crew of one came to."""
        if crew.failed:
            raise crew.fault(0)
        if crew.jump or (crew.stop and not crew.is_cancelled):
            raise crew.jump or Stop
        return crew.done.get("")

    def lived(self, step: Spec, path: str, listing: Listing, scope: Scope) -> Going:
        """What any step goes through, whatever it does."""
        listing.visits[step["name"]] += 1
        try:
            try:
                if "if" in step and not scope.holds(step["if"]):
                    self.end(step, path, listing, scope, "Skipped")
                    return
                self.begin(path)
                listing.views[step["name"]] = _view("Running")
                outputs = yield from self.limited(step, path, scope)
            except EvaluationError as error:
                raise Fault("ExpressionError", path) from error
        except Late as late:
            self.end(step, path, listing, scope, "Succeeded", late.outputs)
            raise Stop from None
        except (Stop, Jump):
            self.end(step, path, listing, scope, "Cancelled")
            raise
        except Fault as fault:
            yield from self.caught(step, path, listing, scope, fault)
            return
        self.end(step, path, listing, scope, "Succeeded", None if isinstance(outputs, Jump) else outputs)
        if isinstance(outputs, Jump):
            raise outputs

    def limited(self, step: Spec, path: str, scope: Scope) -> Going:
        """The action, with its timeout around it."""
        kind = next(key for key in ACTIONS if key in step)
        timeout = _length(step.get("timeout", self.spec.get("defaults", {}).get("timeout") if kind == "job" else None))
        deadline = None if timeout is None else self.now + timeout
        crew = Crew(self, {"": ACTIONS[kind](self, step, path, scope)})
        while True:
            if path not in self.settled and self.reached(deadline):
                if (yield from crew.stopped()):
                    raise crew.stop or Stop
                raise Fault("Timeout", path)
            crew.go_on()
            if not crew.live:
                return self.outcome(crew)
            if (yield from pause()):
                yield from crew.stopped()
                raise crew.jump or crew.stop or Stop

    def caught(self, step: Spec, path: str, listing: Listing, scope: Scope, fault: Fault) -> Going:
        """Hand an error to the first handler that is for it; it is raised again where there is none, or where the handler fails, too."""
        for index, catch in enumerate(step.get("catch", ())):
            if matches(fault.type, catch.get("errors", ["*"])):
                self.begin(path)
                around = scope if path != "/" else scope.within(self.top)
                handler = Listing(f"{path}:catch{index}", catch["steps"])
                try:
                    yield from self.list(handler, around.knowing({catch.get("as", "error"): _error(fault)}))
                except Stop:
                    self.end(step, path, listing, scope, "Cancelled")
                    raise
                except Fault:
                    self.end(step, path, listing, scope, "Failed")
                    raise
                except Jump:
                    self.end(step, path, listing, scope, "Caught")
                    raise
                self.end(step, path, listing, scope, "Caught")
                return
        self.end(step, path, listing, scope, "Failed")
        raise fault

    def begin(self, path: str) -> None:
        self.account.began.setdefault(path, self.now)
        self.changes += 1

    def end(self, step: Spec, path: str, listing: Listing, scope: Scope, phase: str, outputs: Json = None) -> None:
        self.begin(path)
        self.account.ended[path] = phase, self.now
        listing.views[step["name"]] = _view(phase, outputs, self.account.attempts.get(path, 0))
        if phase == "Succeeded" and "compensate" in step and ":compensate" not in path:
            self.completed.append((self.joined.get(path, self.changes), path, step, scope))

    # ------------------------------------------------------------------------------------------------------- structures

    def list(self, listing: Listing, scope: Scope) -> Going:
        """Steps in order; returns their outputs by name. Of a step that was joined before its end, the rest goes on beside those that follow."""
        crew, inside, index, path = Crew(self), scope.within(listing), 0, ""
        while True:
            if not path and index < len(listing.steps):
                path = listing.path(listing.steps[index]["name"])
                crew.live[path] = self.step(listing.steps[index], path, listing, inside)
            crew.go_on()
            if crew.failed or crew.jump:
                if (yield from crew.stopped()):
                    raise Stop
                if crew.failed:
                    raise crew.fault(0)
                if crew.jump.listing is not listing:
                    raise crew.jump
                place = next(number for number, step in enumerate(listing.steps) if step["name"] == crew.jump.name)
                listing.lap += place <= index
                crew, index, path = Crew(self), place, ""
            elif path and not self.halted and (path in crew.done or path in self.joined):
                index, path = index + 1, ""
            elif not path and not crew.live:
                return listing.outputs()
            elif (yield from pause()):
                yield from crew.stopped()
                raise Stop

    def block(self, step: Spec, path: str, scope: Scope) -> Going:
        return (yield from self.list(self.top if path == "/" else Listing(path, step["steps"]), scope))

    def switch(self, step: Spec, path: str, scope: Scope) -> Going:
        spec, lists = step["switch"], {}
        for index, case in enumerate(spec["cases"]):
            if scope.holds(case["when"]):
                lists[case.get("name", str(index))] = case["steps"]
                if spec.get("mode", "First") == "First":
                    break
        if not lists and "default" in spec:
            lists["default"] = spec["default"]
        outputs = yield from self.side_by_side(step, path, scope, lists, len(lists), cancel_rest=True)
        return outputs if spec.get("mode") == "Every" else next(iter(outputs.values()), {})

    def parallel(self, step: Spec, path: str, scope: Scope) -> Going:
        spec = step["parallel"]
        lists = {branch["name"]: branch["steps"] for branch in spec["branches"]}
        needed = enough(spec.get("join", "All"), len(lists))
        return (yield from self.side_by_side(step, path, scope, lists, needed, cancel_rest=spec.get("cancelRest", True)))

    def side_by_side(
        self, step: Spec, path: str, scope: Scope, branches: Mapping[str, Sequence[Spec]], needed: int, *, cancel_rest: bool
    ) -> Going:
        """Lists that go on at the same time, until so many have succeeded. The rest is stopped, or goes on beside what follows."""
        lists = {name: Listing(f"{path}/{name}", steps) for name, steps in branches.items()}
        crew = Crew(self, {name: self.list(listing, scope) for name, listing in lists.items()})

        def outputs() -> dict[str, Json]:
            return _filled({name: listing.outputs() for name, listing in lists.items()})

        while True:
            crew.go_on()
            if path in self.joined:
                scope.lists[0].views[step["name"]]["outputs"] = outputs()
                if not crew.live:
                    return outputs()
            elif not self.halted:
                if len(crew.done) >= needed and (not crew.live or cancel_rest):
                    if (yield from self.settle(crew, path)):
                        raise Late(outputs())
                    return outputs()
                if len(crew.done) >= needed:
                    self.settled.add(path)
                    self.joined[path] = self.changes = self.changes + 1
                    continue
                if crew.jump:
                    yield from self.settle(crew, path, crew.jump)
                if len(crew.failed) > len(lists) - needed:
                    decisive = crew.failures(lists)[len(lists) - needed]
                    yield from self.settle(crew, path, crew.failed[decisive])
            if (yield from pause()):
                yield from crew.stopped()
                raise Late(outputs()) if path in self.joined else Stop

    def dag(self, step: Spec, path: str, scope: Scope) -> Going:
        spec = step["dag"]
        steps = {item["name"]: item for item in spec["steps"]}
        needs = {name: [_dependency(given) for given in item.get("dependsOn", ())] for name, item in steps.items()}
        listing = self.top if path == "/" else Listing(path, spec["steps"])
        crew, waiting, left_out = Crew(self), dict(steps), set[str]()

        def behind(name: str) -> bool:
            return name in crew.done or name in crew.failed or listing.path(name) in self.joined

        def met(name: str, outcome: str) -> bool:
            """Whether a step ended as another one asks for. One that was left out did not succeed; one that its own `if` skipped did."""
            answers = {
                "Succeeded": (name in crew.done or listing.path(name) in self.joined) and name not in left_out,
                "Failed": name in crew.failed,
                "Skipped": listing.views[name]["phase"] == "Skipped",
                "Done": name in crew.done or name in crew.failed,
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
                    if name in waiting and all(met(*need) for need in needs[name]) and not self.halted:
                        crew.live[name] = self.step(waiting.pop(name), listing.path(name), listing, scope.within(listing))
                    if name not in waiting and name not in looked_at:
                        looked_at.add(name)
                        crew.go_on(name)

        while True:
            sweep()
            if not self.halted:
                failures = [crew.failed[name] for name in crew.failures(steps) if nobody_deals_with(name)]
                if failures and spec.get("failFast", True):
                    yield from self.settle(crew, path, failures[0])
                lost = [name for name in waiting if all(behind(other) for other, _ in needs[name])]
                for name in lost:
                    self.end(waiting.pop(name), listing.path(name), listing, scope, "Skipped")
                    left_out.add(name)
                    crew.done[name] = None
                if lost:
                    continue
                if failures and not crew.live:
                    yield from self.settle(crew, path, failures[0])
                if not waiting and not crew.live:
                    return listing.outputs()
            if (yield from pause()):
                yield from crew.stopped()
                raise Stop

    def race(self, step: Spec, path: str, scope: Scope) -> Going:
        branches = {branch.get("name", str(index)): branch for index, branch in enumerate(step["race"])}
        listing = Listing(path, [{"name": name, "wait": branch["wait"]} for name, branch in branches.items()])
        crew = Crew(self, {item["name"]: self.step(item, listing.path(item["name"]), listing, scope) for item in listing.steps})
        crew.go_on()  # opens them all; which one happens first is seen from now on
        while True:
            for name in sorted(branches, key=lambda name: self.due.get(listing.path(name), self.now)):
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
        return (yield from self.list(Listing(listing.path(winner), branches[winner].get("steps", ())), scope))

    def loop(self, step: Spec, path: str, scope: Scope) -> Going:
        spec, index = step["while"], 0
        inside, listing = scope, Listing("", ())
        while True:
            if "condition" in spec and not scope.knowing({"index": index}).holds(spec["condition"]):
                break
            if "until" in spec and index and inside.within(listing).holds(spec["until"]):
                break
            if index >= spec.get("maxIterations", 1000):
                raise Fault("LimitExceeded", path)
            inside, listing = scope.knowing({"index": index}), Listing(f"{path}[{index}]", spec["steps"])
            self.changes += 1
            yield from self.list(listing, inside)
            index += 1
        return {"iterations": index, "last": listing.outputs()} if index else {"iterations": 0}

    def for_each(self, step: Spec, path: str, scope: Scope) -> Going:
        spec = step["forEach"]
        items = _items(scope.value(spec["in"])) if "in" in spec else list(range(_number(scope.value(spec["count"]))))
        if len(items) > spec.get("maxItems", 10_000):
            raise Fault("LimitExceeded", path)
        crew, scopes, collected, begun = Crew(self), {}, {}, 0

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
            before = self.changes
            for index in list(crew.live):
                crew.go_on(index)
                if index in crew.done:
                    gather(index)
                if crew.jump:
                    yield from self.settle(crew, path, crew.jump)
            if not self.halted:
                if (how := verdict()) is True:
                    if (yield from self.settle(crew, path)):
                        raise Late(outputs())
                    return outputs()
                if how:
                    yield from self.settle(crew, path, how)
                while len(crew.live) < spec.get("parallelism", 10) and begun < len(items):
                    known = {"item": items[begun], spec.get("as", "item"): items[begun], "index": begun}
                    listing = Listing(f"{path}[{begun}]", spec["steps"])
                    scopes[str(begun)] = scope.knowing(known).within(listing)
                    crew.live[str(begun)] = self.list(listing, scope.knowing(known))
                    begun, self.changes = begun + 1, self.changes + 1
            if before != self.changes:
                continue
            if (yield from pause()):
                yield from crew.stopped()
                raise Stop

    def settle(self, crew: Crew, path: str, how: Fault | Jump | None = None) -> Going:
        """It is decided how a structure ends: stop what still goes on in it. A timeout changes nothing now, and a stop only what has failed."""
        self.settled.add(path)
        asked = yield from crew.stopped()
        if asked and isinstance(how, Fault):
            raise Stop
        if how is not None:
            raise how
        return asked

    # ------------------------------------------------------------------------------------------------------------ leaves

    def job(self, step: Spec, path: str, scope: Scope) -> Going:
        defaults = self.spec.get("defaults", {})
        retry = step.get("retry") or self.retry or {"maxAttempts": 1}
        limit = _length(step.get("attemptTimeout", defaults.get("attemptTimeout")))
        for attempt in range(1, retry.get("maxAttempts", 3) + 1):
            self.account.attempts[path] = attempt
            self.changes += 1
            try:
                return (yield from self.attempt(self.script(path, attempt), path, limit))
            except Fault as fault:
                if attempt == retry.get("maxAttempts", 3) or not matches(fault.type, retry.get("errors", ["Transient", "Timeout"])):
                    raise
            delay = parse_duration(retry.get("interval", "1s")).total_seconds() * retry.get("backoffRate", 2) ** (attempt - 1)
            due = self.now + min(timedelta(seconds=delay), parse_duration(retry.get("maxDelay", "1m")))
            while not self.reached(due):
                yield
        raise AssertionError("not reached")

    def attempt(self, fate: Fate, path: str, limit: timedelta | None) -> Going:
        began = self.now
        over = began + limit if limit else None
        while not self.reached(began + fate.takes):
            late = self.reached(over)
            if not late and not (yield from pause()):
                continue
            if self.now == began:
                raise Stop  # it was never made: what is done follows from what was decided at a moment as a whole
            stopped, gone = not late, self.now + fate.lingers
            while not (self.reached(began + fate.takes) or self.reached(gone)):
                stopped = (yield from pause()) or stopped
            if not stopped:
                raise Fault("Timeout", path)
            raise Late(fate.outputs) if self.reached(began + fate.takes) and not fate.error else Stop
        if fate.error:
            raise Fault(fate.error, path)
        return fate.outputs

    def set(self, step: Spec, path: str, scope: Scope) -> Going:
        self.account.vars.update(scope.value(step["set"]))
        return {}
        yield

    def wait(self, step: Spec, path: str, scope: Scope) -> Going:
        wait = step["wait"]
        due = self.now + parse_duration(scope.value(wait["duration"])) if "duration" in wait else None
        if due is not None:
            self.due[path] = due
        yield  # it only opens when it begins
        while not (scope.holds(wait["condition"]) if due is None else self.reached(due)):
            yield
        return {}

    def fail(self, step: Spec, path: str, scope: Scope) -> Going:
        raise Fault(step["fail"]["error"], path)
        yield

    def end_run(self, step: Spec, path: str, scope: Scope) -> Going:
        result = step["end"].get("result", "Succeeded")
        self.ending = result, Fault("Ended", path) if result == "Failed" else None
        return {}
        yield

    def goto(self, step: Spec, path: str, scope: Scope) -> Going:
        name = step["goto"]["step"]
        listing = next(listing for listing in scope.lists if name in listing.views)
        if listing.visits[name] >= step["goto"].get("maxVisits", 100):
            raise Fault("LimitExceeded", path)
        return Jump(listing, name)
        yield

    def cancel(self, step: Spec, path: str, scope: Scope) -> Going:
        first, *rest = step["cancel"]["step"].split("/")
        listing = next(listing for listing in scope.lists if first in listing.views)
        aim = static("/".join(filter(None, (listing.prefix, first, *rest))))
        while targets := [other for other in self.going if static(other) == aim and other.startswith(listing.prefix)]:
            self.to_cancel += targets
            yield
        return {}


ACTIONS: dict[str, Callable[..., Going]] = {
    "job": Reference.job,
    "set": Reference.set,
    "wait": Reference.wait,
    "steps": Reference.block,
    "dag": Reference.dag,
    "parallel": Reference.parallel,
    "switch": Reference.switch,
    "fail": Reference.fail,
    "end": Reference.end_run,
    "goto": Reference.goto,
    "cancel": Reference.cancel,
    "race": Reference.race,
    "while": Reference.loop,
    "forEach": Reference.for_each,
}


def pause() -> Generator[None, None, bool]:
    """Wait for whatever happens next; returns whether that was being stopped."""
    try:
        yield
    except Stop:
        return True
    return False


def enough(join: int | str, count: int) -> int:
    """How many must succeed."""
    if isinstance(join, int):
        return join
    return {"All": count, "Any": 1}.get(join) or -(-count * int(join[:-1]) // 100)


def static(path: str) -> str:
    """A path without the numbers of iterations and laps."""
    return re.sub(r"\[\d+\]|~\d+", "", path)


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


def _length(text: str | None) -> timedelta | None:
    return None if text is None else parse_duration(text)


def _view(phase: str, outputs: Json = None, attempt: int = 0) -> dict[str, Json]:
    return {"phase": phase, "outputs": outputs or {}, "attempt": attempt}


def _filled(outputs: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in outputs.items() if value}


def _error(fault: Fault | None) -> dict[str, Json]:
    return {"type": fault.type, "title": "", "detail": "", "step": fault.path, "attempt": 0} if fault else {}


@lru_cache(maxsize=4096)
def _compiled(value: bytes, names: tuple[str, ...]) -> Template:
    return compile_template(orjson.loads(value), names)
