"""The cluster's own certificate authority, certificates, token and kubeconfig: files in its data directory, made once, for this user only.

ca.crt, ca.key                  authority; clients trust ca.crt
server.crt, server.key          what the API server shows: 127.0.0.1, ::1, localhost, kubernetes.default.svc
kubelet-client.crt, .key        what the API server shows to a node when it asks for a container's log
token                           the one bearer token, for a user who may do everything
"""

import base64
import ipaddress
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID: Final = timedelta(days=3650)
_RENEW_BEFORE: Final = timedelta(days=30)
_CONTEXT: Final = "backstay-local"
USER: Final = "backstay-admin"
GROUPS: Final = ("system:masters", "system:authenticated")
_HOSTS: Final[tuple[x509.GeneralName, ...]] = (
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
    *(x509.DNSName(name) for name in ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")),
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the files are, and the token itself."""

    ca_file: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path
    token: str


def credentials(data: Path) -> Credentials:
    """Return the credentials in a data directory, making what is missing or about to expire."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = Credentials(
        ca_file=data / "ca.crt",
        server_cert=data / "server.crt",
        server_key=data / "server.key",
        client_cert=data / "kubelet-client.crt",
        client_key=data / "kubelet-client.key",
        token=_token(data / "token"),
    )
    certificates = (found.ca_file, found.server_cert, found.client_cert)
    keys = (found.server_key, found.client_key)
    if not all(path.exists() for path in keys) or not all(_is_valid(path) for path in certificates):
        _make_certificates(found, data / "ca.key")
    return found


def write_kubeconfig(path: Path, url: str, found: Credentials) -> None:
    """Write a kubeconfig for the cluster at a URL, readable by this user only."""
    authority = base64.b64encode(found.ca_file.read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _CONTEXT, "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": _CONTEXT, "user": {"token": found.token}}],
        "contexts": [{"name": _CONTEXT, "context": {"cluster": _CONTEXT, "user": _CONTEXT, "namespace": "default"}}],
        "current-context": _CONTEXT,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_private(path, yaml.safe_dump(config, sort_keys=False).encode())


def _token(path: Path) -> str:
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text().strip()


def _is_valid(path: Path) -> bool:
    if not path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_after_utc - _RENEW_BEFORE > datetime.now(UTC)


def _make_certificates(found: Credentials, ca_key_file: Path) -> None:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("backstay-local-ca")
    ca = _builder(ca_name, ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    ca = ca.add_extension(_usage(signs_certificates=True), critical=True)
    _write_private(ca_key_file, _pem(ca_key))
    _write_private(found.ca_file, _signed(ca, ca_key))
    for common_name, cert_file, key_file, purpose in (
        ("backstay-local", found.server_cert, found.server_key, ExtendedKeyUsageOID.SERVER_AUTH),
        ("kube-apiserver-kubelet-client", found.client_cert, found.client_key, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _builder(_name(common_name), ca_name, key.public_key())
        leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        leaf = leaf.add_extension(_usage(signs_certificates=False), critical=True)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        leaf = leaf.add_extension(x509.SubjectAlternativeName(_HOSTS), critical=False)
        _write_private(key_file, _pem(key))
        _write_private(cert_file, _signed(leaf, ca_key))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + _VALID)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write_private(path: Path, content: bytes) -> None:
    """Write a file in one step, so that a reader sees the old content or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
