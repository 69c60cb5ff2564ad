"""Where the API server is, and how to prove to it who we are.

Looked for in this order, as kubectl and client-go do: the file that was named, the files of KUBECONFIG, ~/.kube/config, and the service account
of the pod that this runs in. The `kubernetes` package does the reading, so exec plugins, tokens, token files, OIDC, basic authentication,
client certificates, and CA data all work; it is imported late because that takes half a second.

All functions here block (files, plugins): the client calls them in a thread once it runs.
"""

import contextlib
import hashlib
import importlib
import ipaddress
import os
import re
import ssl
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from backstay import errors

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_KUBECONFIG: Final = "~/.kube/config"
_FILES_FRESH_SECONDS: Final = 60.0
"""Kubernetes renews mounted tokens in good time; client-go reads them anew once a minute as well."""
_SHORTEST_FRESH_SECONDS: Final = 10.0
_SKEW_SECONDS: Final = 300.0


class LoginFailed(errors.BackstayError):
    """No way to an API server was found, or the way that is configured does not work; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Access:
    """A way to an API server. Nothing secret is in its `repr`."""

    server: str
    """Its base address without a slash at the end."""
    namespace: str = "default"
    """The namespace of the context, or of the pod."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """What proves who we are, if not a client certificate; and as whom to act."""
    tls: ssl.SSLContext | None = None
    tls_server_name: str | None = None
    proxy: str | None = field(default=None, repr=False)
    fresh_seconds: float | None = None
    """When to log in anew, counted from now; None where only a refusal (401) is a reason to."""


Login = Callable[[], Access]
"""Logs in; called again whenever the access has grown stale or was refused. Raises LoginFailed."""


def find_login(path: str | None = None, context: str | None = None) -> Login:
    """Return the login for this process; nothing is read before it is called."""
    configured = path or os.environ.get("KUBECONFIG")
    if configured:
        return lambda: from_files(configured, context)
    if Path(_DEFAULT_KUBECONFIG).expanduser().exists():
        return lambda: from_files(_DEFAULT_KUBECONFIG, context)
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return in_cluster
    return _nowhere


def _nowhere() -> Access:
    raise LoginFailed(
        f"no API server is configured: there is no {_DEFAULT_KUBECONFIG}, KUBECONFIG is not set, and this is no pod; "
        "name a kubeconfig file with KUBECONFIG or --kubeconfig, or start a local cluster with `backstay dev`"
    )


# ------------------------------------------------------------------------------------------------------------- in a pod


def in_cluster(folder: Path = _SERVICE_ACCOUNT, environment: Mapping[str, str] = os.environ) -> Access:
    """Log in as the service account of this pod. A proxy of the environment is not for the cluster's own API server."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT") or "443"
    try:
        token = (folder / "token").read_text().strip()
        authority = folder / "ca.crt"
        tls = _tls_context(_contents(authority), _contents(None), _contents(None), verify=True)
        namespace = (folder / "namespace").read_text().strip()
    except OSError as error:
        raise LoginFailed(
            f"the service account's {error.filename} cannot be read ({error.strerror}); does the pod mount its token?"
        ) from error
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=namespace or "default",
        headers=(("Authorization", f"Bearer {token}"),),
        tls=tls,
        fresh_seconds=_FILES_FRESH_SECONDS,
    )


# -------------------------------------------------------------------------------------------------------- with kubeconfig


def from_files(paths: str, context: str | None = None) -> Access:
    """Log in as the context of these kubeconfig files says: the current one unless `context` names another."""
    package: Any = importlib.import_module("kubernetes.config.kube_config")
    try:
        return _loaded(package, paths, context)
    except (package.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoginFailed(f"the kubeconfig {paths} cannot be used: {_without_secrets(error)}") from None
    finally:
        # The package keeps keys that stand in a kubeconfig in temporary files until the process ends; who is killed would leave them there.
        package._cleanup_temp_files()


def _loaded(package: Any, paths: str, context: str | None) -> Access:
    configuration = importlib.import_module("kubernetes.client").Configuration
    merged = package.KubeConfigMerger(paths)
    if merged.config is None:
        raise LoginFailed(f"there is no kubeconfig at {paths}; name the right file with KUBECONFIG or --kubeconfig")
    loader = package.KubeConfigLoader(
        config_dict=merged.config,
        active_context=context or _current_context(merged, paths),
        config_base_path=None,
        config_persister=merged.save_changes,
    )
    loader.load_and_set(configuration())
    return _access_of(loader, _user_of(merged, loader.current_context), paths)


def _without_secrets(error: Exception) -> str:
    """Both packages quote parts of the file in their messages, tokens too; what follows the first brace or line is theirs."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"it is no YAML, from line {error.problem_mark.line + 1} on"
    return re.split(r"[{\n]", str(error), maxsplit=1)[0].strip() or type(error).__name__


def _current_context(merged: Any, paths: str) -> str:
    """The first file that names a current context wins, as with kubectl; the package lets the last one win."""
    for path in merged.paths:
        if found := merged.config_files[path].get("current-context"):
            return str(found)
    raise LoginFailed(f"the kubeconfig {paths} has no current context; choose one with `kubectl config use-context` or --context")


def _user_of(merged: Any, context: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = (context.get("context") or {}).get("user")
    users = [user for path in merged.paths for user in merged.config_files[path].get("users") or ()]
    return next((user.get("user") or {} for user in users if user.get("name") == wanted), {})


def _access_of(loader: Any, user: Mapping[str, Any], paths: str) -> Access:
    """Take from the package's loader what it found out; it leaves unset what the files do not say."""
    token, certificate = getattr(loader, "token", None), getattr(loader, "cert_file", None)
    server = getattr(loader, "host", "")
    if not server:
        raise LoginFailed(f"the kubeconfig {paths} names no server for its context")
    if "exec" in user and not token and not certificate:
        command = user["exec"].get("command", "")
        raise LoginFailed(f"the login plugin {command!r} of {paths} gave no credentials; run `kubectl get namespaces` to see what it says")
    verify = getattr(loader, "verify_ssl", True)
    return Access(
        server=server,
        namespace=(loader.current_context.get("context") or {}).get("namespace") or "default",
        headers=_headers(token, user),
        tls=_tls_of(loader, certificate, paths, verify=verify) if server.startswith("https") else None,
        tls_server_name=getattr(loader, "tls_server_name", None),
        proxy=getattr(loader, "proxy", None) or _environment_proxy(server),
        fresh_seconds=_fresh_seconds(getattr(loader, "expiry", None), user),
    )


def _headers(token: str | None, user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The package leaves out impersonation; to act as oneself where the file says as whom would be acting with more rights."""
    headers = [("Authorization", token.strip())] if token else []
    if user.get("as"):
        headers.append(("Impersonate-User", str(user["as"])))
        headers += [("Impersonate-Uid", str(user["as-uid"]))] if user.get("as-uid") else []
        headers += [("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()]
        for key, values in (user.get("as-user-extra") or {}).items():
            headers += [(f"Impersonate-Extra-{urllib.parse.quote(key, safe='')}", str(value)) for value in values]
    return tuple(headers)


def _tls_of(loader: Any, certificate: str | None, paths: str, *, verify: bool) -> ssl.SSLContext:
    authority, key = getattr(loader, "ssl_ca_cert", None), getattr(loader, "key_file", None)
    try:
        return _tls_context(_contents(authority), _contents(certificate), _contents(key), verify=verify)
    except OSError as error:  # ssl.SSLError is one
        raise LoginFailed(f"the certificates that the kubeconfig {paths} names cannot be loaded: {error}") from error


def _environment_proxy(server: str) -> str | None:
    """Return the proxy that HTTPS_PROXY and NO_PROXY name for a server, with Go's rules: never for this machine, ranges are understood."""
    url = urllib.parse.urlsplit(server)
    proxies = urllib.request.getproxies_environment()
    host = url.hostname or ""
    if host == "localhost" or urllib.request.proxy_bypass_environment(url.netloc, proxies):  # type: ignore[attr-defined]
        return None
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_loopback or any(address in network for network in _networks(proxies.get("no", ""))):
            return None
    return proxies.get(url.scheme)


def _networks(no_proxy: str) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for item in no_proxy.split(","):
        if "/" in item:
            with contextlib.suppress(ValueError):
                yield ipaddress.ip_network(item.strip(), strict=False)


def _fresh_seconds(expiry: datetime | None, user: Mapping[str, Any]) -> float | None:
    if expiry is not None:
        left = (expiry - datetime.now(tz=UTC)).total_seconds()
        return max(_SHORTEST_FRESH_SECONDS, left - min(_SKEW_SECONDS, left / 5))
    return _FILES_FRESH_SECONDS if "tokenFile" in user else None


# -------------------------------------------------------------------------------------------------------------------- TLS


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it is now: equal to another where the content is the same."""

    path: str = field(compare=False)
    digest: str


def _contents(path: str | Path | None) -> _File:
    return _File(str(path), hashlib.sha256(Path(path).read_bytes()).hexdigest()) if path else _File("", "")


@lru_cache(maxsize=16)
def _tls_context(authority: _File, certificate: _File, key: _File, *, verify: bool) -> ssl.SSLContext:
    """Return the same context as before while the files are the same: a new one would give up the open connections."""
    context = ssl.create_default_context(cafile=authority.path or None)
    # From 3.13 on Python demands extensions that the certificates of many clusters lack; Go, and so kubectl, does not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate.path:
        context.load_cert_chain(certificate.path, key.path or None)
    return context
