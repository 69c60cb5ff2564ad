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
JOURNAL: Final = "WorkflowJournal"
JOURNALS: Final = "workflowjournals"
SEMAPHORE: Final = "Semaphore"
SEMAPHORES: Final = "semaphores"
BREAKER: Final = "CircuitBreaker"
BREAKERS: Final = "circuitbreakers"
DEAD_LETTER: Final = "DeadLetter"
DEAD_LETTERS: Final = "deadletters"

MANAGER: Final = "backstay"
"""Field manager and value of `app.kubernetes.io/managed-by` on what the operator creates."""

FINALIZER: Final = f"{GROUP}/compensation"

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_RUN: Final = f"{GROUP}/run"
"""UID of the run that a Job or Pod belongs to; the selector of the Job and Pod informers."""
LABEL_WORKFLOW: Final = f"{GROUP}/workflow"
LABEL_MADE_BY: Final = f"{GROUP}/made-by-run"
"""UID of the run whose resource step, or workspace, made an object. Another label than that of Jobs: those the operator takes for attempts."""
LABEL_STEP: Final = f"{GROUP}/step"
"""On a DeadLetter, the name of the step that gave up; LABEL_ERROR is the type of its error."""
LABEL_ERROR: Final = f"{GROUP}/error"
LABEL_REPLAYS: Final = f"{GROUP}/replays"
"""On a run, the UID of the DeadLetter that it was started from; ANNOTATION_DEAD_LETTER is its name."""

LABEL_LEASES: Final = f"{GROUP}/leases-of"
"""On the Leases of the operator's processes, the name of the installation whose runs they share."""

ANNOTATION_DEAD_LETTER: Final = f"{GROUP}/dead-letter"
ANNOTATION_PATH: Final = f"{GROUP}/path"
"""The path of the step that a Job works for, as in `pack[3]/box`."""
ANNOTATION_ATTEMPT: Final = f"{GROUP}/attempt"
ANNOTATION_RUN_NAME: Final = f"{GROUP}/run-name"
ANNOTATION_WORKSPACE: Final = f"{GROUP}/workspace"
"""The workspace that a claim is for."""
ANNOTATION_UNOWNED: Final = f"{GROUP}/leaves-with-run"
"""`"true"` on a Job that was made while its run was being deleted: nothing owns it, and the operator deletes it before the run goes."""
LABEL_PARENT: Final = f"{GROUP}/parent"
"""UID of the run that a run is a child of: a step of that one started it. ANNOTATION_RUN_NAME is that run's name, ANNOTATION_PATH the step."""
ANNOTATION_CALLERS: Final = f"{GROUP}/callers"
"""On a child run, what the runs run that it is a child of, the outermost first, as in `order > ship`; how many these are is its depth."""
ANNOTATION_ROOT: Final = f"{GROUP}/root"
"""On a child run, the UID of the outermost run that it is a child of: a whole family is looked at by one process."""
ANNOTATION_DETACHED: Final = f"{GROUP}/detached"
"""On a child run that nobody waits for (`wait: false`): `"undo"` where it is undone with the run that started it, else `"true"`."""
ANNOTATION_STARTED_BY: Final = f"{GROUP}/started-by"
"""On a run, the user who started it, as the API server knows them: entered or checked by the chart's admission policies, then never changed."""
ANNOTATION_RELEASE: Final = f"{GROUP}/release-finalizer"
"""`"true"` on a run lets its finalizer go without further compensation; the journal records it."""

ENV_OUTPUT: Final = "BACKSTAY_OUTPUT"
ENV_RUN: Final = "BACKSTAY_RUN"
ENV_STEP: Final = "BACKSTAY_STEP"
ENV_ATTEMPT: Final = "BACKSTAY_ATTEMPT"
ENV_IDEMPOTENCY_KEY: Final = "BACKSTAY_IDEMPOTENCY_KEY"
ENV_TRANSACTION: Final = "BACKSTAY_TRANSACTION"
"""In every phase of a transaction: its name, the same for all its participants, phases and attempts."""
ENV_COMPENSATES_OUTCOME: Final = "BACKSTAY_COMPENSATES_OUTCOME"
"""In a compensation: Succeeded, or Unknown where nobody knows whether the step that is undone was done."""
ENV_COMPENSATES_KEY: Final = "BACKSTAY_COMPENSATES_KEY"
"""In a compensation: the idempotency key of the step that is undone."""
ENV_PREPARED: Final = "BACKSTAY_PREPARED"
"""In the last phase of a participant: Succeeded, or Unknown where nobody knows whether there is anything to abort."""

HEADER_RUN: Final = "Backstay-Run"
HEADER_STEP: Final = "Backstay-Step"
HEADER_ATTEMPT: Final = "Backstay-Attempt"
HEADER_TRANSACTION: Final = "Backstay-Transaction"
HEADER_PREPARED: Final = "Backstay-Prepared"

OUTPUT_LIMIT_BYTES: Final = 4096
"""Kubernetes truncates a container's termination message at 4,096 bytes."""
OUTPUT_FILE: Final = "/dev/termination-log"
CONTAINER: Final = "main"

_DNS_LABEL_MAX: Final = 63
_NAME_MAX: Final = 253


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


def child_name(run_name: str, run_uid: str, path: str, attempt: int) -> str:
    """Name the one child run of an attempt, as a Job is named, with a shorter hash: names of runs are typed by people."""
    unique = digest(run_uid, path, attempt, "run", length=10)
    readable = re.sub(r"[^a-z0-9]+", "-", f"{run_name}-{path}".lower()).strip("-")
    room = _DNS_LABEL_MAX - len(unique) - 1
    return f"{readable[:room].strip('-') or 'run'}-{unique}"


def letter_name(run_name: str, run_uid: str, path: str, sequence: int) -> str:
    """Name the DeadLetter of a step that gave up with the journal entry of that number: a step that gives up again writes another."""
    unique = digest(run_uid, path, sequence, "letter", length=10)
    readable = re.sub(r"[^a-z0-9]+", "-", f"{run_name}-{path}".lower()).strip("-")
    return f"{readable[: _DNS_LABEL_MAX - len(unique) - 1].strip('-') or 'run'}-{unique}"


def replay_name(run_name: str, letter_uid: str) -> str:
    """Name the one run that is started from a DeadLetter: a second time it is the same run."""
    unique = digest(letter_uid, "replay", length=10)
    return f"{run_name[: _DNS_LABEL_MAX - len(unique) - 1].strip('-.')}-{unique}"


def workflow_semaphore(workflow: str) -> str:
    """Name the Semaphore that keeps the slots of a Workflow with a limit: no lock of a step can be called so, for it has a dot."""
    name = f"workflow.{workflow}"
    return name if len(name) <= _NAME_MAX else f"{name[: _NAME_MAX - 17].rstrip('-.')}-{digest(workflow)}"


def journal_name(run_name: str, run_uid: str, first: int) -> str:
    """Name the WorkflowJournal that holds a run's entries from number `first` on: those of a run stand in order when sorted by name."""
    return f"{run_name[:200].rstrip('-.')}-{digest(run_uid, length=8)}-{first:09}"


def claim_name(run_name: str, run_uid: str, workspace: str) -> str:
    """Name the one PersistentVolumeClaim of a run for a workspace, as `job_name` names Jobs."""
    return job_name(run_name, run_uid, f"workspace/{workspace}", 0)


def idempotency_key(run_uid: str, path: str, attempt: int | None = None) -> str:
    """Return the key under which a participant can recognise a repeated attempt.

    Retries of the same step share the key unless `attempt` is given: a payment that was made but not acknowledged must not be made again.
    """
    return digest(run_uid, path, "" if attempt is None else attempt, length=32)


def transaction_id(run_uid: str, path: str) -> str:
    """Name the transaction of the step at `path` (with its iterations and laps): the same in every phase, attempt and restart, at most 41 characters."""
    return f"backstay-{digest(run_uid, path, 'transaction', length=32)}"


def label_value(text: str) -> str:
    """Return `text` as a valid label value: itself where it fits, else shortened with a hash."""
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        return text
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return f"{cleaned[:46].rstrip('-._')}-{digest(text)}".lstrip("-")
