"""Values, names and quantities as Go and Kubernetes write them."""

from fractions import Fraction
from typing import Any

import pytest

from backstay.local.apiserver import fields, syntax
from backstay.local.apiserver.quantity import parse_quantity

VALUES: list[tuple[Any, str]] = [
    ("a", '"a"'),
    ('say "no"\n', '"say \\"no\\"\\n"'),
    ("é😀\u200b\x00", '"é😀\\u200b\\x00"'),
    (True, "true"),
    (3, "3"),
    (1.0, "1"),
    (0.0001, "0.0001"),
    (0.00001, "1e-05"),
    (999999.0, "999999"),
    (1000000.0, "1e+06"),
    (1234567.5, "1.2345675e+06"),
    (-2.5, "-2.5"),
    (None, "null"),
    ({"b": [1, "<"], "a": None}, '{"a":null,"b":[1,"\\u003c"]}'),
]


@pytest.mark.parametrize(("value", "printed"), VALUES)
def test_a_value_in_a_message_is_printed_as_go_prints_it(value: Any, printed: str) -> None:
    assert fields.go_value(value) == printed


def test_several_errors_stand_in_brackets_and_repetitions_are_left_out() -> None:
    first, second = fields.required("a"), fields.invalid("b", 1, "no")
    assert fields.summary([first]) == "a: Required value"
    assert fields.summary([first, second, first]) == "[a: Required value, b: Invalid value: 1: no]"


def test_a_cause_has_the_reason_that_clients_look_for() -> None:
    assert fields.too_many("a", 3, 1).cause == {
        "reason": "FieldValueTooMany",
        "message": "Too many: 3: must have at most 1 item",
        "field": "a",
    }


QUANTITIES: list[tuple[str | int, str | int]] = [
    ("1", 1),
    ("500m", "0.5"),
    ("1Ki", 1024),
    ("1.5G", 1500000000),
    ("2e3", 2000),
    ("-1", -1),
    (".5", "0.5"),
    (3, 3),
    ("1n", "0.000000001"),
]


@pytest.mark.parametrize(("text", "value"), QUANTITIES)
def test_a_quantity_has_a_value(text: str | int, value: str | int) -> None:
    assert parse_quantity(text) == Fraction(value)


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", "1kb", "--1"])
def test_what_is_no_quantity_is_refused_in_the_servers_words(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        parse_quantity(text)


SYNTAX: list[tuple[str, Any, str, bool]] = [
    ("a label", syntax.dns_label, "my-name", True),
    ("a label in capitals", syntax.dns_label, "My", False),
    ("a label with a dot", syntax.dns_label, "a.b", False),
    ("a label of 64", syntax.dns_label, "a" * 64, False),
    ("a subdomain", syntax.dns_subdomain, "a.b-c.d1", True),
    ("a subdomain that ends with a dot", syntax.dns_subdomain, "a.", False),
    ("a name that begins with a digit", syntax.dns_1035_label, "1a", False),
    ("a qualified name", syntax.qualified_name, "backstay.dev/run", True),
    ("a plain name", syntax.qualified_name, "App_1.x", True),
    ("a name with two slashes", syntax.qualified_name, "a/b/c", False),
    ("a name with nothing before its slash", syntax.qualified_name, "/a", False),
    ("an empty label value", syntax.label_value, "", True),
    ("a label value with a blank", syntax.label_value, "a b", False),
    ("a variable", syntax.environment_name, "A.B-c", True),
    ("a variable with an equals sign", syntax.environment_name, "A=", False),
    ("a key", syntax.config_key, "a.B_c-1", True),
    ("a key that leads up", syntax.config_key, "..a", False),
    ("a port", syntax.port_name, "http-1", True),
    ("a port of digits", syntax.port_name, "80", False),
]


@pytest.mark.parametrize(("check", "text", "right"), [case[1:] for case in SYNTAX], ids=[case[0] for case in SYNTAX])
def test_names(check: Any, text: str, right: bool) -> None:
    assert (check(text) == []) is right
