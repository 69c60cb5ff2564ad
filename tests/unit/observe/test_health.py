"""What Kubernetes asks: is it alive, is it ready?"""

import asyncio

import aiohttp
import pytest

from backstay.observe import loop
from backstay.observe.health import Health
from backstay.observe.server import HealthServer


async def asked(health: Health, path: str) -> tuple[int, str]:
    async with HealthServer(health, "127.0.0.1", 0) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        response = await session.get(path)
        return response.status, await response.text()


async def test_what_has_no_checks_is_alive_and_ready() -> None:
    assert await asked(Health(), "/healthz") == (200, "healthz check passed\n")
    assert await asked(Health(), "/readyz") == (200, "readyz check passed\n")
    assert (await asked(Health(), "/other"))[0] == 404


async def test_each_page_asks_its_own_checks_and_says_what_is_wrong() -> None:
    health = Health()
    trouble = ["not listed yet: jobs"]
    health.ready("operator", lambda: "")
    health.ready("informers", lambda: trouble[0])
    health.alive("queue", lambda: "")
    assert await asked(health, "/healthz") == (200, "[+]queue ok\nhealthz check passed\n")
    assert await asked(health, "/readyz") == (503, "[+]operator ok\n[-]informers failed: not listed yet: jobs\nreadyz check failed\n")
    trouble[0] = ""
    assert (await asked(health, "/readyz"))[0] == 200


async def test_a_port_of_the_probes_that_is_taken_is_told() -> None:
    async with HealthServer(Health(), "127.0.0.1", 0) as server:
        with pytest.raises(OSError, match="in use"):
            await HealthServer(Health(), "127.0.0.1", server.port).__aenter__()


async def test_the_lateness_of_the_event_loop_is_measured_again_and_again() -> None:
    told: list[float] = []
    enough = asyncio.Event()

    def late(seconds: float) -> None:
        told.append(seconds)
        if len(told) == 3:
            enough.set()

    watching = asyncio.create_task(loop.watch(late, 0.001))
    await asyncio.wait_for(enough.wait(), 5)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert min(told) >= 0
