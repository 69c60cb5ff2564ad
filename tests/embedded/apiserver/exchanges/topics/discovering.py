"""Discovery, aggregated and by the document; OpenAPI as kubectl asks for it."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.differences import DESCRIPTIONS, SERVED
from tests.embedded.apiserver.exchanges.exchange import Exchange, get, kubectl

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def discovering() -> Iterator[Exchange]:
    yield get("the core versions", "/api")
    yield get("the group of widgets", "/apis/example.com")
    yield get("the resources of widgets' group", "/apis/example.com/v1")
    yield get("the resources of batch", "/apis/batch/v1")
    yield get("a group that is not there", "/apis/nothing.example.com")
    yield get("a version that is not there", "/apis/example.com/v9")
    yield get("the resources of leases' group", "/apis/coordination.k8s.io/v1")
    yield get("everything in the core", "/api", accept=_AGGREGATED).blotted(SERVED)
    yield get("everything else", "/apis", accept=_AGGREGATED).blotted(SERVED)
    yield get("everything in the core, as kubectl asks", "/api", accept=f"{_AGGREGATED},application/json").blotted(SERVED)
    yield get("the paths of OpenAPI", "/openapi/v3").part(SERVED)
    yield get("OpenAPI of a group that is not there", "/openapi/v3/apis/nothing.example.com/v1")
    for kind in ("widgets", "widgets.spec", "widgets.spec.parts", "widgets.nothing", "wd", "nothings"):
        described = kubectl(f"explain {kind}", f"explain {kind}")
        yield described.blotted(DESCRIPTIONS) if kind in ("widgets", "wd") else described
    for kind in ("configmaps.data", "jobs.spec.backoffLimit", "pods.spec.containers.image"):
        yield kubectl(f"explain {kind}", f"explain {kind}").blotted(DESCRIPTIONS)
    yield kubectl("API resources", "api-resources --api-group=example.com --no-headers")
    yield kubectl("API resources in namespaces", "api-resources --api-group=batch --namespaced -o wide")
    yield kubectl("API versions", "api-versions").part(SERVED)
