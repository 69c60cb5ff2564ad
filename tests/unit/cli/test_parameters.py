"""`-p name=value`: the workflow's schema says what the text becomes."""

from typing import Any

import pytest

from backstay.cli.failures import Usage
from backstay.cli.views.parameters import schemas_of, typed_parameters

SCHEMAS: dict[str, Any] = {
    "text": {"type": "string"},
    "count": {"type": "integer"},
    "amount": {"type": "number"},
    "flag": {"type": "boolean"},
    "lines": {"type": "array"},
    "address": {"type": "object"},
    "either": {"type": ["integer", "null"]},
    "mixed": {"type": ["integer", "string"]},
    "anything": {},
}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("text=12", "12"),
        ("text=", ""),
        ("text=a=b", "a=b"),
        ("text= spaces stay ", " spaces stay "),
        ("count=12", 12),
        ("count=-3", -3),
        ("count=3.0", 3),
        ("amount=12.5", 12.5),
        ("amount=1e3", 1000.0),
        ("amount=7", 7),
        ("flag=true", True),
        ("lines=[1, 2]", [1, 2]),
        ('address={"city": "x"}', {"city": "x"}),
        ("either=null", None),
        ("mixed=12", "12"),
        ("anything=12", "12"),
        ("anything:=12", 12),
        ("text:=[1]", [1]),
        ("unknown=12", "12"),
    ],
)
def test_text_becomes_what_the_schema_asks_for(given: str, value: object) -> None:
    (found,) = typed_parameters([given], SCHEMAS).values()
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["count=abc"], 'parameter count: expected a whole number, found "abc"'),
        (["count=1.5"], "expected a whole number"),
        (["count=true"], "expected a whole number"),
        (["amount=NaN"], "expected a number"),
        (["amount=Infinity"], "expected a number"),
        (["flag=yes"], "expected true or false"),
        (["lines=a,b"], "expected a JSON list"),
        (["either=x"], "expected a whole number or null"),
        (["text:=abc"], "the value is no JSON"),
        (["text:=NaN"], "the value is no JSON"),
        (["text"], "there is no = in it"),
        (["=x"], "it has no name"),
        ([":=1"], "it has no name"),
        (["text=a", "text=b"], "-p text is given twice"),
        (["text=a", 'text:="b"'], "-p text is given twice"),
    ],
)
def test_what_cannot_be_meant_is_told_with_the_mend(given: list[str], words: str) -> None:
    with pytest.raises(Usage) as caught:
        typed_parameters(given, SCHEMAS)
    assert words in str(caught.value) and ";" in str(caught.value)


def test_schemas_are_found_in_a_spec_and_a_strange_spec_has_none() -> None:
    assert schemas_of({"parameters": [{"name": "a", "schema": {"type": "string"}}, {"name": "b"}]}) == {"a": {"type": "string"}, "b": {}}
    assert schemas_of({"parameters": "x"}) == {}
