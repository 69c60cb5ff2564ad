"""Faults to be planted into the operator, in memory, to see that the kill tests find them."""

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final


def plant(name: str) -> None:
    """Plant a fault into this process and into all that it forks; raises KeyError for one that is not known."""
    FAULTS[name]()


def _keys_that_do_not_last() -> None:
    """The idempotency key of a call is another one in each process: what a dead operator had asked for is asked for as if it were new."""
    execute: Any = importlib.import_module("backstay.executors.http.execute")
    right = execute.idempotency_key

    def wrong(run_uid: str, path: str) -> str:
        return right(f"{run_uid} {os.getpid()}", path)

    execute.idempotency_key = wrong


def _work_that_is_forgotten() -> None:
    """A call that the written status asks for is made by the operator that wrote so, and by no other: whoever comes after it waits for ever."""
    from backstay.runtime.calls import Calls
    from backstay.runtime.reconciler import Reconciler

    start, persist = Calls.start, Reconciler._persist
    decided: set[str] = set()

    async def persisting(self: Reconciler, key: Any, program: Any, decision: Any, reading: Any) -> None:
        decided.update(record.call for record in decision.state.steps.values() if record.call is not None)
        await persist(self, key, program, decision, reading)

    def starting(self: Calls, run: Any, call: Any) -> None:
        if call.name in decided:
            start(self, run, call)

    Reconciler._persist, Calls.start = persisting, starting  # type: ignore[method-assign]


FAULTS: Final[Mapping[str, Callable[[], None]]] = {"keys": _keys_that_do_not_last, "forgotten": _work_that_is_forgotten}
