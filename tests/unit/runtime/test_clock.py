"""Clocks that disagree are told of, once."""

import asyncio
import logging

import pytest

from backstay.runtime import clock


@pytest.mark.parametrize(("skew", "words"), [(300.4, "300 s ahead of"), (-300.4, "300 s behind")])
async def test_clocks_that_come_apart_and_agree_again_are_told_of_once_each(
    skew: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, clock.__name__)
    readings = iter([None, 0.3, skew, skew, skew, -0.2, 0.1])
    done = asyncio.Event()

    def read() -> float | None:
        found = next(readings, "over")
        if found == "over":
            done.set()
            return None
        return found  # type: ignore[return-value]

    watching = asyncio.create_task(clock.watch(read, every_seconds=0))
    await asyncio.wait_for(done.wait(), 5)
    watching.cancel()
    apart, agree = caplog.messages
    assert words in apart
    assert "agree again" in agree
