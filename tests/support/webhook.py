"""An admission webhook of somebody else's, over HTTPS: says yes or no to what it is asked about, and can be down.

with Webhook(cluster.folder).refuses(place, "jobs", "no Jobs on Sundays") as webhook:
    webhook.down()
"""

import json
import ssl
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.certificates import make_certificates
from tests.cluster.processes import free_ports
from tests.support.cluster import Place

_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_GROUPS = {"jobs": "batch", "pods": ""}


class Webhook:
    """A context manager: registered for one kind of object in one namespace, and gone afterwards. `denial` is what it says; None is yes."""

    def __init__(self, folder: Path, place: Place, resource: str, denial: str | None = None, code: int = 403) -> None:
        self.denial = denial
        self._code = code
        self._place = place
        self._resource = resource
        self._name = f"somebody.else.{place.name}.example.com"
        keys = folder / f"webhook-{place.name}-{resource}"
        keys.mkdir()
        self._keys = make_certificates(keys)
        (self._port,) = free_ports(1)
        self._server: ThreadingHTTPServer | None = None
        self.asked = 0

    def __enter__(self) -> Self:
        self.up()
        self._place.cluster.api.call("POST", _CONFIGURATIONS, self._configuration())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._place.cluster.api.call("DELETE", f"{_CONFIGURATIONS}/{self._name}")
        self.down()

    def up(self) -> None:
        """Answer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._keys.server, self._keys.server_key)
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self) -> None:
        """Answer nobody: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(webhook.judge(review)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler

    def judge(self, review: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to an AdmissionReview."""
        self.asked += 1
        answer: dict[str, Any] = {"uid": review["request"]["uid"], "allowed": self.denial is None}
        if self.denial is not None:
            answer["status"] = {"message": self.denial, "code": self._code}
        return {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": answer}

    def _configuration(self) -> dict[str, Any]:
        rule = {"apiGroups": [_GROUPS[self._resource]], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [self._resource]}
        webhook = {
            "name": self._name,
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self._place.name}},
            "clientConfig": {
                "url": f"https://127.0.0.1:{self._port}/judge",
                "caBundle": b64encode(self._keys.authority.read_bytes()).decode(),
            },
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self._name},
            "webhooks": [webhook],
        }
