"""docs/patterns.md is what the manifests say, and leaves out none of the 43."""

from tests.support.patterns_page import CATALOGUE, MANIFESTS, PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run `make patterns`"


def test_the_whole_catalogue_is_there_and_what_is_left_out_says_why_and_what_to_use_instead() -> None:
    assert list(CATALOGUE) == list(range(1, 44))
    for number, pattern in CATALOGUE.items():
        assert pattern.here.startswith("left out") is (number not in MANIFESTS), pattern.name
        assert number in MANIFESTS or "`" in pattern.here or "(" in pattern.here, f"{pattern.name}: what to use instead?"
