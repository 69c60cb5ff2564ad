"""The one table of allowed changes of phase, for steps and for the run itself. A change that is not in it is a bug: raised, never written."""

from typing import Final

from backstay.engine.model import ENDED, Phase
from backstay.errors import IllegalTransition

_P = Phase

STEP: Final[dict[Phase | None, frozenset[Phase]]] = {
    None: frozenset({_P.RUNNING, _P.WAITING, _P.RETRYING, _P.SKIPPED, _P.SUCCEEDED, _P.CATCHING, _P.PAUSED, _P.FINISHING, _P.FAILED}),
    _P.RUNNING: frozenset({_P.SUCCEEDED, _P.RETRYING, _P.STOPPING, _P.CATCHING, _P.PAUSED, _P.FINISHING, _P.FAILED, _P.CANCELLED}),
    _P.WAITING: frozenset({_P.RUNNING, _P.SUCCEEDED, _P.RETRYING, _P.CATCHING, _P.PAUSED, _P.FINISHING, _P.FAILED, _P.CANCELLED}),
    _P.RETRYING: frozenset(
        {_P.STOPPING, _P.RUNNING, _P.WAITING, _P.CATCHING, _P.PAUSED, _P.SKIPPED, _P.FINISHING, _P.FAILED, _P.CANCELLED}
    ),
    _P.PAUSED: frozenset({_P.STOPPING, _P.CATCHING, _P.RETRYING, _P.SKIPPED, _P.FINISHING, _P.FAILED, _P.CANCELLED}),
    _P.STOPPING: frozenset({_P.SUCCEEDED, _P.RETRYING, _P.CATCHING, _P.PAUSED, _P.FINISHING, _P.FAILED, _P.CANCELLED}),
    _P.CATCHING: frozenset({_P.CAUGHT, _P.STOPPING, _P.FINISHING, _P.FAILED, _P.CANCELLED}),
    _P.FINISHING: frozenset({_P.SUCCEEDED, _P.CAUGHT, _P.SKIPPED, _P.FAILED, _P.CANCELLED}),
    _P.SUCCEEDED: frozenset({_P.COMPENSATED}),
    _P.CAUGHT: frozenset(),
    _P.SKIPPED: frozenset(),
    _P.FAILED: frozenset(),
    _P.CANCELLED: frozenset(),
    _P.COMPENSATED: frozenset(),
}

RUN: Final[dict[Phase | None, frozenset[Phase]]] = {
    None: frozenset({_P.RUNNING, _P.FAILED, _P.CANCELLED}),
    _P.RUNNING: frozenset({_P.STOPPING, _P.FINISHING, _P.SUCCEEDED}),
    _P.STOPPING: frozenset({_P.COMPENSATING, _P.FINISHING, _P.SUCCEEDED, _P.FAILED, _P.CANCELLED}),
    _P.COMPENSATING: frozenset({_P.FINISHING, _P.FAILED, _P.CANCELLED, _P.COMPENSATED}),
    _P.FINISHING: frozenset({_P.COMPENSATING, _P.SUCCEEDED, _P.FAILED, _P.CANCELLED, _P.COMPENSATED}),
    _P.SUCCEEDED: frozenset({_P.COMPENSATING}),
    _P.FAILED: frozenset(),
    _P.CANCELLED: frozenset(),
    _P.COMPENSATED: frozenset(),
}


def check_step(path: str, before: Phase | None, after: Phase) -> None:
    """Raise IllegalTransition unless a step may go from one phase to the other. An ended step does not change at all."""
    if before == after and before not in ENDED:
        return
    if after not in STEP[before]:
        raise IllegalTransition(f"step {path!r} may not go from {before} to {after}")


def check_run(before: Phase | None, after: Phase | None) -> None:
    """Raise IllegalTransition unless the run may go from one phase to the other."""
    if before == after:
        return
    if after is None or after not in RUN[before]:
        raise IllegalTransition(f"a run may not go from {before} to {after}")
