"""What is wrong with http steps beyond their fields: URLs that no installation lets be called, and requests that surely mean something else."""

import re
from collections.abc import Iterator
from typing import Final

from backstay.api.actions.http import HttpAction
from backstay.api.validate.places import listings
from backstay.api.workflow import WorkflowSpec
from backstay.errors import Problem
from backstay.expressions.words import quoted
from backstay.hosts.addresses import Zone, zone_of
from backstay.hosts.urls import Url, parse_url

_AUTHORITY: Final = re.compile(r"[^/?#]*:(?://)?[^/?#]*")
_OWN: Final = "which is the operator's own machine; name the host, or the Service, that is meant, as in http://payments.shop.svc"
_METADATA: Final = ("metadata", "metadata.google.internal")
_FORBIDDEN: Final = {
    Zone.LOOPBACK: _OWN,
    Zone.LINK_LOCAL: "which is a link-local address; name the host that is meant",
    Zone.METADATA: "which is a cloud's metadata service; a workflow has no business there",
    Zone.NEVER: "which is no address of a host; name the host that is meant",
}


def check_http(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield what is wrong with the http steps of a workflow, and with compensations that are such."""
    for listing in listings(spec):
        for index, step in enumerate(listing.steps):
            path = listing.place(index)
            if step.http is not None:
                yield from _check(step.http, f"{path}.http")
                yield from _check_repeats(step.http, f"{path}.http", is_tried_again=step.retry is not None and step.retry.max_attempts > 1)
            for place, _, phase in step.transaction.phases() if step.transaction is not None else ():
                if phase.http is not None:
                    yield from _check(phase.http, f"{path}.transaction.{place}.http")
                    yield from _check_repeats(phase.http, f"{path}.transaction.{place}.http", is_tried_again=True)
            if step.compensate is not None and step.compensate.http is not None:
                yield from _check(step.compensate.http, f"{path}.compensate.http")


def _check(action: HttpAction, path: str) -> Iterator[Problem]:
    if action.body is not None and action.method in ("GET", "HEAD"):
        yield Problem(
            f"{path}.body", f"a {action.method} request has no body that anybody looks at; use query, or another method", "warning"
        )
    try:
        url = constant_place(action.url)
    except ValueError as error:
        yield Problem(f"{path}.url", str(error))
        return
    if url is None:
        return
    if why := _forbidden(url):
        yield Problem(f"{path}.url", f"{quoted(action.url)} leads to {url.host}, {why}")
    secret = next((header.name for header in action.headers if header.value_from is not None), None)
    if url.scheme == "http" and secret is not None:
        yield Problem(
            f"{path}.url",
            f"the Secret in header {secret} is sent to {url.host} without encryption; write https:// where it is served",
            "warning",
        )


def _check_repeats(action: HttpAction, path: str, *, is_tried_again: bool) -> Iterator[Problem]:
    if is_tried_again and not action.idempotency_header and action.method in ("POST", "PATCH"):
        yield Problem(
            f"{path}.idempotencyHeader",
            f"a {action.method} that is tried again without an idempotency key may be done twice; name the header in which the other side takes one",
            "warning",
        )


def constant_place(text: str) -> Url | None:
    """Return scheme and host of a URL where they are written out; None where an expression gives them. Raises ValueError with the mend."""
    url = text.strip()
    if "${" not in url:
        return parse_url(url)
    beginning = _AUTHORITY.match(url)
    return parse_url(f"{beginning[0]}/") if beginning and "${" not in beginning[0] else None


def _forbidden(url: Url) -> str:
    if url.address is not None:
        return _FORBIDDEN.get(zone_of(url.address), "")
    if url.host == "localhost" or url.host.endswith(".localhost"):
        return _OWN
    return _FORBIDDEN[Zone.METADATA] if url.host in _METADATA else ""
