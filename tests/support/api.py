"""A plain client for looking at a cluster: one connection, JSON in and out, no cleverness. What users do, tests do with the real kubectl."""

import http.client
import json
import ssl
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import yaml

Object = dict[str, Any]

_CALL_LIMIT_SECONDS = 30
_GROUPS = {
    "workflowruns": "/apis/backstay.dev/v1alpha1",
    "workflowjournals": "/apis/backstay.dev/v1alpha1",
    "workflows": "/apis/backstay.dev/v1alpha1",
    "semaphores": "/apis/backstay.dev/v1alpha1",
    "circuitbreakers": "/apis/backstay.dev/v1alpha1",
    "deadletters": "/apis/backstay.dev/v1alpha1",
    "jobs": "/apis/batch/v1",
    "controllerrevisions": "/apis/apps/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
}
_PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}


class Refused(AssertionError):
    """The API server said no: its status code and its Status object."""

    def __init__(self, call: str, code: int, status: Object) -> None:
        super().__init__(f"{call}: {code} {status.get('message', status)}")
        self.code = code
        self.status = status


class Api:
    """Speaks to the API server of a kubeconfig as its administrator. Not for several threads."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._url = urlsplit(cluster["server"])
        self._headers = {"Authorization": f"Bearer {user['token']}", "User-Agent": "backstay-tests", "Accept": "application/json"}
        self._trust = _trust(cluster, kubeconfig.parent)
        self._connection: http.client.HTTPConnection | None = None

    def get(self, resource: str, namespace: str | None, name: str) -> Object | None:
        """Return an object, or None where there is none."""
        try:
            return self.call("GET", path(resource, namespace, name))
        except Refused as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def list(self, resource: str, namespace: str | None = None, **query: str) -> list[Object]:
        """Return the objects of a kind; `query` may hold labelSelector and fieldSelector."""
        return self.call("GET", f"{path(resource, namespace)}?{urlencode(query)}")["items"]

    def create(self, resource: str, namespace: str | None, body: Object) -> Object:
        """Create an object; an unknown field is an error, as it is for kubectl."""
        return self.call("POST", f"{path(resource, namespace)}?fieldValidation=Strict", body)

    def patch(self, resource: str, namespace: str | None, name: str, body: Any, *, kind: str = "merge", subresource: str = "") -> Object:
        """Patch an object: `kind` is merge or json."""
        where = path(resource, namespace, name) + (f"/{subresource}" if subresource else "")
        return self.call("PATCH", where, body, content_type=_PATCHES[kind])

    def delete(self, resource: str, namespace: str | None, name: str, propagation: str = "Background") -> Object:
        """Delete an object."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        return self.call("DELETE", path(resource, namespace, name), options)

    def call(self, method: str, where: str, body: Any = None, content_type: str = "application/json") -> Object:
        """Send a request and return the JSON of the answer. Raises Refused for anything but success."""
        data = None if body is None else json.dumps(body)
        code, text = self._send(method, where, data, self._headers | ({"Content-Type": content_type} if data else {}))
        if code >= http.HTTPStatus.BAD_REQUEST:
            raise Refused(f"{method} {where}", code, json.loads(text) if text.startswith(b"{") else {"message": text.decode()})
        return json.loads(text)

    def _send(self, method: str, where: str, data: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        for fresh in (False, True):
            if self._connection is None or fresh:
                self.close()
                self._connection = self._connect()
            try:
                self._connection.request(method, where, data, headers)
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (ConnectionError, ssl.SSLEOFError, http.client.RemoteDisconnected, http.client.CannotSendRequest):
                # A kept connection that the server has closed meanwhile: what reads may be asked again, what writes was not received.
                if fresh:
                    raise
        raise AssertionError("the second try returns or raises")

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._trust is None:
            return http.client.HTTPConnection(host, port, timeout=_CALL_LIMIT_SECONDS)
        return http.client.HTTPSConnection(host, port, timeout=_CALL_LIMIT_SECONDS, context=self._trust)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


def path(resource: str, namespace: str | None = None, name: str = "") -> str:
    """Return where the API server keeps objects of a kind, or one of them."""
    base = _GROUPS.get(resource, "/api/v1") + (f"/namespaces/{namespace}" if namespace else "")
    return f"{base}/{resource.split('.', 1)[0]}" + (f"/{quote(name)}" if name else "")


def _trust(cluster: Object, folder: Path) -> ssl.SSLContext | None:
    if not cluster["server"].startswith("https"):
        return None
    if "certificate-authority-data" in cluster:
        return ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    return ssl.create_default_context(cafile=folder / cluster["certificate-authority"])
