"""Bugs that are planted into the operator, in memory, to show that the simulation finds them: each leaves out one thing that a promise rests on.

A bug is a piece of the operator's source that is replaced by another. Where the source has changed, so that the piece is not found, planting
fails and says so: then the bug must be planted anew, where what it leaves out is now.
"""

import contextlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from tests.simulation.universe.scenario import Death, Deed, Scenario


@dataclass(frozen=True)
class Mutation:
    """A bug: in `where` (module:qualified.name), `old` becomes `new`."""

    name: str
    where: str
    old: str
    new: str
    seeds: tuple[int, ...] = ()
    """Seeds that were seen to find it, tried first."""
    worlds: tuple[Scenario, ...] = ()
    """Universes that were made for it, in place of those of seeds: what it takes comes together seldom."""


def _jobs(*, at_once: bool = False, data: bytes = b"", **happens: Any) -> Scenario:
    job = {"image": "i"}
    steps = [{"name": name, "job": job, "compensate": {"job": job}} for name in ("s0", "s1", "s2")]
    if at_once:
        steps = [{"name": "s", "parallel": {"branches": [{"name": f"b{number}", "steps": [step]} for number, step in enumerate(steps)]}}]
    return Scenario(data, runs=[{"workflow": {"inline": {"defaults": {"attemptTimeout": "8s"}, "steps": steps}}}], **happens)


def _late_answers(steals_at: float, **how: Any) -> tuple[Scenario, ...]:
    """Each request that may be the one is late, in several worlds of other durations: so that it is found also where requests come to be or to go."""
    deeds = [Deed("steal-job", steals_at)]
    return tuple(
        _jobs(data=data, shards=0, second_at=second_at, calls={number: "very-late"}, deeds=deeds, **how)
        for data in (b"", b"\1", b"\2", b"\7")
        for second_at in (0.05, 0.2)
        for number in range(8, 40)
    )


_PAUSE: Final = [{"workflow": {"inline": {"steps": [{"name": "w", "wait": {"duration": "30s"}}]}}}]
RACES: Final = tuple(Scenario(bytes([number]), runs=_PAUSE, second_at=0.0) for number in range(20))
"""Two operators want a free Lease at the same moment, and one stands by for half a minute."""
_CALL: Final = [
    {"workflow": {"inline": {"steps": [{"name": "w", "wait": {"duration": "5s"}}, {"name": "c", "workflow": {"name": "child"}}]}}},
]
"""The wait is for the sweeper's first round, which looks at all finished runs that have a finalizer, and so tells their callers."""
LATE_CHILDREN: Final = tuple(Scenario(data, runs=_CALL, calls={number: "late"}) for data in (b"", b"\1", b"\2") for number in range(8, 40))
"""A child run ends before the answer to its creation comes."""
CHILDREN_ASKED_FOR: Final = tuple(
    Scenario(b"", runs=_CALL, calls={number: "late"}, deaths=[Death(steps, "kill", 0.1)])
    for steps in range(90, 150, 5)
    for number in range(22, 46)
)
"""The next operator asks for a child run, which ends before the answer comes."""
LATE_ANSWERS: Final = _late_answers(0.3)
"""Two operators that know nothing of each other: one answer comes ten seconds late; meanwhile a Job is taken, and the run ends."""
LATE_EFFECTS: Final = _late_answers(0.3, at_once=True)
"""The same, where what is answered late is the first of two things that were to be done."""
UNSEEN_THEFTS: Final = tuple(_jobs(deeds=[Deed("steal-unseen", 0.05 * moment)]) for moment in range(1, 20))
"""A Job is taken while nobody watches."""


MUTATIONS = (
    Mutation(
        "a status is written without its precondition",
        "backstay.runtime.patch:status_patch",
        '[{"op": "replace", "path": "/metadata/resourceVersion", "value": run["metadata"]["resourceVersion"]}]',
        "[]",
        seeds=(91,),
    ),
    Mutation(
        "it is done before it is written",
        "backstay.runtime.reconciler:Reconciler._look",
        "basis = await self._persist(",
        "await self._act(known, effects_of(program, decision.state, observations), reading.run, self.loop_time())\n        basis = await self._persist(",
        seeds=(0,),
    ),
    Mutation(
        "a Job of the right name is ours, whosever it is",
        "backstay.executors.job:belongs",
        "return labelled and controller_uid(metadata) in",
        "return True or controller_uid(metadata) in",
        seeds=(27,),
    ),
    Mutation(
        "all attempts of a step have one Job",
        "backstay.names:job_name",
        "digest(run_uid, path, attempt)",
        "digest(run_uid, path, 1)",
        seeds=(1,),
    ),
    Mutation(
        "nothing holds a run that would have to be undone",
        "backstay.runtime.acting:Actor.do",
        "await self._finalizers(known, [*_others(known), FINALIZER])",
        "pass",
        seeds=(120,),
    ),
    Mutation(
        "after 410 it is watched from the same version",
        "backstay.kube.informer:_needs_list",
        "isinstance(error, (errors.Gone, errors.Invalid))",
        "isinstance(error, errors.Invalid)",
        seeds=(35,),
    ),
    Mutation(
        "what a list lacks is believed to be there still",
        "backstay.kube.store:Store.sweep",
        "for old in gone:",
        "gone = []\n    for old in gone:",
        worlds=UNSEEN_THEFTS,
    ),
    Mutation(
        "timers are forgotten",
        "backstay.runtime.reconciler:Reconciler._plan",
        "if decision.wake_at is not None:",
        "if False:",
        seeds=(10,),
    ),
    Mutation(
        "it is undone in the order in which it was done",
        "backstay.engine.compensation.pending:to_undo",
        "reverse=True",
        "reverse=False",
        seeds=(11,),
    ),
    Mutation(
        "a pod that runs is taken for one that has ended well",
        "backstay.executors.job_fact:fact",
        "if pod.succeeded), None)",
        "if pod.started), None)",
        seeds=(1,),
    ),
    Mutation(
        "every attempt of a call has a key of its own",
        "backstay.executors.http.execute:outgoing",
        "idempotency_key(run.uid, call.path)",
        'idempotency_key(run.uid, f"{call.path}#{call.attempt}")',
        seeds=(12,),
    ),
    Mutation(
        "one participant of a transaction is told to abort whatever was decided",
        "backstay.engine.steps.transaction:Member.second",
        "return self.commit if",
        'return self.commit if self.name != "q" and',
        seeds=(56,),
    ),
    Mutation(
        "what was written long ago is acted upon",
        "backstay.runtime.reconciler:Reconciler._proven",
        "now - since < FRESH_SECONDS",
        "since > 0",
        worlds=LATE_ANSWERS,
    ),
    Mutation(
        "a child run is what the answer to its creation says",
        "backstay.runtime.children:Children.create",
        "if known is None or known.uid != fact.uid:",
        "if True:",
        worlds=LATE_CHILDREN,
    ),
    Mutation(
        "a child run is what was asked for, whatever was heard meanwhile",
        "backstay.runtime.children:Children._ask",
        'if name in self._facts.get(meta["uid"], {}):',
        "if False:",
        worlds=CHILDREN_ASKED_FOR,
    ),
    Mutation(
        "a moment that is past is waited for",
        "backstay.runtime.shards:Shards._round",
        "self._forget_what_is_past()",
        "pass",
        worlds=RACES,
    ),
    Mutation(
        "what follows an effect that took long is done all the same",
        "backstay.runtime.reconciler:Reconciler._act",
        "(moment := await self._proven(basis, proven_at)) is None",
        "(moment := proven_at) is None",
        worlds=LATE_EFFECTS,
    ),
)
"""The bugs that a test plants, one after the other."""


@contextlib.contextmanager
def planted(bug: Mutation) -> Iterator[None]:
    """For as long as the block lasts, the operator has the bug."""
    holder, name, function = _found(bug.where)
    changed = _compiled(function, bug)
    users = [
        module
        for module in list(sys.modules.values())
        if holder is not module and getattr(module, "__name__", "").startswith("backstay.") and getattr(module, name, None) is function
    ]
    for place in (holder, *users):
        setattr(place, name, changed)
    try:
        yield
    finally:
        for place in (holder, *users):
            setattr(place, name, function)


def _found(where: str) -> tuple[Any, str, Callable[..., Any]]:
    module, _, path = where.partition(":")
    *outer, name = path.split(".")
    holder: Any = import_module(module)
    for part in outer:
        holder = getattr(holder, part)
    return holder, name, inspect.getattr_static(holder, name)


def _compiled(function: Callable[..., Any], bug: Mutation) -> Callable[..., Any]:
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(bug.old) != 1:
        words = f"{bug.where} holds {source.count(bug.old)} times what {bug.name!r} replaces"
        raise LookupError(f"{words}; plant it anew, where that is now:\n{bug.old}")
    scope: dict[str, Any] = {}
    exec(compile(source.replace(bug.old, bug.new), f"<{bug.name}>", "exec"), function.__globals__, scope)
    return scope[function.__name__]
