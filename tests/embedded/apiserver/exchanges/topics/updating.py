"""Replacing an object, and writing its status."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.exchange import MERGE, TABLE, WIDGETS, Exchange, get, patch, post, put
from tests.embedded.apiserver.widgets import widget


def updating() -> Iterator[Exchange]:
    yield put("put without a version", f"{WIDGETS}/two", widget("two", spec={"color": "blue"}))
    yield put("put with a stale version", f"{WIDGETS}/two", widget("two", metadata={"resourceVersion": "1"}))
    yield put("put under another name", f"{WIDGETS}/two", widget("three", metadata={"resourceVersion": "1"}))
    yield put("put without a name", f"{WIDGETS}/two", widget("", metadata={"resourceVersion": "1"}))
    yield put("put what is not there", f"{WIDGETS}/nobody", widget("nobody", metadata={"resourceVersion": "1"}))
    yield put("put with another uid", f"{WIDGETS}/two", widget("two", metadata={"uid": "other", "resourceVersion": "1"}))
    yield post("post to an object", f"{WIDGETS}/two", widget("two"))
    yield from _statuses()


def _statuses() -> Iterator[Exchange]:
    condition = {"type": "Ready", "status": "True"}
    status = {"phase": "Done", "count": 2, "conditions": [condition]}
    yield patch("status", f"{WIDGETS}/one/status", {"status": status, "spec": {"size": 50}, "metadata": {"labels": {"x": "y"}}}, MERGE)
    yield patch("status is not written elsewhere", f"{WIDGETS}/one", {"status": {"phase": "Changed"}})
    yield patch("bad status", f"{WIDGETS}/one/status", {"status": {"count": "two"}})
    yield patch("stale status", f"{WIDGETS}/one/status", {"metadata": {"resourceVersion": "1"}, "status": {"count": 3}}, MERGE)
    yield get("get status", f"{WIDGETS}/one/status")
    yield get("table with status", f"{WIDGETS}/one", accept=TABLE)
