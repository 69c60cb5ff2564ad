"""The real input: orders of a small shop, whose steps really do their work, and are really undone."""

import pytest

from tests.scenarios.fixtures import Market, succeeded, undone
from tests.support.cluster import condition, condition_of, phase_of

FORWARD = ["reserve", "charge", "pack/first/box", "pack/second/box", "pack/third/box", "ship"]


def test_a_good_order_ends_well_and_stock_and_payment_are_right(market: Market) -> None:
    run = market.place.ended(market.start("good"))
    assert run["status"]["phase"] == "Succeeded"
    assert run["status"]["progress"] == "5/5"
    assert phase_of(run, "check") == "Skipped"
    assert market.shop.shelves() == {"mug": 97, "lamp": 39, "desk": 10}
    assert market.shop.balance("ada") == 10000 - 121
    (payment,) = market.shop.books()["payments"]
    (shipment,) = market.shop.books()["shipments"]
    assert payment["amount"] == 121
    assert run["status"]["outputs"] == {"payment": payment["id"], "shipment": shipment["id"], "parcels": 3}
    assert sorted(succeeded(run)) == sorted(FORWARD)
    market.place.until("good", lambda run: "finalizers" not in run["metadata"])
    market.assert_each_job_ran_once()


def test_a_large_order_is_looked_at_a_second_time(market: Market) -> None:
    run = market.place.ended(market.start("large"))
    assert run["status"]["phase"] == "Succeeded"
    assert [check["amount"] for check in market.shop.books()["checks"]] == [1377]
    market.assert_each_job_ran_once()


def test_a_declined_card_is_caught_the_customer_is_told_and_the_goods_go_back(market: Market) -> None:
    run = market.place.ended(market.start("declined"))
    assert run["status"]["phase"] == "Failed"
    assert run["status"]["error"]["type"] == "CardDeclined"
    assert run["status"]["error"]["detail"] == "order b-3 was not paid: the card of bob does not cover 109"
    assert undone(run) == ["reserve"]
    letter = {"order_id": "b-3", "text": "We could not charge your card: the card of bob does not cover 109."}
    assert market.shop.books() == {**market.before, "letters": [letter]}
    market.assert_each_job_ran_once()


def test_when_shipping_fails_all_is_undone_in_reverse_and_the_shop_is_as_before(market: Market) -> None:
    run = market.place.ended(market.start("shipping-fails"))
    assert run["status"]["phase"] == "Failed"
    assert run["status"]["error"]["type"] == "Undeliverable"
    assert run["status"]["error"]["detail"] == "the carrier does not go to AQ, only to DE, FR, NL"
    assert undone(run) == list(reversed(succeeded(run)))
    assert len(undone(run)) == 6
    assert market.shop.done()[6:] == ["unpack", "unpack", "unpack", "uncheck", "refund", "release"]
    assert market.shop.books() == market.before
    assert condition(run, "Succeeded") == "False"
    assert condition(run, "Compensated") == "True"
    assert condition_of(run, "Compensated")["message"].startswith("6 steps are undone: ")
    market.assert_each_job_ran_once()


@pytest.mark.parametrize("propagation", ["background", "foreground", "orphan"])
def test_deleting_a_run_half_way_undoes_it(market: Market, propagation: str) -> None:
    market.shop.close("ship")
    name = market.start("large")
    market.at_work(name, "ship")
    assert market.shop.books() != market.before
    market.place.kubectl("delete", "wfrun", name, f"--cascade={propagation}", "--timeout=60s")
    assert not market.place.has_run(name)
    assert market.shop.done()[6:] == ["recall", "unpack", "unpack", "unpack", "uncheck", "refund", "release"]
    assert market.shop.books() == market.before
    assert max(market.shop.asked().values()) == 1


def test_deleting_a_run_in_the_middle_of_its_parcels_undoes_what_was_done(market: Market) -> None:
    market.shop.close("pack")
    name = market.start("good")
    market.at_work(name, "pack/first/box", "pack/second/box", "pack/third/box")
    market.place.kubectl("delete", "wfrun", name, "--timeout=60s")
    assert market.shop.done() == ["reserve", "charge", "unpack", "unpack", "unpack", "refund", "release"]
    assert market.shop.books() == market.before
