"""A test in virtual time: nobody waits, and what it says of times is exact."""

from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any

from tests.simulation.universe.loop import VirtualLoop, virtual


def virtually(work: Coroutine[Any, Any, None], seed: str = "") -> None:
    """Run a test in a loop of its own whose time, 1,000 s at first, jumps to the next timer when nothing else is to be done.

    With a seed it is also what `time.monotonic` tells, and chance follows from the seed, so that it goes the same way each time.
    """
    loop = VirtualLoop(_unheard, _unheard)
    try:
        with virtual(loop, seed) if seed else nullcontext():
            loop.run_until_complete(work)
    finally:
        loop.close()
    assert not loop.stuck, loop.stuck


def _unheard(*_: object) -> None:
    """There are no processes here that could die."""
