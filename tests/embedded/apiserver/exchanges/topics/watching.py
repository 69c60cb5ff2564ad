"""Watches: from where they begin, what they show, and how they end. What they tell of has happened before, so that they tell it at once."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.differences import HISTORY, OLD_WATCHES
from tests.embedded.apiserver.exchanges.exchange import MAPS, NAMESPACE, TABLE, WIDGETS, Exchange, asked, delete, get, patch, post, watch
from tests.embedded.apiserver.widgets import widget


def watching() -> Iterator[Exchange]:
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
    yield post("a thing to watch", WIDGETS, widget("watched", metadata={"labels": {"seen": "yes"}}, spec={"color": "red", "size": 2}))
    yield patch("it changes", f"{WIDGETS}/watched", {"spec": {"size": 3}})
    yield patch("it leaves the selection", f"{WIDGETS}/watched", {"metadata": {"labels": {"seen": "no"}}})
    yield patch("it changes unseen", f"{WIDGETS}/watched", {"spec": {"size": 4}})
    yield patch("it comes back", f"{WIDGETS}/watched", {"metadata": {"labels": {"seen": "yes"}}})
    yield patch("its status changes", f"{WIDGETS}/watched/status", {"status": {"phase": "Done"}})
    yield delete("it goes", f"{WIDGETS}/watched")
    yield post("another thing to watch", WIDGETS, widget("watched-too", metadata={"labels": {"seen": "yes"}}, spec={"color": "blue"}))
    since = {"resourceVersion": "@version:a thing to watch@"}
    yield watch("everything since then", asked(WIDGETS, **since), 7)
    yield watch("what was selected since then", asked(WIDGETS, **since, labelSelector="seen=yes"), 6)
    yield watch("one since then", asked(WIDGETS, **since, fieldSelector="metadata.name=watched"), 6)
    yield watch("one since then by its path", asked(f"{WIDGETS}/watched", **since), 6)
    yield watch("of one color since then", asked(WIDGETS, **since, fieldSelector="spec.color=blue"), 1)
    yield watch("as tables", asked(WIDGETS, **since), 2, accept=TABLE)
    yield watch(
        "metadata alone, watched", asked(WIDGETS, **since), 2, accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    )
    yield watch("everywhere since then", asked("/apis/example.com/v1/widgets", **since), 3)
    yield watch("what is there now", asked(WIDGETS, labelSelector="seen=yes"), 1)
    yield watch("what is there at any time", asked(WIDGETS, resourceVersion=0, labelSelector="seen=yes"), 1)
    begins = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    yield watch("initial events and their end", asked(WIDGETS, labelSelector="seen=yes", **begins), 2)
    yield watch("initial events from any time", asked(WIDGETS, labelSelector="seen=yes", resourceVersion=0, **begins), 2)
    yield watch("no initial events", asked(WIDGETS, sendInitialEvents="false", resourceVersionMatch="NotOlderThan", timeoutSeconds=1), 0)
    yield watch("initial events of something else", asked(WIDGETS, sendInitialEvents="true", resourceVersionMatch="Exact"), 0)
    yield watch("a watch with a match", asked(WIDGETS, resourceVersionMatch="NotOlderThan"), 0)
    yield watch("a watch in pages", asked(WIDGETS, limit=1, labelSelector="seen=yes", timeoutSeconds=1), 0)
    yield watch("a watch that ends with its time", asked(WIDGETS, resourceVersion="@version:another thing to watch@", timeoutSeconds=1), 0)
    yield watch("a watch of builtin objects", asked(leases, timeoutSeconds=1), 0)
    yield watch("a watch from too long ago", asked(WIDGETS, resourceVersion=1), 1).part(HISTORY)
    yield watch("a watch from the future", asked(WIDGETS, resourceVersion=999999999, timeoutSeconds=1), 0)
    yield watch("a watch from no version", asked(WIDGETS, resourceVersion="soon"), 0)
    yield watch("a watch of what cannot be selected", asked(WIDGETS, fieldSelector="spec.size=1"), 0)
    yield watch("a watch of what is not served", "/apis/example.com/v1/gadgets", 0)
    yield watch("a watch of a thing that is not there", asked(f"{WIDGETS}/nobody", timeoutSeconds=1), 0)
    yield watch("a watch of one thing by its path is a GET", f"{WIDGETS}/one", 0)
    yield watch("a watch of one builtin thing by its path is a GET", f"{MAPS}/cm", 0)
    yield watch("a watch of reviews", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 0)
    yield get("a watch by its old path", "/apis/example.com/v1/watch/widgets?timeoutSeconds=1", events=0).otherwise(OLD_WATCHES, 404)
    yield delete("the watched one goes", f"{WIDGETS}/watched-too")
