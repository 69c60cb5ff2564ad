"""The tables that the embedded server's admission is built to (tests/unit/local/*_cases.py), held against Kubernetes itself.

The embedded server is built to the newest release, word for word. The oldest that is supported refuses the same at the same fields, in words of
its own time: there the fields are held.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.build import release
from tests.cluster.control_plane import ControlPlane
from tests.support.api import Api, Refused
from tests.support.waiting import wait_for
from tests.unit.local.admission_cases import BUILTINS, CUSTOM, DECODING, SCHEMAS, Case, DecodeCase, api_version_of, definition, path_of
from tests.unit.local.crd_cases import CRDS, CrdCase

pytestmark = pytest.mark.e2e

_NAMESPACE = "admission-cases"
_SAYS_IT_IN_THESE_WORDS = release() == "newest"
_NOT_YET_REFUSED = {"beyond 32 bits"}
"""Cases that the oldest release accepts: it does not hold a number against its format. No schema of ours leans on one."""
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def api(real_control_plane: ControlPlane) -> Iterator[Api]:
    """The real API server, with the custom kinds of the table and a namespace for the objects."""
    api = Api(real_control_plane.kubeconfig)
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": _NAMESPACE}})
    for kind in SCHEMAS:
        api.call("POST", _DEFINITIONS, definition(kind))
    wait_for(lambda: all(_serves(api, path_of(kind, _NAMESPACE)) for kind in SCHEMAS), what="the custom kinds to be served")
    wait_for(lambda: _serves(api, f"/api/v1/namespaces/{_NAMESPACE}/serviceaccounts/default"), what="the default service account")
    yield api
    for kind in SCHEMAS:
        api.call("DELETE", f"{_DEFINITIONS}/{definition(kind)['metadata']['name']}")
    api.call("DELETE", f"/api/v1/namespaces/{_NAMESPACE}")
    api.close()


def _serves(api: Api, where: str) -> bool:
    try:
        api.call("GET", where)
    except Refused:
        return False
    return True


def _causes(refused: Refused) -> list[str]:
    causes = (refused.status.get("details") or {}).get("causes", ())
    return sorted(f"{cause.get('field', '')}: {cause['message']}" for cause in causes)


def _answer(api: Api, method: str, where: str, body: Any, content_type: str = "application/json") -> list[str]:
    try:
        api.call(method, where, body, content_type)
    except Refused as refused:
        return _causes(refused) or [str(refused)]
    return []


@pytest.mark.parametrize("case", CUSTOM + BUILTINS, ids=lambda case: case.name)
def test_kubernetes_says_what_the_table_says(api: Api, case: Case, request: pytest.FixtureRequest) -> None:
    number = request.node.callspec.indices["case"]
    name = case.object_name if case.object_name != "case" else f"case-{number}"
    body = {"apiVersion": api_version_of(case.kind), "kind": case.kind, "metadata": {"name": name}, **copy.deepcopy(case.body)}
    where = path_of(case.kind, _NAMESPACE)
    if case.change is None:
        said = _answer(api, "POST", where, body)
    else:
        api.call("POST", where, body)
        said = _answer(api, "PATCH", f"{where}/{name}", case.change, "application/merge-patch+json")
    _holds(said, case)


@pytest.mark.parametrize("case", CRDS, ids=lambda case: case.name)
def test_kubernetes_says_of_definitions_what_the_table_says(api: Api, case: CrdCase) -> None:
    said = _answer(api, "POST", f"{_DEFINITIONS}?dryRun=All", case.crd)
    _holds(said, case)


def _holds(said: list[str], case: Case | CrdCase) -> None:
    if _SAYS_IT_IN_THESE_WORDS:
        assert len(said) == len(case.causes), said
        assert all(real.startswith(table) for real, table in zip(said, sorted(case.causes), strict=True)), said
    else:
        expected = () if case.name in _NOT_YET_REFUSED else case.causes
        assert {_field(cause) for cause in said} == {_field(cause) for cause in expected}, said


def _field(cause: str) -> str:
    return cause.partition(": ")[0]


@pytest.mark.parametrize("case", [case for case in DECODING if not case.repeats], ids=lambda case: case.name)
def test_kubernetes_says_of_bodies_what_the_table_says(api: Api, case: DecodeCase) -> None:
    with pytest.raises(Refused) as refused:
        api.call("POST", f"{path_of(case.kind, _NAMESPACE)}?fieldValidation=Strict&dryRun=All", case.as_object())
    assert refused.value.status["message"] == case.message
