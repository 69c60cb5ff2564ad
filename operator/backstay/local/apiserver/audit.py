"""The audit log: a JSON line a write, in the shape of audit.k8s.io/v1 Event, as far as a count of who wrote what needs it."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path

import orjson
from aiohttp import web

from backstay.local.apiserver.certs import GROUPS, USER
from backstay.local.apiserver.targets import Target


class AuditLog:
    """Appends to a file; each line is complete before the response goes out."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, request: web.BaseRequest, target: Target, status: int, received: datetime, completed: datetime) -> None:
        """Append the line of a request that was answered with `status`."""
        reference = {
            "resource": target.resource.plural,
            "namespace": target.namespace,
            "name": target.name,
            "apiGroup": target.resource.group,
            "apiVersion": target.resource.version,
            "subresource": target.subresource,
        }
        entry = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": str(uuid.uuid4()),
            "stage": "ResponseComplete",
            "requestURI": str(request.rel_url),
            "verb": target.verb,
            "user": {"username": USER, "groups": list(GROUPS)},
            "userAgent": request.headers.get("User-Agent", ""),
            "objectRef": {name: value for name, value in reference.items() if value},
            "responseStatus": {"metadata": {}, "code": status},
            "requestReceivedTimestamp": received.isoformat(timespec="microseconds"),
            "stageTimestamp": completed.isoformat(timespec="microseconds"),
        }
        self._file.write(orjson.dumps(entry) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
