"""Many kinds shown as tables."""

from collections.abc import Iterator
from typing import Any

from tests.embedded.apiserver.exchanges.differences import CONTROLLERS, NETWORK, ZERO_VALUES
from tests.embedded.apiserver.exchanges.exchange import CORE, CRON_JOBS, JOBS, NAMESPACE, POD_SPEC, PODS, TABLE, Exchange, get, post
from tests.embedded.apiserver.widgets import CRDS_PATH

_SHOWN_IN_PART = {"services": (NETWORK, "metadata"), "roles": (ZERO_VALUES, "metadata"), "nodes": (ZERO_VALUES, "metadata")}


def tables() -> Iterator[Exchange]:
    """Yield objects of many kinds, each shown as a table."""
    named = {"metadata": {"name": "shown"}}
    subjects = [
        {"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE},
        {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "shown"}
    ports = [{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
    kinds: dict[str, dict[str, Any]] = {
        f"{CORE}/secrets": {"stringData": {"a": "1"}},
        f"{CORE}/services": {"spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": ports}},
        f"{CORE}/serviceaccounts": {},
        f"{rbac}/roles": {"rules": []},
        f"{rbac}/rolebindings": {"roleRef": role, "subjects": subjects},
        "/apis/scheduling.k8s.io/v1/priorityclasses": {"value": 5, "description": "five"},
        f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases": {"spec": {"holderIdentity": "me"}},
        f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets": {
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}
        },
        f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies": {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}},
        f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions": {
            "data": {"x": 1},
            "revision": 4,
        },
        "/api/v1/nodes": {"metadata": {"name": "shown", "labels": {"node-role.kubernetes.io/worker": ""}}, "spec": {"unschedulable": True}},
        PODS: {"metadata": {"name": "shown"}, "spec": POD_SPEC | {"schedulerName": "nobody"}},
        JOBS: {"spec": {"suspend": True, "completions": 2, "template": {"spec": POD_SPEC}}},
        CRON_JOBS: cron_job("shown"),
    }
    for path, body in kinds.items():
        kind = path.rpartition("/")[2]
        created = post(f"create for a table of {kind}", path, {**named, **body})
        yield created.part(*_SHOWN_IN_PART[kind]) if kind in _SHOWN_IN_PART else created
        if kind not in ("jobs", "nodes"):  # their controllers are at work already
            yield get(f"table of {kind}", f"{path}/shown?includeObject=None", accept=TABLE)
        else:
            shown = get(f"columns of {kind}", f"{path}/shown?includeObject=None", accept=TABLE)
            yield shown.part(CONTROLLERS, "columnDefinitions")
    for path in ("/api/v1/namespaces/default", f"{CRDS_PATH}/widgets.example.com"):
        yield get(f"table of {path}", f"{path}?includeObject=None", accept=TABLE)


def cron_job(name: str) -> dict[str, Any]:
    containers = [
        {"name": "main", "image": "x:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["run"]},
        {"name": "side", "image": "y:1", "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]},
    ]
    template = {"spec": {"template": {"spec": {**POD_SPEC, "containers": containers}}}}
    spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": template}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}
