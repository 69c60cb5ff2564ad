"""What differs from run to run by its nature, whichever server answers: UIDs, times, versions, generated names. It is blotted out."""

import re
from typing import Any

_BLOTTED = frozenset(
    {
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "deletionTimestamp",
        "lastTransitionTime",
        "lastProbeTime",
        "time",
        "continue",
    }
)
_PATTERNS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uid>"),
    (re.compile(r"x{100,}"), "<long>"),
    (re.compile(r"(?<=Bad_)\w{5}"), "<generated>"),
    (re.compile(r"\b(generated)-[a-z0-9]{5}\b"), r"\1-<generated>"),
    (re.compile(r"current: \d+"), "current: <number>"),
    (re.compile(r"(too old resource version|Too large resource version|timeout or abort while handling)[^\n]*"), r"\1 <numbers>"),
    (re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL), "<certificate>"),
    (re.compile(r"in record \(\d+\)"), "in record (<version>)"),
    (re.compile(r"([Rr]esource ?Version:\s+)\"?\d+\"?"), r"\1<version>"),
    (re.compile(r"(https://)?127\.0\.0\.1:\d+"), "<server>"),
    (re.compile(r"\b\d\dy\b"), "<years>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
)
_AGE = re.compile(r"<time>|<years>|\d+[smhdy](\d+[smhd])?")
_AGE_IN_TEXT = re.compile(r"(?<= )(<invalid>|\d{1,3}[smh](\d+[smh])?) *$", re.MULTILINE)


def blotted(value: Any, key: str = "") -> Any:
    """Return an answer without what differs from run to run, and what comes in any order in an order of its own."""
    if isinstance(value, dict):
        made = {name: _of_field(name, inner) for name, inner in value.items()}
        if made.get("kind") == "APIResourceList":
            made["resources"] = sorted(made["resources"], key=lambda entry: str(entry["name"]))
        return _in_order(made) if made.get("reason") == "Invalid" else made
    if isinstance(value, list):
        items = [blotted(item) for item in value]
        return ["<age>" if key == "cells" and isinstance(item, str) and _AGE.fullmatch(item) else item for item in items]
    if isinstance(value, str):
        for pattern, shown in _PATTERNS:
            value = pattern.sub(shown, value)
        return _AGE_IN_TEXT.sub("<age>", value) if key == "text" else value
    return value


def _of_field(name: str, value: Any) -> Any:
    return "<blotted>" if name in _BLOTTED and isinstance(value, str) and value else blotted(value, name)


def _in_order(refusal: dict[str, Any]) -> dict[str, Any]:
    """Sort the causes of a refusal and their repetition in its message: Go's maps come in any order."""
    causes = (refusal.get("details") or {}).get("causes") or []
    said = [f"{cause['field']}: {cause['message']}" for cause in causes if "field" in cause]
    head, bracket, _ = str(refusal["message"]).partition(" is invalid: [")
    if not bracket or not all(each in refusal["message"] for each in said):
        return refusal
    details = {**refusal["details"], "causes": sorted(causes, key=lambda cause: (cause.get("field", ""), cause.get("message", "")))}
    return {**refusal, "message": f"{head} is invalid: [{', '.join(sorted(set(said)))}]", "details": details}
