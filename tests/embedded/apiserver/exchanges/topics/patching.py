"""Patches of every type but apply."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.differences import GO_VALUES
from tests.embedded.apiserver.exchanges.exchange import JSON_PATCH, MERGE, STRATEGIC, WIDGETS, Exchange, patch


def patching() -> Iterator[Exchange]:
    one = f"{WIDGETS}/one"
    yield patch("merge patch", one, {"spec": {"size": 4, "labels": {"a": "1", "b": "2"}}})
    yield patch("merge patch removes", one, {"spec": {"labels": {"a": None}}})
    yield patch("merge patch that changes nothing", one, {"spec": {"size": 4}})
    yield patch("merge patch of metadata alone", one, {"metadata": {"annotations": {"n": "1"}}})
    yield patch("merge patch breaks a rule", one, {"spec": {"color": "green"}})
    yield patch("merge patch of the name", one, {"metadata": {"name": "other"}})
    yield patch("merge patch that is a list", one, [1])
    yield patch("merge patch that is no JSON", one, b"{")
    refused = patch("merge patch of an unknown field", f"{one}?fieldValidation=Strict", {"spec": {"colour": "x"}}, MERGE).blotted(GO_VALUES)
    yield refused
    yield patch(
        "json patch",
        one,
        [{"op": "add", "path": "/spec/tags", "value": ["x"]}, {"op": "add", "path": "/spec/tags/-", "value": "y"}],
        JSON_PATCH,
    )
    yield patch("json patch tests", one, [{"op": "test", "path": "/spec/size", "value": 5}], JSON_PATCH)
    yield patch("json patch of nothing", one, [{"op": "remove", "path": "/spec/nothing"}], JSON_PATCH)
    yield patch("json patch that is a map", one, {"op": "add"}, JSON_PATCH)
    yield patch("strategic patch of a custom resource", one, {"spec": {}}, STRATEGIC)
    yield patch("patch of no type", one, {"spec": {}}, "application/json")
    yield patch("patch of what is not there", f"{WIDGETS}/nobody", {"spec": {}})
    yield patch("force without apply", f"{one}?force=true", {"spec": {}})
