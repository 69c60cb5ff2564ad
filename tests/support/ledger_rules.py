"""Hold the ledger of a world against the promise of a saga, knowing nothing of the engine but what a user sees.

Every completed step that says how to undo it is undone exactly once, after the steps that came after it, or the run says why it is not.
Nothing that did not complete is undone, except where its outcome is unknown, and then its compensation is told so.

Which steps had completed is read off the work that was really done. Where nobody outside can tell what the operator saw first, the answer
is MAYBE, and then either of two ways must have been gone wholly.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tests.support.ledger import DONE, LOST, Work
from tests.support.saga_world import SagaWorld

Step = Mapping[str, Any]
NO: Final = 0
MAYBE: Final = 1
YES: Final = 2


class Rules:
    """The rules for one world that has come to its end."""

    def __init__(self, world: SagaWorld) -> None:
        self.world, self.ledger, self.spec = world, world.ledger, world.saga.spec
        self.steps = dict(_walk(self.spec["steps"], "")) | dict(_handlers("/", self.spec))
        """Every step that there may be, by its path."""
        self.following = dict(_following(self.spec["steps"], ""))
        """By path: the steps that come after one in its list."""
        self.undos = list(_undos(self.spec["steps"], ""))
        """Of each `undo`: the paths that it is for, and those of the steps that follow it."""
        words = str(world.condition("Compensated").get("message", ""))
        self.why = words[found.start() :] if (found := re.search(r"not undone: |left as it is: ", words)) else ""
        """What the condition says of steps that are not undone."""
        self.skipped = {path.partition(":compensate")[0] for path in world.answered("Skip")}

    def check(self) -> None:
        """Raise AssertionError, with what was found, where a rule is broken."""
        self._the_end()
        self._nothing_new_is_begun_once_undoing_has_begun()
        undoable = [path for path, step in self.steps.items() if "compensate" in step or "workflow" in step]
        known = {work.path.partition(":compensate")[0] for work in self.ledger.works if ":compensate" in work.path}
        assert known <= set(undoable), f"undone although nobody says how: {known - set(undoable)}"
        for path in undoable:
            self._is_undone_as_it_must(path)
        self._order(undoable)
        self._what_was_cancelled_is_undone_before_the_run_goes_on(undoable)

    # ------------------------------------------------------------------------------------------------------- the whole

    def _the_end(self) -> None:
        """The run has ended, or a person is needed, and the run says for what."""
        run = self.world.state.run
        if not run.is_finished:
            stalled = self.world.condition("Stalled")
            assert stalled.get("status") == "True", "it has not ended, and nothing says why"
            assert any(record.path in stalled["message"] for record in self.world.waiting()), stalled
        else:
            going = [work for work in self.ledger.works if not (work.ended or work.unwanted or self._is_undone_at_once(work))]
            assert not going, f"it has ended, and work goes on: {going}"

    @property
    def is_undone(self) -> bool:
        """Whether the run is to undo what it did."""
        run = self.world.state.run
        kept = run.result == "Cancelled" and any(deed.what == "keep" for deed in self.world.saga.deeds)
        return run.result is not None and run.result != "Succeeded" and not kept and not run.pivot

    def _nothing_new_is_begun_once_undoing_has_begun(self) -> None:
        if self.undos or self.world.undone:
            return
        undoing = [work.made for work in self.ledger.works if ":compensate" in work.path and not self._is_undone_at_once(work)]
        late = [work.path for work in self.ledger.works if ":compensate" not in work.path and undoing and work.made > min(undoing)]
        assert not late, f"begun after undoing had begun: {late}"

    def _is_undone_at_once(self, undoing: Work) -> bool:
        """Whether a child run is undone that nobody wanted any more when it succeeded."""
        path, _, _ = undoing.path.partition(":compensate")
        if path == undoing.path or "workflow" not in self.steps[path]:
            return False
        return self.says_it_is_left(path) or any(not work.is_sure for work in self.ledger.by_path.get(path, ()))

    # ------------------------------------------------------------------------------------------------------- each step

    def _is_undone_as_it_must(self, path: str) -> None:
        surely, undone = self.times_undone(path)
        assert surely <= max(1, self._children_that_were_done(path)), f"{path} is undone {surely} times"
        begun = bool(self.ledger.undoing(path))
        must = self.must_be_undone(path)
        if must == NO:
            assert not begun, f"{path} is undone, and should not be"
        elif must == YES and not (path in self.skipped and not undone):
            told = self.says_it_is_left(path)
            assert undone or told, f"{path} is not undone, and the run does not say so: {self.why!r}"
            let_go = any(entry.kind == "CompensationAbandoned" for entry in self.world.entries)
            assert not (surely and told) or let_go, f"{path} is undone, and the run says that it is not"
        if begun:
            self._is_told_what_is_known(path)

    def _children_that_were_done(self, path: str) -> int:
        """How many attempts at a step are runs of their own that did their work: each of them is undone, and by itself; the ledger tells whether twice."""
        return sum(work.ended == DONE for work in self.ledger.by_path.get(path, ())) if "workflow" in self.steps[path] else 0

    def says_it_is_left(self, path: str) -> bool:
        """Whether the run says that a step is not undone."""
        if any(entry.kind == "NotUndone" and entry.reason.startswith(f"{path}: ") for entry in self.world.entries):
            return True
        return re.search(rf"(?:: |, ){re.escape(path)}(?:,|;| \(|$)", self.why) is not None

    def must_be_undone(self, path: str) -> int:
        """Whether a step that says how to undo it is to be undone."""
        step = self.steps[path]
        answer = self._has_taken_effect(path) if _is_work(step) else self.is_done(step, path)
        if not self.is_undone:
            answer = min(answer, self._undone_on_the_way(path))
        for outer in self._speakers(path):
            answer = min(answer, NO if self.ledger.undoing(outer) else 2 - self.is_done(self.steps[outer], outer))
        late = any(self._is_undone_at_once(undoing) for undoing in self.ledger.undoing(path))
        return max(answer, min(MAYBE, self._undone_on_the_way(path)), MAYBE if late else NO)

    def _undone_on_the_way(self, path: str) -> int:
        """Whether a step is undone while the run goes on: by an `undo`, or because a person cancelled what it is in so."""
        found = NO
        for stopped in self.world.undone:
            if _is_within(path, stopped):
                found = MAYBE
        for covered, later in self.undos:
            if any(_is_within(path, inside) for inside in covered):
                went_on = any(_is_within(work.path, other) for work in self.ledger.works for other in later)
                found = max(found, YES if went_on and not self.world.state.run.pivot else MAYBE)
        return found

    def _has_taken_effect(self, path: str) -> int:
        """Whether work was done, or may have been as far as anybody knows: later attempts that fail change nothing about that."""
        works = self.ledger.by_path.get(path, ())
        if any(self._is_undone_at_once(undoing) for undoing in self.ledger.undoing(path)):
            return MAYBE  # whether that went well is told by the child run
        record = self.world.state.steps.get(path)
        if record is not None and not record.has_ended:
            return MAYBE  # the run was let go, or goes on, while it waits for a person
        is_child = "workflow" in self.steps[path]
        if any(work.ended in (DONE, LOST) and work.seen and not (work.is_forgotten or (is_child and work.unwanted)) for work in works):
            return YES
        return MAYBE if any(work.may_have_taken_effect for work in works) else NO

    def _speakers(self, path: str) -> list[str]:
        """The structures around a step that say themselves how to undo them."""
        speaking = (outer for outer, step in self.steps.items() if "compensate" in step and not _is_work(step))
        return [outer for outer in speaking if path.startswith((f"{outer}/", f"{outer}["))]

    def times_undone(self, path: str) -> tuple[int, int]:
        """How often a step was undone wholly: at least, and at most, as far as the operator could know."""
        how = self.steps[path].get("compensate", {})
        ways = [f"{path}:compensate/{step['name']}" for step in how["steps"]] if "steps" in how else [f"{path}:compensate"]
        works = [self.ledger.by_path.get(way, ()) for way in ways]
        surely = min(sum(work.is_sure for work in found) for found in works)
        return surely, min(sum(work.is_good or self._was_cancelled_by_a_person(work) for work in found) for found in works)

    def _was_cancelled_by_a_person(self, work: Work) -> bool:
        """What is done while a person has it cancelled counts as done."""
        return work.ended == DONE and any(_is_within(work.path, stopped) for stopped in self.world.stopped)

    def _is_told_what_is_known(self, path: str) -> None:
        works = self.ledger.by_path.get(path, ())
        if not _is_work(self.steps[path]) or "workflow" in self.steps[path]:
            return
        good = [work for work in works if work.is_sure]
        for undoing in self.ledger.undoing(path):
            if undoing.told and good:
                assert undoing.told == "Succeeded", f"undoing {path} is told {undoing.told}, and it succeeded"
            elif undoing.told and not any(work.ended == DONE for work in works):
                assert undoing.told == "Unknown", f"undoing {path} is told {undoing.told}, and nobody knows"
            if undoing.output and good:
                assert undoing.output == good[-1].gave, f"undoing {path} is given {undoing.output} instead of {good[-1].gave}"

    # ----------------------------------------------------------------------------------------------------------- order

    def _order(self, undoable: Sequence[str]) -> None:
        """What came later is undone wholly before what came earlier begins to be undone."""
        spans = {path: span for path in undoable if self.ledger.undoing(path) and (span := self._completed(path))}
        for earlier, (_, before) in spans.items():
            for later, (after, _) in spans.items():
                begun = min(work.made for work in self.ledger.undoing(earlier))
                if before < after and self._covering(earlier) == self._covering(later) and not self._are_apart(earlier, later):
                    ended = max(NEVER if work.seen is None else work.seen for work in self.ledger.undoing(later))
                    assert ended <= begun, f"{earlier} is undone before {later}, which came after it"

    def _what_was_cancelled_is_undone_before_the_run_goes_on(self, undoable: Sequence[str]) -> None:
        for stopped in self.world.undone:
            follows = [
                work.made for work in self.ledger.works if any(_is_within(work.path, later) for later in self.following.get(stopped, ()))
            ]
            for path in undoable:
                if follows and _is_within(path, stopped) and not self.says_it_is_left(path):
                    late = [work for work in self.ledger.undoing(path) if work.seen is None or work.seen > min(follows)]
                    assert not late, f"the run goes on after {stopped} before {path} is undone"

    def _covering(self, path: str) -> list[int]:
        """Which of the ways to undo a part of the run are for a step."""
        ways = [*(covered for covered, _ in self.undos), *([stopped] for stopped in self.world.undone)]
        return [number for number, covered in enumerate(ways) if any(_is_within(path, inside) for inside in covered)]

    def _are_apart(self, one: str, other: str) -> bool:
        """Whether two steps may be undone at the same time: the workflow wants that, and neither came after the other as it is written."""
        if not self.spec.get("onFailure", {}).get("parallel"):
            return False
        ours, theirs = (re.findall(r"[/:\[]?[^/:\[]+", path) for path in (one, other))
        shared = next((place for place, (mine, yours) in enumerate(zip(ours, theirs, strict=False)) if mine != yours), None)
        owner = self.steps.get("".join(ours[:shared])) if shared else None
        if shared is None or owner is None or ":" in ours[shared][0] + theirs[shared][0]:
            return False
        if "dag" in owner:
            needs = {step["name"]: step.get("dependsOn", ()) for step in owner["dag"]["steps"]}
            names = ours[shared][1:], theirs[shared][1:]
            return not (_leads(needs, *names) or _leads(needs, *reversed(names)))
        return "parallel" in owner or owner.get("forEach", {}).get("parallelism", 1) > 1

    def _completed(self, path: str) -> tuple[int, int] | None:
        """Between which ticks a step has completed; None where that cannot be told."""
        if _is_work(self.steps[path]):
            return next(((work.seen, work.seen) for work in self.ledger.by_path[path] if work.is_sure and work.seen is not None), None)
        inside = [work for work in self.ledger.works if work.path.startswith((f"{path}/", f"{path}[")) and ":compensate" not in work.path]
        if any(work.seen is None for work in inside) or self.is_done(self.steps[path], path) != YES:
            return None
        last = max(work.seen or 0 for work in inside)
        return (min(work.made for work in inside) if "Any" in str(self.steps[path]) else last), last

    # ------------------------------------------------------------------------------------- what had completed, by the work

    def is_done(self, step: Step, path: str) -> int:
        """Whether the action of a step came to a good end."""
        if any(path == stopped or path.startswith((f"{stopped}/", f"{stopped}[")) for stopped in self.world.stopped):
            return min(MAYBE, self._action(step, path))
        return self._action(step, path)

    def _action(self, step: Step, path: str) -> int:
        if _is_work(step):
            works = self.ledger.by_path.get(path, ())
            if any(work.is_good for work in works):
                return YES if any(work.is_sure for work in works) else MAYBE
            return MAYBE if any(work.ended == DONE for work in works) else NO
        if "fail" in step:
            return NO
        lists = list(_lists(step, path))
        ends = sorted((self._all(steps, prefix) for prefix, steps in lists), reverse=True)
        if step.get("parallel", {}).get("join") == "Any":
            return min(MAYBE, ends[0])
        return ends[-1]

    def _all(self, steps: Sequence[Step], prefix: str) -> int:
        return min(self._is_behind(step, f"{prefix}{step['name']}") for step in steps)

    def _is_behind(self, step: Step, path: str) -> int:
        """Whether what follows a step may begin: it is done, or its error was dealt with, or a person did not want it."""
        if "undo" in step:
            return YES  # what follows it tells
        caught = max(
            (self._all(handler["steps"], f"{path}:catch{index}/") for index, handler in enumerate(step.get("catch", ()))), default=NO
        )
        unwanted = path in self.skipped or any(_is_within(stopped, path) for stopped in self.world.stopped)
        return max(self.is_done(step, path), caught, MAYBE if unwanted else NO)


NEVER: Final = 10**9


def _is_within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}/", f"{outer}:", f"{outer}["))


def _leads(needs: Mapping[str, Sequence[str]], first: str, last: str) -> bool:
    """Whether a path of dependencies leads from one step of a dag to another."""
    return any(need == first or _leads(needs, first, need) for need in needs[last])


def _following(steps: Sequence[Step], prefix: str) -> Iterator[tuple[str, list[str]]]:
    paths = [f"{prefix}{step['name']}" for step in steps]
    for place, step in enumerate(steps):
        yield paths[place], paths[place + 1 :]
        if "dag" not in step:
            for inner, inside in _lists(step, paths[place]):
                yield from _following(inside, inner)


def _undos(steps: Sequence[Step], prefix: str) -> Iterator[tuple[list[str], list[str]]]:
    paths = [f"{prefix}{step['name']}" for step in steps]
    for place, step in enumerate(steps):
        if "undo" in step:
            named = next(index for index, other in enumerate(steps) if other["name"] in step["undo"].values())
            yield (paths[named : named + 1] if "within" in step["undo"] else paths[named + 1 : place]), paths[place + 1 :]
        for inner, inside in _lists(step, paths[place]):
            yield from _undos(inside, inner)


def _is_work(step: Step) -> bool:
    return "job" in step or "workflow" in step


def _walk(steps: Sequence[Step], prefix: str) -> Iterator[tuple[str, Step]]:
    """Every step of a list and in it, with its path; of iterations those that there can be."""
    for step in steps:
        path = f"{prefix}{step['name']}"
        yield path, step
        yield from _handlers(path, step)
        for inner, inside in _lists(step, path):
            yield from _walk(inside, inner)


def _handlers(path: str, step: Step) -> Iterator[tuple[str, Step]]:
    for index, handler in enumerate(step.get("catch", ())):
        yield from _walk(handler["steps"], f"{path}:catch{index}/")


def _lists(step: Step, path: str) -> Iterator[tuple[str, Sequence[Step]]]:
    """The lists in a structure, with what the paths in them begin with; of a switch the one that is taken."""
    if "steps" in step:
        yield f"{path}/", step["steps"]
    elif "dag" in step:
        yield f"{path}/", step["dag"]["steps"]
    elif "parallel" in step:
        for branch in step["parallel"]["branches"]:
            yield f"{path}/{branch['name']}/", branch["steps"]
    elif "switch" in step:
        yield f"{path}/c/", step["switch"]["cases"][0]["steps"]
    elif "forEach" in step:
        for index in range(step["forEach"]["count"]):
            yield f"{path}[{index}]/", step["forEach"]["steps"]
    elif "while" in step:
        for index in range(int(step["while"]["condition"].split("<")[1].strip(" }"))):
            yield f"{path}[{index}]/", step["while"]["steps"]
