"""Whether another attempt is made, and when (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).

error                    attempts that count           another one
of a rule                those with the rule's errors  while they are fewer than the rule's maxAttempts
of `errors`              all others                    while they are fewer than maxAttempts
any other                –                             none
any but Cancelled        those with the same delays    always, where the step is retriable
any                      –                             none that would begin later than `within`

The jitter is derived from run UID, path and attempt, so that the same inputs give the same delay on any machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from backstay.api.base import format_duration
from backstay.api.faults import matches
from backstay.api.policies import Backoff, Jitter, Retry
from backstay.engine.model import Fault, StepRecord
from backstay.names import digest

BEFORE: Final = "before"
"""In `StepRecord.tries`: the attempts that were made before a person had the step tried again; they do not count any more."""
_SIXTEEN_DIGITS: Final = 16**16


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt: when, and what is remembered of those that have failed. Without `due` there is none, and `words` may say why."""

    due: datetime | None = None
    tries: Mapping[str, int] | None = None
    words: str = ""


def another(
    retry: Retry,
    run_uid: str,
    record: StepRecord,
    fault: Fault,
    now: datetime,
    after: timedelta | None = None,
    *,
    is_retriable: bool = False,
) -> Again:
    """Say whether another attempt follows the one that has failed with `fault`, and when.

    `after` is how long the other side asked to be left alone: another attempt does not come sooner.
    """
    rule = rule_for(retry, fault.type)
    is_wanted = fault.type != "Cancelled" if is_retriable else rule is not None or matches(fault.type, retry.errors)
    policy, failed = retry.under(rule), max(1, _failed(record, rule))
    if not is_wanted or not (is_retriable or failed < policy.max_attempts):
        return Again()
    due = now + max(after or timedelta(), delay_before(policy, run_uid, record.path, record.attempt + 1, failed))
    began = record.resumed_at or record.started_at or now
    if retry.within is not None and not is_retriable and due > began + retry.within:
        return Again(words=f"its retry budget of {format_duration(retry.within)} is over")
    tries = record.tries if rule is None else {**(record.tries or {}), str(rule): failed}
    return Again(due, tries)


def rule_for(retry: Retry, error_type: str) -> int | None:
    """Return which rule an error is for: the first one that matches."""
    return next((index for index, rule in enumerate(retry.rules) if matches(error_type, rule.errors)), None)


def _failed(record: StepRecord, rule: int | None) -> int:
    """Count the attempts that have failed with the errors of a rule, the latest one included; without a rule, those of no rule."""
    tries = record.tries or {}
    return tries.get(str(rule), 0) + 1 if rule is not None else record.attempt - sum(tries.values())


def delay_before(retry: Retry, run_uid: str, path: str, attempt: int, failed: int | None = None) -> timedelta:
    """Return the delay before an attempt, from the second one on. `failed` counts the attempts before it that count."""
    full = longest_delay(retry, failed or attempt - 1)
    share = int(digest(run_uid, path, attempt, "jitter", length=16), 16) / _SIXTEEN_DIGITS
    if retry.jitter is Jitter.FULL:
        return timedelta(seconds=full * share)
    if retry.jitter is Jitter.EQUAL:
        return timedelta(seconds=full / 2 + full / 2 * share)
    return timedelta(seconds=full)


def longest_delay(retry: Retry, failed: int) -> float:
    """Return the delay after so many failed attempts before jitter shortens it, in seconds."""
    first, limit = retry.interval.total_seconds(), retry.max_delay.total_seconds()
    try:
        match retry.backoff:
            case Backoff.EXPONENTIAL:
                return min(limit, first * retry.backoff_rate ** (failed - 1))
            case Backoff.LINEAR:
                return min(limit, first * failed)
            case Backoff.CONSTANT:
                return min(limit, first)
    except OverflowError:
        return limit if first else 0.0
