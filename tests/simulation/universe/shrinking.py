"""Making a failing universe as small as may be, by hypothesis: fewer and smaller bytes are fewer and simpler steps, faults and deeds."""

import contextlib
import time
from typing import Final

from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase, choices_to_bytes
from hypothesis.errors import NoSuchExample

from tests.simulation.universe.choices import MOST
from tests.simulation.universe.scenario import AROUND
from tests.simulation.universe.universe import play

SECONDS: Final = 60.0
"""So long one failing universe is made smaller, by the machine's clock."""
_KEY = b"universe"


class _Enough(BaseException):
    """It was tried for long enough. No Exception, which hypothesis would take for one more failure."""


def shrunk(data: bytes, tries: int = 2000, seconds: float = SECONDS) -> bytes:
    """Return the smallest universe found from a failing one, by so many tries or in so many seconds, in which the same promise is broken."""
    promise = _promise(data)
    database = InMemoryExampleDatabase()
    # Of those that were seen before: what stands under the key itself counts as small already.
    database.save(_KEY + b".secondary", choices_to_bytes((data,)))
    how = settings(database=database, phases=(Phase.reuse, Phase.shrink), max_examples=tries, deadline=None, derandomize=False)
    known = {data: True}
    until = time.perf_counter() + seconds

    def breaks(smaller: bytes) -> bool:
        """Hypothesis itself has no limit here but some minutes."""
        if smaller not in known:
            if len(known) > tries or time.perf_counter() > until:
                raise _Enough
            known[smaller] = _promise(smaller) == promise
        return known[smaller]

    with contextlib.suppress(NoSuchExample, _Enough):
        find(st.binary(max_size=MOST + AROUND), breaks, settings=how, database_key=_KEY)
    return min((one for one, is_broken in known.items() if is_broken), key=lambda one: (len(one), one))


def _promise(data: bytes) -> str:
    """Which promise a universe breaks first, as `P1`; empty where it breaks none."""
    broken = play(data).broken
    return broken[0][:2] if broken else ""
