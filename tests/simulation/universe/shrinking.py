"""Making a failing universe as small as may be, by hypothesis: fewer and smaller bytes are fewer and simpler steps, faults and deeds."""

from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase, choices_to_bytes
from hypothesis.errors import NoSuchExample

from tests.simulation.universe.choices import MOST
from tests.simulation.universe.scenario import AROUND
from tests.simulation.universe.universe import play

_KEY = b"universe"


def shrunk(data: bytes, tries: int = 2000) -> bytes:
    """Return the smallest universe that hypothesis finds from a failing one, in which the same promise is broken."""
    promise = _promise(data)
    database = InMemoryExampleDatabase()
    # Of those that were seen before: what stands under the key itself counts as small already.
    database.save(_KEY + b".secondary", choices_to_bytes((data,)))
    how = settings(database=database, phases=(Phase.reuse, Phase.shrink), max_examples=tries, deadline=None, derandomize=False)
    known = {data: True}

    def breaks(smaller: bytes) -> bool:
        """Once so many were tried nothing new is small enough: hypothesis itself has no limit here but time."""
        if smaller not in known and len(known) <= tries:
            known[smaller] = _promise(smaller) == promise
        return known.get(smaller, False)

    try:
        return find(st.binary(max_size=MOST + AROUND), breaks, settings=how, database_key=_KEY)
    except NoSuchExample:
        return data


def _promise(data: bytes) -> str:
    """Which promise a universe breaks first, as `P1`; empty where it breaks none."""
    broken = play(data).broken
    return broken[0][:2] if broken else ""
