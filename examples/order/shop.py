#!/usr/bin/env python3
"""The shop of the example: one program for all steps of an order, and for their undoing, on one SQLite file.

    shop.py init                                       an open shop with full shelves
    shop.py reserve a-17 '[{"sku": "mug", "quantity": 2}]'      →  {"reservation": "r-…", "amount": 24}
    shop.py release r-…
    shop.py show                                       what is on the shelves and in the books, as JSON
    shop.py close ship                                 shipping waits at the door until `shop.py open ship`
    shop.py serve --listen 0.0.0.0:8080                the same shop for callers on other machines

The shop is `--db` or $SHOP_DB: a file, or the address of a served one, http://shop:8080. What a program needs so that a workflow
can call it, and call it again:

    one transaction   an effect is done wholly or not at all, together with its entry in the inbox and in the log (books.py)
    inbox             what was done under a $BACKSTAY_IDEMPOTENCY_KEY is answered from the inbox when it is asked for again
    output            the answer goes as JSON to $BACKSTAY_OUTPUT (to standard output without it)
    business error    {"error": {"type": "CardDeclined", "message": "…"}} and exit code 1: repeating it would not help
    Transient         that error's type where the shop itself cannot be reached: repeating it may help
"""

import argparse
import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path

from books import ARGUMENTS, COUNTER, WORK, Books, NoShop, Shop, ShopFile, Unreachable
from serving import PATIENCE_SECONDS, ServedShop, serve

DOOR_SECONDS = 0.05


def work(shop: Shop, command: str, arguments: list[str]) -> int:
    """Do one step's work for a workflow, or by hand; returns the exit code. A closed department is waited for."""
    key = os.environ.get("BACKSTAY_IDEMPOTENCY_KEY") or uuid.uuid4().hex
    try:
        while (answer := shop.ask(command, arguments, key)) is None:
            time.sleep(DOOR_SECONDS)
    except Unreachable as error:
        answer = {"error": {"type": "Transient", "message": str(error)}}
    text = json.dumps(answer)
    if output := os.environ.get("BACKSTAY_OUTPUT"):
        Path(output).write_text(text)
    print(f"{command} {' '.join(arguments)}: {text}")
    return 1 if "error" in answer else 0


def shop_at(where: str) -> Shop:
    """Return the shop in a file or at an address."""
    if where.startswith(("http://", "https://")):
        return ServedShop(where, float(os.environ.get("SHOP_PATIENCE_SECONDS", PATIENCE_SECONDS)))
    return ShopFile(Path(where))


def parse() -> argparse.Namespace:
    """Return what was asked for: `asked`, `db`, and the arguments of the command."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--db", default=os.environ.get("SHOP_DB"), help="the shop's file or address (default: $SHOP_DB)")
    parser = argparse.ArgumentParser(prog="shop.py", description="A small shop on one SQLite file.")
    commands = parser.add_subparsers(dest="asked", required=True, metavar="COMMAND")
    for name, names in ARGUMENTS.items():
        words = (getattr(Books, name) if name in WORK else COUNTER[name][0]).__doc__
        command = commands.add_parser(name, help=words, description=words, parents=[where])
        for argument in names:
            command.add_argument(argument, choices=sorted(WORK) if argument == "command" else None)
    server = commands.add_parser("serve", help=serve.__doc__, description=serve.__doc__, parents=[where])
    server.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT", help="(default: %(default)s)")
    given = parser.parse_args()
    if given.db is None:
        parser.error("no shop: give --db FILE or --db http://HOST:PORT, or set SHOP_DB")
    return given


def main() -> int:
    # The first process of a container gets no signal that it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = vars(parse())
    name, where = given.pop("asked"), given.pop("db")
    try:
        if name == "serve":
            serve(Path(where), given["listen"])
        if name in WORK:
            return work(shop_at(where), name, list(given.values()))
        print(json.dumps(shop_at(where).ask(name, list(given.values()), uuid.uuid4().hex), indent=1))
    except (NoShop, Unreachable) as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
