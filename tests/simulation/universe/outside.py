"""The world outside of the cluster: whom http steps call. It does what each idempotency key asks for once, and counts what it was asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import orjson
from multidict import CIMultiDict

from tests.simulation.universe.loop import PROCESS, VirtualLoop
from tests.simulation.universe.wire import WORLD

HOST: Final = "10.9.9.9"
ANSWERS: Final = ("ok", "ok", "declined", "broken", "slow", "deaf", "deaf-done", "refuses")


class Outside:
    """One server. `answer(run, path, key's times before)` says how it answers."""

    def __init__(self, loop: VirtualLoop, answer: Callable[[str, str, int], str], chance: Callable[[], float]) -> None:
        self.loop = loop
        self.answer = answer
        self.chance = chance
        self.done: dict[str, int] = {}
        """What was done, by idempotency key: its number."""
        self.asked: Counter[str] = Counter()
        """How often each key was asked for."""
        self.on_call: Callable[[str, str, str], None] = lambda run, path, key: None
        """Told of every request that arrives: name of the run, path of the step, idempotency key."""

    def session(self, _exchange: Any, _url: Any, _addresses: Any) -> "OutsideSession":
        """Return what stands in the place of a session of aiohttp's."""
        return OutsideSession(self)

    async def serve(self, headers: CIMultiDict[str]) -> "OutsideResponse":
        process = PROCESS.get()
        if process is not None and process.is_dead:
            raise asyncio.CancelledError
        key, run, path = headers.get("Idempotency-Key", ""), headers["Backstay-Run"], headers["Backstay-Step"]
        how = self.answer(run, path, self.asked[key])
        answered: asyncio.Future[OutsideResponse] = self.loop.create_future()
        if how == "refuses":
            self.asked[key] += 1
            raise ConnectionRefusedError(111, "Connection refused")

        def arrive() -> None:
            self.on_call(run, path, key)
            self.asked[key] += 1
            if how in ("ok", "slow", "deaf-done"):
                self.done.setdefault(key, len(self.done) + 1)
            if how not in ("deaf", "deaf-done"):
                self.loop.call_later(3.0 if how == "slow" else 0.05 * self.chance(), answer, context=WORLD)

        def answer() -> None:
            if not answered.done():
                status = {"declined": 402, "broken": 503}.get(how, 200)
                answered.set_result(OutsideResponse(status, {"n": self.done.get(key, 0)}))

        self.loop.call_later(0.02 * self.chance(), arrive, context=WORLD)
        return await answered


class OutsideSession:
    """A session for one request."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._headers: CIMultiDict[str] = CIMultiDict()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing stays open."""

    def request(self, method: str, target: Any, *, headers: CIMultiDict[str], **_: Any) -> "OutsideCall":
        return OutsideCall(self._outside, headers)


class OutsideCall:
    """A request as a context manager, which is what aiohttp gives."""

    def __init__(self, outside: Outside, headers: CIMultiDict[str]) -> None:
        self._outside, self._headers = outside, headers

    async def __aenter__(self) -> "OutsideResponse":
        return await self._outside.serve(self._headers)

    async def __aexit__(self, *_: object) -> None:
        """The connection is closed."""


class OutsideResponse:
    """An answer, in as much of aiohttp's form as is read."""

    content_type = "application/json"
    charset = "utf-8"

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.headers = CIMultiDict({"Content-Type": "application/json"})
        self._body = orjson.dumps(body)

    @property
    def content(self) -> "OutsideResponse":
        return self

    async def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        yield self._body
