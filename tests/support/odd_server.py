"""A web server that misbehaves as its paths say: /500, /404; /busy turns each caller away once (429); /silent never answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Odd(BaseHTTPRequestHandler):
    seen: set[str]
    over: threading.Event

    def do_GET(self) -> None:
        key = self.headers.get("Idempotency-Key", "")
        if self.path == "/silent":
            self.over.wait(60)
            return
        status = 200 if self.path == "/busy" and key in self.seen else {"/busy": 429}.get(self.path) or int(self.path[1:])
        self.seen.add(key)
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@contextmanager
def odd_server() -> Iterator[str]:
    """Serve until the block ends; yields the address, as `http://127.0.0.1:8000`."""
    over = threading.Event()
    handler = type("Odd", (_Odd,), {"seen": set(), "over": over})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
