"""From apiVersion and kind to the place of a resource: what the API server says it has (`/api/v1`, `/apis/GROUP/VERSION`), kept for a while.

Asked with the rights of whoever the step acts as: Kubernetes lets every account discover (ClusterRole system:discovery).
"""

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from backstay import errors
from backstay.expressions.words import quoted, shortened, suggestion
from backstay.kube.client import Client
from backstay.kube.resources import Resource

CACHED: Final = 200
"""Groups with their versions; a cluster with many operators has some hundred."""
FRESH_SECONDS: Final = 600.0
"""How long an answer is believed, as with kubectl; a kind that is missing is asked for anew at once."""
_API_VERSION: Final = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[0-9][a-z0-9]*")


class UnknownKind(errors.BackstayError):
    """The API server has no such kind; the message names what it has that is close."""


@dataclass(frozen=True, slots=True)
class _Kinds:
    """The kinds of one group and version."""

    resources: dict[str, Resource]
    asked_at: float


@dataclass(slots=True)
class Discovery:
    """What is known of a server's kinds. One for each server, whoever asks."""

    _known: OrderedDict[str, _Kinds] = field(default_factory=OrderedDict)

    async def find(self, client: Client, api_version: str, kind: str) -> Resource:
        """Return where objects of a kind are. Raises UnknownKind, and ApiError where the server cannot be asked."""
        if not _API_VERSION.fullmatch(api_version):
            raise UnknownKind(f"{quoted(shortened(api_version))} is no apiVersion; write it as in apps/v1")
        now = asyncio.get_running_loop().time()
        known = self._known.get(api_version)
        if known is None or kind not in known.resources or now - known.asked_at > FRESH_SECONDS:
            known = await self._ask(client, api_version)
        if kind not in known.resources:
            close = suggestion(kind, known.resources)
            raise UnknownKind(
                f"the API server has no kind {quoted(shortened(kind))} in {api_version}{close or '; is its definition installed?'}"
            )
        return known.resources[kind]

    def forget(self, api_version: str) -> None:
        """Something about these kinds was not as it was known: ask anew the next time."""
        self._known.pop(api_version, None)

    async def _ask(self, client: Client, api_version: str) -> _Kinds:
        path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            answer = orjson.loads(await client.text(path))
        except errors.NotFound:
            self.forget(api_version)
            raise UnknownKind(f"the API server has no {api_version}; is what brings it installed?") from None
        found = _Kinds(dict(_kinds(api_version, answer)), asyncio.get_running_loop().time())
        self._known[api_version] = found
        self._known.move_to_end(api_version)
        while len(self._known) > CACHED:
            self._known.popitem(last=False)
        return found


def _kinds(api_version: str, answer: dict[str, Any]) -> list[tuple[str, Resource]]:
    """Read an APIResourceList; names with a slash are subresources, which are no kinds of their own."""
    group, _, version = api_version.rpartition("/")
    return [
        (item["kind"], Resource(group, version, item["name"], item["kind"], bool(item.get("namespaced"))))
        for item in answer.get("resources") or ()
        if "/" not in item["name"]
    ]
