"""CronJobs: defaults and rules. Nothing here runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backstay.local.apiserver.fields import FieldError, forbidden, invalid, not_supported, required
from backstay.local.apiserver.kinds.jobs import check_job_spec
from backstay.local.apiserver.kinds.pods import default_pod_spec


def default_cron_job(cron_job: dict[str, Any]) -> None:
    """Fill in the defaults of a CronJob; changes it."""
    spec = cron_job.setdefault("spec", {})
    for name, value in (
        ("concurrencyPolicy", "Allow"),
        ("suspend", False),
        ("successfulJobsHistoryLimit", 3),
        ("failedJobsHistoryLimit", 1),
    ):
        if spec.get(name) in (None, ""):
            spec[name] = value
    job = spec.setdefault("jobTemplate", {})
    job.setdefault("metadata", {})
    template = job.setdefault("spec", {}).setdefault("template", {})
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def check_cron_job(cron_job: Mapping[str, Any]) -> list[FieldError]:
    """Judge a CronJob; its schedule is only looked at for its form (five fields or a macro)."""
    spec, name = cron_job["spec"], cron_job["metadata"]["name"]
    schedule: str = spec.get("schedule") or ""
    errors = [] if schedule else [required("spec.schedule")]
    if "TZ" in schedule:
        errors.append(invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
    elif schedule and not schedule.startswith("@") and len(schedule.split()) != 5:
        errors.append(invalid("spec.schedule", schedule, f"expected exactly 5 fields, found {len(schedule.split())}: {schedule.split()}"))
    supported = ("Allow", "Forbid", "Replace")
    if spec.get("concurrencyPolicy") not in supported:
        errors.append(not_supported("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), supported))
    template = dict(spec["jobTemplate"]["spec"])
    template.setdefault("completionMode", "NonIndexed")
    errors += check_job_spec(template, "spec.jobTemplate.spec")
    if template.get("manualSelector"):
        errors.append(forbidden("spec.jobTemplate.spec.manualSelector", "`manualSelector` will be auto-generated"))
    if len(name) > 52:
        errors.append(invalid("metadata.name", name, "must be no more than 52 characters"))
    return errors
