"""Random sagas, read off bytes: what is to be done and undone, how each piece of work goes, and all that happens around it.

Smaller than `random_workflows`: nothing in them depends on data, so that `ledger.Rules` can tell from the work that was really done which
step had completed. Fewer and smaller bytes are fewer and simpler steps.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

from tests.support.random_workflows import Dice

Step = dict[str, Any]
DEEPEST = 3
GOOD, FAILS, DECLINES, HANGS, VANISHES, ROBBED = "good", "ExitCode", "CardDeclined", "hangs", "vanishes", "robbed"


class Fate(NamedTuple):
    """How one attempt goes: how it ends (`GOOD`, an error, or one of the other ways), when, and how long it takes to be gone once it is stopped."""

    how: str
    takes: timedelta
    lingers: timedelta
    output: int


class Deed(NamedTuple):
    """What a person does, and when: suspend, resume, cancel, keep (cancel without undoing), delete, stop (one step), undo (stop one step, and undo it)."""

    what: str
    when: timedelta


@dataclass
class Saga:
    """A saga and its world. Everything follows from the seed."""

    seed: bytes
    spec: Step = field(default_factory=dict)
    bad: int = 0
    """How many attempts of 256 go wrong, forwards."""
    bad_undo: int = 0
    trouble: int = 0
    """How many writes and deeds of 256 the operator has trouble with."""
    lag: timedelta = timedelta(0)
    """How far the operator's view may be behind."""
    deeds: tuple[Deed, ...] = ()
    stalled: tuple[str, ...] = ()
    """What a person does about each step that waits for one, in turn: retry, edit, skip, give-up, release or nothing."""

    def chance(self, *what: object) -> bytes:
        """Bytes that are always the same for the same question."""
        return sha256(self.seed + repr(what).encode()).digest()

    def fate(self, path: str, attempt: int, again: int) -> Fate:
        """How an attempt goes that was made `again` times before."""
        dice = self.chance(path, attempt, again)
        takes = timedelta(milliseconds=100 + dice[0] * 10, microseconds=int.from_bytes(dice[1:3]) % 1000)
        lingers = timedelta(milliseconds=1 + dice[3] * 4, microseconds=int.from_bytes(dice[4:6]) % 1000)
        undoing = ":compensate" in path
        wrong = dice[6] < (self.bad_undo if undoing else self.bad)
        how = (FAILS, DECLINES, HANGS, VANISHES, ROBBED, FAILS)[dice[7] % 6] if wrong else GOOD
        return Fate(FAILS if how == DECLINES and undoing else how, takes, lingers, dice[8])

    @cached_property
    def words(self) -> str:
        """What happens around it, for whoever looks at a failing one."""
        return f"bad {self.bad}, {self.bad_undo}; trouble {self.trouble}; lag {self.lag}; deeds {self.deeds}; stalled {self.stalled}"


def saga(seed: bytes) -> Saga:
    """Read a saga off bytes."""
    dice = Dice(seed[4:])
    found = Saga(seed[:4])
    found.bad = dice.pick((0, 24, 48, 90))
    found.bad_undo = dice.pick((0, 30, 120))
    found.trouble = dice.pick((0, 0, 40, 90))
    found.lag = timedelta(milliseconds=dice.pick((0, 0, 700)))
    found.deeds = tuple(_deeds(dice))
    found.stalled = tuple(dice.pick(("retry", "skip", "nothing", "edit", "release", "give-up")) for _ in range(3))
    found.spec = _workflow(dice)
    return found


def _deeds(dice: Dice) -> list[Deed]:
    found: list[Deed] = []

    def at(most: float) -> timedelta:
        return timedelta(milliseconds=next(dice.bytes, 0) * most, microseconds=500 + len(found))

    if dice.often(90):
        found.append(Deed(dice.pick(("cancel", "delete", "keep")), at(40)))
    if dice.often(60):
        since = at(30)
        found += [Deed("suspend", since), Deed("resume", since + timedelta(milliseconds=1 + next(dice.bytes, 0) * 20))]
    if dice.often(60):
        found.append(Deed(dice.pick(("stop", "undo")), at(30)))
    return found


def _workflow(dice: Dice) -> Step:
    spec: Step = {"parameters": [{"name": "yes", "default": True}], "compensationTimeout": dice.duration(600, 20)}
    spec["defaults"] = {"attemptTimeout": dice.duration(2, 1.4)}
    if dice.often(30):
        spec["timeout"] = dice.duration(4, 8)
    steps = _listed(dice, DEEPEST)
    if dice.often(150):
        steps.append({"name": "z", "fail": {"error": "OutOfStock"}})
    if dice.often(40):
        spec["catch"] = [_handler(dice)]
    if dice.often(70):
        spec["onFailure"] = {"parallel": True}
    if dice.often(30):
        dice.pick([step for step in steps if "fail" not in step])["pivot"] = True
    return {**spec, "steps": steps}


def _listed(dice: Dice, depth: int, *, is_dag: bool = False) -> list[Step]:
    names = ["s0", *(name for name in ("s1", "s2", "s3") if dice.often(140))]
    steps = [{"name": name, **_step(dice, depth)} for name in names]
    if len(steps) > 2 and not is_dag and dice.often(40):
        steps.insert(-1, {"name": "back", "undo": {dice.pick(("within", "to")): names[len(names) - 3]}})
    return steps


def _step(dice: Dice, depth: int) -> Step:
    kinds = (_job,) if depth <= 0 else (_job, _job, _job, _block, _parallel, _dag, _for_each, _loop, _child, _switch)
    kind = dice.pick(kinds)
    undoes = dice.often(190 if kind is _job else 60 if kind is not _child else 0)
    step: Step = {"compensate": _undo(dice, of_job=kind is _job)} if undoes else {}
    if dice.often(40):
        step["catch"] = [_handler(dice)]
    if dice.often(24):
        step["timeout"] = dice.duration(1.5, 4)
    return {**step, **kind(dice, depth - 1)}


def _handler(dice: Dice) -> Step:
    errors = dice.pick((["*"], ["CardDeclined"], ["Timeout", "JobDeleted"]))
    return {
        "errors": errors,
        "steps": [{"name": name, **_job(dice, 0), "compensate": _undo(dice)} for name in dice.pick((("h",), ("h", "i")))],
    }


TOLD = "${ has(self.outcome) ? self.outcome : 'Succeeded' }"
OUTPUT = "${ string(self.outputs.n) }"


def _undo(dice: Dice, *, of_job: bool = True) -> Step:
    """Ways to undo a step. Its jobs are told whether the outcome of the step is known, and perhaps what it produced."""
    job = {"job": {"image": "i", "args": [TOLD]}}
    several = {"steps": [{"name": "u", **job}, {"name": "v", "job": {"image": "i"}}]}
    how: Step = dice.pick((job, several, {"job": {"image": "i", "args": [TOLD, OUTPUT]}} if of_job else job))
    if dice.often(30):
        how = {**how, "onExhausted": "Skip"}
    return {**how, "retry": {"maxAttempts": dice.pick((2, 3)), "interval": dice.duration(0.2), "jitter": "None", "errors": ["*"]}}


def _job(dice: Dice, depth: int) -> Step:
    step: Step = {"job": {"image": "i"}}
    if dice.often(80):
        errors = dice.pick((["*"], ["Transient"], ["Timeout", "JobDeleted"]))
        step["retry"] = {"maxAttempts": dice.pick((2, 3)), "interval": dice.duration(0.2, 0.6), "jitter": "None", "errors": errors}
    if dice.often(24):
        step["onExhausted"] = "Pause"
    return step


def _child(dice: Dice, depth: int) -> Step:
    return {"workflow": {"name": "child"}}


def _block(dice: Dice, depth: int) -> Step:
    return {"steps": _listed(dice, depth)}


def _parallel(dice: Dice, depth: int) -> Step:
    branches = [{"name": f"b{index}", "steps": _listed(dice, depth - 1)} for index in range(dice.pick((2, 3)))]
    return {"parallel": {"join": dice.pick(("All", "All", "Any")), "cancelRest": not dice.often(60), "branches": branches}}


def _switch(dice: Dice, depth: int) -> Step:
    cases = [{"name": "c", "when": "${ params.yes }", "steps": _listed(dice, depth - 1)}]
    return {"switch": {"cases": cases, "default": [{"name": "d", **_job(dice, 0)}]}}


def _dag(dice: Dice, depth: int) -> Step:
    steps = _listed(dice, depth - 1, is_dag=True)
    for index, step in enumerate(steps):
        needs = [other["name"] for other in steps[:index] if dice.often(110)]
        if needs:
            step["dependsOn"] = needs
    return {"dag": {"steps": steps}}


def _for_each(dice: Dice, depth: int) -> Step:
    return {"forEach": {"count": dice.pick((2, 3)), "parallelism": dice.pick((1, 3)), "steps": _listed(dice, depth - 2)}}


def _loop(dice: Dice, depth: int) -> Step:
    return {"while": {"condition": dice.pick(("${ index < 2 }", "${ index < 1 }")), "steps": _listed(dice, depth - 2)}}
