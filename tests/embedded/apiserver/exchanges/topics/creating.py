"""Creating: names, metadata, and what is refused before anything is looked at closely."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.exchange import NAMESPACE, WIDGETS, Exchange, get, post
from tests.embedded.apiserver.widgets import widget


def creating() -> Iterator[Exchange]:
    yield post("create", WIDGETS, widget("one", spec={"color": "red", "parts": [{"name": "a"}]}, status={"phase": "ignored"}))
    yield post("create again", WIDGETS, widget("one"))
    yield post("create two", WIDGETS, widget("two", metadata={"labels": {"side": "left"}}, spec={"color": "blue", "size": 7}))
    yield post("create three", WIDGETS, widget("three", metadata={"labels": {"side": "right"}}))
    yield post("create dry", f"{WIDGETS}?dryRun=All", widget("dry", spec={"size": 3}))
    yield get("dry run left nothing", f"{WIDGETS}/dry")
    yield post("create without a name", WIDGETS, widget())
    yield post("create with a bad name", WIDGETS, widget("Bad_Name"))
    yield post("create with a bad generateName", WIDGETS, widget("", metadata={"generateName": "Bad_"}))
    yield post("create in no namespace", WIDGETS.replace(NAMESPACE, "nowhere"), widget("x"))
    yield post("create with another namespace", WIDGETS, widget("x", metadata={"namespace": "other"}))
    yield post("create with a version", WIDGETS, widget("x", metadata={"resourceVersion": "7"}))
    yield post("create of another API version", WIDGETS, widget("x") | {"apiVersion": "example.com/v2"})
    yield post("create of another kind", WIDGETS, widget("x") | {"kind": "Gadget"})
    yield post("create with a bad label", WIDGETS, widget("x", metadata={"labels": {"a/b/c": "not ok"}}))
    yield post("create with a bad owner", WIDGETS, widget("x", metadata={"ownerReferences": [{"kind": "Widget", "name": "one"}]}))
    yield post("create with a bad finalizer", WIDGETS, widget("x", metadata={"finalizers": ["no good"]}))
    yield post("create with a bad value", WIDGETS, widget("x", spec={"color": "pink"}))
    yield post("create with a bad type", WIDGETS, widget("x", spec={"size": "big"}))
    yield post("unknown field is warned of", WIDGETS, widget("warned", spec={"colour": "red"}))
    yield post("unknown field is refused", f"{WIDGETS}?fieldValidation=Strict", widget("x", spec={"colour": "red"}))
    yield post("unknown field is ignored", f"{WIDGETS}?fieldValidation=Ignore", widget("ignored", spec={"colour": "red"}))
    yield post("repeated item", WIDGETS, widget("x", spec={"tags": ["a", "a"]}))
    yield post("a bad dryRun", f"{WIDGETS}?dryRun=Some", widget("x"))
    yield post("a bad fieldValidation", f"{WIDGETS}?fieldValidation=Perhaps", widget("x"))
    yield post("text for a body", WIDGETS, b"hello", "text/plain")
