"""Failures of what steps call, once a circuit breaker leaves it alone."""

from typing import Final

from tests.scenarios.catalogue.rows import Row

_CIRCUITS = "tests/scenarios/circuits.py::"
_UNIT = "tests/unit/runtime/test_circuits.py::"
_SHARED = _CIRCUITS + "test_two_runs_open_a_breaker_and_a_third_fails_fast_or_falls_back_or_waits_until_a_person_resets_it"
_RESTARTED = _CIRCUITS + "test_an_open_breaker_stays_open_though_the_operator_is_killed_and_a_probe_closes_it"

CIRCUITS: Final[dict[str, Row]] = {
    "keeps-failing": Row(
        "what several runs call fails again and again",
        "opens its circuit breaker: for `openFor` nobody calls it",
        "`kubectl get circuitbreakers`: `Open`, failures of calls, until when; Event `CircuitOpened` with the latest failure",
        "mend what is called; `backstay breaker reset` once it is well",
        tests=(_SHARED,),
    ),
    "circuit-open": Row(
        "a step comes to an open circuit breaker",
        "fails it with `CircuitOpen` at once, without an attempt or a retry; a `catch` for it is the fallback",
        "`CircuitOpen` with the breaker, until when, and why",
        "catch it, or write `whenOpen: Wait`",
        tests=(_SHARED,),
    ),
    "circuit-wait": Row(
        "the same, and `whenOpen: Wait`",
        "has it wait until the breaker lets it through; its timeout counts meanwhile, attempts do not",
        "STATUS `Waiting`, the breaker in the message and in `backstay why`",
        "nothing, or `backstay breaker reset`",
        tests=(_SHARED,),
    ),
    "still-failing": Row(
        "a probe of a half-open circuit breaker fails",
        "opens it again for `openFor`",
        "Event `CircuitOpened`: a probe has failed",
        "as above",
        tests=(_UNIT + "test_a_probe_that_fails_opens_it_again_and_the_next_is_another",),
    ),
    "circuit-restart": Row(
        "the operator dies while a circuit breaker is open, or half open",
        "goes on from what is written: open stays open, probes keep their places and their results count",
        "nothing",
        "nothing",
        tests=(_RESTARTED,),
    ),
    "lost-probe": Row(
        "a probe is lost with its operator",
        "gives its place to another after `halfOpen.within`",
        "the probe in the breaker's status until then",
        "nothing",
        tests=(_UNIT + "test_a_probe_that_is_lost_with_its_operator_blocks_nobody_for_long",),
    ),
}
