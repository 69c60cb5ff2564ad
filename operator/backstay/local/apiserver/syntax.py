"""The syntax of names, labels and keys, with the server's words for what is wrong.

Each check returns a list of messages, empty where the text is right; they go into `fields.invalid` one by one. From apimachinery's
util/validation and api/validate/content (v1.37).
"""

from __future__ import annotations

import re
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, go_value, invalid

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_KEY: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE: Final = f"({_LABEL_KEY})?"
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"
_ALPHANUMERIC: Final = "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
_TOO_LONG: Final = "must be no more than {} bytes"


def dns_label(text: str) -> list[str]:
    """A DNS label of RFC 1123: lower case, at most 63 bytes."""
    problems = [_TOO_LONG.format(63)] if len(text) > 63 else []
    if not re.fullmatch(_LABEL, text):
        if re.fullmatch(_SUBDOMAIN, text):
            return [*problems, "must not contain dots"]
        words = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character"
        problems.append(_regex_error(words, _LABEL, "my-name", "123-abc"))
    return problems


def dns_subdomain(text: str) -> list[str]:
    """A DNS subdomain of RFC 1123: labels with dots between, at most 253 bytes."""
    problems = [_TOO_LONG.format(253)] if len(text) > 253 else []
    if not re.fullmatch(_SUBDOMAIN, text):
        words = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        problems.append(_regex_error(words, _SUBDOMAIN, "example.com"))
    return problems


def dns_1035_label(text: str) -> list[str]:
    """A DNS label of RFC 1035: it begins with a letter."""
    problems = [_TOO_LONG.format(63)] if len(text) > 63 else []
    if not re.fullmatch(_LABEL_1035, text):
        words = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character"
        problems.append(_regex_error(words, _LABEL_1035, "my-name", "abc-123"))
    return problems


def qualified_name(text: str) -> list[str]:
    """The key of a label or annotation, or a finalizer: a name, with a DNS subdomain and a slash before it at will."""
    prefix, slash, name = text.rpartition("/")
    shown = _regex_error(f"must consist of {_ALPHANUMERIC}", _LABEL_KEY, "MyName", "my.name", "123-abc")
    if "/" in prefix:
        return [f"a valid label key {shown} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    problems = []
    if slash:
        problems = [f"prefix part {words}" for words in (dns_subdomain(prefix) if prefix else ["must be non-empty"])]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append(f"name part {_TOO_LONG.format(63)}")
    if not re.fullmatch(_LABEL_KEY, name):
        problems.append(f"name part {shown}")
    return problems


def label_value(text: str) -> list[str]:
    """The value of a label: empty, or at most 63 bytes of the usual characters."""
    problems = [_TOO_LONG.format(63)] if len(text) > 63 else []
    if not re.fullmatch(_LABEL_VALUE, text):
        words = f"a valid label must be an empty string or consist of {_ALPHANUMERIC}"
        problems.append(_regex_error(words, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return problems


def environment_name(text: str) -> list[str]:
    """The name of an environment variable: printable ASCII without `=` (KEP-4369)."""
    if not text:
        return ["environment variable name must be non-empty"]
    if all(" " <= character <= "~" and character != "=" for character in text):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def config_key(text: str) -> list[str]:
    """A key of a ConfigMap or Secret: what can be a file's name."""
    problems = [_TOO_LONG.format(253)] if len(text) > 253 else []
    if not re.fullmatch(_CONFIG_KEY, text):
        words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems.append(_regex_error(words, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if text in (".", ".."):
        problems.append(f"must not be '{text}'")
    elif text.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def port_name(text: str) -> list[str]:
    """The name of a port (IANA_SVC_NAME)."""
    checks = (
        (len(text) > 15, _TOO_LONG.format(15)),
        (not re.fullmatch("[-a-z0-9]+", text), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        (not re.search("[a-z]", text), "must contain at least one letter (a-z)"),
        ("--" in text, "must not contain consecutive hyphens"),
        (text.startswith("-") or text.endswith("-"), "must not begin or end with a hyphen"),
    )
    return [words for wrong, words in checks if wrong]


def check_labels(labels: Any, field: str) -> list[FieldError]:
    """Check the keys and values of a map of labels that stands at `field`."""
    errors = []
    for key, value in sorted(labels.items()) if isinstance(labels, dict) else ():
        errors += [invalid(field, key, words) for words in qualified_name(key)]
        errors += [invalid(field, value, words) for words in label_value(str(value))]
    return errors


def in_range(low: int, high: int) -> str:
    """What is said of a number outside of its range."""
    return f"must be between {go_value(low)} and {go_value(high)}, inclusive"


def _regex_error(words: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{words} (e.g. {shown}regex used for validation is '{pattern}')"
