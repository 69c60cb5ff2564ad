"""Owners and dependents: what goes with whom, and in which order; preconditions, and the deletion of many."""

from collections.abc import Iterator, Sequence

from tests.embedded.apiserver.exchanges.differences import DECODERS
from tests.embedded.apiserver.exchanges.exchange import JSON_PATCH, MAPS, WIDGETS, Body, Exchange, delete, get, gone, patch, post
from tests.embedded.apiserver.widgets import widget


def owning() -> Iterator[Exchange]:
    # A garbage collector that has not heard of the orphan yet leaves its owner in it: once the others, which are newer, have gone, it has.
    for policy in ("Orphan", "Background", "Foreground"):
        owner, child = f"{policy.lower()}-owner", f"{policy.lower()}-child"
        yield post(f"an owner, {policy}", WIDGETS, widget(owner))
        yield post(f"its dependent, {policy}", MAPS, owned(child, f"an owner, {policy}", owner))
    for policy in ("Background", "Foreground", "Orphan"):
        owner, child = f"{policy.lower()}-owner", f"{policy.lower()}-child"
        yield delete(f"delete the owner, {policy}", f"{WIDGETS}/{owner}", {"propagationPolicy": policy})
        yield get(f"the owner goes, {policy}", f"{WIDGETS}/{owner}", until=gone)
        if policy == "Orphan":
            yield get("an orphan stays", f"{MAPS}/{child}")
        else:
            yield get(f"the dependent goes, {policy}", f"{MAPS}/{child}", until=gone)
    yield from _in_the_foreground()
    yield from _preconditions()
    yield from _many()


def _in_the_foreground() -> Iterator[Exchange]:
    """Yield a deletion that waits for a dependent that is held, and one that does not wait for a dependent that does not block."""
    yield post("an owner that waits", WIDGETS, widget("waits"))
    yield post("a dependent that is held", MAPS, owned("held-child", "an owner that waits", "waits", finalizers=["example.com/hold"]))
    yield delete("delete the owner that waits", f"{WIDGETS}/waits?propagationPolicy=Foreground")
    yield get(
        "its dependent is being deleted", f"{MAPS}/held-child", until=lambda answer: "deletionTimestamp" in answer["body"]["metadata"]
    )
    yield get("it waits", f"{WIDGETS}/waits")
    yield patch("its dependent is let go", f"{MAPS}/held-child", {"metadata": {"finalizers": None}})
    yield get("its dependent has gone", f"{MAPS}/held-child", until=gone)
    yield get("it has gone", f"{WIDGETS}/waits", until=gone)
    yield post("a dependent of nobody", MAPS, owned("lost", "an owner that waits", "waits"))
    yield get("a dependent of nobody goes", f"{MAPS}/lost", until=gone)
    yield post("one of two owners", WIDGETS, widget("left-owner"))
    yield post("two of two owners", WIDGETS, widget("right-owner"))
    child = owned("shared", "one of two owners", "left-owner")
    child["metadata"]["ownerReferences"] += owned("shared", "two of two owners", "right-owner", controller=False)["metadata"][
        "ownerReferences"
    ]
    yield post("a dependent of both", MAPS, child)
    yield delete("delete one of the owners", f"{WIDGETS}/left-owner")
    yield get(
        "the other owner keeps it", f"{MAPS}/shared", until=lambda answer: len(answer["body"]["metadata"].get("ownerReferences", ())) == 1
    )
    yield delete("delete the other owner", f"{WIDGETS}/right-owner")
    yield get("nobody keeps it", f"{MAPS}/shared", until=gone)
    yield post("two controllers", MAPS, two_controllers())


def _preconditions() -> Iterator[Exchange]:
    yield post("a thing with conditions", WIDGETS, widget("conditional"))
    yield delete("delete an older version", f"{WIDGETS}/conditional", {"preconditions": {"resourceVersion": "1"}})
    yield delete("delete another's uid", f"{WIDGETS}/conditional", {"preconditions": {"uid": "other"}})
    precise = {"uid": "@uid:a thing with conditions@", "resourceVersion": "@version:a thing with conditions@"}
    yield delete("delete exactly this", f"{WIDGETS}/conditional", {"preconditions": precise})
    yield delete("both ways to orphan", f"{WIDGETS}/conditional?propagationPolicy=Orphan&orphanDependents=true")
    yield delete("options of another kind", f"{WIDGETS}/one", {"kind": "Pod", "apiVersion": "v1"}).part(DECODERS, "code", "reason")
    yield delete("options that are no JSON", f"{WIDGETS}/one", b"{")
    yield delete("options that are a list", f"{WIDGETS}/one", [])
    yield delete("a grace that is no number", f"{WIDGETS}/one?gracePeriodSeconds=soon")
    yield delete("delete dry, by the body", f"{WIDGETS}/one", {"dryRun": ["All"]})
    yield delete("delete dry, badly", f"{WIDGETS}/one", {"dryRun": ["Some"]})


def _many() -> Iterator[Exchange]:
    for number, held in enumerate(([], ["example.com/hold"], [])):
        yield post(f"one of many, {number}", MAPS, {"metadata": {"name": f"many-{number}", "labels": {"many": ""}, "finalizers": held}})
    yield delete("delete many dry", f"{MAPS}?labelSelector=many&dryRun=All")
    yield delete("delete many by a bad selector", f"{MAPS}?labelSelector=many%20in")
    yield delete("delete many", f"{MAPS}?labelSelector=many")
    yield get("the held one stays", f"{MAPS}?labelSelector=many")
    yield patch("the held one is let go", f"{MAPS}/many-1", [{"op": "remove", "path": "/metadata/finalizers"}], JSON_PATCH)
    yield get("none of the many stays", f"{MAPS}?labelSelector=many")
    yield delete("delete all namespaces", "/api/v1/namespaces")


def owned(name: str, owner: str, owner_name: str, *, controller: bool = True, finalizers: Sequence[str] = ()) -> Body:
    """Return a config map that belongs to the widget that the exchange `owner` made."""
    reference = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "name": owner_name,
        "uid": f"@uid:{owner}@",
        "controller": controller,
        "blockOwnerDeletion": True,
    }
    return {"metadata": {"name": name, "ownerReferences": [reference], "finalizers": list(finalizers)}}


def two_controllers() -> Body:
    first, second = (
        {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name, "controller": True} for name in ("first", "second")
    )
    return {"metadata": {"name": "x", "ownerReferences": [first, second]}}
