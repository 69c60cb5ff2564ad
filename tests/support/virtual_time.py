"""A test in virtual time: nobody waits, and what it says of times is exact."""

from collections.abc import Coroutine
from typing import Any

from tests.simulation.universe.loop import VirtualLoop


def virtually(work: Coroutine[Any, Any, None]) -> None:
    """Run a test in a loop of its own whose time, 1,000 s at first, jumps to the next timer when nothing else is to be done."""
    loop = VirtualLoop(_unheard, _unheard)
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
    assert not loop.stuck, loop.stuck


def _unheard(*_: object) -> None:
    """There are no processes here that could die."""
