"""What the acts of a resource step share: who acts, for which run, within which limits, and patience with what passes by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

from backstay import errors
from backstay.engine.model import StartCall
from backstay.executors.calls import CallContext
from backstay.executors.resource.discovery import Discovery
from backstay.executors.resource.faults import Account, passes
from backstay.kube.backoff import Backoff, jittered
from backstay.kube.client import Client
from backstay.kube.manifests import RunRef

ASKED_AT_ONCE: Final = 50
"""Requests of resource steps that are under way at the same time; more wait for their turn."""
TELL_AFTER_SECONDS: Final = 2.0
TELL_EVERY_SECONDS: Final = 10.0
"""What a step waits for costs a write of its status: nothing for what passes at once, and not one for each change of words."""

T = TypeVar("T")


@dataclass(slots=True)
class Shared:
    """What all resource steps of an operator share: the kinds that are known, and how much may go on at once."""

    discovery: Discovery = field(default_factory=Discovery)
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ASKED_AT_ONCE))
    watches: int = 0
    """How many watches are open."""
    pollers: int = 0
    """How many steps look again and again instead."""


_SHARED: WeakKeyDictionary[Client, Shared] = WeakKeyDictionary()


def shared_by(client: Client) -> Shared:
    """Return what all steps share that an operator does with its client."""
    return _SHARED.setdefault(client, Shared())


class Teller:
    """Tells what a step waits for: late, seldom, and only the newest."""

    def __init__(self, tell: Callable[[str | None], None]) -> None:
        self._tell = tell
        self._words: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = asyncio.get_running_loop().time() + TELL_AFTER_SECONDS

    def say(self, words: str | None) -> None:
        """From now on the step waits for this; None: for nothing."""
        if words == self._words:
            return
        self._words = words
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._next_at - loop.time()), self._flush)

    def close(self) -> None:
        """The step has ended: there is nothing to tell any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _flush(self) -> None:
        self._timer = None
        self._next_at = asyncio.get_running_loop().time() + TELL_EVERY_SECONDS
        self._tell(self._words)


@dataclass(slots=True)
class Doing:
    """One attempt at a resource step. `client` acts as the service account, never as the operator."""

    client: Client
    account: Account
    run: RunRef
    call: StartCall
    shared: Shared
    teller: Teller

    @classmethod
    def of(cls, context: CallContext, call: StartCall) -> "Doing":
        """Begin an attempt. Raises Invalid where the run's service account has a name that none can have."""
        account = Account.of(context.run)
        client = context.client.impersonating(account.namespace, account.name)
        return cls(client, account, context.run, call, shared_by(context.client), Teller(context.waits))

    async def ask(self, request: Callable[[], Awaitable[T]], *, repeatable: bool = True) -> T:
        """Make a request; what passes by itself is sat out: an outage, a quota, being asked to slow down.

        One that is not `repeatable` is made again only where it surely was not done. Raises ApiError and UnknownKind.
        """
        backoff = Backoff(0.5, 10.0)
        while True:
            try:
                async with self.shared.room:
                    answer = await request()
            except errors.ApiError as error:
                words = passes(error)
                if words is None or not (repeatable or isinstance(error, errors.TooManyRequests)):
                    raise
                self.teller.say(words)
                await asyncio.sleep(max(jittered(error.retry_after_seconds or 0.0), backoff.next()))
            else:
                if backoff.tries:
                    self.teller.say(None)
                return answer
