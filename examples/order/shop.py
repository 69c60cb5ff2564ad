#!/usr/bin/env python3
"""The shop of the example: one program for all steps of an order, and for their undoing, on one SQLite file.

    shop.py init                                       an open shop with full shelves
    shop.py reserve a-17 '[{"sku": "mug", "quantity": 2}]'      →  {"reservation": "r-…", "amount": 24}
    shop.py release r-…
    shop.py show                                       what is on the shelves and in the books, as JSON
    shop.py close ship                                 shipping waits at the door until `shop.py open ship`

The file is `--db FILE` or $SHOP_DB. What a program needs so that a workflow can call it, and call it again:

    one transaction   an effect is done wholly or not at all, together with its entry in the inbox and in the log
    inbox             what was done under a $BACKSTAY_IDEMPOTENCY_KEY is answered from the inbox when it is asked for again
    output            the answer goes as JSON to $BACKSTAY_OUTPUT (to standard output without it)
    business error    {"error": {"type": "CardDeclined", "message": "…"}} and exit code 1: repeating it would not help
"""

import argparse
import json
import os
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE stock (sku TEXT PRIMARY KEY, quantity INTEGER NOT NULL CHECK (quantity >= 0), price INTEGER NOT NULL);
CREATE TABLE cards (customer TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0));
CREATE TABLE reservations (id TEXT, order_id TEXT, line INTEGER, sku TEXT, quantity INTEGER, PRIMARY KEY (order_id, line));
CREATE TABLE payments (id TEXT PRIMARY KEY, order_id TEXT, customer TEXT, amount INTEGER);
CREATE TABLE checks (id TEXT PRIMARY KEY, order_id TEXT, amount INTEGER);
CREATE TABLE parcels (id TEXT PRIMARY KEY, order_id TEXT, line INTEGER, sku TEXT, quantity INTEGER);
CREATE TABLE shipments (id TEXT PRIMARY KEY, order_id TEXT, country TEXT, parcels INTEGER);
CREATE TABLE letters (order_id TEXT, text TEXT);
CREATE TABLE closed (command TEXT PRIMARY KEY);
CREATE TABLE inbox (key TEXT PRIMARY KEY, answer TEXT NOT NULL);
CREATE TABLE log (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, command TEXT NOT NULL, outcome TEXT NOT NULL);
INSERT INTO stock VALUES ('mug', 100, 12), ('lamp', 40, 85), ('desk', 10, 640);
INSERT INTO cards VALUES ('ada', 10000), ('bob', 50);
"""
BOOKS = ("stock", "cards", "reservations", "payments", "checks", "parcels", "shipments", "letters")
"""What is true of the shop now. The inbox and the log only ever grow."""
COUNTRIES = ("DE", "FR", "NL")
LARGEST_ORDER = 8000
BUSY_SECONDS = 60
DOOR_SECONDS = 0.05

Answer = dict[str, Any]


class BusinessError(Exception):
    """The shop has to say no; `kind` is what a workflow's catch goes by."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Books:
    """The shop's books inside one transaction; ids come from the idempotency key, so that a repeat would find the same."""

    def __init__(self, connection: sqlite3.Connection, key: str) -> None:
        self._connection = connection
        self._id = key[:12]

    def _do(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _take(self, table: str, found: str) -> list[sqlite3.Row]:
        rows = self._do(f"SELECT * FROM {table} WHERE id = ?", found).fetchall()
        if not rows:
            raise BusinessError("Unknown", f"there is no {found} in {table}")
        self._do(f"DELETE FROM {table} WHERE id = ?", found)
        return rows

    def reserve(self, order: str, lines: str) -> Answer:
        """Take the goods of an order off the shelves; `lines` is JSON: [{"sku": …, "quantity": …}, …]."""
        amount = 0
        for number, line in enumerate(json.loads(lines)):
            row = self._do("SELECT quantity, price FROM stock WHERE sku = ?", line["sku"]).fetchone()
            if row is None or row["quantity"] < line["quantity"]:
                there = row["quantity"] if row else 0
                raise BusinessError("OutOfStock", f"{line['quantity']} of {line['sku']} are wanted, {there} are there")
            self._do("UPDATE stock SET quantity = quantity - ? WHERE sku = ?", line["quantity"], line["sku"])
            self._do("INSERT INTO reservations VALUES (?, ?, ?, ?, ?)", f"r-{self._id}", order, number, line["sku"], line["quantity"])
            amount += row["price"] * line["quantity"]
        return {"reservation": f"r-{self._id}", "amount": amount}

    def release(self, reservation: str) -> Answer:
        """Put the goods of a reservation back."""
        for row in self._take("reservations", reservation):
            self._do("UPDATE stock SET quantity = quantity + ? WHERE sku = ?", row["quantity"], row["sku"])
        return {"released": reservation}

    def charge(self, order: str, customer: str, amount: str) -> Answer:
        """Take an amount from a customer's card."""
        row = self._do("SELECT balance FROM cards WHERE customer = ?", customer).fetchone()
        if row is None or row["balance"] < int(amount):
            raise BusinessError("CardDeclined", f"the card of {customer} does not cover {amount}")
        self._do("UPDATE cards SET balance = balance - ? WHERE customer = ?", int(amount), customer)
        self._do("INSERT INTO payments VALUES (?, ?, ?, ?)", f"p-{self._id}", order, customer, int(amount))
        return {"payment": f"p-{self._id}"}

    def refund(self, payment: str) -> Answer:
        """Give the amount of a payment back."""
        for row in self._take("payments", payment):
            self._do("UPDATE cards SET balance = balance + ? WHERE customer = ?", row["amount"], row["customer"])
        return {"refunded": payment}

    def check(self, order: str, amount: str) -> Answer:
        """Look a second time at a large order, and note that it was done."""
        if int(amount) > LARGEST_ORDER:
            raise BusinessError("TooLarge", f"an order of {amount} is more than this shop dares to take ({LARGEST_ORDER})")
        self._do("INSERT INTO checks VALUES (?, ?, ?)", f"c-{self._id}", order, int(amount))
        return {"check": f"c-{self._id}"}

    def uncheck(self, check: str) -> Answer:
        """Strike out the note of a second look."""
        self._take("checks", check)
        return {"unchecked": check}

    def pack(self, order: str, line: str) -> Answer:
        """Make a parcel of one line of an order, from 0."""
        row = self._do("SELECT * FROM reservations WHERE order_id = ? AND line = ?", order, int(line)).fetchone()
        if row is None:
            raise BusinessError("Unknown", f"nothing is reserved for line {line} of order {order}")
        parcel = f"b-{self._id}"
        self._do("INSERT INTO parcels VALUES (?, ?, ?, ?, ?)", parcel, order, int(line), row["sku"], row["quantity"])
        return {"parcel": parcel}

    def unpack(self, parcel: str) -> Answer:
        """Take a parcel apart again."""
        self._take("parcels", parcel)
        return {"unpacked": parcel}

    def ship(self, order: str, country: str) -> Answer:
        """Hand all parcels of an order to the carrier."""
        if country not in COUNTRIES:
            raise BusinessError("Undeliverable", f"the carrier does not go to {country}, only to {', '.join(COUNTRIES)}")
        (count,) = self._do("SELECT count(*) FROM parcels WHERE order_id = ?", order).fetchone()
        self._do("INSERT INTO shipments VALUES (?, ?, ?, ?)", f"s-{self._id}", order, country, count)
        return {"shipment": f"s-{self._id}", "parcels": count}

    def recall(self, shipment: str) -> Answer:
        """Have the carrier bring a shipment back."""
        self._take("shipments", shipment)
        return {"recalled": shipment}

    def notify(self, order: str, text: str) -> Answer:
        """Write to the customer of an order."""
        self._do("INSERT INTO letters VALUES (?, ?)", order, text)
        return {"sent": text}


# ------------------------------------------------------------------------------------------------------------ once only


@contextmanager
def transaction(database: Path) -> Iterator[sqlite3.Connection]:
    """Everything inside happens wholly or not at all, and nobody else writes meanwhile."""
    if not database.exists():
        sys.exit(f"{database} is no shop; make one with: shop.py init --db {database}")
    connection = sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()


def once(database: Path, key: str, command: str, arguments: list[str]) -> Answer:
    """Do an effect unless it was done under this key before; the answer is the same. Raises BusinessError."""
    with transaction(database) as connection:
        log = "INSERT INTO log (key, command, outcome) VALUES (?, ?, ?)"
        known = connection.execute("SELECT answer FROM inbox WHERE key = ?", (key,)).fetchone()
        if known:
            connection.execute(log, (key, command, "repeated"))
            return dict(json.loads(known["answer"]))
        connection.execute("SAVEPOINT effect")
        try:
            answer: Answer = getattr(Books(connection, key), command)(*arguments)
        except BusinessError as error:
            connection.execute("ROLLBACK TO effect")
            connection.execute(log, (key, command, "refused"))
            return {"error": {"type": error.kind, "message": str(error)}}
        connection.execute("INSERT INTO inbox VALUES (?, ?)", (key, json.dumps(answer)))
        connection.execute(log, (key, command, "done"))
        return answer


def wait_until_open(database: Path, command: str) -> None:
    """Wait at the door of a department that is closed."""
    while True:
        with transaction(database) as connection:
            if not connection.execute("SELECT 1 FROM closed WHERE command = ?", (command,)).fetchone():
                return
        time.sleep(DOOR_SECONDS)


def work(database: Path, command: str, arguments: list[str]) -> int:
    """Do one step's work for a workflow, or by hand; returns the exit code."""
    wait_until_open(database, command)
    answer = once(database, os.environ.get("BACKSTAY_IDEMPOTENCY_KEY") or uuid.uuid4().hex, command, arguments)
    text = json.dumps(answer)
    if output := os.environ.get("BACKSTAY_OUTPUT"):
        Path(output).write_text(text)
    print(f"{command} {' '.join(arguments)}: {text}")
    return 1 if "error" in answer else 0


# ---------------------------------------------------------------------------------------------------- around the counter


def init(database: Path) -> Answer:
    """Make a shop with full shelves."""
    if database.exists():
        sys.exit(f"{database} is there already; remove it to begin anew")
    with sqlite3.connect(database) as connection:
        connection.executescript(SCHEMA)
    connection.close()
    return show(database)


def show(database: Path) -> Answer:
    """Return what is true of the shop now: every book as a list of rows."""
    with transaction(database) as connection:
        return {book: [dict(row) for row in connection.execute(f"SELECT * FROM {book} ORDER BY 1, 2")] for book in BOOKS}


def log(database: Path) -> Answer:
    """Return what the shop was asked for, in order, and what came of it: done, repeated (answered from the inbox) or refused."""
    with transaction(database) as connection:
        return {"log": [dict(row) for row in connection.execute("SELECT * FROM log ORDER BY number")]}


def close(database: Path, command: str) -> Answer:
    """Close a department: whoever wants its work waits at the door."""
    with transaction(database) as connection:
        connection.execute("INSERT OR IGNORE INTO closed VALUES (?)", (command,))
    return {"closed": command}


def open_(database: Path, command: str) -> Answer:
    """Open a department again."""
    with transaction(database) as connection:
        connection.execute("DELETE FROM closed WHERE command = ?", (command,))
    return {"opened": command}


WORK = {
    "reserve": ("order", "lines"),
    "release": ("reservation",),
    "charge": ("order", "customer", "amount"),
    "refund": ("payment",),
    "check": ("order", "amount"),
    "uncheck": ("check",),
    "pack": ("order", "line"),
    "unpack": ("parcel",),
    "ship": ("order", "country"),
    "recall": ("shipment",),
    "notify": ("order", "text"),
}
COUNTER: dict[str, tuple[Callable[..., Answer], tuple[str, ...]]] = {
    "init": (init, ()),
    "show": (show, ()),
    "log": (log, ()),
    "close": (close, ("command",)),
    "open": (open_, ("command",)),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="shop.py", description="A small shop on one SQLite file.")
    commands = parser.add_subparsers(dest="asked", required=True, metavar="COMMAND")
    for name, names in {**WORK, **{name: names for name, (_, names) in COUNTER.items()}}.items():
        words = (getattr(Books, name) if name in WORK else COUNTER[name][0]).__doc__
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("--db", type=Path, default=os.environ.get("SHOP_DB"), help="the shop's file (default: $SHOP_DB)")
        for argument in names:
            command.add_argument(argument, choices=sorted(WORK) if argument == "command" else None)
    given = vars(parser.parse_args())
    name, database = given.pop("asked"), given.pop("db")
    if database is None:
        parser.error("no file: give --db FILE or set SHOP_DB")
    if name in WORK:
        return work(Path(database), name, list(given.values()))
    print(json.dumps(COUNTER[name][0](Path(database), **given), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
