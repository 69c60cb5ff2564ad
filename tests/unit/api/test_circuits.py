"""What a CircuitBreaker may say, and what it is told where that makes no sense: by the models, and by the rules of its CRD in the same cases."""

from typing import Any

import pytest

from backstay.api.validate import parse_circuit_breaker
from backstay.engine.policies.breaker import Rules, rules_of
from backstay.errors import InvalidDefinition

FAULTY: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"openfor": "1m"}, 'unknown field "openfor"; did you mean "openFor"?'),
    "a window of both": ({"window": {"count": 1, "duration": "1m"}}, "window: give exactly one of count and duration"),
    "a window of nothing": ({"window": {}}, "window: give exactly one of count and duration"),
    "a window that is too large": ({"window": {"count": 1001}}, "window.count: is 1001 and must be at most 1000"),
    "a window of no time": ({"window": {"duration": "0s"}}, "window: 0s is out of bounds; write a duration from 100ms to 1d, as in 30s"),
    "more calls than the window holds": (
        {"window": {"count": 5}, "minimumCalls": 6},
        "minimumCalls is 6, and the window holds 5 results: it would never open; raise window.count",
    ),
    "more calls than the default window holds": (
        {"minimumCalls": 21},
        "minimumCalls is 21, and the window holds 20 results: it would never open; raise window.count",
    ),
    "more failures than the window holds": (
        {"window": {"count": 5}, "failures": 6},
        "failures is 6, and the window holds 5 results: it would never open; raise window.count",
    ),
    "a rate and a number": ({"failureRate": "50%", "failures": 2}, "give failureRate or failures, not both"),
    "a rate that is none": ({"failureRate": "0%"}, 'failureRate: "0%" is no percentage; write 1% to 100%, as in "50%"'),
    "open for no time": ({"openFor": "0s"}, "openFor: 0s is out of bounds; write a duration from 100ms to 1d, as in 30s"),
    "no duration": ({"openFor": "soon"}, 'openFor: "soon" is no duration; write a number and a unit (ms, s, m, h, d), as in 90s or 1h30m'),
    "open for ever": ({"openFor": "2d"}, "openFor: 2d is out of bounds; write a duration from 100ms to 1d, as in 30s"),
    "no probes": ({"halfOpen": {"probes": 0}}, "halfOpen.probes: is 0 and must be more than 0"),
    "probes within no time": (
        {"halfOpen": {"within": "1ms"}},
        "halfOpen.within: 1ms is out of bounds; write a duration from 100ms to 1d, as in 30s",
    ),
    "no errors": ({"errors": []}, "errors: is empty; it needs at least one item"),
    "retrying while it is open": ({"whenOpen": "Retry"}, 'whenOpen: "Retry" is unknown; there are: Fail, Wait'),
    "half forced": (
        {"forced": {"state": "HalfOpen"}},
        'forced.state: "HalfOpen" is unknown; there are: Closed, Open; did you mean "Open"?',
    ),
    "a reset without an id": ({"reset": {"reason": "x"}}, 'reset: missing field "id": add it'),
}


@pytest.mark.parametrize("case", FAULTY)
def test_what_makes_no_sense_is_told_with_its_place_and_the_mend(case: str) -> None:
    spec, words = FAULTY[case]
    with pytest.raises(InvalidDefinition) as told:
        parse_circuit_breaker(spec)
    assert str(told.value) == words


@pytest.mark.parametrize(
    ("spec", "rules"),
    [
        ({}, Rules(count=20, minimum=10, rate=0.5)),
        ({"window": {"count": 5}}, Rules(count=5, minimum=5, rate=0.5)),
        ({"window": {"duration": "1h"}, "failures": 3}, None),
        ({"failures": 3}, Rules(count=20, minimum=3, rate=None, failures=3)),
        ({"failureRate": "75%", "minimumCalls": 1}, Rules(count=20, minimum=1, rate=0.75)),
    ],
)
def test_what_is_not_said_is_sensible(spec: dict[str, Any], rules: Rules | None) -> None:
    found = rules_of(parse_circuit_breaker(spec))
    if rules is None:
        assert (found.count, found.minimum, found.failures) == (None, 3, 3)
    else:
        assert found == rules
