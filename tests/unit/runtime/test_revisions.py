"""Old revisions go; those that are needed, or may be, stay."""

from datetime import UTC, datetime
from typing import Any

from backstay.runtime.revisions import expendable

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def revision(workflow: str, number: int, made: str = "2026-11-01T00:00:00Z") -> dict[str, Any]:
    meta = {"namespace": "shop", "name": f"{workflow}-{number}", "labels": {"backstay.dev/workflow": workflow}, "creationTimestamp": made}
    return {"metadata": meta, "revision": number}


def gone(revisions: list[dict[str, Any]], pinned: set[str], workflows: set[str]) -> list[str]:
    found = expendable(revisions, {("shop", name) for name in pinned}, {("shop", name) for name in workflows}, NOW)
    return sorted(one["metadata"]["name"] for one in found)


def test_a_workflow_keeps_its_ten_newest_revisions() -> None:
    assert gone([revision("order", number) for number in range(1, 13)], set(), {"order"}) == ["order-1", "order-2"]


def test_a_revision_that_a_run_is_pinned_to_stays() -> None:
    assert gone([revision("order", number) for number in range(1, 13)], {"order-1"}, {"order"}) == ["order-2"]


def test_the_revisions_of_a_deleted_workflow_go_when_no_run_needs_them() -> None:
    assert gone([revision("order", 1), revision("order", 2)], {"order-2"}, set()) == ["order-1"]


def test_a_young_revision_stays_because_a_run_may_be_about_to_use_it() -> None:
    assert gone([revision("order", 1, "2026-11-23T11:30:00Z")], set(), set()) == []
