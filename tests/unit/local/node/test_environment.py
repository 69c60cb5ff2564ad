"""What a container's variables, command and arguments become."""

from pathlib import Path

import pytest

from backstay.kube.login import Access
from backstay.local.node.api import Api, Obj
from backstay.local.node.environment import argv_of, base_environment, expand, variables_of
from backstay.local.node.images import Image
from backstay.local.node.references import ReferenceMissing, References, field_of, resource_of
from tests.support.tiny_api import TinyApi, reply, status

POD: Obj = {
    "metadata": {"name": "p", "namespace": "shop", "uid": "u-1", "labels": {"b": "2", "a": "1"}, "annotations": {"note": 'say "hi"'}},
    "spec": {"nodeName": "n", "containers": [{"name": "main", "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}}}]},
    "status": {},
}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$", "$$"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("cost: 5$", "cost: 5$"),
        ("$()", "$()"),
    ],
)
def test_references_expand_as_kubernetes_expands_them(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({}, ["entry", "point", "usual"]),
        ({"args": ["own"]}, ["entry", "point", "own"]),
        ({"command": ["mine"]}, ["mine"]),
        ({"command": ["mine"], "args": ["own", "$(A)"]}, ["mine", "own", "1"]),
        ({"command": ["cat", "/etc/x"]}, ["cat", "/root/etc/x"]),
    ],
)
def test_command_and_args_replace_those_of_the_image(container: Obj, argv: list[str]) -> None:
    image = Image(command=("entry", "point"), args=("usual",))
    rewrite = lambda text: "/root" + text if text.startswith("/etc") else text  # noqa: E731
    assert argv_of(container, image, {"A": "1"}, rewrite) == argv


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['a']", "1"),
        ("metadata.labels['zzz']", ""),
        ("metadata.labels", 'a="1"\nb="2"'),
        ("metadata.annotations", 'note="say \\"hi\\""'),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "127.0.0.1"),
    ],
)
def test_fields_of_the_pod_are_told(path: str, value: str) -> None:
    assert field_of(POD, path) == value


def test_a_field_that_the_downward_api_does_not_have_is_named() -> None:
    with pytest.raises(ReferenceMissing, match=r"unsupported fieldPath: spec\.hostname"):
        field_of(POD, "spec.hostname")


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ({"resource": "requests.cpu", "divisor": "1m"}, "250"),
        ({"resource": "requests.cpu"}, "1"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
        ({"resource": "requests.memory"}, str(2**30)),
        ({"resource": "limits.memory", "containerName": "main"}, str(2**30)),
    ],
)
def test_resource_fields_are_rounded_up_to_their_divisor(selector: Obj, value: str) -> None:
    assert resource_of(POD, POD["spec"]["containers"][0], selector) == value


async def test_variables_are_defined_in_order_with_env_over_env_from() -> None:
    container: Obj = {
        "name": "main",
        "envFrom": [{"configMapRef": {"name": "c"}}, {"prefix": "P_", "secretRef": {"name": "s"}}],
        "env": [
            {"name": "A", "value": "own $(B)"},
            {"name": "LATER", "value": "$(A)/$(P_X)"},
            {"name": "EMPTY", "value": ""},
            {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "none", "optional": True}}},
        ],
    }
    async with TinyApi() as server, Api(lambda: Access(server=server.url), agent="tests") as api:
        server.answers(
            "GET", "/api/v1/namespaces/shop/configmaps/c", reply({"data": {"A": "theirs", "B": "b"}, "binaryData": {"BIN": "aGk="}})
        )
        server.answers("GET", "/api/v1/namespaces/shop/secrets/s", reply({"data": {"X": "eA=="}}))
        found = await variables_of(container, References(api, POD), lambda text: text)
        assert len(server.asked) == 2, "each object is read once"
    assert found == {"A": "own b", "B": "b", "BIN": "hi", "P_X": "x", "LATER": "own b/x", "EMPTY": ""}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"configMapKeyRef": {"name": "some", "key": "k"}}, "couldn't find key k in ConfigMap shop/some"),
        ({"secretKeyRef": {"name": "hidden", "key": "k"}}, 'secret "hidden" cannot be read: you may not'),
        ({"fileKeyRef": {"path": "x"}}, 'variable "V": this node does not know valueFrom.fileKeyRef'),
    ],
)
async def test_what_is_missing_is_named(source: Obj, told: str) -> None:
    async with TinyApi() as server, Api(lambda: Access(server=server.url), agent="tests") as api:
        server.answers("GET", "/api/v1/namespaces/shop/secrets/none", status(404, "NotFound"))
        server.answers("GET", "/api/v1/namespaces/shop/secrets/hidden", status(403, "Forbidden", "you may not"))
        server.answers("GET", "/api/v1/namespaces/shop/configmaps/some", reply({"data": {}}))
        with pytest.raises(ReferenceMissing) as caught:
            await variables_of({"name": "main", "env": [{"name": "V", "valueFrom": source}]}, References(api, POD), lambda text: text)
    assert str(caught.value) == told


def test_a_container_gets_nothing_of_the_nodes_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_SECRET", "do not tell")
    environment = base_environment(Image(env={"MODE": "image"}), Path("/pod/root"), "p")
    assert set(environment) == {"PATH", "HOME", "TMPDIR", "LANG", "HOSTNAME", "BACKSTAY_ROOT", "MODE"}
