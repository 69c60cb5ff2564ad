"""Lists of error types, wherever they stand: in catches, retries and their rules."""

from collections.abc import Iterator, Sequence

from backstay.api.faults import ANY, BUILT_IN, PERMANENT, TRANSIENT, class_of
from backstay.errors import Problem
from backstay.expressions.words import closest, quoted


def check_types(types: Sequence[str], path: str, raised: frozenset[str]) -> Iterator[Problem]:
    """Warn of a type that looks like a slip. A container may raise any type, so an unknown one is no mistake by itself."""
    known = {*BUILT_IN, TRANSIENT, PERMANENT, ANY, *raised}
    for index, name in enumerate(types):
        if name not in known and (meant := closest(name, known)):
            yield Problem(f"{path}[{index}]", f"{quoted(name)} is no error type of this workflow; did you mean {quoted(meant)}?", "warning")


def covers(taken: str, wanted: str) -> bool:
    """Tell whether every error that one type or class stands for is among those of another."""
    return taken in (ANY, wanted) or (
        taken in (TRANSIENT, PERMANENT) and class_of(wanted) == taken and wanted not in (ANY, TRANSIENT, PERMANENT)
    )


def in_words(taken: str) -> str:
    """Say what a type or class that was taken before leaves for nobody else."""
    return "every error" if taken == ANY else f"{taken} errors" if taken in (TRANSIENT, PERMANENT) else "it"
