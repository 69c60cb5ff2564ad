"""What the embedded server answers differently from the real one ON PURPOSE: the one list, with reasons, and how each is left out of the comparison.

docs/embedded.md shows this list; a test holds the two against each other, and another one fails for an entry that no exchange needs any more.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.embedded.apiserver.exchanges.exchange import Body, Exchange

MANAGERS: Final = "managers"
COLUMNS: Final = "column descriptions"
CAUSES: Final = "repeated causes"
CONTROLLERS: Final = "controllers"
SERVED: Final = "what is served"
DESCRIPTIONS: Final = "descriptions"
BUILD: Final = "the build"
GO_VALUES: Final = "values in messages"
ZERO_VALUES: Final = "zero values"
NETWORK: Final = "services"
ANONYMOUS: Final = "anonymous users"
PROTOBUF: Final = "protobuf"
DECODERS: Final = "wording of decoders"
DEPTH: Final = "depth"
UTF8: Final = "text that is not UTF-8"
HISTORY: Final = "history"
OLD_WATCHES: Final = "old watches"
COST: Final = "the cost of rules"
NUMBERS: Final = "whole floats"
EMBEDDED_METADATA: Final = "metadata of embedded objects"

Forget = Callable[[Exchange, Body], Body]


@dataclass(frozen=True)
class Difference:
    """One thing that differs. `forget` takes it out of an answer; where it is None, exchanges name the entry and what is compared (`part`)."""

    key: str
    real: str
    embedded: str
    reason: str
    forget: Forget | None = None


# ─────────────────────────────────────────────────────────────────────────────────────────── how each is left out


def _without(value: Any, drop: Callable[[dict[str, Any], str], bool]) -> Any:
    """Return a value without the fields for which `drop(object, name)` is true, at any depth."""
    if isinstance(value, dict):
        return {name: _without(inner, drop) for name, inner in value.items() if not drop(value, name)}
    return [_without(item, drop) for item in value] if isinstance(value, list) else value


def _managers(_: Exchange, answer: Body) -> Body:
    def drop(value: dict[str, Any], name: str) -> bool:
        return name == "managedFields" and all(entry["operation"] != "Apply" for entry in value[name] or ())

    return dict(_without(answer, drop))


def _descriptions(_: Exchange, answer: Body) -> Body:
    def drop(value: dict[str, Any], name: str) -> bool:
        return name == "description" and "priority" in value and "format" in value

    return dict(_without(answer, drop))


_SHARED: Final = ("configmaps", "pods", "secrets", "namespaces", "jobs", "leases", "widgets", "gauges")
"""Resources whose entries in discovery are held against each other."""


def _served(exchange: Exchange, answer: Body) -> Body:
    if exchange.because != SERVED or "body" not in answer:
        return answer
    entries: list[tuple[str, Any]] = []
    for group in answer["body"].get("items", ()):
        for version in group["versions"]:
            name = f"{group['metadata'].get('name', '')}/{version['version']}"
            entries += [(name, _entry(entry)) for entry in version["resources"] if entry["resource"] in _SHARED]
    return {**answer, "body": [list(entry) for entry in sorted(entries, key=lambda entry: (entry[0], entry[1]["resource"]))]}


def _entry(entry: Body) -> Body:
    shared = [each for each in entry.get("subresources", ()) if each["subresource"] in ("status", "scale", "finalize")]
    return {**entry, "subresources": sorted(shared, key=lambda each: str(each["subresource"]))}


def _explained(exchange: Exchange, answer: Body) -> Body:
    """Keep the lines that name a field, and those before them that say which kind it is."""
    if exchange.because != DESCRIPTIONS:
        return answer
    lines = [line for line in answer["text"].splitlines() if re.match(r"[A-Z]+:|  \S+\t<|FIELD: ", line)]
    return {**answer, "text": "\n".join(lines)}


_SHOWN_VALUE = re.compile(r'Invalid value: ("?)[\[{].*[\]}]\1: ')


def _values(exchange: Exchange, answer: Body) -> Body:
    if exchange.because != GO_VALUES:
        return answer
    return dict(_with_texts(answer, lambda text: _SHOWN_VALUE.sub("Invalid value: <value>: ", text)))


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _with_texts(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_texts(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _zero_values(exchange: Exchange, answer: Body) -> Body:
    if exchange.because != ZERO_VALUES:
        return answer
    return dict(_without(answer, lambda value, name: value[name] in (None, "", [])))


def _repeated_causes(_: Exchange, answer: Body) -> Body:
    details = (answer.get("body") or {}).get("details") if isinstance(answer.get("body"), dict) else None
    if not details or "causes" not in details:
        return answer
    causes = details["causes"]
    once = [cause for index, cause in enumerate(causes) if cause not in causes[:index]]
    return {**answer, "body": {**answer["body"], "details": {**details, "causes": once}}}


# ──────────────────────────────────────────────────────────────────────────────────────────────────────── the list

ON_PURPOSE: Final[tuple[Difference, ...]] = (
    Difference(
        MANAGERS,
        "`metadata.managedFields` tells of every writer",
        "only of objects that somebody applied (server-side apply) at least once; what was written before then is one manager, `before-first-apply`",
        "nobody needs it before the first apply, and it doubles the size and the cost of every write",
        _managers,
    ),
    Difference(
        COLUMNS,
        "tables describe each column with the text of the API reference",
        "with a short text",
        "no client shows it",
        _descriptions,
    ),
    Difference(
        CAUSES,
        "a refusal may list the same cause several times",
        "once",
        "the repetition comes from two validators that look at the same field",
        _repeated_causes,
    ),
    Difference(
        CONTROLLERS,
        "controllers write a moment later: a definition is not established yet when it is created, a Job's status comes by itself",
        "definitions are established at once; Jobs have a controller only in `backstay dev`, not in the API server alone",
        "a difference in time, not in the end; who creates a definition waits for Established in any case",
    ),
    Difference(
        SERVED,
        "all of Kubernetes' kinds",
        "those that Backstay, its chart and `kubectl` on a laptop need; of the kinds that both serve discovery says the same",
        "a kind that is not served is told at once (404), one that is served and does nothing would be a trap",
        _served,
    ),
    Difference(
        DESCRIPTIONS,
        "`kubectl explain` of builtin kinds and of metadata describes every field",
        "it shows names and types; custom resources are described in full",
        "the text is 4 MB, and it is in the Kubernetes API reference",
        _explained,
    ),
    Difference(
        BUILD, "`/version` tells Go's version and the commit", "Python's, and `v1.37.2+backstay`", "it is another program, and says so"
    ),
    Difference(
        GO_VALUES,
        "some messages show the refused value as Go's struct, or the object with its managers",
        "as JSON",
        "people read the field and the reason, which are the same",
        _values,
    ),
    Difference(
        ZERO_VALUES,
        "some builtin kinds show empty fields (`eventTime: null`, `rules: null`, a Node's empty nodeInfo) and get a first taint",
        "what was not given is left out",
        "clients read both alike",
        _zero_values,
    ),
    Difference(
        NETWORK,
        "a Service gets IP families and addresses",
        "nothing is routed: Services are stored",
        "pods are processes on this machine, which reach each other by localhost",
    ),
    Difference(
        ANONYMOUS,
        "who shows no token is `system:anonymous`, whom RBAC refuses with 403",
        "401, as for a wrong token",
        "there is one user and no RBAC: roles, quotas, Pod Security and admission policies are stored and not enforced; the real cluster is for testing them",
    ),
    Difference(
        PROTOBUF,
        "answers in protobuf to who accepts nothing else",
        "406 in JSON; protobuf bodies are read",
        "every client accepts JSON besides",
    ),
    Difference(
        DECODERS,
        "says what is wrong with a continue token, a pattern or delete options in the words of Go's libraries",
        "in its own",
        "clients go by the code and the reason",
    ),
    Difference(
        DEPTH,
        "takes bodies that are 10,000 levels deep",
        "250 levels; deeper ones are refused in the same words",
        "Python's and libyaml's stacks are shorter, and no object of people is deeper",
    ),
    Difference(UTF8, "replaces bytes that are no UTF-8", "refuses them with 400", "names that only look alike help nobody"),
    Difference(
        HISTORY,
        "a watch from a version before the kind was defined ends with 410 Expired",
        "tells everything since then",
        "the log reaches back as far as it is kept; beyond that it is 410 here, too",
    ),
    Difference(OLD_WATCHES, "`/watch/` in a path, deprecated since 1.11", "404", "no client uses it"),
    Difference(
        COST,
        "refuses a definition whose CEL rules could cost too much",
        "takes it",
        "the estimate is 3,000 lines of Go; Backstay's own definitions are held against the real server in CI",
    ),
    Difference(
        NUMBERS,
        "CEL rules fail on 5.0 where the schema says integer",
        "5.0 is 5",
        "a known oddity of the real one that no client runs into: they write 5",
    ),
    Difference(
        EMBEDDED_METADATA,
        "unknown fields in the metadata of an embedded object (`x-kubernetes-embedded-resource`) are pruned, and explained",
        "kept, and not explained",
        "Backstay's definitions have no embedded objects",
    ),
)


def compared(exchange: Exchange, answer: Body) -> Body:
    """Return the part of an answer in which the servers must agree."""
    for difference in ON_PURPOSE:
        if difference.forget:
            answer = difference.forget(exchange, answer)
    if exchange.here is not None:
        return {"status": answer["status"]}
    if not exchange.only:
        return answer
    body = answer.get("body", {})
    return {"status": answer["status"], "body": {name: body.get(name) for name in exchange.only if name != "-"}}
