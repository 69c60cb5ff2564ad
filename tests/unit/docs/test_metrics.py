"""The page on metrics tells of every metric that there is, and of none that there is not."""

import re
from pathlib import Path
from typing import Any

from backstay.kube.limiter import IN_LINE
from backstay.observe.metrics import Metrics

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
_ROW = re.compile(r"^\| `(backstay_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)
_SUFFIX = {"counter": "_total", "info": "_info"}


def _there() -> set[tuple[str, str, tuple[str, ...]]]:
    registry: Any = Metrics().registry
    families = [each for each in registry._collector_to_names if getattr(each, "_name", "").startswith("backstay_")]
    return {
        (each._name + _SUFFIX.get(each._type, ""), each._type, ("version", "api") if each._type == "info" else tuple(each._labelnames))
        for each in families
    }


def test_each_metric_stands_there_with_its_type_and_its_labels() -> None:
    told = {(name, kind, tuple(re.findall("`([^`]+)`", labels))) for name, kind, labels in _ROW.findall(PAGE)}
    assert told == _there()


def test_the_priorities_are_those_that_there_are() -> None:
    section = PAGE.split("## What goes first")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == ["priority", *(priority.name.lower() for priority in IN_LINE)]


def test_every_metric_that_another_page_names_is_there() -> None:
    names = {name for name, _, _ in _there()}
    for page in Path(__file__).parents[3].joinpath("docs").rglob("*.md"):
        for name in re.findall(r"`(backstay_[a-z_]+)", page.read_text()):
            base = re.sub("_(bucket|sum|count)$", "", name)
            assert base in names or any(each.startswith(base) for each in names), f"{page.name} names {name}"
