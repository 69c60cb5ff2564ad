"""The shop's books: what it sells, how each effect is done and undone, and why each is done only once.

The books are one SQLite file. An effect happens in one transaction with its entry in the inbox and in the log, so that it is done
wholly or not at all, and what was done under a key is answered from the inbox when it is asked for again.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

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

Answer = dict[str, Any]


class BusinessError(Exception):
    """The shop has to say no; `kind` is what a workflow's catch goes by."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NoShop(Exception):
    """There is no shop to ask, or it does not understand what it is asked; the message says what to do."""


class Unreachable(Exception):
    """The shop cannot answer now; asking again may help."""


class Books:
    """The shop's books inside one transaction; ids come from the idempotency key, so that a repeat would find the same."""

    def __init__(self, connection: sqlite3.Connection, key: str) -> None:
        self._connection = connection
        self._id = key[:12]

    def _do(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _take(self, table: str, order: str, where: str = "", *values: Any) -> list[sqlite3.Row]:
        """Strike out what stands in a book for an order. Nothing there is fine: who undoes a step may not know whether it was done."""
        return self._do(f"DELETE FROM {table} WHERE order_id = ? {where} RETURNING *", order, *values).fetchall()

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

    def release(self, order: str) -> Answer:
        """Put the goods of an order back."""
        rows = self._take("reservations", order)
        for row in rows:
            self._do("UPDATE stock SET quantity = quantity + ? WHERE sku = ?", row["quantity"], row["sku"])
        return {"released": len(rows)}

    def charge(self, order: str, customer: str, amount: str) -> Answer:
        """Take an amount from a customer's card."""
        row = self._do("SELECT balance FROM cards WHERE customer = ?", customer).fetchone()
        if row is None or row["balance"] < int(amount):
            raise BusinessError("CardDeclined", f"the card of {customer} does not cover {amount}")
        self._do("UPDATE cards SET balance = balance - ? WHERE customer = ?", int(amount), customer)
        self._do("INSERT INTO payments VALUES (?, ?, ?, ?)", f"p-{self._id}", order, customer, int(amount))
        return {"payment": f"p-{self._id}"}

    def refund(self, order: str) -> Answer:
        """Give back what was paid for an order."""
        rows = self._take("payments", order)
        for row in rows:
            self._do("UPDATE cards SET balance = balance + ? WHERE customer = ?", row["amount"], row["customer"])
        return {"refunded": sum(row["amount"] for row in rows)}

    def check(self, order: str, amount: str) -> Answer:
        """Look a second time at a large order, and note that it was done."""
        if int(amount) > LARGEST_ORDER:
            raise BusinessError("TooLarge", f"an order of {amount} is more than this shop dares to take ({LARGEST_ORDER})")
        self._do("INSERT INTO checks VALUES (?, ?, ?)", f"c-{self._id}", order, int(amount))
        return {"check": f"c-{self._id}"}

    def uncheck(self, order: str) -> Answer:
        """Strike out the note of a second look."""
        return {"unchecked": len(self._take("checks", order))}

    def pack(self, order: str, line: str) -> Answer:
        """Make a parcel of one line of an order, from 0."""
        row = self._do("SELECT * FROM reservations WHERE order_id = ? AND line = ?", order, int(line)).fetchone()
        if row is None:
            raise BusinessError("Unknown", f"nothing is reserved for line {line} of order {order}")
        parcel = f"b-{self._id}"
        self._do("INSERT INTO parcels VALUES (?, ?, ?, ?, ?)", parcel, order, int(line), row["sku"], row["quantity"])
        return {"parcel": parcel}

    def unpack(self, order: str, line: str) -> Answer:
        """Take the parcel of one line apart again."""
        return {"unpacked": len(self._take("parcels", order, "AND line = ?", int(line)))}

    def ship(self, order: str, country: str) -> Answer:
        """Hand all parcels of an order to the carrier."""
        if country not in COUNTRIES:
            raise BusinessError("Undeliverable", f"the carrier does not go to {country}, only to {', '.join(COUNTRIES)}")
        (count,) = self._do("SELECT count(*) FROM parcels WHERE order_id = ?", order).fetchone()
        self._do("INSERT INTO shipments VALUES (?, ?, ?, ?)", f"s-{self._id}", order, country, count)
        return {"shipment": f"s-{self._id}", "parcels": count}

    def recall(self, order: str) -> Answer:
        """Have the carrier bring back what was shipped of an order."""
        return {"recalled": len(self._take("shipments", order))}

    def notify(self, order: str, text: str) -> Answer:
        """Write to the customer of an order."""
        self._do("INSERT INTO letters VALUES (?, ?)", order, text)
        return {"sent": text}


# ---------------------------------------------------------------------------------------------------- around the counter


def show(connection: sqlite3.Connection) -> Answer:
    """Return what is true of the shop now: every book as a list of rows."""
    return {book: [dict(row) for row in connection.execute(f"SELECT * FROM {book} ORDER BY 1, 2")] for book in BOOKS}


def init(connection: sqlite3.Connection) -> Answer:
    """Make a shop with full shelves."""
    return show(connection)


def log(connection: sqlite3.Connection) -> Answer:
    """Return what the shop was asked for, in order, and what came of it: done, repeated (answered from the inbox) or refused."""
    return {"log": [dict(row) for row in connection.execute("SELECT * FROM log ORDER BY number")]}


def close(connection: sqlite3.Connection, command: str) -> Answer:
    """Close a department: whoever wants its work waits at the door."""
    connection.execute("INSERT OR IGNORE INTO closed VALUES (?)", (command,))
    return {"closed": command}


def open_(connection: sqlite3.Connection, command: str) -> Answer:
    """Open a department again."""
    connection.execute("DELETE FROM closed WHERE command = ?", (command,))
    return {"opened": command}


WORK = {
    "reserve": ("order", "lines"),
    "release": ("order",),
    "charge": ("order", "customer", "amount"),
    "refund": ("order",),
    "check": ("order", "amount"),
    "uncheck": ("order",),
    "pack": ("order", "line"),
    "unpack": ("order", "line"),
    "ship": ("order", "country"),
    "recall": ("order",),
    "notify": ("order", "text"),
}
"""The steps' work, with the names of its arguments."""
COUNTER: dict[str, tuple[Callable[..., Answer], tuple[str, ...]]] = {
    "init": (init, ()),
    "show": (show, ()),
    "log": (log, ()),
    "close": (close, ("command",)),
    "open": (open_, ("command",)),
}
"""What else can be asked of a shop; `init` makes it first."""
ARGUMENTS = WORK | {name: arguments for name, (_, arguments) in COUNTER.items()}


# ------------------------------------------------------------------------------------------------------------ once only


class Shop(Protocol):
    """Somewhere to ask. Raises NoShop and Unreachable."""

    def ask(self, command: str, arguments: list[str], key: str) -> Answer | None:
        """Return what comes of a command; None: that department is closed. A key makes an effect happen only once."""


class ShopFile:
    """A shop in a file on this machine."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def ask(self, command: str, arguments: list[str], key: str) -> Answer | None:
        if command == "init":
            self._make()
        try:
            with self._transaction() as connection:
                return once(connection, key, command, arguments) if command in WORK else COUNTER[command][0](connection, *arguments)
        except sqlite3.OperationalError as error:
            raise Unreachable(f"{self._database}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise NoShop(f"{self._database} is no shop: {error}") from error

    def _make(self) -> None:
        if self._database.exists():
            raise NoShop(f"{self._database} is there already; remove it to begin anew")
        draft = self._database.with_name(f"{self._database.name}.{os.getpid()}")
        connection = sqlite3.connect(draft)
        connection.executescript(SCHEMA)
        connection.close()
        draft.rename(self._database)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside happens wholly or not at all, and nobody else writes meanwhile."""
        if not self._database.exists():
            raise NoShop(f"{self._database} is no shop; make one with: shop.py init --db {self._database}")
        connection = sqlite3.connect(self._database, timeout=BUSY_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()


def once(connection: sqlite3.Connection, key: str, command: str, arguments: list[str]) -> Answer | None:
    """Do an effect unless it was done under this key before; the answer is the same. None: nobody is there to do it."""
    if connection.execute("SELECT 1 FROM closed WHERE command = ?", (command,)).fetchone():
        return None
    log = "INSERT INTO log (key, command, outcome) VALUES (?, ?, ?)"
    known = connection.execute("SELECT answer FROM inbox WHERE key = ?", (key,)).fetchone()
    if known:
        connection.execute(log, (key, command, "repeated"))
        return dict(json.loads(known["answer"]))
    connection.execute("SAVEPOINT effect")
    try:
        answer: Answer = getattr(Books(connection, key), command)(*arguments)
    except BusinessError as error:
        return refuse(connection, key, command, error.kind, str(error))
    except (ValueError, LookupError, TypeError, sqlite3.IntegrityError) as error:
        return refuse(connection, key, command, "Unreadable", f"{command} {' '.join(arguments)}: {error!r}")
    connection.execute("INSERT INTO inbox VALUES (?, ?)", (key, json.dumps(answer)))
    connection.execute(log, (key, command, "done"))
    return answer


def refuse(connection: sqlite3.Connection, key: str, command: str, kind: str, message: str) -> Answer:
    """Take back what an effect has begun, and say why it cannot be."""
    connection.execute("ROLLBACK TO effect")
    connection.execute("INSERT INTO log (key, command, outcome) VALUES (?, ?, 'refused')", (key, command))
    return {"error": {"type": kind, "message": message}}
