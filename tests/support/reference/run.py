"""A whole run, and what any step goes through whatever it does."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from backstay.api.base import parse_duration
from backstay.api.faults import matches
from backstay.errors import EvaluationError
from tests.support.reference import leaves, structures
from tests.support.reference.crew import Crew, pause
from tests.support.reference.lists import Listing, Scope, error_of, view_of
from tests.support.reference.words import Account, Fault, Going, Json, Jump, Late, Script, Spec, Stop, length_of

ACTIONS: Final[dict[str, Callable[..., Going]]] = {
    "job": leaves.job,
    "set": leaves.set_,
    "wait": leaves.wait,
    "steps": structures.block,
    "dag": structures.dag,
    "parallel": structures.parallel,
    "switch": structures.switch,
    "fail": leaves.fail,
    "end": leaves.end_run,
    "goto": leaves.goto,
    "cancel": leaves.cancel,
    "race": structures.race,
    "while": structures.loop,
    "forEach": structures.for_each,
}


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
        self.unknown: dict[str, int] = {}
        """Steps of which an attempt was cut off: unless a later one succeeds, nobody knows whether their work was done. With their place in
        the order of completion, which is when they were cut off."""
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
        whole = Listing("", [body])
        crew = Crew(self, {"/": self.step(body, "/", whole, scope)})
        deadline = length_of(spec.get("timeout"))
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
        elif "/" in crew.done and not self.stopping:
            account.outputs = whole.views[""]["outputs"] or None
        account.error = (fault.type, fault.path) if fault else None
        self.stopping = True
        if account.phase != "Succeeded" and compensate:
            yield from self.undo(fault)

    def undo(self, fault: Fault | None) -> Going:
        """Undo the completed steps one at a time, the last one first, until one cannot be or the time is over."""
        over = self.now + parse_duration(self.spec.get("compensationTimeout", "1d"))
        structures = [path for _, path, _, _ in self.completed if self.account.ended[path][0] == "Succeeded"]
        for _, path, step, scope in sorted(self.completed, key=lambda item: -item[0]):
            if any(path.startswith((f"{other}/", f"{other}:", f"{other}[")) for other in structures):
                continue
            how = {"name": step["name"], **step["compensate"]}
            self.retry = how.pop("retry", {"maxAttempts": 5, "errors": ["*"]})
            inside = scope.knowing({"self": scope.lists[0].views[step["name"]], "error": error_of(fault)})
            crew = Crew(self, {"": self.step(how, f"{path}:compensate", Listing("", [how]), inside)})
            while "" not in crew.done:
                if self.reached(over):
                    return
                crew.go_on()
                if "" not in crew.done:
                    yield
            self.account.undone.append(path)
            if path in structures:
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
        timeout = length_of(step.get("timeout", self.spec.get("defaults", {}).get("timeout") if kind == "job" else None))
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
        around = scope if path != "/" else scope.within(self.top)
        inside = around.knowing({"error": error_of(fault)})
        for index, catch in enumerate(step.get("catch", ())):
            if matches(fault.type, catch.get("errors", ["*"])) and inside.holds(catch.get("when", "${ true }")):
                self.begin(path)
                handler = Listing(f"{path}:catch{index}", catch["steps"])
                try:
                    yield from self.list(handler, inside)
                except Stop:
                    self.end(step, path, listing, scope, "Cancelled")
                    raise
                except Fault:
                    self.end(step, path, listing, scope, "Failed")
                    raise
                except Jump:
                    self.end(step, path, listing, scope, "Caught")
                    raise
                self.end(step, path, listing, scope, "Caught", inside.within(handler).value(catch.get("outputs", {})))
                return
        self.end(step, path, listing, scope, "Failed")
        raise fault

    def begin(self, path: str) -> None:
        self.account.began.setdefault(path, self.now)
        self.changes += 1

    def opened(self, step: Spec, path: str, scope: Scope) -> None:
        """What the step had to know to begin is known: from now on expressions see that it runs, and no longer its last lap."""
        if scope.lists and ":compensate" not in path and "opens" not in step:
            scope.lists[0].views[step["name"]] = view_of("Running")

    def end(self, step: Spec, path: str, listing: Listing, scope: Scope, phase: str, outputs: Json = None) -> None:
        self.begin(path)
        self.account.ended[path] = phase, self.now
        listing.views[step["name"]] = view_of(phase, outputs, self.account.attempts.get(path, 0))
        place = self.joined.get(path, self.changes) if phase == "Succeeded" else self.unknown.get(path)
        if place and "compensate" in step and ":compensate" not in path:
            self.completed.append((place, path, step, scope))

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
