"""What the operator has to do while it is killed: workflows, and what each of their runs must do in the world, whoever carries it out and however often it dies.

A plan is a list of stages: the deeds of one begin when those of the one before are done, and go on side by side. A deed is a word in the world's book, and may have
another word that undoes it.
"""

import random
from dataclasses import dataclass
from typing import Any, Final

from backstay import names

Object = dict[str, Any]


@dataclass(frozen=True)
class Deed:
    """One thing that a run does in the world, once. Its first `fails` attempts fail and have no effect; one that `refuses` never has one."""

    word: str
    undo: str = ""
    fails: int = 0
    refuses: bool = False


@dataclass(frozen=True)
class Plan:
    """What a run of a workflow does: all stages where it goes well; as far as it comes, and back again, where it does not."""

    workflow: str
    stages: tuple[tuple[Deed, ...], ...]
    fails: bool = False
    """It comes to its end and fails there, so that everything is undone."""
    decided_after: int = -1
    """The stage after which a transaction is decided: from then on its later stages are done, whatever comes, and nothing of it is undone."""

    @property
    def deeds(self) -> dict[str, Deed]:
        """All deeds by their word."""
        return {deed.word: deed for stage in self.stages for deed in stage}


# --------------------------------------------------------------------------------------------------------------- steps


def _job(*args: str) -> Object:
    return {"job": {"image": "fake:1", "command": ["do"], "args": [args[0], "${ params.order }", *args[1:]]}}


def _call(word: str, method: str = "POST") -> Object:
    return {
        "http": {"method": method, "url": f"${{ params.world }}/do/{word}/${{ params.order }}", "output": {"v": "${ response.body.v }"}}
    }


def _undo(word: str) -> Object:
    return {"compensate": _call(word, "DELETE")}


_PARAMETERS: Final = [{"name": "order"}, {"name": "world"}, {"name": "fails", "schema": {"type": "boolean"}, "default": False}]
_END: Final = {"name": "full", "if": "${ params.fails }", "fail": {"error": "Full", "message": "as it was told to"}}
_AGAIN: Final = {"maxAttempts": 3, "interval": "50ms", "errors": ["*"]}


def _workflow(name: str, *steps: Object, **spec: Any) -> Object:
    body = {"parameters": _PARAMETERS, "steps": list(steps), **spec}
    return {"apiVersion": names.API_VERSION, "kind": names.WORKFLOW, "metadata": {"name": name}, "spec": body}


def manifests() -> list[Object]:
    """Return the workflows that the plans are for."""
    handed = {"order": "${ params.order }", "world": "${ params.world }"}
    seat = {"name": "seat", **_call("seat-${ index }"), **_undo("no-seat-${ index }")}
    guide = {"name": "guide", "workflow": {"name": "guide", "params": handed}}
    return [
        _workflow(
            "trip",
            {"name": "hotel", **_job("hotel"), "compensate": {**_job("no-hotel", "fails=1"), "retry": _AGAIN}},
            {"name": "think", "wait": {"duration": "300ms"}},
            {"name": "seats", "forEach": {"count": 3, "parallelism": 3, "steps": [seat]}},
            {"name": "visa", **_job("visa", "fails=1"), "retry": _AGAIN, **_undo("no-visa")},
            guide,
            _END,
            {"name": "ticket", **_call("ticket")},
        ),
        _workflow("guide", {"name": "find", **_job("guide"), **_undo("no-guide")}, {"name": "pay", **_call("fee"), **_undo("no-fee")}),
        _workflow(
            "desk",
            {"name": "print", "lock": {"name": "printer"}, **_job("print"), "compensate": _job("shred")},
            {"name": "sign", "lock": {"name": "pen"}, **_call("sign"), **_undo("strike")},
            _END,
        ),
        _workflow("deal", _transaction(), {"name": "tell", **_call("tell")}),
        _workflow(
            "calls",
            *({"name": f"ring-{number}", **_call(f"ring-{number}"), **_undo(f"hush-{number}")} for number in range(3)),
            {"name": "think", "wait": {"duration": "500ms"}},
            {"name": "last", "parallel": {"branches": [{"name": side, "steps": [_ring(side)]} for side in ("left", "right")]}},
            _END,
        ),
        _workflow("short", {"name": "only", **_job("only")}),
    ]


def _ring(side: str) -> Object:
    return {"name": "ring", **_call(f"ring-{side}"), **_undo(f"hush-{side}")}


def _transaction() -> Object:
    """The second participant refuses in a run that is to fail."""
    refusing = "${ params.fails ? 'refuses' : 'agrees' }"
    participants = [
        {"name": "one", "try": _call("try-one"), "confirm": _call("confirm-one"), "cancel": _call("cancel-one", "DELETE")},
        {"name": "two", "try": _job("try-two", refusing), "confirm": _call("confirm-two"), "cancel": _call("cancel-two", "DELETE")},
    ]
    return {"name": "book", "transaction": {"mode": "TCC", "decisionTimeout": "10m", "participants": participants}}


# --------------------------------------------------------------------------------------------------------------- plans


def plan_of(workflow: str, *, fails: bool) -> Plan:
    """Return what a run of a workflow must do. `short` cannot be asked to fail."""
    stages, decided_after = _STAGES[workflow], -1
    if workflow == "deal":
        one, two = Deed("try-one", undo="cancel-one"), Deed("try-two", undo="cancel-two", refuses=fails)
        stages = ((one, two),) if fails else ((one, two), (Deed("confirm-one"), Deed("confirm-two")), (Deed("tell"),))
        decided_after = 0
    elif workflow == "trip" and fails:
        stages = stages[:-1]
    return Plan(workflow, stages, fails and workflow != "short", decided_after)


_STAGES: Final[dict[str, tuple[tuple[Deed, ...], ...]]] = {
    "trip": (
        (Deed("hotel", undo="no-hotel"),),
        tuple(Deed(f"seat-{number}", undo=f"no-seat-{number}") for number in range(3)),
        (Deed("visa", undo="no-visa", fails=1),),
        (Deed("guide", undo="no-guide"),),
        (Deed("fee", undo="no-fee"),),
        (Deed("ticket"),),
    ),
    "desk": ((Deed("print", undo="shred"),), (Deed("sign", undo="strike"),)),
    "deal": (),
    "calls": (
        *((Deed(f"ring-{number}", undo=f"hush-{number}"),) for number in range(3)),
        tuple(Deed(f"ring-{side}", undo=f"hush-{side}") for side in ("left", "right")),
    ),
    "short": ((Deed("only"),),),
}
UNDO_FAILS: Final = {"no-hotel": 1}
"""How many attempts of an undoing fail before one is done; none where it is not named."""
ALONE: Final = frozenset({"print", "shred"})
"""Words of pods that hold the one printer of a namespace: no two of them at the same time."""
_SHARES: Final = {"trip": 3, "desk": 3, "deal": 2, "calls": 4, "short": 2}


@dataclass(frozen=True)
class Order:
    """One run that is asked for: what it is to do, and what becomes of it on its way."""

    name: str
    plan: Plan
    deed: str = ""
    """What a user does to it while it goes on: "", Cancel or Delete."""
    after_seconds: float = 0


def drawn(generator: random.Random, name: str) -> Order:
    """Draw an order: which workflow, whether it fails, whether somebody cancels or deletes it, and when."""
    workflow = generator.choices(list(_SHARES), list(_SHARES.values()))[0]
    plan = plan_of(workflow, fails=generator.random() < 0.4)
    deed = generator.choices(["", "Cancel", "Delete"], [70, 15, 15])[0]
    return Order(name, plan, deed, generator.uniform(0, 4))


def run_of(order: Order, namespace: str, world: str) -> Object:
    """Return the run of an order."""
    parameters = {"order": f"{namespace}.{order.name}", "world": world, "fails": order.plan.fails}
    spec = {"workflow": {"name": order.plan.workflow}, "parameters": parameters}
    return {"apiVersion": names.API_VERSION, "kind": names.RUN, "metadata": {"name": order.name}, "spec": spec}
