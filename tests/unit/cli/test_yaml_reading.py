"""YAML as kubectl reads it. The tables were held against kubectl 1.37: `kubectl label --local -o json`."""

import pytest

from backstay.cli.yaml_reading import BadYaml, Document, read_documents, scalar


def only(text: str) -> Document:
    (document,) = read_documents(text)
    return document


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("y", True),
        ("on", True),
        ("YES", True),
        ("n", False),
        ("Off", False),
        ("true", True),
        ("~", None),
        ("null", None),
        ("0777", 511),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("-7", -7),
        ("1e3", 1000),
        (".5", 0.5),
        ("5.", 5),
        ("08", 8),
        ("9223372036854775808", 9223372036854775808.0),
        ("1:30", "1:30"),
        ("2027-01-31", "2027-01-31"),
        ("2027-01-31T09:00:00Z", "2027-01-31T09:00:00Z"),
        ("1e400", "1e400"),
        ("0b", "0b"),
        ("_1", "_1"),
        ("yEs", "yEs"),
    ],
)
def test_bare_words_are_what_kubectl_takes_them_for(written: str, value: object) -> None:
    found = only(f"x: {written}\n").value["x"]
    assert found == value and type(found) is type(value)
    assert scalar(written, plain=False) == written


def test_quoted_words_are_text() -> None:
    assert only("""{a: "on", b: '12', c: !!str x}""").value == {"a": "on", "b": "12", "c": "x"}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 1),
        ("spec", 2),
        ("spec.steps", 3),
        ("spec.steps[1]", 5),
        ("spec.steps[1].job.image", 7),
        ('spec.set["a b"]', 9),
        ("spec.steps[1].nothing.deeper", 5),
        ("spec.steps[9]", 3),
        ("nowhere", 1),
    ],
)
def test_every_path_leads_to_its_line_or_to_what_is_around_it(path: str, line: int) -> None:
    text = "\n".join(
        [
            "kind: Workflow",
            "spec:",
            "  steps:",
            "  - name: a",
            "  - name: b",
            "    job:",
            "      image: x",
            "  set:",
            '    "a b": 1',
        ]
    )
    assert only(text).place.find(path) == line


def test_a_field_that_stands_twice_is_told_where_kubectl_would_be_silent() -> None:
    document = only("a: 1\nb: 2\na: 3\n")
    assert [(fault.line, fault.message) for fault in document.faults] == [(3, 'the field "a" stands here and in line 1; keep one of them')]


def test_a_field_name_that_yaml_takes_for_a_boolean_is_told() -> None:
    document = only("retry:\n  on: [Transient]\n")
    assert document.value == {"retry": {"true": ["Transient"]}}
    assert [(fault.line, fault.message) for fault in document.faults] == [
        (2, 'YAML reads the field name on as true; write it in quotes: "on"')
    ]


def test_aliases_and_merges_are_followed() -> None:
    document = only("base: &base {a: 1, b: 2}\nboth: {<<: *base, b: 3}\nsame: *base\n")
    assert document.value["both"] == {"a": 1, "b": 3}
    assert document.value["same"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: [1, 2\nb: 3\n", 2, "it is no YAML"),
        ("a:\n\t- b\n", 2, "a tab cannot indent YAML"),
        ("a: {b: c}}\n", 1, "it is no YAML"),
        ("? [a, b]\n: 1\n", 1, "the name of a field must be text"),
        ("x: &x\n  y: *x\n", 1, "contains itself"),
        ("a: &a [1]\n<<: *a\n", 2, "<< merges maps"),
        ("[" * 300 + "]" * 300, 1, "nests more than"),
    ],
)
def test_what_is_no_manifest_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(BadYaml) as caught:
        list(read_documents(text))
    assert caught.value.line == line and words in caught.value.message


def test_a_few_lines_that_stand_for_gigabytes_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 10)]
    with pytest.raises(BadYaml, match="aliases make this document grow"):
        list(read_documents("\n".join(lines)))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000 + "x"])
def test_a_text_that_would_overflow_the_stack_is_refused(text: str) -> None:
    with pytest.raises(BadYaml, match="nests more than"):
        list(read_documents(text))


def test_documents_before_a_broken_one_are_read() -> None:
    documents = read_documents("a: 1\n---\n---\nb: [\n")
    assert next(documents).value == {"a": 1}
    with pytest.raises(BadYaml):
        next(documents)
