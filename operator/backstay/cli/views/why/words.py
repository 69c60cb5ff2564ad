"""The words that the answers share."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from backstay.cli.views.seen import Run
from backstay.cli.views.text import clean, length, one_line
from backstay.engine.model import StepRecord
from backstay.engine.paths import undo_path, undone_by

OPERATOR_MEND: Final = (
    "see that the operator runs and looks after this namespace: kubectl get pods -A -l app.kubernetes.io/name=backstay, or start one "
    "with `backstay operator`"
)

MENDS: Final = {
    "ImagePull": "mend the image's name in the workflow, push the image, or give the service account a pull secret",
    "Unschedulable": "free or add room in the cluster, lower the requests, or mend the node selector",
    "InvalidJob": "create the Secret, ConfigMap or service account that is missing, or mend the command in the workflow",
    "AdmissionDenied": "mend what the policy objects to in the workflow's job, or the policy",
}
_WORDS: Final = 600


def name_of(record: StepRecord) -> str:
    undoes = undone_by(record.path)
    if undoes is not None:
        return f"undoing {clean(undoes)}" if record.path == undo_path(undoes) else f"step {clean(record.path)}"
    return f"step {clean(record.path)}"


def request_of(inputs: Mapping[str, Any]) -> str:
    """Return what an http step asks for, without the query."""
    return short(f"{inputs.get('method')} {str(inputs.get('url')).partition('?')[0]}", 200)


def age(record: StepRecord, now: datetime) -> str:
    began = record.attempt_started_at or record.started_at
    return length(now - began) if began is not None else "some time"


def going_for(record: StepRecord, now: datetime) -> str:
    began = record.attempt_started_at or record.started_at
    return f" (for {length(now - began)})" if began is not None else ""


def most_attempts(run: Run, record: StepRecord) -> int:
    node = run.program.node(record.path) if run.program is not None else None
    is_counted = node is not None and node.retry is not None and not node.is_retriable and not node.retry.rules and not record.tries
    return node.retry.max_attempts if is_counted and node is not None and node.retry is not None else 0


def see_logs(run: Run, record: StepRecord) -> str:
    """Return how a mend begins that needs a look at what a step said; nothing for one without a Job, which says nothing but its error."""
    return f"see what it said ({logs(run, record)}), then " if record.job else ""


def logs(run: Run, record: StepRecord, *, follow: bool = False) -> str:
    return f"`backstay logs {run.name} {clean(record.path)}{in_namespace(run)}{' -f' if follow else ''}`"


def in_namespace(run: Run) -> str:
    return f" -n {run.namespace}" if run.namespace else ""


def short(text: str, limit: int = _WORDS) -> str:
    return clean(one_line(text), limit)
