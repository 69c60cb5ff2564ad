"""http: make a request to a host that the installation allows. Each attempt is a request of its own, under the same idempotency key.

    state     on        becomes    then
    (new)     start     Running    the resolved request stands in the status; it is made once that is written
    Running   expected  Succeeded  the status is one of `expect`; `output` says what is kept
    Running   error     Failed     the first of `errors` whose `when` is true: an error of the business; or a catch
    Running   busy      Retrying   408, 425, 429, 5xx, or no answer: HttpUnavailable (Transient), where the retry policy says so; not before Retry-After
    Running   else      Failed     HttpStatus (Permanent); or a catch
    Retrying  due       Running    the next attempt
    Running   timeout   Stopping   attemptTimeout (1 minute where nobody says) or timeout is over: the connection is closed, then it failed
    Running   stop      Stopping   the connection is closed
    Stopping  gone      Cancelled  nobody waits for the answer any more
    Stopping  expected  Succeeded  it was answered before it could be stopped; what was done counts, and can be undone

The executor makes the request and hands over the answer as it is, at most 256 KiB; what it means is decided here, and what is kept of it
takes at most 4,096 bytes. No Secret is among the inputs: they name it, and the executor reads it as the run's service account.

Example:
    - name: charge
      http:
        method: POST
        url: https://pay.example.com/v1/charges
        headers: [{name: Authorization, prefix: "Bearer ", valueFrom: {secretKeyRef: {name: pay, key: token}}}]
        body: {order: "${ params.orderId }", amount: "${ params.amount }"}
        errors: [{when: "${ response.status == 402 }", error: CardDeclined, message: "${ response.body.reason }"}]
        output: {payment: "${ response.body.id }"}
      compensate:
        http: {method: DELETE, url: "https://pay.example.com/v1/charges/${ self.outputs.payment }", expect: [2xx, 404]}
"""

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import orjson

from backstay.api.actions.http import DROPPED, HttpAction, HttpHeader, matches_status
from backstay.engine.model import CallFact, Fault, Json, StepRecord, broken_expression
from backstay.engine.node import Nesting, Node
from backstay.engine.policies import editing
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.steps.call import Call
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError
from backstay.expressions.format import to_text
from backstay.expressions.template import leading_expression
from backstay.expressions.words import described
from backstay.hosts.urls import parse_url
from backstay.names import OUTPUT_LIMIT_BYTES

DEFAULT_TIMEOUT: Final = timedelta(minutes=1)
"""How long an attempt may take where no attemptTimeout says so: a server that accepts a connection and never answers holds up nobody for ever."""
BUSY: Final = ("408", "425", "429", "5xx")
"""Statuses that pass by themselves (RFC 9110, 15.5.9 and 15.6; RFC 8470; RFC 6585)."""
GATEWAY: Final = (502, 504)
RESPONSE: Final = "response"
_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Header:
    """A header: its value, or the Secret that holds it."""

    name: str
    value: Bound | None
    secret: Json
    prefix: str


@dataclass(frozen=True, slots=True)
class Rule:
    """An answer that is an error of the business."""

    when: Bound
    error: str
    message: Bound


@dataclass(frozen=True, slots=True)
class Body:
    """The action with its expressions bound."""

    base: Bound | None
    """The expression that the URL begins with, if any: it may hold scheme and host."""
    rest: Bound
    query: Bound
    headers: tuple[Header, ...]
    body: Bound
    rules: tuple[Rule, ...]
    expect: tuple[int | str, ...]
    output: Bound | None
    drops: bool
    plain: Mapping[str, Json]


class Http(Call):
    """The machine of `http`."""

    def compile(self, action: HttpAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        base, rest = leading_expression(action.url.strip())
        seeing = Scope(scope.segments, scope, (RESPONSE,))
        return Body(
            base=bind(base, scope) if base else None,
            rest=bind(rest, scope, _encoded),
            query=bind(action.query, scope),
            headers=tuple(_header(header, scope) for header in action.headers),
            body=bind(action.body, scope),
            rules=tuple(Rule(bind(rule.when, seeing), rule.error, bind(rule.message, seeing)) for rule in action.errors),
            expect=action.expect,
            output=None if action.output in (None, DROPPED) else bind(action.output, seeing),
            drops=action.output == DROPPED,
            plain={
                "method": action.method,
                "followRedirects": action.follow_redirects,
                "idempotencyHeader": action.idempotency_header,
            },
        )

    def inputs(self, turn: Turn, node: Node, path: str) -> Mapping[str, Json]:
        limit = node.attempt_timeout or DEFAULT_TIMEOUT
        inputs = editing.edited(turn, "http", path, self.resolved(turn, node, path)) | {"limitSeconds": limit.total_seconds()}
        if "headers" in inputs:
            inputs["headers"] = [_sent(header) for header in inputs["headers"]]
        sent = inputs.pop("body", None)
        if sent is not None:
            inputs["text" if isinstance(sent, str) else "json"] = sent
        return inputs

    def resolved(self, turn: Turn, node: Node, path: str) -> dict[str, Json]:
        body: Body = node.body
        found: dict[str, Json] = {**body.plain, "url": _url(turn, body, path)}
        if body.headers:
            found["headers"] = [_resolved(turn, header, path) for header in body.headers]
        sent = turn.evaluate(body.body, path)
        return found if sent is None else {**found, "body": sent}

    def is_unanswered(self, fact: CallFact) -> bool:
        """A gateway that had no answer says nothing of what the server behind it did (RFC 9110, 15.6.3 and 15.6.5)."""
        return fact.unanswered or int((fact.outputs or {}).get("status", 0)) in GATEWAY

    def judge(self, turn: Turn, node: Node, record: StepRecord, outputs: Json) -> tuple[Json, Fault | None]:
        answer = Answer(turn, node, record, outputs)
        try:
            fault = answer.business_error() or answer.unexpected()
            return (None, fault) if fault else answer.kept()
        except EvaluationError as error:
            return None, broken_expression(error)


def _header(header: HttpHeader, scope: Scope) -> Header:
    value = None if header.value is None else bind(header.value, scope)
    secret = header.value_from.secret_key_ref.to_json() if header.value_from else None
    return Header(header.name, value, secret, header.prefix)


def _resolved(turn: Turn, header: Header, path: str) -> dict[str, Json]:
    if header.value is None:
        source: Json = {"secretKeyRef": header.secret}
        return {"name": header.name, "valueFrom": source, **({"prefix": header.prefix} if header.prefix else {})}
    return {"name": header.name, "value": turn.evaluate_text(header.value, path)}


def _sent(header: Mapping[str, Json]) -> dict[str, Json]:
    """Return a resolved header as the executor wants it."""
    found = dict(header)
    source = found.pop("valueFrom", None)
    return {**found, "secret": source["secretKeyRef"]} if source else found


# -------------------------------------------------------------------------------------------------------------------------- URL


def _url(turn: Turn, body: Body, path: str) -> str:
    """Put the URL together. What may be called is judged when it is called."""
    base = "" if body.base is None else turn.evaluate_text(body.base, path)
    url = base + turn.evaluate_text(body.rest, path)
    query = turn.evaluate(body.query, path)
    pairs = [(name, _worth(item)) for name, value in query.items() for item in (value if isinstance(value, list) else [value])]
    added = urllib.parse.urlencode([(name, text) for name, text in pairs if text is not None])
    if not added:
        return url
    url, mark, fragment = url.partition("#")
    return f"{url}{'&' if '?' in url else '?'}{added}{mark}{fragment}"


def _worth(value: Json) -> str | None:
    return None if value is None else to_text(value)


def _encoded(data: str) -> str:
    """Percent-encode what an expression puts into a URL, so that a run's data stays one part of it: `a/b?c` is no path and no query."""
    if data in (".", ".."):
        raise EvaluationError(f'"{data}" may not stand for a part of the URL: it means another place')
    return urllib.parse.quote(data, safe="")


# ----------------------------------------------------------------------------------------------------------------------- answer


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, as the executor hands it over: status, headers, body; `unread` says why there is no body, `excerpt` how it begins."""

    turn: Turn
    node: Node
    record: StepRecord
    found: Mapping[str, Any]

    @property
    def status(self) -> int:
        return int(self.found["status"])

    @property
    def is_expected(self) -> bool:
        return any(matches_status(self.status, wanted) for wanted in self.node.body.expect)

    @property
    def view(self) -> dict[str, Json]:
        """What expressions see as `response`."""
        return {name: self.found.get(name) for name in ("status", "headers", "body")}

    def business_error(self) -> Fault | None:
        """Return the first error whose condition is true. A condition that cannot be looked at in an answer nobody expected is not true."""
        for index, rule in enumerate(self.node.body.rules):
            try:
                if self.turn.holds(rule.when, self.record.path, f"errors[{index}].when", response=self.view):
                    words = to_text(self.turn.evaluate(rule.message, self.record.path, response=self.view))
                    return Fault(rule.error, "The answer says so", (words or self._answered())[:2048])
            except EvaluationError as error:
                if self.is_expected:
                    raise EvaluationError(f"errors[{index}]: {error}") from None
        return None

    def unexpected(self) -> Fault | None:
        """Return the error that an answer is whose status is none of those that are a success."""
        if self.is_expected:
            return None
        busy = any(matches_status(self.status, wanted) for wanted in BUSY)
        location = self.found["headers"].get("location", "") if self.status // 100 == 3 else ""
        mend = f"; it redirects to {location[:200]}, see followRedirects" if location else ""
        return Fault("HttpUnavailable" if busy else "HttpStatus", f"Answered with {self.status}", f"{self._answered()}{mend}")

    def kept(self) -> tuple[Json, Fault | None]:
        """Return what is kept of the answer, or InvalidOutput where that is not there, is too large, or is no object."""
        body: Body = self.node.body
        if body.drops:
            return {"status": self.status}, None
        if unread := self.found.get("unread"):
            return None, _invalid(f"the body of the answer cannot be taken: {unread}; write output: {DROPPED} if it is not wanted")
        if body.output is None:
            return self._fitting({"status": self.status, "body": self.found.get("body")})
        picked = self.turn.evaluate(body.output, self.record.path, response=self.view)
        if not isinstance(picked, dict):
            return None, _invalid(
                f"output gives {described(picked)} and must give an object; write it as in {{id: ${{ response.body.id }}}}"
            )
        return self._fitting(picked)

    def _fitting(self, picked: Json) -> tuple[Json, Fault | None]:
        size = len(orjson.dumps(picked))
        if size < OUTPUT_LIMIT_BYTES:
            return picked, None
        mend = f"keep a part of it with output, as in {{id: ${{ response.body.id }}}}, or nothing with output: {DROPPED}"
        return None, _invalid(f"what is kept of the answer takes {size:,} bytes of at most {OUTPUT_LIMIT_BYTES - 1:,}; {mend}")

    def _answered(self) -> str:
        inputs = self.record.inputs or {}
        reason = _PHRASES.get(self.status, "")
        words = f"{inputs.get('method', '')} {_shown(str(inputs.get('url', '')))} was answered with {self.status} {reason}".rstrip()
        excerpt = self.found.get("excerpt")
        return f"{words}: {excerpt}" if excerpt else words


def _shown(url: str) -> str:
    """The URL without its query, which may hold what is nobody's business."""
    try:
        return parse_url(url).shown
    except ValueError:
        return "the URL"


def _invalid(detail: str) -> Fault:
    return Fault("InvalidOutput", "The answer cannot be taken", detail)
