"""Server-side apply: who manages what, conflicts, and force."""

from collections.abc import Iterator
from typing import Any

from tests.embedded.apiserver.exchanges.exchange import APPLY, MERGE, WIDGETS, Exchange, patch
from tests.embedded.apiserver.widgets import widget


def applying() -> Iterator[Exchange]:
    path = f"{WIDGETS}/applied"

    def apply(name: str, manager: str, spec: dict[str, Any], *, force: bool = False, labels: dict[str, str] | None = None) -> Exchange:
        body = widget("applied", spec=spec, metadata={"labels": labels} if labels else {})
        return patch(name, f"{path}?fieldManager={manager}&force={str(force).lower()}", body, APPLY)

    first = {
        "color": "red",
        "parts": [{"name": "a", "size": 1}, {"name": "b"}],
        "tags": ["x", "y"],
        "labels": {"k": "1"},
        "link": {"to": "t", "by": "b"},
    }
    yield patch("apply without a manager", path, widget("applied"), APPLY)
    yield apply("apply creates", "alice", first, labels={"from": "alice"})
    yield apply("apply again changes nothing", "alice", first, labels={"from": "alice"})
    yield apply("apply conflicts", "bob", {"color": "red", "parts": [{"name": "a", "size": 2}]})
    yield apply(
        "apply conflicts in several fields",
        "bob",
        {"size": 5, "parts": [{"name": "a", "size": 2}], "labels": {"k": "2"}, "link": {"to": "z"}},
    )
    yield apply("apply shares", "bob", {"color": "red", "parts": [{"name": "c"}], "tags": ["z"]})
    yield apply("apply by force", "bob", {"color": "red", "parts": [{"name": "a", "size": 2}, {"name": "c"}], "tags": ["z"]}, force=True)
    yield apply("apply gives up", "alice", {"color": "red", "parts": [{"name": "b"}], "tags": ["y"]})
    yield apply("apply of an undeclared field", "alice", {"colour": "red"})
    yield patch(
        "update of an applied field",
        f"{path}?fieldManager=carol",
        {"spec": {"parts": [{"name": "b", "size": 9}]}},
        MERGE,
    )
    yield apply("apply conflicts with an update", "alice", {"color": "red", "parts": [{"name": "b", "size": 1}], "tags": ["y"]})
    yield patch("apply with managed fields", f"{path}?fieldManager=a", widget("applied", metadata={"managedFields": []}), APPLY)
    yield patch("apply of another kind", f"{path}?fieldManager=a", widget("applied") | {"kind": "Gadget"}, APPLY)
    yield patch(
        "apply to a status",
        f"{path}/status?fieldManager=st",
        widget("applied", status={"phase": "P"}),
        APPLY,
    )
