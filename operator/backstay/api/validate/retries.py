"""Retries that cannot do what they say: rules that never match, delays that are cut, budgets that leave no room; and what contradicts `retriable`."""

from collections.abc import Iterator
from datetime import timedelta

from backstay.api.base import format_duration
from backstay.api.policies import Backoff, Jitter, OnExhausted, Retry, RetryRule
from backstay.api.steps import Step
from backstay.api.validate.error_types import check_types, covers, in_words
from backstay.api.workflow import Defaults
from backstay.errors import Problem
from backstay.expressions.words import quoted


def check_retry(retry: Retry | None, path: str, raised: frozenset[str]) -> Iterator[Problem]:
    """Yield what is wrong with a retry. `raised` are the error types that the workflow raises itself."""
    if retry is None:
        return
    if "errors" in retry.model_fields_set:
        yield from check_types(retry.errors, f"{path}.errors", raised)
    yield from _check_delays(retry, retry, path)
    if retry.within is not None and retry.max_attempts > 1 and _least_delay(retry) > retry.within:
        message = (
            f"within ({format_duration(retry.within)}) is over before the second attempt could begin; raise it, or make interval shorter"
        )
        yield Problem(f"{path}.within", message)
    for index, rule in enumerate(retry.rules):
        yield from check_types(rule.errors, f"{path}.rules[{index}].errors", raised)
        yield from _check_rule(retry, index, f"{path}.rules[{index}]")


def _least_delay(retry: Retry) -> timedelta:
    """Return the shortest delay before the second attempt that jitter leaves."""
    full = min(retry.interval, retry.max_delay)
    return {Jitter.FULL: timedelta(), Jitter.EQUAL: full / 2, Jitter.NONE: full}[retry.jitter]


def _check_delays(written: Retry | RetryRule, means: Retry, path: str) -> Iterator[Problem]:
    """Look at the delays of a retry, or of a rule of it; `means` is what holds for them in all."""
    given = written.model_fields_set
    if means.interval > means.max_delay and "interval" in given:
        message = f"interval ({format_duration(means.interval)}) is longer than maxDelay ({format_duration(means.max_delay)}), which cuts it; raise maxDelay"
        yield Problem(f"{path}.interval", message, "warning")
    if means.backoff is not Backoff.EXPONENTIAL and "backoff_rate" in given:
        yield Problem(f"{path}.backoffRate", f"goes with backoff: Exponential, and this one is {means.backoff}; remove it", "warning")


def _check_rule(retry: Retry, index: int, path: str) -> Iterator[Problem]:
    rule = retry.rules[index]
    earlier = [(number, kind) for number, other in enumerate(retry.rules[:index]) for kind in other.errors]
    for position, wanted in enumerate(rule.errors):
        if taken := next((found for found in earlier if covers(found[1], wanted)), None):
            message = f"{quoted(wanted)} never comes to this rule: rules[{taken[0]}] before it takes {in_words(taken[1])}"
            mend = "put that one last" if taken[1] == "*" else "remove one"
            yield Problem(f"{path}.errors[{position}]", f"{message}; {mend}", "error" if len(rule.errors) == 1 else "warning")
    means = retry.under(index)
    yield from _check_delays(rule, means, path)
    useless = [name for name in RetryRule.model_fields if name in rule.model_fields_set - {"errors", "max_attempts"}]
    if means.max_attempts == 1 and useless:
        yield Problem(path, "no other attempt follows with maxAttempts: 1, so its delays mean nothing; remove them", "warning")


# --------------------------------------------------------------------------------------------------------------------- of a step


def check_step_retry(step: Step, path: str, defaults: Defaults) -> Iterator[Problem]:
    """Yield what of a step that does work contradicts its retry, or that it is retriable."""
    if step.retriable:
        yield from _check_retriable(step, path)
        return
    timeout = step.timeout or defaults.timeout
    if step.retry is not None and step.retry.within is not None and timeout is not None and step.retry.within > timeout:
        message = (
            f"within ({format_duration(step.retry.within)}) is longer than timeout ({format_duration(timeout)}), which ends all attempts"
        )
        yield Problem(f"{path}.retry.within", f"{message}; make it shorter", "warning")


def _check_retriable(step: Step, path: str) -> Iterator[Problem]:
    for name in ("max_attempts", "errors", "within"):
        if step.retry is not None and name in step.retry.model_fields_set:
            alias = {"max_attempts": "maxAttempts"}.get(name, name)
            yield Problem(
                f"{path}.retry.{alias}", f"a retriable step is tried until it succeeds, whatever the error; remove {alias}, or retriable"
            )
    for index, rule in enumerate(step.retry.rules if step.retry is not None else ()):
        if rule.max_attempts is not None:
            place = f"{path}.retry.rules[{index}].maxAttempts"
            yield Problem(place, "a retriable step is tried until it succeeds, whatever the error; remove maxAttempts, or retriable")
    if step.on_exhausted in (OnExhausted.FAIL, OnExhausted.DEAD_LETTER):
        words = (
            "a retriable step never runs out of attempts, and waits for a person where it cannot make one; remove onExhausted, or retriable"
        )
        yield Problem(f"{path}.onExhausted", words)
    if step.timeout is not None:
        yield Problem(f"{path}.timeout", "a retriable step is tried until it succeeds; write attemptTimeout, which ends one attempt")
    if step.catch:
        words = (
            "a retriable step is tried until it succeeds: only a cancelled child run, or an attempt that cannot be made, comes to its catch"
        )
        yield Problem(f"{path}.catch", words, "warning")
