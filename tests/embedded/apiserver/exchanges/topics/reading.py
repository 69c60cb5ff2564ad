"""Reading one and many, in each of the forms that there are."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.differences import DECODERS
from tests.embedded.apiserver.exchanges.exchange import TABLE, WIDGETS, Exchange, get


def reading() -> Iterator[Exchange]:
    yield get("get", f"{WIDGETS}/one")
    yield get("get what is not there", f"{WIDGETS}/nobody")
    yield get("list", WIDGETS)
    yield get("list one by label", f"{WIDGETS}?labelSelector=side%20in%20(left)")
    yield get("list by a missing label", f"{WIDGETS}?labelSelector=!side")
    yield get("list by field", f"{WIDGETS}?fieldSelector=spec.color%3Dblue")
    yield get("list by name", f"{WIDGETS}?fieldSelector=metadata.name%3Dtwo")
    yield get("list by an unknown field", f"{WIDGETS}?fieldSelector=spec.size%3D1")
    yield get("a bad label selector", f"{WIDGETS}?labelSelector=a%20b")
    yield get("a bad field selector", f"{WIDGETS}?fieldSelector=nonsense")
    yield get("table", WIDGETS, accept=TABLE)
    yield get("table of one", f"{WIDGETS}/one?includeObject=None", accept=TABLE)
    yield get("metadata alone", f"{WIDGETS}/one", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    yield get("an unacceptable type", f"{WIDGETS}/one", accept="text/html")
    yield get("a match without a version", f"{WIDGETS}?resourceVersionMatch=Exact")
    yield get("a version from the future", f"{WIDGETS}?resourceVersion=999999999")
    yield get("a bad continue token", f"{WIDGETS}?continue=nonsense").part(DECODERS, "code", "reason")
    yield get("initial events of a list", f"{WIDGETS}?sendInitialEvents=true")
    yield get("initial events without a match", f"{WIDGETS}?watch=true&sendInitialEvents=true")
