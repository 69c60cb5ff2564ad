#!/usr/bin/env python3
"""A small bank for trying http steps: it charges cards, and takes charges back. Standard library only.

    python bank.py --port 8500 --token open-sesame

    POST   /charges        {"card": …, "amount": …} → 201 {"id": …}; under a known Idempotency-Key the same charge again, with 200
    GET    /charges/ID     → 200 {"id", "card", "amount"}
    DELETE /charges/ID     → 204, and 404 where it is gone
    GET    /books          → 200 {"charges": […], "asked": […]}: what is charged, and who asked for what, when (no token needed)
    POST   /approve        large amounts wait for somebody to do this (no token needed)

A card that ends in 0002 is declined (402). The first request for an amount of 13 is one too many (429, Retry-After: 1). An amount above 10,000
is answered only once somebody has approved it.
"""

import argparse
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = 10_000


@dataclass
class Books:
    """What is charged, by id; ids by idempotency key; every request as it came."""

    token: str
    charges: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_key: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    approved: threading.Event = field(default_factory=threading.Event)

    def charge(self, key: str, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Charge a card once a key."""
        with self.lock:
            if key in self.by_key:
                return 200, self.charges[self.by_key[key]]
            if str(order["card"]).endswith("0002"):
                return 402, {"code": "declined", "reason": f"card {order['card']} has no money left"}
            number = f"c-{len(self.by_key) + 1}"
            self.by_key[key] = number
            self.charges[number] = {"id": number, **order}
            return 201, self.charges[number]

    def note(self, method: str, path: str, key: str, attempt: str) -> int:
        """Write down a request; return how often it came before under its key."""
        with self.lock:
            before = sum(1 for item in self.asked if key and item["key"] == key and item["method"] == method)
            self.asked.append({"method": method, "path": path, "key": key, "attempt": attempt, "at": time.time()})
            return before


class Counter(BaseHTTPRequestHandler):
    """Where customers are served. `books` is set by `bank`."""

    books: Books

    def do_GET(self) -> None:
        if self.path == "/books":
            with self.books.lock:
                self._answer(200, {"charges": list(self.books.charges.values()), "asked": self.books.asked})
        elif self._is_known():
            found = self.books.charges.get(self.path.removeprefix("/charges/"))
            self._answer(200 if found else 404, found or {"reason": "there is no such charge"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/approve":
            self.books.approved.set()
            self._answer(200, {"approved": True})
        elif self._is_known():
            order, key = json.loads(body), self.headers.get("Idempotency-Key", "")
            before = self.books.note("POST", self.path, key, self.headers.get("Backstay-Attempt", ""))
            if order["amount"] == 13 and not before:
                self._answer(429, {"reason": "one at a time, please"}, Retry_After="1")
                return
            if order["amount"] > LARGE:
                self.books.approved.wait(60)
            self._answer(*self.books.charge(key, order))

    def do_DELETE(self) -> None:
        if self._is_known():
            self.books.note("DELETE", self.path, self.headers.get("Idempotency-Key", ""), self.headers.get("Backstay-Attempt", ""))
            with self.books.lock:
                found = self.books.charges.pop(self.path.removeprefix("/charges/"), None)
            self._answer(204 if found else 404, None)

    def _is_known(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {self.books.token}":
            return True
        self._answer(401, {"reason": "who are you?"})
        return False

    def _answer(self, status: int, content: Any, **headers: str) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: /books tells."""


class Hall(ThreadingHTTPServer):
    """One clerk a customer. One who has left is no reason to complain."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8500, help="where it listens, on this machine only; 0 is any that is free")
    parser.add_argument("--token", default="open-sesame", help="what customers must show")
    given = parser.parse_args()
    Counter.books = Books(given.token)
    with Hall(("127.0.0.1", given.port), Counter) as hall:
        print(f"open at http://127.0.0.1:{hall.server_address[1]}", flush=True)
        hall.serve_forever()


if __name__ == "__main__":
    main()
