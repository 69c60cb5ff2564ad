"""Headers, some of whose values come from Secrets: read when the call is made, as the run's service account, and kept nowhere."""

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from backstay import errors
from backstay.engine.model import Fault
from backstay.executors.calls import CallContext
from backstay.executors.resource.faults import Account, fault_of, passes
from backstay.kube.backoff import Backoff, jittered
from backstay.kube.resources import SECRETS

_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")
"""What a header's value may hold: with a line break in it, it would be two headers (RFC 9110, 5.5)."""
_SHORTEST_SECRET: Final = 4
"""Shorter ones are found in any text, and hide nothing."""
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0


class Unfit(Exception):
    """A call cannot be made as it is: `fault` says why. No message holds the value of a Secret."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Headers:
    """What is sent, in order. Nothing secret is in its `repr`."""

    pairs: tuple[tuple[str, str], ...] = field(repr=False)
    private: frozenset[str] = frozenset()
    """Names, in lower case, of those whose values are secret."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """The values themselves, to be taken out of answers."""


async def headers_of(context: CallContext, wanted: Sequence[Mapping[str, Any]]) -> Headers:
    """Return the headers of a call. Raises Unfit where a Secret may not be read or is not there, or a value is none for a header."""
    pairs: list[tuple[str, str]] = []
    private: set[str] = set()
    secrets: set[str] = set()
    for header in wanted:
        name, reference = header["name"], header.get("secret")
        if reference is None:
            pairs.append((name, _fit(name, header["value"], "its value")))
            continue
        value = await _secret(context, reference)
        if value is None:
            continue
        found = _fit(name, value, f"key {reference['key']!r} of Secret {reference['name']!r}")
        private.add(name.lower())
        if len(found) >= _SHORTEST_SECRET:
            secrets.add(found)
        pairs.append((name, header.get("prefix", "") + found))
    return Headers(tuple(pairs), frozenset(private), frozenset(secrets))


def _fit(name: str, value: str, what: str) -> str:
    found = value.strip(" \t\r\n")  # a Secret made from a file ends with a line break
    if not _VALUE.fullmatch(found):
        detail = f"header {name}: {what} holds a line break, or a character that no header may hold; write printable ASCII"
        raise Unfit(Fault("InvalidRequest", "The request cannot be made", detail))
    return found


async def _secret(context: CallContext, reference: Mapping[str, Any]) -> str | None:
    """Return a key of a Secret; None where it is missing and may be."""
    run, name, key = context.run, reference["name"], reference["key"]
    account = Account.of(run)
    try:
        data = (await _read(context, account, name)).get("data") or {}
    except errors.NotFound:
        data = None
    except errors.ApiError as error:
        fault = fault_of(error, f"Secret {run.namespace}/{name}", account)
        raise Unfit(fault) from None
    if data is not None and key in data:
        return _decoded(name, key, data[key])
    if reference.get("optional"):
        return None
    there = f"Secret {name!r} has no key {key!r}" if data is not None else f"there is no Secret {name!r} in namespace {run.namespace}"
    raise Unfit(Fault("SecretNotFound", "A Secret is missing", f"{there}; create it, or say optional: true to leave the header away"))


async def _read(context: CallContext, account: Account, name: str) -> dict[str, Any]:
    """Read a Secret as the service account; what passes by itself is sat out, for as long as the attempt may take."""
    acting = context.client.impersonating(account.namespace, account.name)
    backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
    while True:
        try:
            found = await acting.get(SECRETS, account.namespace, name)
        except errors.ApiError as error:
            words = passes(error)
            if words is None:
                raise
            context.waits(words)
            await asyncio.sleep(max(backoff.next(), jittered(error.retry_after_seconds or 0)))
        else:
            context.waits(None)
            return found


def _decoded(name: str, key: str, data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        detail = f"key {key!r} of Secret {name!r} is no text; a header takes printable ASCII"
        raise Unfit(Fault("InvalidRequest", "The request cannot be made", detail)) from None
