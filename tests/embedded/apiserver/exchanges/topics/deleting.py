"""Deleting: preconditions, policies, finalizers."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.exchange import CORE, MERGE, WIDGETS, Exchange, delete, get, patch, post
from tests.embedded.apiserver.widgets import widget


def deleting() -> Iterator[Exchange]:
    held = widget("held", metadata={"finalizers": ["example.com/hold"]})
    yield delete("delete with another uid", f"{WIDGETS}/two", {"preconditions": {"uid": "other"}})
    yield delete("delete by an unknown policy", f"{WIDGETS}/two", {"propagationPolicy": "Sideways"})
    yield delete("delete dry", f"{WIDGETS}/two?dryRun=All")
    yield delete("delete", f"{WIDGETS}/two")
    yield delete("delete again", f"{WIDGETS}/two")
    yield post("create held", WIDGETS, held)
    yield delete("delete held", f"{WIDGETS}/held")
    yield delete("delete held again", f"{WIDGETS}/held")
    yield post("create while it is deleted", WIDGETS, held)
    yield patch("no new finalizers now", f"{WIDGETS}/held", {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}, MERGE)
    yield patch("let it go", f"{WIDGETS}/held", {"metadata": {"finalizers": None}})
    yield get("held is gone", f"{WIDGETS}/held")
    yield delete("delete in the foreground", f"{WIDGETS}/applied", {"propagationPolicy": "Foreground"})
    yield delete("delete and orphan", f"{WIDGETS}/one?propagationPolicy=Orphan")
    yield delete("delete config map", f"{CORE}/configmaps/cm")
    yield delete("delete those on the right", f"{WIDGETS}?labelSelector=side%3Dright")
