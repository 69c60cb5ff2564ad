"""The shop of examples/order as tests see it: its file, its books, and what it was asked for."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """A shop in a file of its own."""

    database: Path

    @classmethod
    def opened(cls, database: Path) -> "Shop":
        """Make a shop with full shelves."""
        shop = cls(database)
        assert shop.call("init").code == 0
        return shop

    def call(self, *arguments: str, key: str | None = None) -> Call:
        """Run the program as a step does: with the idempotency key of its attempt, and an output file."""
        output = self.database.with_name(f"{self.database.name}.output-{key or 'none'}")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKSTAY_")}
        if key is not None:
            environment |= {"BACKSTAY_IDEMPOTENCY_KEY": key, "BACKSTAY_OUTPUT": str(output)}
        command = [sys.executable, str(PROGRAM), arguments[0], "--db", str(self.database), *arguments[1:]]
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
