"""Which news is news: late, repeated and reordered word of objects never undoes what is known."""

from dataclasses import dataclass, field, replace

from backstay.kube.store import Change, Store


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    resource_version: int = field(compare=False)
    uid: str = "u1"
    run_uid: str = "r1"
    namespace: str = "shop"
    colour: str = "red"


def events(changes: list[Change[Thing]]) -> list[tuple[str, int]]:
    return [(change.event, change.new.resource_version) for change in changes]


def test_an_object_is_added_once_and_modified_when_it_differs() -> None:
    store: Store[Thing] = Store()
    assert events(store.put(Thing("a", 5))) == [("ADDED", 5)]
    assert events(store.put(Thing("a", 5))) == []
    assert events(store.put(Thing("a", 6, colour="blue"))) == [("MODIFIED", 6)]
    assert events(store.put(Thing("a", 5))) == []
    assert store.get("shop", "a") == Thing("a", 6, colour="blue")


def test_a_change_that_is_of_no_interest_is_kept_and_not_told() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("a", 5))
    assert store.put(Thing("a", 9)) == []
    assert store.put(Thing("a", 8, colour="blue")) == []  # older than what is known
    assert events(store.put(Thing("a", 10, colour="blue"))) == [("MODIFIED", 10)]


def test_a_deletion_tells_the_object_at_its_end_and_what_it_was_before() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("a", 5))
    end = Thing("a", 7, colour="black")
    assert store.remove(end) == [Change("DELETED", end, Thing("a", 5))]
    assert store.get("shop", "a") is None
    assert store.of("r1") == ()
    assert len(store) == 0


def test_late_word_does_not_raise_the_dead() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("a", 5))
    store.remove(Thing("a", 7))
    assert store.put(Thing("a", 6)) == []
    assert store.put(Thing("a", 7)) == []
    assert store.remove(Thing("a", 7)) == []
    assert len(store) == 0


def test_what_was_deleted_before_we_heard_of_its_creation_stays_dead() -> None:
    store: Store[Thing] = Store()
    store.remove(Thing("a", 7))
    assert store.put(Thing("a", 6)) == []  # the answer to our own POST comes after the watch has told of its deletion


def test_an_object_that_leaves_the_selection_and_returns_is_new() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("a", 5))
    store.remove(Thing("a", 7))
    assert events(store.put(Thing("a", 9))) == [("ADDED", 9)]


def test_another_object_of_the_same_name_replaces_the_first() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("a", 5, uid="u1"))
    assert events(store.put(Thing("a", 8, uid="u2", run_uid="r2"))) == [("DELETED", 5), ("ADDED", 8)]
    assert store.of("r1") == ()
    assert [thing.uid for thing in store.of("r2")] == ["u2"]
    assert store.put(Thing("a", 6, uid="u1")) == []
    assert store.remove(Thing("a", 7, uid="u1")) == []
    assert len(store) == 1


def test_a_list_deletes_what_it_lacks_but_not_what_is_younger() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("old", 5, uid="u1"))
    store.put(Thing("kept", 6, uid="u2"))
    store.put(Thing("just-made", 12, uid="u3"))
    assert events(store.sweep({"u2"}, 10)) == [("DELETED", 5)]
    assert sorted(thing.name for thing in store) == ["just-made", "kept"]
    assert store.put(Thing("old", 9, uid="u1")) == []  # older than the list that lacked it


def test_what_was_made_and_is_missing_from_a_newer_list_is_gone() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("just-made", 12, uid="u3"))
    assert events(store.sweep(set(), 13)) == [("DELETED", 12)]


def test_history_that_was_turned_back_is_believed() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("a", 500))
    store.put(Thing("b", 600, uid="u2"))
    store.forgive()
    assert events(store.put(Thing("a", 40, colour="blue"), trusted=True)) == [("MODIFIED", 40)]
    assert events(store.sweep({"u1"}, 50, trusted=True)) == [("DELETED", 600)]
    assert events(store.put(Thing("a", 51, colour="green"))) == [("MODIFIED", 51)]


def test_objects_are_found_by_the_run_that_they_belong_to() -> None:
    store: Store[Thing] = Store()
    for number, run in enumerate(["r1", "r2", "r1", ""]):
        store.put(Thing(f"t{number}", 5, uid=f"u{number}", run_uid=run))
    assert [thing.name for thing in store.of("r1")] == ["t0", "t2"]
    store.put(replace(Thing("t0", 6, uid="u0"), run_uid="r2"))
    assert [thing.name for thing in store.of("r1")] == ["t2"]
    assert [thing.name for thing in store.of("r2")] == ["t1", "t0"]


def test_forgetting_a_run_frees_its_objects_without_a_word() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("a", 5))
    store.put(Thing("b", 5, uid="u2", run_uid="r2"))
    store.forget("r1")
    assert [thing.name for thing in store] == ["b"]
    assert events(store.put(Thing("a", 6))) == [("ADDED", 6)]


def test_what_is_of_no_interest_any_more_is_dropped_and_may_come_back() -> None:
    store: Store[Thing] = Store()
    store.put(Thing("a", 5))
    assert events(store.drop("shop", "a")) == [("DELETED", 5)]
    assert store.drop("shop", "a") == []
    assert events(store.put(Thing("a", 5))) == [("ADDED", 5)]


def test_memory_of_the_dead_is_bounded() -> None:
    store: Store[Thing] = Store()
    for number in range(10_050):
        store.remove(Thing(f"t{number}", 5, uid=f"u{number}"))
    assert events(store.put(Thing("t0", 4, uid="u0"))) == [("ADDED", 4)]  # forgotten: the oldest go first
    assert store.put(Thing("t10049", 4, uid="u10049")) == []
