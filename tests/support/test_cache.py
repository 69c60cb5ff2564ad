"""What tests keep in the user's cache is made once, whole, and by one maker at a time."""

import threading
from pathlib import Path

import pytest

from tests.support.cache import CacheBusy, cache_folder, made_once


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("tools", "a") == tmp_path / "backstay" / "tools" / "a"


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_without_an_absolute_folder_of_the_user_the_cache_is_in_the_home(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder("tools") == Path.home() / ".cache" / "backstay" / "tools"


def test_a_thing_is_made_once_and_then_found(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "thing"
    assert made_once(target, lambda unfinished: unfinished.write_text("first") and None, limit_seconds=5) == target
    made_once(target, lambda unfinished: unfinished.write_text("second") and None, limit_seconds=5)
    assert target.read_text() == "first"


def test_a_maker_that_fails_leaves_nothing_and_the_next_one_starts_afresh(tmp_path: Path) -> None:
    target = tmp_path / "thing"

    def fail(unfinished: Path) -> None:
        unfinished.write_text("half")
        raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="the disk is full"):
        made_once(target, fail, limit_seconds=5)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]
    made_once(target, lambda unfinished: unfinished.write_text("whole") and None, limit_seconds=5)
    assert target.read_text() == "whole"


def test_of_many_makers_at_once_one_makes_and_all_find_the_whole_thing(tmp_path: Path) -> None:
    target = tmp_path / "thing"
    makings: list[int] = []
    found: list[str] = []
    together = threading.Barrier(8)

    def make(unfinished: Path) -> None:
        makings.append(1)
        unfinished.mkdir()
        for number in range(50):
            (unfinished / str(number)).write_text("x" * 1000)

    def user() -> None:
        together.wait(timeout=10)
        folder = made_once(target, make, limit_seconds=10)
        found.append("".join(sorted(path.name for path in folder.iterdir())))

    users = [threading.Thread(target=user) for _ in range(8)]
    for each in users:
        each.start()
    for each in users:
        each.join(timeout=20)
    assert makings == [1]
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_maker_that_takes_too_long_is_named_to_those_who_wait(tmp_path: Path) -> None:
    target = tmp_path / "thing"

    def make_while_another_waits(unfinished: Path) -> None:
        with pytest.raises(CacheBusy, match=r"another process has held .*\.thing\.lock"):
            made_once(target, lambda _: None, limit_seconds=0.1)
        unfinished.write_text("slow")

    made_once(target, make_while_another_waits, limit_seconds=5)
    assert target.read_text() == "slow"
