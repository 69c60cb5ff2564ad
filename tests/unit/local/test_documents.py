"""Request bodies: what is read, what is refused, and in whose words."""

import orjson
import pytest

from backstay.local.apiserver.documents import MAX_DEPTH, DocumentError, load_json, load_yaml


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_body_that_is_too_deep_is_refused_whatever_it_is_written_in(levels: int, opening: bytes, closing: bytes) -> None:
    body = opening * levels + b"1" + closing * levels
    with pytest.raises(DocumentError, match="exceeded max depth"):
        load_json(body)
    with pytest.raises(DocumentError, match=f"yaml: exceeded max depth of {MAX_DEPTH}"):
        load_yaml(body)


@pytest.mark.parametrize("body", [b"- " * 100_000, b"? " * 100_000, b"\n".join(b" " * level + b"a:" for level in range(2_000))])
def test_yaml_without_a_bracket_can_be_too_deep_as_well(body: bytes) -> None:
    with pytest.raises(DocumentError, match="exceeded max depth"):
        load_yaml(body)


def test_a_body_may_have_many_brackets_side_by_side() -> None:
    assert load_json(b"[" + b"[]," * 1_000 + b"[]]") == [[]] * 1_001


def test_the_deepest_body_that_is_taken_can_be_written_again() -> None:
    value = load_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert orjson.dumps(value) == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"a": ', "unexpected end of JSON input"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a": 1 "b"}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"1 2", "invalid character '2' after top-level value"),
    ],
)
def test_what_is_no_json_is_told_in_the_words_of_go(body: bytes, said: str) -> None:
    with pytest.raises(DocumentError) as refused:
        load_json(body)
    assert str(refused.value) == said


def test_keys_of_yaml_are_text_as_in_json() -> None:
    assert load_yaml(b"{yes: 1, 5: 2, ~: 3, 1.5: {no: 4}}") == {"true": 1, "5": 2, "null": 3, "1.5": {"false": 4}}


def test_a_date_in_yaml_is_text() -> None:
    assert load_yaml(b"when: 2024-01-01") == {"when": "2024-01-01"}


def test_what_is_no_yaml_is_told_with_its_line() -> None:
    with pytest.raises(DocumentError, match="yaml: line 1: did not find expected node content"):
        load_yaml(b"a: [")
