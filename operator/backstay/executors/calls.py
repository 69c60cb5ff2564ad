"""Work that the operator does itself: what an executor gets, and what it must do. `kinds.py` says which kinds of step have one.

An executor is called once an attempt, or again under the same name where an operator died meanwhile. It ends with a fact in any case:
what it raises is a bug. It is cancelled when nobody wants the call any more, and then leaves nothing open.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from backstay.engine.model import CallFact, StartCall
from backstay.kube.client import Client
from backstay.kube.manifests import RunRef
from backstay.settings import Settings


@dataclass(frozen=True, slots=True)
class CallContext:
    """For whom a call is made, and with what. `waits` tells what a call that goes on waits for; None: it waits no longer."""

    client: Client
    run: RunRef
    settings: Settings
    waits: Callable[[str | None], None]


Execute = Callable[[CallContext, StartCall], Awaitable[CallFact]]
