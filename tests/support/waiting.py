"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(
    look: Callable[[], Found], limit_seconds: float = 30, *, what: Callable[[], object] | str = "", poll_seconds: float = 0.02
) -> Found:
    """Return what `look` finds once it is neither None nor False nor empty; fails the test after the limit, and says what was there instead.

    `what` is what is waited for, or a function that is asked at the end for what there is.
    """
    deadline = time.monotonic() + limit_seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {limit_seconds:g} s: {what() if callable(what) else what or 'still not'}")
        time.sleep(poll_seconds)
    return found
