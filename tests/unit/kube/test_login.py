"""Every way in that kubectl knows, from kubeconfig files and from inside a pod."""

import base64
import json
import ssl
import stat
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from backstay import errors
from backstay.kube.client import Client
from backstay.kube.login import LoginFailed, find_login, from_files, in_cluster
from backstay.kube.resources import PODS
from tests.cluster.certificates import make_certificates
from tests.support.tiny_api import TinyApi, reply

SECRET = "s3cr3t-t0k3n"


def kubeconfig(folder: Path, name: str = "config", *, user: Any = None, context: Any = None, current: str = "here", **cluster: Any) -> str:
    """Write a kubeconfig with one context, `here`, and return its path."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": f"c-{name}", "cluster": {"server": "https://cluster.example:6443", **cluster}}],
        "users": [{"name": f"u-{name}", "user": {"token": SECRET} if user is None else user}],
        "contexts": [
            {"name": "here" if name == "config" else name, "context": {"cluster": f"c-{name}", "user": f"u-{name}", **(context or {})}}
        ],
    }
    path = folder / name
    path.write_text(yaml.safe_dump(manifest))
    return str(path)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def headers(paths: str) -> dict[str, str]:
    return dict(from_files(paths).headers)


# ---------------------------------------------------------------------------------------------------------- where to look


def test_the_named_file_comes_first_then_the_environment_then_the_default_then_the_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert find_login() is in_cluster
    (tmp_path / "home/.kube").mkdir(parents=True)
    kubeconfig(tmp_path / "home/.kube", server="https://default.example")
    assert find_login()().server == "https://default.example"
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, "env", current="env", server="https://env.example"))
    assert find_login()().server == "https://env.example"
    assert find_login(kubeconfig(tmp_path, server="https://named.example"))().server == "https://named.example"


def test_nothing_configured_says_what_to_do() -> None:
    with pytest.raises(LoginFailed, match=r"KUBECONFIG.*backstay dev"):
        find_login()()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoginFailed, match=r"there is no kubeconfig at .*/nowhere"):
        from_files(str(tmp_path / "nowhere"))


def test_of_several_files_the_first_current_context_counts_as_with_kubectl(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path, "first", current="first", server="https://first.example")
    second = kubeconfig(tmp_path, "second", current="second", server="https://second.example")
    assert from_files(f"{first}:{second}").server == "https://first.example"
    assert from_files(f"{first}:{second}", "second").server == "https://second.example"


def test_the_context_says_which_namespace(tmp_path: Path) -> None:
    assert from_files(kubeconfig(tmp_path)).namespace == "default"
    assert from_files(kubeconfig(tmp_path, context={"namespace": "shop"})).namespace == "shop"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "has no current context"),
        ("a: [", "it is no YAML, from line 1 on"),
        (f"users:\n- user: {{token: {SECRET}\n  x: [", "it is no YAML"),
        ("[]", "cannot be used"),
        ("", "cannot be used"),
        ("current-context: gone\ncontexts: []\nclusters: []\nusers: []", "cannot be used"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: b, user: c}}]\nclusters: []\nusers: []", "cannot be used"),
        (
            f"current-context: a\ncontexts: [{{name: a, context: {{cluster: b, user: c}}}}]\nclusters: [{{name: b, cluster: {{server: ''}}}}]\n"
            f"users: [{{name: c, user: {{auth-provider: {{name: oidc, config: {{}}}}, token: {SECRET}}}}}]",
            "",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: b}}]\nclusters: [{name: b, cluster: {}}]\nusers: []",
            "names no server",
        ),
    ],
)
def test_a_broken_file_is_told_without_quoting_it(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(LoginFailed) as caught:
        from_files(str(tmp_path / "config"))
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- who we are


def test_a_token_is_sent_as_a_bearer(tmp_path: Path) -> None:
    assert headers(kubeconfig(tmp_path)) == {"Authorization": f"Bearer {SECRET}"}
    assert SECRET not in repr(from_files(kubeconfig(tmp_path)))


def test_a_user_with_a_password_is_sent_as_basic(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, user={"username": "ann", "password": "pw"})
    assert headers(path) == {"Authorization": f"Basic {base64.b64encode(b'ann:pw').decode()}"}


def test_a_token_file_is_read_again_every_minute(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    path = kubeconfig(tmp_path, user={"tokenFile": "token"})
    assert from_files(path).fresh_seconds == 60
    assert headers(path) == {"Authorization": "Bearer first"}
    (tmp_path / "token").write_text("second\n")
    assert headers(path) == {"Authorization": "Bearer second"}


def plugin(folder: Path, script: str) -> dict[str, Any]:
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}}


def credential(status: Mapping[str, Any]) -> str:
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"cat <<'END'\n{json.dumps(answer)}\nEND"


def test_a_login_plugin_gives_a_token_that_is_renewed_before_it_ends(tmp_path: Path) -> None:
    ends = (datetime.now(tz=UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    user = plugin(tmp_path, credential({"token": "from-plugin", "expirationTimestamp": ends}))
    access = from_files(kubeconfig(tmp_path, user=user))
    assert dict(access.headers) == {"Authorization": "Bearer from-plugin"}
    assert access.fresh_seconds is not None
    assert 3200 < access.fresh_seconds < 3400


def test_a_login_plugin_that_fails_is_named_instead_of_going_on_as_nobody(tmp_path: Path) -> None:
    with pytest.raises(LoginFailed, match=r"the login plugin '.*/plugin' .* gave no credentials"):
        from_files(kubeconfig(tmp_path, user=plugin(tmp_path, "exit 1")))


def test_acting_as_somebody_else_is_not_forgotten(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, user={"token": SECRET, "as": "bob", "as-groups": ["a", "b"], "as-user-extra": {"dept": ["x"]}})
    assert from_files(path).headers[1:] == (
        ("Impersonate-User", "bob"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-dept", "x"),
    )


async def test_the_pod_s_token_is_read_again_and_its_certificates_are_not_loaded_twice(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    assert certificates.authority == tmp_path / "ca.crt"
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("backstay-system")
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    first = in_cluster(tmp_path, environment)
    assert (first.server, first.namespace, first.fresh_seconds) == ("https://[fd00::1]:6443", "backstay-system", 60)
    (tmp_path / "token").write_text("second")
    second = in_cluster(tmp_path, environment)
    assert dict(second.headers) == {"Authorization": "Bearer second"}
    assert second.tls is first.tls


def test_a_pod_without_a_token_says_so(tmp_path: Path) -> None:
    with pytest.raises(LoginFailed, match="does the pod mount its token"):
        in_cluster(tmp_path, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})


# ------------------------------------------------------------------------------------------------------------ the network


@pytest.mark.parametrize(
    ("server", "no_proxy", "expected"),
    [
        ("https://cluster.example:6443", "", "http://proxy.example:3128"),
        ("https://cluster.example:6443", "example", None),
        ("https://cluster.example:6443", ".cluster.local,cluster.example", None),
        ("https://127.0.0.1:6443", "", None),
        ("https://localhost:6443", "", None),
        ("https://[::1]:6443", "", None),
        ("https://10.96.0.1", "10.96.0.0/12", None),
        ("https://10.96.0.1", "192.168.0.0/16,nonsense/99", "http://proxy.example:3128"),
    ],
)
def test_the_proxy_of_the_environment_is_used_by_gos_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, no_proxy: str, expected: str | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert from_files(kubeconfig(tmp_path, server=server)).proxy == expected


def test_the_proxy_of_the_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://environment.example:1")
    assert from_files(kubeconfig(tmp_path, **{"proxy-url": "http://file.example:2"})).proxy == "http://file.example:2"


def data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def client_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "client.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "client.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "client.crt", folder / "client.key"


async def test_a_client_certificate_and_the_authority_work_as_data_and_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    ours = make_certificates(tmp_path)
    certificate, key = client_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(ours.server, ours.server_key)
    as_data = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    as_files = {"client-certificate": "client.crt", "client-key": "client.key"}
    async with TinyApi(tls=tls) as api:
        api.answers("GET", "/api/v1/namespaces/shop/pods/a", reply({"metadata": {"name": "a"}}))
        for user, authority in (
            (as_data, {"certificate-authority-data": data(ours.authority)}),
            (as_files, {"certificate-authority": "ca.crt"}),
            (as_files, {"insecure-skip-tls-verify": True}),
        ):
            async with Client.from_kubeconfig(kubeconfig(tmp_path, user=user, server=api.url, **authority)) as client:
                assert (await client.get(PODS, "shop", "a"))["metadata"]["name"] == "a"
                assert list(temporary.iterdir()) == [], "a key lies around in a temporary file"


async def test_certificates_in_the_file_itself_are_not_loaded_twice(tmp_path: Path) -> None:
    ours = make_certificates(tmp_path)
    file = str(
        kubeconfig(tmp_path, user={"token": "t"}, server="https://127.0.0.1:1", **{"certificate-authority-data": data(ours.authority)})
    )
    assert from_files(file).tls is from_files(file).tls


async def test_a_server_that_another_authority_vouches_for_is_not_believed(tmp_path: Path) -> None:
    ours = make_certificates(tmp_path)
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(ours.server, ours.server_key)
    async with TinyApi(tls=tls) as api:
        path = kubeconfig(tmp_path, server=api.url, **{"certificate-authority": str(other.authority)})
        async with Client.from_kubeconfig(path) as client:
            with pytest.raises(
                errors.Unavailable, match=r"the certificate of 127\.0\.0\.1:\d+ is not trusted: .*certificate verify failed"
            ):
                await client.get(PODS, "shop", "a")
        assert api.asked == []


async def test_a_server_is_reached_by_address_under_the_name_of_its_certificate(tmp_path: Path) -> None:
    ours = make_certificates(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(ours.server, ours.server_key)
    async with TinyApi(tls=tls) as api:
        api.answers("GET", "/api/v1/namespaces/shop/pods/a", reply({"metadata": {"name": "a"}}))
        for name, works in (("kubernetes.default.svc", True), ("elsewhere.example", False)):
            path = kubeconfig(tmp_path, server=api.url, **{"certificate-authority": "ca.crt", "tls-server-name": name})
            async with Client.from_kubeconfig(path) as client:
                if works:
                    await client.get(PODS, "shop", "a")
                else:
                    with pytest.raises(errors.Unavailable):
                        await client.get(PODS, "shop", "a")


def test_certificates_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(LoginFailed, match="cannot be loaded"):
        from_files(kubeconfig(tmp_path, **{"certificate-authority": "ca.crt"}))
    with pytest.raises(LoginFailed, match="cannot be used"):
        from_files(kubeconfig(tmp_path, **{"certificate-authority": "gone.crt"}))
