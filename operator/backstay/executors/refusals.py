"""What a refused creation means, of a Job by us or of its pod by the Job controller: to be waited for, or a mistake. Pure.

    the API server says                                     type             then
    exceeded quota, status unknown for quota                Quota            waits: it goes on when something ends
    failed calling webhook                                  Webhook          waits: it goes on when the webhook is back
    not yet ready to handle request                         ApiServer        waits: the API server has just started
    User … cannot …                                         Rights           waits: an administrator must grant something
    serviceaccount not found                                InvalidJob       fails after its startTimeout: it may yet be made
    violates PodSecurity, a webhook's or a policy's denial,
    a LimitRange's maximum, a quota that wants limits, …    AdmissionDenied  a pod: fails after its startTimeout; a Job: at once

Sources: k8s.io/apiserver (admission errors, webhook errors), the plugins ResourceQuota, LimitRanger, PodSecurity, ServiceAccount; each
of these sentences was seen on a real API server (tests/e2e/test_troubles_with_pods.py).
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from backstay.engine.model import Fault, Hold
from backstay.errors import grant, missing_right
from backstay.kube.answers import DENIAL

_OBJECT: Final = re.compile(
    r'^(?:Error creating: )?(?:Internal error occurred: )?(?:[A-Za-z.]+ "[^"]*" is (?:forbidden|invalid): )?(?:Internal error occurred: )?'
)
"""What stands before the reason: it names a pod that never was, with a name that is another at every try."""
_HOLDS: Final = (
    (re.compile(r"exceeded quota: .*|status unknown for quota: .*", re.DOTALL), "Quota", "quota"),
    (re.compile(r"failed calling webhook .*", re.DOTALL), "Webhook", "an admission webhook"),
    (re.compile(r"not yet ready to handle request.*", re.DOTALL), "ApiServer", "the API server"),
)
_NO_ACCOUNT: Final = re.compile(r"error looking up service account .*")
_TEXT_LIMIT: Final = 600


def hold(words: str) -> Hold | None:
    """Return what is waited for where a refusal passes by itself, None where it does not, or where nobody can tell."""
    if DENIAL.search(words):
        return None  # whatever a denial says in it: it was said on purpose
    if right := missing_right(words):
        return Hold("Rights", "Waiting for rights", f"{_short(reason(words))}; {grant(right)}")
    for pattern, type_, what in _HOLDS:
        if found := pattern.search(words):
            return Hold(type_, f"Waiting for {what}", _short(found[0]))
    return None


def of_job(words: str) -> Fault:
    """Return what stands in the way of a Job that the API server refused, and that may be tried again."""
    return hold(words) or Fault("AdmissionDenied", "the Job is refused", _short(reason(words)))


def of_pod(words: str) -> Fault:
    """Return what stands in the way of a Job's pod, from the Event in which the Job controller tells."""
    if passing := hold(words):
        return passing
    if found := _NO_ACCOUNT.search(words):
        return Fault("InvalidJob", "the service account of the pod is not there", _short(found[0]))
    return Fault("AdmissionDenied", "the pod is refused", f"no pod can be created: {_short(reason(words))}")


def time_of(event: Mapping[str, Any]) -> str:
    """Return when an Event was last told, as it says so (RFC 3339)."""
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime") or "")


def reason(words: str) -> str:
    """Return a refusal without the name of what was refused."""
    return _OBJECT.sub("", words, count=1) or words


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]} …"
