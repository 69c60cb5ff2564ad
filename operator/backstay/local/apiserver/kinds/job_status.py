"""What a Job's status may become: a finished Job stays finished, and its conditions, times and counters agree (KEP-4368).

As in the server, a rule is held against a status only when what it speaks of has changed. Left out: completedIndexes and failedIndexes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, immutable, invalid, required, without_value

_COUNTERS: Final = ("active", "succeeded", "failed", "ready", "terminating")
_TERMINAL: Final = ("Failed", "Complete", "FailureTarget")
_MET: Final = "SuccessCriteriaMet"


def check_job_status(job: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Judge a status written through the status endpoint."""
    status, before = job.get("status") or {}, old.get("status") or {}
    errors = [
        invalid(f"status.{name}", status[name], "must be greater than or equal to 0") for name in _COUNTERS if (status.get(name) or 0) < 0
    ]
    return [
        *errors,
        *_check_conditions(status, before),
        *_check_times(job, status, before),
        *_check_counters(status, before),
        *_check_ending(status, before),
    ]


def _is_true(status: Mapping[str, Any], kind: str) -> bool:
    return any(condition.get("type") == kind and condition.get("status") == "True" for condition in status.get("conditions") or ())


def _is_finished(status: Mapping[str, Any]) -> bool:
    return _is_true(status, "Complete") or _is_true(status, "Failed")


def _changed(status: Mapping[str, Any], before: Mapping[str, Any], *kinds: str) -> bool:
    return any(_is_true(status, kind) != _is_true(before, kind) for kind in kinds)


def _check_conditions(status: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    complete, failed = _is_true(status, "Complete"), _is_true(status, "Failed")
    target, met = _is_true(status, "FailureTarget"), _is_true(status, _MET)
    rules = (
        (complete and failed and _changed(status, before, "Complete", "Failed"), "cannot set Complete=True and Failed=true conditions"),
        (
            complete and target and _changed(status, before, "Complete", "FailureTarget"),
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            failed and not target and _changed(status, before, "Failed"),
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            complete and not met and _changed(status, before, "Complete", _MET),
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (met and failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (met and target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
    )
    errors = [without_value("status.conditions", words) for broken, words in rules if broken]
    ended = [kind for kind in _TERMINAL if _is_true(before, kind) and not _is_true(status, kind)]
    errors += [without_value("status.conditions", f"cannot disable the terminal {kind}=True condition") for kind in ended]
    if _is_true(before, _MET) and not met:
        errors.append(without_value("status.conditions", "cannot disable the SuccessCriteriaMet=True condition"))
    return errors


def _check_times(job: Mapping[str, Any], status: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    start, end, complete = status.get("startTime"), status.get("completionTime"), _is_true(status, "Complete")
    errors: list[FieldError] = []
    if end != before.get("completionTime") or _changed(status, before, "Complete"):
        if end and not complete:
            errors.append(invalid("status.completionTime", end, "cannot set completionTime when there is no Complete=True condition"))
        if complete and not end:
            errors.append(required("status.completionTime", "completionTime is required for Complete jobs"))
    if start and end and end < start:
        errors.append(invalid("status.completionTime", end, "must be equal to or after `startTime`"))
    if end and before.get("completionTime") and end != before["completionTime"]:
        errors.append(immutable("status.completionTime", end))
    resuming = _is_true(before, "Suspended") and not _is_true(status, "Suspended")
    if before.get("startTime") and start != before["startTime"] and not job["spec"].get("suspend") and not resuming:
        errors.append(invalid("status.startTime", start, "field is immutable for unsuspended job once set"))
    return errors


def _check_counters(status: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    errors = [
        invalid(f"status.{name}", status.get(name) or 0, f"cannot decrease the {name} counter")
        for name in ("failed", "succeeded")
        if (status.get(name) or 0) < (before.get(name) or 0)
    ]
    if (status.get("ready") or 0) > (status.get("active") or 0) and status.get("ready") != before.get("ready"):
        errors.append(invalid("status.ready", status["ready"], "cannot set more ready pods than active"))
    return errors


def _check_ending(status: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    if not _is_finished(status) or _is_finished(before):
        return []
    errors: list[FieldError] = []
    if (status.get("active") or 0) > 0:
        errors.append(invalid("status.active", status["active"], "active>0 is invalid for finished job"))
    if not status.get("startTime"):
        errors.append(required("status.startTime", "startTime is required for finished job"))
    uncounted = status.get("uncountedTerminatedPods") or {}
    if uncounted.get("succeeded") or uncounted.get("failed"):
        errors.append(invalid("status.uncountedTerminatedPods", uncounted, "must be empty for finished job"))
    if (status.get("terminating") or 0) > 0:
        errors.append(invalid("status.terminating", status["terminating"], "terminating>0 is invalid for finished job"))
    return errors
