"""Random workflows over every kind of step and every modifier, read off choices. Small ones: what is to be found is found by many small worlds.

A test holds KINDS against the kinds that the API knows.
"""

from collections.abc import Callable
from typing import Any, Final

from tests.simulation.universe.choices import Choices
from tests.simulation.universe.outside import HOST

Step = dict[str, Any]
DEEPEST: Final = 2
LIMITED: Final = {"defaults": {"attemptTimeout": "8s"}}
CHILD: Final = {
    **LIMITED,
    "parameters": [{"name": "n", "default": 1}],
    "steps": [
        {"name": "s0", "job": {"image": "i"}, "compensate": {"job": {"image": "i"}}},
        {"name": "s1", "wait": {"duration": "300ms"}},
    ],
    "outputs": [{"name": "n", "value": "${ params.n }"}],
}
RECOVERY: Final = {**LIMITED, "steps": [{"name": "s0", "job": {"image": "i"}}]}
SEVERAL: Final = {
    **LIMITED,
    "concurrency": {"limit": 1},
    "steps": [{"name": "s0", "job": {"image": "i"}, "compensate": {"job": {"image": "i"}}}, {"name": "s1", "set": {"n": 1}}],
}
LIBRARY: Final = {**LIMITED, "templates": [{"name": "part", "steps": [{"name": "p", "job": {"image": "i"}}]}]}
WORKFLOWS: Final = {"child": CHILD, "recovery": RECOVERY, "one-at-a-time": SEVERAL, "library": LIBRARY}
"""The workflows that are there in every universe."""


def process(choices: Choices) -> Step:
    """Return the spec of a workflow."""
    spec: Step = {"compensationTimeout": "200s", "parameters": [{"name": "yes", "default": True}, {"name": "no", "default": False}]}
    spec["defaults"] = {"attemptTimeout": choices.pick(("8s", "2s"))}
    if choices.often(20):
        spec["timeout"] = choices.pick(("6s", "15s"))
    if choices.often(30):
        spec["onFailure"] = choices.pick(({"parallel": True}, {"compensate": False}, {"workflow": {"name": "recovery"}}))
    if choices.often(24):
        spec["catch"] = [handler(choices, 0)]
    if choices.often(30):
        spec["finally"] = [{"name": "last", **job(choices, 0)}]
    spec["templates"] = [{"name": "part", "steps": [{"name": "p", **job(choices, 0), **undo(choices)}]}] if choices.often(40) else []
    if not spec["templates"]:
        del spec["templates"]
    choices.notes["template"] = "templates" in spec
    if choices.often(30):
        spec["dag"] = dag(choices, DEEPEST)["dag"]
        spec["dag"]["steps"].append({"name": "y", "set": {"n": 3}, "dependsOn": ["s0"]})
    else:
        spec["steps"] = [*listed(choices, DEEPEST), {"name": "y", "set": {"n": 3}}]
        if choices.often(90):
            spec["steps"].append({"name": "z", "fail": {"error": "OutOfStock"}})
    if choices.often(16) and "steps" in spec:
        choices.pick([step for step in spec["steps"] if "fail" not in step])["pivot"] = True
    return spec


def listed(choices: Choices, depth: int, *, is_dag: bool = False) -> list[Step]:
    """A list of steps: the first is `s0`."""
    names = ["s0", *(name for name in ("s1", "s2") if choices.often(150))]
    steps: list[Step] = []
    for name in names:
        before = [step["name"] for step in steps]
        if before and not is_dag and choices.often(16):
            steps.append({"name": name, "goto": {"step": choices.pick(before), "maxVisits": 2}, "if": "${ !has(vars.n) || vars.n < 2 }"})
        elif before and not is_dag and choices.often(12):
            steps.append({"name": name, "undo": choices.pick(({}, {"to": before[0]}, {"within": before[-1]}))})
        else:
            kind = choices.pick(LEAVES if depth == 0 else ANY)
            steps.append({"name": name, **modifiers(choices, depth, kind), **kind(choices, depth - 1)})
    return steps


def modifiers(choices: Choices, depth: int, kind: "Action") -> Step:
    """Some of what any step may carry."""
    step: Step = {}
    is_work = kind in WORK
    if choices.often(100) and kind not in INSTANT:
        step |= undo(choices)
    if choices.often(40) and kind not in INSTANT:
        step["catch"] = [handler(choices, 0)]
    if choices.often(16):
        step["timeout"] = choices.pick(("3s", "1s", "12s"))
    if choices.often(12):
        step["if"] = choices.pick(("${ params.yes }", "${ params.no }", "${ !has(vars.n) }"))
    if choices.often(16):
        step["finally"] = [{"name": "f", **job(choices, 0)}]
    if choices.often(20):
        step["lock"] = choices.pick(({"name": "desk"}, {"name": "desk", "scope": "Run"}, {"name": "desk", "timeout": "4s"}))
    if choices.often(16) and depth and kind not in INSTANT:
        step["boundary"] = [edge(choices)]
    if choices.often(20) and is_work:
        step["circuit"] = "shop"
    if choices.often(20) and is_work:
        step["onExhausted"] = choices.pick(("Pause", "DeadLetter"))
    return step


def edge(choices: Choices) -> Step:
    event: Step = choices.pick(({"wait": {"duration": "700ms"}}, {"escalation": "LATE"}, {"wait": {"condition": "${ has(vars.n) }"}}))
    return {**event, "interrupting": not choices.often(128), "steps": [{"name": "b", **job(choices, 0)}]}


def handler(choices: Choices, depth: int) -> Step:
    return {"errors": choices.pick((["*"], ["CardDeclined"], ["Transient", "Timeout"])), "steps": [{"name": "h", **job(choices, 0)}]}


def undo(choices: Choices) -> Step:
    tries = {"retry": {"maxAttempts": choices.pick((3, 2)), "interval": "200ms", "jitter": "None", "errors": ["*"]}}
    job = {"job": {"image": "i"}, **tries}
    several = {"steps": [{"name": "u", **job}, {"name": "v", "set": {"undone": True}}]}
    call = {"http": {"method": "DELETE", "url": f"http://{HOST}/undo"}, **tries}
    how = choices.pick((job, job, several, call))
    return {"compensate": {**how, **({"onExhausted": "Skip"} if choices.often(60) else {})}}


# ------------------------------------------------------------------------------------------------------------------- leaves


def job(choices: Choices, depth: int) -> Step:
    return {"job": {"image": "i"}, **retry(choices)}


def retry(choices: Choices) -> Step:
    if not choices.often(80):
        return {}
    errors = choices.pick((["*"], ["Transient"], ["Timeout", "JobDeleted"]))
    return {"retry": {"maxAttempts": choices.pick((2, 3)), "interval": choices.pick(("200ms", "1s")), "jitter": "None", "errors": errors}}


def http(choices: Choices, depth: int) -> Step:
    declined = [{"when": "${ response.status == 402 }", "error": "CardDeclined"}]
    return {"http": {"method": "POST", "url": f"http://{HOST}/do", "errors": declined}, "attemptTimeout": "1s", **retry(choices)}


def resource(choices: Choices, depth: int) -> Step:
    named = {"apiVersion": "v1", "kind": "ConfigMap"}
    made = {**named, "metadata": {"name": choices.pick(("box", "crate"))}, "data": {"state": "open"}}
    return {
        "resource": choices.pick(
            (
                {"apply": made},
                {"create": made},
                {"delete": {**named, "name": "box"}},
                {"patch": {**named, "name": "box", "merge": {"data": {"state": "shut"}}}},
                {"wait": {**named, "name": "box", "condition": '${ object.data.state == "shut" }'}},
                {"get": {**named, "name": "crate"}},
            )
        ),
        "timeout": "4s",
    }


def child(choices: Choices, depth: int) -> Step:
    action: Step = {"name": "child", "params": {"n": 2}}
    if choices.often(40):
        action |= {"wait": False, "undo": choices.often(128)}
    if choices.often(30):
        action = {"name": "library", "template": "part"}
    return {"workflow": action, **retry(choices)}


def template(choices: Choices, depth: int) -> Step:
    return {"template": {"name": "part"}} if choices.notes.get("template") else {"set": {"n": 5}}


def set_(choices: Choices, depth: int) -> Step:
    return {"set": choices.pick(({"n": 1}, {"n": "${ has(vars.n) ? vars.n + 1 : 0 }"}, {"m": "${ run.name }"}))}


def wait(choices: Choices, depth: int) -> Step:
    action = choices.pick(({"duration": "500ms"}, {"duration": "3s"}, {"condition": "${ has(vars.n) }"}))
    return {"wait": action, **({"timeout": "2s"} if "condition" in action else {})}


def fail(choices: Choices, depth: int) -> Step:
    return {"fail": {"error": "OutOfStock"}, "if": choices.pick(("${ params.yes }", "${ params.no }"))}


def end(choices: Choices, depth: int) -> Step:
    return {"end": {"result": choices.pick(("Failed", "Succeeded"))}, "if": choices.pick(("${ params.no }", "${ params.yes }"))}


def escalate(choices: Choices, depth: int) -> Step:
    return {"escalate": {"code": "LATE"}}


# --------------------------------------------------------------------------------------------------------------- structures


def block(choices: Choices, depth: int) -> Step:
    return {"steps": listed(choices, depth)}


def parallel(choices: Choices, depth: int) -> Step:
    branches = [{"name": f"b{index}", "steps": listed(choices, depth)} for index in range(choices.pick((2, 2, 3)))]
    if choices.often(24):
        branches[0]["steps"] = [{"name": "pause", "wait": {"duration": "400ms"}}, {"name": "stop", "cancel": {"step": "b1/s0"}}]
    return {"parallel": {"join": choices.pick(("All", "All", "Any")), "cancelRest": not choices.often(60), "branches": branches}}


def switch(choices: Choices, depth: int) -> Step:
    cases = [{"when": choices.pick(("${ params.yes }", "${ has(vars.n) }")), "steps": listed(choices, depth)}]
    return {"switch": {"mode": choices.pick(("First", "Every")), "cases": cases, "default": listed(choices, 0)}}


def dag(choices: Choices, depth: int) -> Step:
    steps = listed(choices, depth, is_dag=True)
    for index, step in enumerate(steps):
        needs = [other["name"] for other in steps[:index] if choices.often(110)]
        if needs:
            step["dependsOn"] = needs
    return {"dag": {"steps": steps}}


def race(choices: Choices, depth: int) -> Step:
    branches: list[Step] = [{"wait": {"duration": choices.pick(("1s", "4s"))}}, {"wait": {"condition": "${ has(vars.n) }"}}]
    if choices.often(128):
        branches[0]["steps"] = listed(choices, 0)
    return {"race": branches}


def loop(choices: Choices, depth: int) -> Step:
    asked = choices.pick(({"condition": "${ index < 2 }"}, {"until": "${ index >= 1 }"}))
    return {"while": {**asked, "maxIterations": 3, "steps": listed(choices, depth - 1 if depth else 0)}}


def for_each(choices: Choices, depth: int) -> Step:
    spec: Step = {"count": choices.pick((2, 3)), "parallelism": choices.pick((3, 1, 2))}
    if choices.often(40):
        spec["tolerate"] = "50%"
    return {"forEach": {**spec, "steps": listed(choices, depth - 1 if depth else 0)}}


def transaction(choices: Choices, depth: int) -> Step:
    def phase() -> Step:
        act = {"job": {"image": "i"}} if choices.often(200) else {"http": {"method": "POST", "url": f"http://{HOST}/phase"}}
        return {**act, "retry": {"interval": "200ms", "jitter": "None"}}

    mode, phases = choices.pick((("TwoPhase", ("prepare", "commit", "abort")), ("TCC", ("try", "confirm", "cancel"))))
    participants = [{"name": name, **{which: phase() for which in phases}} for name in ("p", "q")]
    return {"transaction": {"mode": mode, "decisionTimeout": choices.pick(("5s", "2s")), "participants": participants}}


Action = Callable[[Choices, int], Step]
WORK: Final[tuple[Action, ...]] = (job, http, resource, child)
INSTANT: Final[tuple[Action, ...]] = (set_, fail, end, escalate)
LEAVES: Final[tuple[Action, ...]] = (job, job, http, set_, wait, job, child, resource, template, fail, escalate, end, job, http)
ANY: Final[tuple[Action, ...]] = (
    *(job, job, job, http, set_, wait, child, resource, template, fail, job, http, escalate, child),
    *(block, parallel, switch, dag, race, loop, for_each, transaction, parallel, for_each, transaction),
)
KINDS: Final = frozenset(
    {
        *("job", "http", "resource", "workflow", "template", "transaction"),
        *("set", "wait", "fail", "end", "escalate", "goto", "cancel", "undo"),
        *("steps", "parallel", "switch", "dag", "race", "while", "forEach"),
    }
)
"""The kinds of step that can come of this."""
