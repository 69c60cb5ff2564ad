"""Random workflows, read off bytes: each choice takes one byte, and where there are none left it is the first option.

Times differ in their microseconds, every one in its own way, so that no two things happen at the same moment by chance.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any, TypeVar

from tests.support.reference import Fate

Step = dict[str, Any]
T = TypeVar("T")
DEEPEST = 4
ITEMS = [3, 1, 2]


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


@dataclass
class Around:
    """A list of steps that is being made."""

    names: list[str]
    is_dag: bool = False
    steps: list[Step] = field(default_factory=list)


class Dice:
    """Bytes, used up from the front, and where in the workflow they are used."""

    def __init__(self, seed: bytes) -> None:
        self.bytes = iter(seed)
        self.timers = 0
        self.around: list[Around] = []
        self.iterations = 0
        """How many loops are around."""
        self.cancels: list[tuple[str, list[Around]]] = []
        """The `cancel` steps, by name and with the lists around them: their targets are chosen when all is there."""

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
    luck = Luck(seed[:7], dice.pick((0, 20, 50, 120)))
    spec: dict[str, Any] = {"parameters": [{"name": "yes", "default": True}, {"name": "no", "default": False}]}
    spec["parameters"].append({"name": "items", "default": ITEMS})
    spec["compensationTimeout"] = dice.duration(3600, 10)
    if dice.often(20):
        spec["timeout"] = dice.duration(5, 15)
    if dice.often(20):
        spec["onFailure"] = {"compensate": False}
    cancel_at = timedelta(seconds=seed[7] / 16, microseconds=501) if dice.often(24) else None
    if dice.often(50):
        spec["dag"] = dag(dice, DEEPEST)["dag"]
    else:
        spec["steps"] = listed(dice, DEEPEST)
    if dice.often(30):
        spec["catch"] = [handler(dice, 1)]
    spec["outputs"] = [{"name": "n", "value": "${ has(vars.n) ? vars.n : -1 }"}, {"name": "first", "value": "${ steps.s0.outputs }"}]
    aim(dice)
    return spec, luck, cancel_at


def listed(dice: Dice, depth: int, *, is_dag: bool = False) -> list[Step]:
    """A list of steps: the first is `s0`."""
    here = Around(["s0", *(name for name in ("s1", "s2") if dice.often(170))], is_dag)
    dice.around.append(here)
    for name in here.names:
        around = modifiers(dice, depth)
        step = {"name": name, **around, **action(dice, depth, name)}
        if ("fail" in step or "end" in step) and "if" not in step:
            step["if"] = dice.pick(("${ params.yes }", "${ params.no }"))
        here.steps.append(step)
    dice.around.pop()
    return here.steps


def action(dice: Dice, depth: int, name: str) -> Step:
    if dice.often(24):
        return goto(dice, name)
    if dice.often(12):
        dice.cancels.append((name, list(dice.around)))
        return {"cancel": {}}
    return dice.pick(LEAVES if depth == 0 else ANY)(dice, depth - 1)


def modifiers(dice: Dice, depth: int) -> Step:
    """Some of what any step may carry. Chosen before the action, so that there are bytes left for it when the action is large."""
    step: Step = {}
    if dice.often(16):
        step["if"] = condition(dice)
    if dice.often(24):
        step["timeout"] = dice.duration(2, 6, 0.5)
    if dice.often(70):
        step["catch"] = [handler(dice, depth - 2)]
    if dice.often(100):
        step["compensate"] = undo(dice)
    return step


def condition(dice: Dice) -> str:
    return dice.pick(CONDITIONS + IN_ITERATIONS * bool(dice.iterations))


CONDITIONS = (
    "${ params.yes }",
    "${ params.no }",
    "${ has(vars.n) && vars.n > 1 }",
    "${ has(steps.s0.outputs.n) }",
    "${ steps.s0.phase == 'Succeeded' }",
    "${ !has(vars.n) || vars.n < 2 }",
    "${ steps.s0.phase != 'Failed' }",
    "${ has(steps.s0.outputs.n) && steps.s0.outputs.n > 1 }",
    "${ steps.s0.outputs.n > 0 }",
    "${ vars.n }",
)
IN_ITERATIONS = ("${ index > 0 }", "${ index == 0 || has(vars.n) }")


def handler(dice: Dice, depth: int) -> Step:
    errors = dice.pick((["*"], ["Transient"], ["CardDeclined"], ["Permanent", "Timeout"]))
    step: Step = {"errors": errors, "steps": listed(dice, max(depth, 0))}
    if dice.often(24):
        step["when"] = dice.pick(("${ error.type == 'CardDeclined' }", "${ error.type != 'Timeout' }"))
    if dice.often(24):
        step["outputs"] = {"n": "${ error.type == 'ExitCode' ? 1 : 2 }"}
    if dice.often(20):
        step["steps"].append({"name": "again", "fail": {"rethrow": True}})
    return step


def undo(dice: Dice) -> Step:
    several = {"steps": [{"name": "u", "job": {"image": "i"}}, {"name": "v", "set": {"undone": True}}]}
    how: Step = dice.pick(({"job": {"image": "i"}}, several))
    return {**how, "retry": {"maxAttempts": dice.pick((5, 2)), "interval": dice.duration(1), "jitter": "None", "errors": ["*"]}}


# ------------------------------------------------------------------------------------------------------------------------ leaves


def job(dice: Dice, depth: int) -> Step:
    step: Step = {"job": {"image": "i"}}
    if dice.often(80):
        step["retry"] = {"maxAttempts": 3, "interval": dice.duration(1, 0.2), "backoffRate": 2, "jitter": "None"}
        step["retry"]["errors"] = dice.pick((["*"], ["Transient"], ["Timeout", "CardDeclined"]))
    if dice.often(40):
        step["attemptTimeout"] = dice.duration(1, 3)
    return step


def set_(dice: Dice, depth: int) -> Step:
    return {"set": dict(dice.pick(VALUES + ITEM_VALUES * bool(dice.iterations)))}


VALUES: tuple[Step, ...] = (
    {"n": 1},
    {"n": "${ has(vars.n) ? vars.n + 1 : 0 }"},
    {"n": "${ has(vars.n) ? vars.n * 2 : 3 }"},
    {"m": "${ has(steps.s0.outputs.n) ? steps.s0.outputs.n : 7 }"},
    {"log": "${ has(vars.log) ? vars.log + 'a' : 'a' }"},
    {"log": "${ has(vars.log) ? vars.log + 'b' : 'b' }"},
)
ITEM_VALUES: tuple[Step, ...] = ({"n": "${ index }"}, {"log": "${ (has(vars.log) ? vars.log : '') + string(index) }"})


def wait(dice: Dice, depth: int) -> Step:
    if dice.often(60):
        return {"wait": {"condition": condition(dice)}, "timeout": dice.duration(3, 8)}
    return {"wait": {"duration": dice.duration(1, 3)}}


def fail(dice: Dice, depth: int) -> Step:
    return {"fail": {"error": dice.pick(("CardDeclined", "ExitCode"))}}


def end(dice: Dice, depth: int) -> Step:
    return {"end": {"result": dice.pick(("Succeeded", "Failed"))}}


def goto(dice: Dice, name: str) -> Step:
    """Lead to another step of this list or of one around it; a dag's edge is never crossed."""
    targets: dict[str, Around] = {}
    for around in reversed(dice.around):
        if around.is_dag:
            break
        targets = {**dict.fromkeys(around.names, around), **targets}
    names = [target for target, around in targets.items() if around is not dice.around[-1] or target != name]
    if not names or dice.around[-1].is_dag:
        return {"set": {"n": 2}}
    return {"goto": {"step": dice.pick(names), "maxVisits": dice.pick((2, 3, 1))}, "if": dice.pick(LEADING)}


LEADING = ("${ params.yes }", "${ !has(vars.n) || vars.n < 3 }", "${ has(steps.s0.outputs.n) }")


def aim(dice: Dice) -> None:
    """Choose what each `cancel` is for: a step of a list around it, or one further in."""
    for name, around in dice.cancels:
        targets: dict[str, list[str]] = {}
        for level in around:
            targets |= {step["name"]: list(paths_to(step)) for step in level.steps}
        own = next(step for step in around[-1].steps if step["name"] == name)
        del targets[name]
        paths = [path for found in targets.values() for path in found]
        if paths:
            own["cancel"]["step"] = dice.pick(paths)
        else:
            del own["cancel"]
            own["set"] = {"n": 3}


def paths_to(step: Step) -> Iterator[str]:
    """The step, and all that are in it, as a `cancel` names them; not other `cancel` steps, which are over at once."""
    if "cancel" not in step:
        yield step["name"]
    lists = {"": step["steps"]} if "steps" in step else {}
    if "dag" in step:
        lists[""] = step["dag"]["steps"]
    lists |= {branch["name"]: branch["steps"] for branch in step.get("parallel", {}).get("branches", ())}
    for prefix, steps in lists.items():
        for inner in steps:
            yield from ("/".join(filter(None, (step["name"], prefix, path))) for path in paths_to(inner))


# -------------------------------------------------------------------------------------------------------------------- structures


def block(dice: Dice, depth: int) -> Step:
    return {"steps": listed(dice, depth)}


def parallel(dice: Dice, depth: int) -> Step:
    branches = [{"name": f"b{index}", "steps": listed(dice, depth)} for index in range(dice.pick((2, 3, 1)))]
    join = dice.pick(("All", "Any", "50%", 1))
    return {"parallel": {"join": join, "cancelRest": not dice.often(128), "branches": branches}}


def switch(dice: Dice, depth: int) -> Step:
    cases: list[Step] = [{"when": condition(dice), "steps": listed(dice, depth)} for _ in range(dice.pick((1, 2, 3)))]
    if dice.often(60):
        cases[0]["name"] = "first"
    chosen: Step = {"cases": cases, "mode": "Every" if dice.often(110) else "First"}
    if dice.often(128):
        chosen["default"] = listed(dice, depth)
    return {"switch": chosen}


def dag(dice: Dice, depth: int) -> Step:
    """Each step may depend on some of those before it, however they end; written in any order."""
    fast = not dice.often(80)
    steps = listed(dice, depth, is_dag=True)
    for index, step in enumerate(steps):
        needs = [other["name"] for other in steps[:index] if dice.often(110)]
        if needs:
            step["dependsOn"] = [{"step": name, "outcome": dice.pick(OUTCOMES)} if dice.often(90) else name for name in needs]
    return {"dag": {"failFast": fast, "steps": steps[::-1] if dice.often(60) else steps}}


OUTCOMES = ("Failed", "Done", "Skipped", "Succeeded")


def race(dice: Dice, depth: int) -> Step:
    branches: list[Step] = [{"wait": {"duration": dice.duration(2, 1)}}]
    branches += [
        {"wait": {"condition": condition(dice)} if dice.often(128) else {"duration": dice.duration(1, 2)}} for _ in range(dice.pick((1, 2)))
    ]
    for branch in branches:
        if dice.often(170):
            branch["steps"] = listed(dice, depth)
    return {"race": branches}


def loop(dice: Dice, depth: int) -> Step:
    asked = dice.pick(
        (
            {"condition": "${ index < 2 }"},
            {"until": "${ index >= 1 }"},
            {"condition": "${ !has(vars.n) || vars.n < 3 }"},
            {"until": "${ has(steps.s0.outputs.n) && steps.s0.outputs.n > 1 }"},
            {"until": "${ steps.s0.outputs.n > 1 }"},
        )
    )
    return {"while": {**asked, "maxIterations": dice.pick((3, 2)), "steps": iterated(dice, depth)}}


def for_each(dice: Dice, depth: int) -> Step:
    spec: Step = dict(
        dice.pick(
            (
                {"count": 2},
                {"in": "${ params.items }"},
                {"in": {"b": 2, "a": 1}},
                {"count": 3},
                {"count": 0},
                {"in": [5, 6]},
                {"in": "${ vars.n }"},
            )
        )
    )
    spec["parallelism"] = dice.pick((10, 1, 2))
    if dice.often(70):
        spec["tolerate"] = dice.pick((1, "50%", 0))
    if dice.often(60):
        spec["completeWhen"] = dice.pick(("${ done >= 1 }", "${ failed > 0 }", "${ done + failed == total }"))
    if dice.often(90):
        spec["collect"] = dice.pick(("${ steps.s0.outputs }", "${ index }", "${ steps.s0.outputs.n }", {"it": "${ item }"}))
    if dice.often(40):
        spec["add"] = dice.pick(("${ index < 2 ? [7] : [] }", "${ index == 0 ? [8, 9] : [] }"))
    return {"forEach": {**spec, "steps": iterated(dice, depth)}}


def iterated(dice: Dice, depth: int) -> list[Step]:
    dice.iterations += 1
    steps = listed(dice, depth)
    dice.iterations -= 1
    return steps


Action = Callable[[Dice, int], Step]
LEAVES: tuple[Action, ...] = (job, job, job, set_, wait, job, set_, wait, fail, job, job, end)
ANY: tuple[Action, ...] = (
    job,
    set_,
    wait,
    block,
    parallel,
    parallel,
    switch,
    dag,
    race,
    loop,
    for_each,
    for_each,
    parallel,
    dag,
    job,
    wait,
    fail,
    end,
)
