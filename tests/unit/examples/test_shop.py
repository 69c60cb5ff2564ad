"""The example shop does each effect once, whoever asks how often, and every effect can be undone without a trace in its books.

All of it holds for a shop in a file and for one that is served alike.
"""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.shop import PROGRAM, Shop, served
from tests.support.waiting import wait_for

LINES = json.dumps([{"sku": "mug", "quantity": 2}, {"sku": "lamp", "quantity": 1}])


@pytest.fixture(params=["file", "served"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shop]:
    at_hand = Shop.opened(tmp_path / "shop.db")
    if request.param == "file":
        yield at_hand
    else:
        with served(at_hand.database) as server:
            yield Shop(at_hand.database, server.address)


def test_reserving_takes_goods_off_the_shelves_and_says_what_they_cost(shop: Shop) -> None:
    call = shop.call("reserve", "a-1", LINES, key="k1")
    assert call.code == 0
    assert call.answer["amount"] == 2 * 12 + 85
    assert shop.shelves() == {"mug": 98, "lamp": 39, "desk": 10}


def test_a_whole_order_can_be_done_and_undone_and_the_books_are_as_before(shop: Shop) -> None:
    before = shop.books()
    reserved = shop.call("reserve", "a-1", LINES, key="k1").answer
    shop.call("charge", "a-1", "ada", str(reserved["amount"]), key="k2")
    shop.call("check", "a-1", "1200", key="k3")
    shop.call("pack", "a-1", "1", key="k4")
    shipped = shop.call("ship", "a-1", "NL", key="k5").answer
    assert shipped["parcels"] == 1
    assert shop.balance("ada") == 10000 - 109
    for command, answer in [
        ("recall", {"recalled": 1}),
        ("unpack", {"unpacked": 1}),
        ("uncheck", {"unchecked": 1}),
        ("refund", {"refunded": 109}),
        ("release", {"released": 2}),
    ]:
        line = ["1"] if command == "unpack" else []
        call = shop.call(command, "a-1", *line, key=f"undo-{command}")
        assert (call.code, call.answer) == (0, answer)
    assert shop.books() == before
    assert shop.done()[-5:] == ["recall", "unpack", "uncheck", "refund", "release"]


def test_undoing_what_was_never_done_is_no_error_and_changes_nothing(shop: Shop) -> None:
    before = shop.books()
    shop.call("charge", "a-2", "ada", "100", key="another")
    undoing = [("recall", "a-1"), ("unpack", "a-1", "0"), ("uncheck", "a-1"), ("refund", "a-1"), ("release", "a-1")]
    assert [shop.call(*call, key="-".join(call)).code for call in undoing] == [0, 0, 0, 0, 0]
    shop.call("refund", "a-2", key="back")
    assert shop.books() == before


def test_a_repeat_under_the_same_key_gets_the_same_answer_and_does_nothing(shop: Shop) -> None:
    first = shop.call("charge", "a-1", "ada", "100", key="k1")
    again = shop.call("charge", "a-1", "ada", "100", key="k1")
    assert (again.code, again.answer) == (0, first.answer)
    assert shop.balance("ada") == 9900
    assert [entry["outcome"] for entry in shop.log()] == ["done", "repeated"]


def test_many_repeats_at_once_are_one_effect(shop: Shop) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: shop_answer(shop), range(6)))
    assert len({json.dumps(answer) for answer in answers}) == 1
    assert shop.done() == ["charge"]
    assert shop.asked() == {"k1": 6}


def shop_answer(shop: Shop) -> str:
    """Charge under one key, each caller with its answer on standard output."""
    command = [sys.executable, str(PROGRAM), "charge", "--db", shop.where, "a-1", "ada", "100"]
    result = subprocess.run(command, env={"BACKSTAY_IDEMPOTENCY_KEY": "k1"}, capture_output=True, text=True, timeout=60, check=True)
    return result.stdout


REFUSALS = {
    "a card without cover": (("charge", "a-1", "bob", "51"), "CardDeclined", "the card of bob does not cover 51"),
    "a card that is not there": (("charge", "a-1", "eve", "1"), "CardDeclined", "the card of eve does not cover 1"),
    "empty shelves": (("reserve", "a-1", '[{"sku": "desk", "quantity": 11}]'), "OutOfStock", "11 of desk are wanted, 10 are there"),
    "goods that nobody sells": (("reserve", "a-1", '[{"sku": "cat", "quantity": 1}]'), "OutOfStock", "1 of cat are wanted, 0 are there"),
    "a country without carrier": (("ship", "a-1", "AQ"), "Undeliverable", "the carrier does not go to AQ, only to DE, FR, NL"),
    "too large an order": (("check", "a-1", "8001"), "TooLarge", "an order of 8001 is more than this shop dares to take (8000)"),
    "nothing reserved": (("pack", "a-1", "0"), "Unknown", "nothing is reserved for line 0 of order a-1"),
    "an amount that is no number": (
        ("check", "a-1", "much"),
        "Unreadable",
        "check a-1 much: ValueError(\"invalid literal for int() with base 10: 'much'\")",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_a_business_error_and_changes_nothing(shop: Shop, case: str) -> None:
    arguments, kind, message = REFUSALS[case]
    before = shop.books()
    call = shop.call(*arguments, key="k1")
    assert (call.code, call.answer) == (1, {"error": {"type": kind, "message": message}})
    assert shop.books() == before
    assert shop.done() == []


def test_an_order_of_which_one_line_is_out_of_stock_takes_nothing_off_the_shelves(shop: Shop) -> None:
    lines = json.dumps([{"sku": "mug", "quantity": 1}, {"sku": "desk", "quantity": 99}])
    assert shop.call("reserve", "a-1", lines, key="k1").code == 1
    assert shop.shelves()["mug"] == 100


def test_work_waits_at_the_door_of_a_closed_department_and_goes_on_when_it_opens(shop: Shop) -> None:
    shop.close("ship")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shop.call, "ship", "a-1", "NL", key="k1")
        assert shop.call("notify", "a-1", "we are late", key="k2").code == 0
        assert not waiting.done()
        shop.open("ship")
        assert waiting.result(timeout=30).code == 0
    assert shop.done() == ["notify", "ship"]


def test_what_cannot_be_asked_of_a_shop_is_told_in_the_same_words(shop: Shop) -> None:
    call = shop.call("init")
    assert call.code == 1
    assert call.words == f"{shop.database} is there already; remove it to begin anew\n"


ENDLESS = """
CREATE TRIGGER endless AFTER INSERT ON log WHEN new.command = 'reserve' BEGIN
  SELECT (WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT count(*) FROM numbers);
END
"""


def test_a_program_that_is_killed_in_the_middle_of_an_effect_leaves_no_half_of_it(tmp_path: Path) -> None:
    shop = Shop.opened(tmp_path / "shop.db")
    before = shop.books()
    alter(shop, ENDLESS)
    command = [sys.executable, str(PROGRAM), "reserve", "--db", str(shop.database), "a-1", LINES]
    with subprocess.Popen(command) as victim:
        wait_for(lambda: shop.database.with_name("shop.db-journal").exists())
        victim.kill()
    alter(shop, "DROP TRIGGER endless")
    assert shop.books() == before
    assert shop.log() == []


def alter(shop: Shop, statement: str) -> None:
    connection = sqlite3.connect(shop.database)
    connection.execute(statement)
    connection.close()


def test_a_file_that_is_no_shop_is_named_with_the_mend(tmp_path: Path) -> None:
    call = Shop(tmp_path / "none.db").call("show")
    assert call.code == 1
    assert f"shop.py init --db {tmp_path / 'none.db'}" in call.words
