"""Where the conversation takes place: a namespace, and the definition of Widgets."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.differences import CONTROLLERS
from tests.embedded.apiserver.exchanges.exchange import CORE, MAPS, NAMESPACE, WIDGETS, Exchange, delete, get, post, there
from tests.embedded.apiserver.widgets import CRDS_PATH, definition


def namespaces() -> Iterator[Exchange]:
    yield post("create namespace", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    yield get("its service account", f"{CORE}/serviceaccounts/default", until=there)
    yield get("its certificate", f"{MAPS}/kube-root-ca.crt", until=there)
    yield post("create namespace again", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    yield post("namespace with a bad name", "/api/v1/namespaces", {"metadata": {"name": "No.Good"}})
    yield post("create definition", CRDS_PATH, definition()).part(CONTROLLERS, "spec")
    yield get("widgets are served", WIDGETS, until=there)
    yield post("definition with another name", CRDS_PATH, definition() | {"metadata": {"name": "gadgets.example.com"}})
    yield delete("delete default namespace", "/api/v1/namespaces/default")
