"""Random workflows, read off bytes: each choice takes one byte, and where there are none left it is the first option.

Times are odd in their microseconds, every one in its own way, so that no two things happen at the same moment by chance.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, TypeVar

from tests.support.reference import Fate

Step = dict[str, Any]
T = TypeVar("T")
DEEPEST = 4


class Luck:
    """The fates of Jobs by path and attempt: always the same for the same seed. `told` remembers what was asked."""

    def __init__(self, seed: bytes, bad: int) -> None:
        self.seed, self.bad = seed, bad
        self.told: dict[tuple[str, int], Fate] = {}

    def fate(self, path: str, attempt: int) -> Fate:
        if (path, attempt) not in self.told:
            self.told[path, attempt] = self._draw(path, attempt)
        return self.told[path, attempt]

    def _draw(self, path: str, attempt: int) -> Fate:
        dice = sha256(self.seed + f"{path}#{attempt}".encode()).digest()
        takes = timedelta(milliseconds=100 + dice[0] * 20, microseconds=int.from_bytes(dice[1:3]) % 1000)
        lingers = timedelta(milliseconds=1 + dice[3] * 10, microseconds=int.from_bytes(dice[4:6]) % 1000)
        if dice[6] < self.bad:
            return Fate(takes, ("ExitCode", "CardDeclined", "Timeout")[dice[7] % 3], None, lingers)
        return Fate(takes, "", {"n": dice[7] % 4} if dice[8] < 160 else None, lingers)


class Dice:
    """Bytes, used up from the front."""

    def __init__(self, seed: bytes) -> None:
        self.bytes = iter(seed)
        self.timers = 0

    def pick(self, options: Sequence[T]) -> T:
        return options[next(self.bytes, 0) % len(options)]

    def often(self, share: int) -> bool:
        """True in so many of 256 cases, never where the bytes have come to their end."""
        return next(self.bytes, 0) >= 256 - share

    def duration(self, *seconds: float) -> str:
        """One of these lengths of time, and a little that no other has."""
        self.timers += 1
        return f"{self.pick(seconds) * 1000 + self.timers * 1.013:.3f}ms"


def workflow(seed: bytes) -> tuple[dict[str, Any], Luck, timedelta | None]:
    """Return the spec of a workflow, the fates of its Jobs, and when its run is cancelled, if it is."""
    dice = Dice(seed[8:])
    luck = Luck(seed[:7], dice.pick((0, 40, 90, 150)))
    spec: dict[str, Any] = {"parameters": [{"name": "yes", "default": True}, {"name": "no", "default": False}]}
    spec["compensationTimeout"] = dice.duration(3600, 10)
    if dice.often(30):
        spec["timeout"] = dice.duration(5, 15)
    if dice.often(20):
        spec["onFailure"] = {"compensate": False}
    cancel_at = timedelta(seconds=seed[7] / 16, microseconds=501) if dice.often(24) else None
    steps = listed(dice, DEEPEST)
    if dice.often(50):
        spec["dag"] = {"failFast": not dice.often(80), "steps": dependent(dice, steps)}
    else:
        spec["steps"] = steps
    if dice.often(30):
        spec["catch"] = [handler(dice, 1)]
    spec["outputs"] = [{"name": "n", "value": "${ has(vars.n) ? vars.n : -1 }"}, {"name": "first", "value": "${ steps.s0.outputs }"}]
    return spec, luck, cancel_at


def listed(dice: Dice, depth: int) -> list[Step]:
    """A list of steps: the first is `s0`."""
    names = (f"s{index}" for index in range(3))
    return [modified(dice, {"name": name, **action(dice, depth)}, depth) for name in names if name == "s0" or dice.often(150)]


def action(dice: Dice, depth: int) -> Step:
    return dice.pick(LEAVES if depth == 0 else ANY)(dice, depth - 1)


def modified(dice: Dice, step: Step, depth: int) -> Step:
    """A step with some of the modifiers that any step may carry."""
    if ("fail" in step or "end" in step) and "if" not in step:
        step["if"] = dice.pick(("${ params.yes }", "${ params.no }"))
    elif dice.often(24):
        step["if"] = dice.pick(CONDITIONS)
    if dice.often(24):
        step["timeout"] = dice.duration(2, 6, 0.5)
    if dice.often(60):
        step["catch"] = [handler(dice, depth - 1)]
    if dice.often(70):
        step["compensate"] = undo(dice)
    return step


CONDITIONS = (
    "${ params.yes }",
    "${ params.no }",
    "${ has(vars.n) && vars.n > 1 }",
    "${ has(steps.s0.outputs.n) }",
    "${ steps.s0.phase == 'Succeeded' }",
    "${ steps.s0.outputs.n > 0 }",
    "${ vars.n }",
)


def handler(dice: Dice, depth: int) -> Step:
    return {"errors": dice.pick((["*"], ["Transient"], ["CardDeclined"], ["Permanent", "Timeout"])), "steps": listed(dice, max(depth, 0))}


def undo(dice: Dice) -> Step:
    how: Step = dice.pick(({"job": {"image": "i"}}, {"steps": [{"name": "u", "job": {"image": "i"}}, {"name": "v", "set": {"undone": True}}]}))
    retry = {"maxAttempts": dice.pick((5, 2)), "interval": dice.duration(1), "jitter": "None", "errors": ["*"]}
    return {**how, "retry": retry}


# ------------------------------------------------------------------------------------------------------------------------ actions


def job(dice: Dice, depth: int) -> Step:
    step: Step = {"job": {"image": "i"}}
    if dice.often(80):
        step["retry"] = {"maxAttempts": 3, "interval": dice.duration(1, 0.2), "backoffRate": 2, "jitter": "None"}
        step["retry"]["errors"] = dice.pick((["*"], ["Transient"], ["Timeout", "CardDeclined"]))
    if dice.often(40):
        step["attemptTimeout"] = dice.duration(1, 3)
    return step


def set_(dice: Dice, depth: int) -> Step:
    return {"set": dice.pick(VALUES)}


VALUES: tuple[Step, ...] = (
    {"n": 1},
    {"n": "${ has(vars.n) ? vars.n + 1 : 0 }"},
    {"n": "${ vars.n * 2 }"},
    {"m": "${ has(steps.s0.outputs.n) ? steps.s0.outputs.n : 7 }"},
    {"log": "${ has(vars.log) ? vars.log + 'a' : 'a' }"},
    {"log": "${ has(vars.log) ? vars.log + 'b' : 'b' }"},
)


def wait(dice: Dice, depth: int) -> Step:
    return {"wait": {"duration": dice.duration(1, 3)}}


def fail(dice: Dice, depth: int) -> Step:
    return {"fail": {"error": dice.pick(("CardDeclined", "ExitCode"))}}


def end(dice: Dice, depth: int) -> Step:
    return {"end": {"result": dice.pick(("Succeeded", "Failed"))}}


def block(dice: Dice, depth: int) -> Step:
    return {"steps": listed(dice, depth)}


def parallel(dice: Dice, depth: int) -> Step:
    branches = [{"name": f"b{index}", "steps": listed(dice, depth)} for index in range(dice.pick((2, 3, 1)))]
    join = dice.pick(("All", "Any", 1, "50%", len(branches)))
    return {"parallel": {"join": join, "cancelRest": not dice.often(80), "branches": branches}}


def switch(dice: Dice, depth: int) -> Step:
    cases: list[Step] = [{"when": dice.pick(CONDITIONS), "steps": listed(dice, depth)} for _ in range(dice.pick((1, 2)))]
    if dice.often(60):
        cases[0]["name"] = "first"
    chosen: Step = {"cases": cases}
    if dice.often(128):
        chosen["default"] = listed(dice, depth)
    return {"switch": chosen}


def dag(dice: Dice, depth: int) -> Step:
    return {"dag": {"failFast": not dice.often(80), "steps": dependent(dice, listed(dice, depth))}}


def dependent(dice: Dice, steps: list[Step]) -> list[Step]:
    """The steps of a dag: each one may depend on some of those before it; written in any order."""
    for index, step in enumerate(steps):
        needs = [other["name"] for other in steps[:index] if dice.often(110)]
        if needs:
            step["dependsOn"] = needs
    return steps[::-1] if dice.often(60) else steps


Action = Callable[[Dice, int], Step]
LEAVES: tuple[Action, ...] = (job, job, job, set_, wait, fail, end)
ANY: tuple[Action, ...] = (job, job, set_, wait, fail, block, parallel, parallel, switch, dag, end)
