"""The shop of examples/order as tests see it: its file, its books, what it was asked for, and its server."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.processes import end_child
from tests.support.bound import spawn_bound
from tests.support.waiting import wait_for

PROGRAM = Path(__file__).parents[2] / "examples" / "order" / "shop.py"

_CALL_LIMIT_SECONDS = 60

Books = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Call:
    """What came of one call of the program."""

    code: int
    answer: dict[str, Any]
    words: str


@dataclass(frozen=True)
class Shop:
    """A shop in a file of its own. `address` is where it is served; empty, its file is used directly."""

    database: Path
    address: str = ""

    @classmethod
    def opened(cls, database: Path) -> "Shop":
        """Make a shop with full shelves."""
        shop = cls(database)
        assert shop.call("init").code == 0
        return shop

    @property
    def where(self) -> str:
        """What a step finds in $SHOP_DB."""
        return self.address or str(self.database)

    def call(self, *arguments: str, key: str | None = None, patience_seconds: float = 30) -> Call:
        """Run the program as a step does: with the idempotency key of its attempt, and an output file."""
        output = self.database.with_name(f"{self.database.name}.output-{key or 'none'}")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKSTAY_")}
        environment["SHOP_PATIENCE_SECONDS"] = str(patience_seconds)
        if key is not None:
            environment |= {"BACKSTAY_IDEMPOTENCY_KEY": key, "BACKSTAY_OUTPUT": str(output)}
        command = [sys.executable, str(PROGRAM), arguments[0], "--db", self.where, *arguments[1:]]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_CALL_LIMIT_SECONDS, check=False)
        answer = json.loads(output.read_text()) if output.exists() else {}
        output.unlink(missing_ok=True)
        return Call(result.returncode, answer, result.stdout + result.stderr)

    def books(self) -> Books:
        """Return what is true of the shop now: shelves, cards, reservations, payments, parcels, shipments, letters."""
        return json.loads(self.call("show").words)

    def log(self) -> list[dict[str, Any]]:
        """Return what the shop was asked for, in order: key, command and outcome (done, repeated, refused)."""
        return json.loads(self.call("log").words)["log"]

    def done(self) -> list[str]:
        """Return the commands whose effects were really done, in that order."""
        return [entry["command"] for entry in self.log() if entry["outcome"] == "done"]

    def asked(self) -> Counter[str]:
        """Return how often each idempotency key was presented: more often than there were attempts means that a Job ran twice."""
        return Counter(entry["key"] for entry in self.log())

    def close(self, command: str) -> None:
        """Let whoever wants this work wait at the door."""
        assert self.call("close", command).code == 0

    def open(self, command: str) -> None:
        """Open a department again."""
        assert self.call("open", command).code == 0

    def shelves(self) -> dict[str, int]:
        """Return how much of each good is on the shelves."""
        return {row["sku"]: row["quantity"] for row in self.books()["stock"]}

    def balance(self, customer: str) -> int:
        """Return what is left on a customer's card."""
        return next(row["balance"] for row in self.books()["cards"] if row["customer"] == customer)


@dataclass
class ShopServer:
    """`shop.py serve` on a file; started again, it listens at the same port."""

    database: Path
    host: str = "127.0.0.1"
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start serving, and wait until calls are answered."""
        log = self.database.with_suffix(".served.log")
        command = [sys.executable, "-u", PROGRAM, "serve", "--db", self.database, "--listen", f"{self.host}:{self.port}"]
        self._process = spawn_bound([str(part) for part in command], log)
        said = wait_for(lambda: re.search(r"open at port (\d+)", log.read_text()), what=log.read_text)
        self.port = int(said[1])

    def kill(self) -> None:
        """End it without a warning, as a lost node would."""
        if self._process:
            end_child(self._process)

    def stop(self) -> int:
        """Ask it to end, as a kubelet does, and return its exit code."""
        assert self._process
        self._process.terminate()
        return self._process.wait(timeout=_CALL_LIMIT_SECONDS)

    @property
    def address(self) -> str:
        """Where the shop is, for $SHOP_DB on this machine."""
        return f"http://{self.host}:{self.port}"


@contextmanager
def served(database: Path, host: str = "127.0.0.1") -> Iterator[ShopServer]:
    """Serve a shop as long as the block lasts; `host` is the address of this machine to listen at."""
    server = ShopServer(database, host)
    try:
        server.start()
        yield server
    finally:
        server.kill()
