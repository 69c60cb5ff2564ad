"""A shop for callers on other machines: the server in front of its file, and the caller's side of it.

    POST /COMMAND {"arguments": ["a-17", "NL"], "key": "…"}   →  200 {"answer": {…}}; null where that department is closed
    GET /healthz                                              →  200 once calls are answered

A call that cannot be understood is answered with 4xx and words, one that the shop cannot do now with 503.
"""

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from books import ARGUMENTS, Answer, NoShop, Shop, ShopFile, Unreachable

PATIENCE_SECONDS = 60
"""How long a served shop is called again before a caller gives up; its pod may start later than the first step."""
ANSWER_SECONDS = 90
"""How long one call may take: longer than a busy shop lets its callers wait."""
PAUSE_SECONDS = 0.2
LARGEST_CALL_BYTES = 1 << 20


class ServedShop:
    """A shop at an address. Every call may be repeated: its key makes it the same call."""

    def __init__(self, address: str, patience_seconds: float) -> None:
        self._address = address.rstrip("/")
        self._patience_seconds = patience_seconds
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, command: str, arguments: list[str], key: str) -> Answer | None:
        body = json.dumps({"arguments": arguments, "key": key}).encode()
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                return self._call(command, body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = getattr(error, "reason", error)
                if time.monotonic() > deadline:
                    raise Unreachable(f"the shop at {self._address} cannot be reached: {reason}") from error
            time.sleep(PAUSE_SECONDS)

    def _call(self, command: str, body: bytes) -> Answer | None:
        request = urllib.request.Request(f"{self._address}/{command}", body, {"Content-Type": "application/json"}, method="POST")
        try:
            with self._opener.open(request, timeout=ANSWER_SECONDS) as response:
                answer: Answer | None = json.load(response)["answer"]
                return answer
        except urllib.error.HTTPError as error:
            with error:
                if error.code >= 500:
                    raise
                raise NoShop(error.read(LARGEST_CALL_BYTES).decode(errors="replace").strip()) from error


class Misunderstood(Exception):
    """A call that makes no sense; repeating it would not help."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Calls(BaseHTTPRequestHandler):
    """What is answered to whom."""

    shop: Shop
    timeout = 30

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer(200, "the shop is open")
        else:
            self._answer(404, f"there is no {self.path}; POST /COMMAND, or GET /healthz")

    def do_POST(self) -> None:
        try:
            command = self._command()
            arguments, key = read_call(command, self.rfile.read(self._length()))
            self._answer(200, json.dumps({"answer": self.shop.ask(command, arguments, key)}))
        except Misunderstood as error:
            self._answer(error.code, str(error))
        except NoShop as error:
            self._answer(409, str(error))
        except Unreachable as error:
            self._answer(503, str(error))

    def _command(self) -> str:
        command = self.path.removeprefix("/")
        if command not in ARGUMENTS:
            raise Misunderstood(404, f"there is no {self.path}; the commands are {', '.join(ARGUMENTS)}")
        return command

    def _length(self) -> int:
        given = self.headers["Content-Length"] or ""
        if not given.isdecimal():
            raise Misunderstood(411, "say how long the call is, in Content-Length")
        if int(given) > LARGEST_CALL_BYTES:
            raise Misunderstood(413, f"a call of {given} bytes is too large; the limit is {LARGEST_CALL_BYTES}")
        return int(given)

    def _answer(self, code: int, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json" if text.startswith("{") else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if self.path != "/healthz":
            super().log_request(code, size)


def read_call(command: str, body: bytes) -> tuple[list[str], str]:
    """Return the arguments and the key of a call. Raises Misunderstood."""
    try:
        call = json.loads(body)
        arguments, key = call["arguments"], call["key"]
    except (ValueError, TypeError, KeyError) as error:
        raise Misunderstood(400, f'a call is {{"arguments": […], "key": "…"}}, and this one is not: {error!r}') from error
    wanted = ARGUMENTS[command]
    if not isinstance(arguments, list) or len(arguments) != len(wanted) or not all(isinstance(each, str) for each in arguments):
        raise Misunderstood(
            400, f"{command} takes {len(wanted)} arguments, strings ({', '.join(wanted)}), not {json.dumps(arguments)[:200]}"
        )
    if not isinstance(key, str) or not key:
        raise Misunderstood(400, f"the key of a call is a string, the same for all its repeats, not {json.dumps(key)[:200]}")
    return arguments, key


class Server(ThreadingHTTPServer):
    """A thread a call; when it is told to stop, it answers those that it has begun."""

    daemon_threads = False
    request_queue_size = 128


def serve(database: Path, listen: str) -> None:
    """Serve a shop, for callers on other machines, until the process ends; makes it where the file is not there yet."""
    host, _, port = listen.rpartition(":")
    shop = ShopFile(database)
    if not database.exists():
        shop.ask("init", [], "")
    Calls.shop = shop
    Server.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with Server((host.strip("[]"), int(port)), Calls) as server:
        print(f"the shop is open at port {server.server_port}", flush=True)
        server.serve_forever()
