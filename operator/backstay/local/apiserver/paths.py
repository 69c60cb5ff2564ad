"""Everything that is served besides resources: discovery, OpenAPI, version, health."""

from __future__ import annotations

import platform
from typing import Any, Final

import orjson

from backstay.local.apiserver import discovery, openapi
from backstay.local.apiserver.responses import Reply
from backstay.local.apiserver.state import Cluster

VERSION: Final = "v1.37.2+backstay"
"""The Kubernetes release whose behaviour is imitated; what follows the plus is build metadata to semver, as in k3s."""

PUBLIC: Final = frozenset({"/healthz", "/livez", "/readyz", "/version"})
"""Paths that need no token, as in the real server."""

_EMPTY_V2: Final = b"\x0a\x032.0" + b"\x12\x0e" + b"\x0a\x08Backstay\x12\x02v1" + b"\x42\x00"
"""A document of OpenAPI v2 in protobuf with nothing in it (gnostic, openapi_v2.Document: swagger, info, paths). kubectl wants one for a `kind: List`
and for kinds that v3 does not know; it then leaves the judging to the server."""

_DISCOVERY_TYPE: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def reply(cluster: Cluster, path: str, accept: str, host: str) -> Reply | None:
    """Answer a GET of a path that is no resource; None where nothing is served there. `host` is the server as the client calls it."""
    path = path.rstrip("/") or "/"
    parts = path.strip("/").split("/")
    if parts[0] in ("healthz", "livez", "readyz"):
        return Reply(200, b"ok", "text/plain; charset=utf-8")
    if path == "/version":
        return _json(version())
    if path in ("/api", "/apis"):
        return _discovery(cluster, path, accept, host)
    if parts[0] in ("api", "apis"):
        return _group_discovery(cluster, parts)
    if parts[0] == "openapi":
        return _openapi(cluster, parts[1:], accept)
    if path == "/":
        return _json({"paths": ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]})
    return None


def version() -> dict[str, str]:
    """Return what `/version` says."""
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"{platform.system().lower()}/{machine}",
    }


def _json(value: Any) -> Reply:
    return Reply(200, orjson.dumps(value))


def _discovery(cluster: Cluster, path: str, accept: str, host: str) -> Reply:
    if "as=APIGroupDiscoveryList" in accept and "v=v2" in accept.replace("v=v2beta1", ""):
        return Reply(200, orjson.dumps(discovery.aggregated(cluster.registry, legacy=path == "/api")), _DISCOVERY_TYPE)
    return _json(discovery.api_versions(host) if path == "/api" else discovery.api_groups(cluster.registry))


def _group_discovery(cluster: Cluster, parts: list[str]) -> Reply | None:
    if parts[0] == "api" and len(parts) == 2:
        resources = discovery.resource_list(cluster.registry, "", parts[1])
        return None if resources is None else _json(resources)
    if parts[0] == "apis" and len(parts) == 2:
        group = discovery.api_group(cluster.registry, parts[1])
        return None if group is None else _json(group)
    if parts[0] == "apis" and len(parts) == 3:
        resources = discovery.resource_list(cluster.registry, parts[1], parts[2])
        return None if resources is None else _json(resources)
    return None


def _openapi(cluster: Cluster, parts: list[str], accept: str) -> Reply | None:
    if parts == ["v2"] and "spec.v2@v1.0+protobuf" in accept:
        return Reply(200, _EMPTY_V2, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
    if parts == ["v2"]:
        return _json(openapi.v2(cluster.registry))
    if parts == ["v3"]:
        return _json(openapi.index(cluster.registry))
    if parts[:1] == ["v3"]:
        document = openapi.document(cluster.registry, "/".join(parts[1:]))
        return Reply(404, b"", "") if document is None else _json(document)
    return None
