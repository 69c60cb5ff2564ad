"""Who holds which shard: even, without need nothing moves, and everybody who works it out says the same."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.runtime.shards import root_of, share_out
from backstay.runtime.store import RunStore
from backstay.settings import Settings

TABLE = [
    ("the first one takes all", 4, {"a"}, {}, {0: "a", 1: "a", 2: "a", 3: "a"}),
    (
        "one that joins is given half, and the first shard stays",
        4,
        {"a", "b"},
        dict.fromkeys(range(4), "a"),
        {0: "a", 1: "a", 2: "b", 3: "b"},
    ),
    ("of three one has two", 4, {"a", "b", "c"}, {0: "a", 1: "a", 2: "b", 3: "b"}, {0: "a", 1: "a", 2: "b", 3: "c"}),
    ("what the dead one had goes to the others", 4, {"a", "c"}, {0: "a", 1: "a", 3: "c"}, {0: "a", 1: "a", 2: "c", 3: "c"}),
    ("whoever holds the single one keeps it", 1, {"a", "b"}, {0: "b"}, {0: "b"}),
    ("more of them than shards", 2, {"a", "b", "c"}, {0: "c"}, {0: "c", 1: "a"}),
]


@pytest.mark.parametrize(("count", "members", "holders", "shared"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_shards_are_shared_out(count: int, members: set[str], holders: dict[int, str], shared: dict[int, str]) -> None:
    assert share_out(count, members, holders) == shared


@given(st.integers(1, 16), st.sets(st.sampled_from("abcdef"), min_size=1), st.dictionaries(st.integers(0, 15), st.sampled_from("abcdef")))
def test_every_shard_has_one_holder_the_shares_are_even_and_nothing_moves_that_need_not(
    count: int, members: set[str], holders: dict[int, str]
) -> None:
    holders = {shard: holder for shard, holder in holders.items() if shard < count and holder in members}
    shared = share_out(count, members, holders)
    assert set(shared) == set(range(count))
    numbers = [Counter(shared.values())[member] for member in members]
    assert max(numbers) - min(numbers) <= 1
    moved = sum(shared[shard] != holder for shard, holder in holders.items())
    most = -(-count // len(members))
    assert moved <= sum(max(0, held - count // len(members)) for held in Counter(holders.values()).values())
    if (
        all(held <= most for held in Counter(holders.values()).values())
        and sum(numbers) == len(holders)
        and sorted(Counter(holders.values())[member] for member in members) == sorted(numbers)
    ):
        assert moved == 0
    assert share_out(count, members, shared) == shared, "asked again, it says something else"


def run(uid: str, parent: str = "", root: str = "") -> dict[str, dict[str, Any]]:
    labels = {"backstay.dev/parent": parent} if parent else {}
    notes = {"backstay.dev/root": root} if root else {}
    meta = {"name": uid, "namespace": "shop", "uid": uid, "resourceVersion": "1", "labels": labels, "annotations": notes}
    return {"metadata": meta}


def test_a_family_is_known_by_its_outermost_run_also_where_that_is_not_written_down() -> None:
    store = RunStore()
    for each in (run("top"), run("middle", "top"), run("leaf", "middle")):
        store.remember(each)
    assert root_of(run("leaf", "middle", "top")["metadata"], RunStore()) == "top"
    assert [root_of(run(uid, parent)["metadata"], store) for uid, parent in (("top", ""), ("middle", "top"), ("leaf", "middle"))] == [
        "top"
    ] * 3
    assert root_of(run("orphan", "gone")["metadata"], store) == "gone"


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (Settings(), ("default", "backstay")),
        (Settings(namespaces=("shop",)), ("shop", "backstay")),
        (Settings(lease_namespace="ops", lease_name="own", namespaces=("shop",)), ("ops", "own")),
    ],
)
def test_the_lease_is_where_it_is_told_to_be_or_where_the_operator_looks_after(settings: Settings, place: tuple[str, str]) -> None:
    assert settings.lease_place == place


def test_operators_of_other_namespaces_have_other_leases() -> None:
    one, other = Settings(namespaces=("shop", "billing")).lease_place, Settings(namespaces=("shop", "store")).lease_place
    assert one[0] == other[0] == "shop"
    assert one[1] != other[1]


@pytest.mark.parametrize(("name", "value"), [("BACKSTAY_SHARDS", "-1"), ("BACKSTAY_SHARDS", "65"), ("BACKSTAY_LEASE_SECONDS", "1")])
def test_a_number_that_makes_no_sense_is_refused_with_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{name}='{value}': it must be from"):
        Settings.from_environment({name: value})
