"""Names that other programs see: the API group, labels, annotations, reasons, and the names of child objects.

Everything here is interface. Changing a value breaks selectors, dashboards and running workflows.
"""

import hashlib
import re
from typing import Final

GROUP: Final = "backstay.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "backstay"

WORKFLOW: Final = "Workflow"
WORKFLOWS: Final = "workflows"
RUN: Final = "WorkflowRun"
RUNS: Final = "workflowruns"

MANAGER: Final = "backstay"
"""Field manager and value of `app.kubernetes.io/managed-by` on what the operator creates."""

FINALIZER: Final = f"{GROUP}/compensation"

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_RUN: Final = f"{GROUP}/run"
"""UID of the run that a Job or Pod belongs to; the selector of the Job and Pod informers."""
LABEL_WORKFLOW: Final = f"{GROUP}/workflow"

ANNOTATION_PATH: Final = f"{GROUP}/path"
"""The path of the step that a Job works for, as in `pack[3]/box`."""
ANNOTATION_ATTEMPT: Final = f"{GROUP}/attempt"
ANNOTATION_RUN_NAME: Final = f"{GROUP}/run-name"
ANNOTATION_UNOWNED: Final = f"{GROUP}/leaves-with-run"
"""`"true"` on a Job that was made while its run was being deleted: nothing owns it, and the operator deletes it before the run goes."""
ANNOTATION_STARTED_BY: Final = f"{GROUP}/started-by"
"""On a run, the user who started it, as the API server knows them: entered or checked by the chart's admission policies, then never changed."""
ANNOTATION_RELEASE: Final = f"{GROUP}/release-finalizer"
"""`"true"` on a run lets its finalizer go without further compensation; the journal records it."""

ENV_OUTPUT: Final = "BACKSTAY_OUTPUT"
ENV_RUN: Final = "BACKSTAY_RUN"
ENV_STEP: Final = "BACKSTAY_STEP"
ENV_ATTEMPT: Final = "BACKSTAY_ATTEMPT"
ENV_IDEMPOTENCY_KEY: Final = "BACKSTAY_IDEMPOTENCY_KEY"

OUTPUT_LIMIT_BYTES: Final = 4096
"""Kubernetes truncates a container's termination message at 4,096 bytes."""
OUTPUT_FILE: Final = "/dev/termination-log"
CONTAINER: Final = "main"

_DNS_LABEL_MAX: Final = 63


def digest(*parts: object, length: int = 16) -> str:
    """Return `length` hexadecimal digits that depend on all parts and on nothing else."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def job_name(run_name: str, run_uid: str, path: str, attempt: int, disruptions: int = 0) -> str:
    """Name the one Job of an attempt: readable at the front, unique by hash at the end, at most 63 characters.

    The hash covers run UID, path (with iterations) and attempt, so creating an attempt's Job twice is the same Job (DESIGN, promise 1).
    Where a disruption ended an attempt's Job, the attempt goes on as another: `disruptions` counts them.
    """
    unique = digest(run_uid, path, attempt, disruptions) if disruptions else digest(run_uid, path, attempt)
    readable = re.sub(r"[^a-z0-9]+", "-", f"{run_name}-{path}".lower()).strip("-")
    room = _DNS_LABEL_MAX - len(unique) - 1
    return f"{readable[:room].strip('-') or 'run'}-{unique}"


def idempotency_key(run_uid: str, path: str, attempt: int | None = None) -> str:
    """Return the key under which a participant can recognise a repeated attempt.

    Retries of the same step share the key unless `attempt` is given: a payment that was made but not acknowledged must not be made again.
    """
    return digest(run_uid, path, "" if attempt is None else attempt, length=32)


def label_value(text: str) -> str:
    """Return `text` as a valid label value: itself where it fits, else shortened with a hash."""
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        return text
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return f"{cleaned[:46].rstrip('-._')}-{digest(text)}".lstrip("-")
