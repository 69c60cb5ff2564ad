"""How long to wait before another attempt (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).

The jitter is derived from run UID, path and attempt, so that the same inputs give the same delay on any machine.
"""

from datetime import timedelta

from backstay.api.policies import Jitter, Retry
from backstay.names import digest

_SIXTEEN_DIGITS = 16**16


def delay_before(retry: Retry, run_uid: str, path: str, attempt: int) -> timedelta:
    """Return the delay before an attempt, from the second one on."""
    full = retry.interval.total_seconds()
    limit = retry.max_delay.total_seconds()
    for _ in range(attempt - 2):
        full *= retry.backoff_rate
        if full >= limit:
            break
    full = min(full, limit)
    share = int(digest(run_uid, path, attempt, "jitter", length=16), 16) / _SIXTEEN_DIGITS
    if retry.jitter is Jitter.FULL:
        return timedelta(seconds=full * share)
    if retry.jitter is Jitter.EQUAL:
        return timedelta(seconds=full / 2 + full / 2 * share)
    return timedelta(seconds=full)
