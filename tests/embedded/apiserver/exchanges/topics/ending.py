"""The end of a namespace, with something in it that is held."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.differences import CONTROLLERS
from tests.embedded.apiserver.exchanges.exchange import NAMESPACE, WIDGETS, Exchange, delete, patch, post
from tests.embedded.apiserver.widgets import widget


def ending() -> Iterator[Exchange]:
    yield post("hold the namespace", WIDGETS, widget("holder", metadata={"finalizers": ["example.com/hold"]}))
    yield delete("delete namespace", f"/api/v1/namespaces/{NAMESPACE}")
    yield post("create in a namespace that ends", WIDGETS, widget("late"))
    yield patch("let the namespace go", f"{WIDGETS}/holder", {"metadata": {"finalizers": []}}).part(CONTROLLERS, "spec")
