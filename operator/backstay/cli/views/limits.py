"""Who a run or a step waits for that has to wait for its turn, and its place in line: from the Semaphore that keeps the slots. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from backstay.api.actions.lock import LockScope
from backstay.cli.views.seen import Run
from backstay.cli.views.text import clean, length, one_line
from backstay.engine import codec
from backstay.engine.model import StepRecord
from backstay.engine.policies import lock
from backstay.engine.policies.queueing import ordinal
from backstay.names import LABEL_MANAGED_BY, MANAGER

SHOWN: Final = 3
_WORDS: Final = 400

Manifest = Mapping[str, Any]


def queued_words(run: Run, semaphore: Manifest | None, now: datetime) -> tuple[str, str]:
    """Say what a run waits for that has not begun because of a limit, and what can be done."""
    said = str(run.conditions.get("Queued", {}).get("message") or "")
    place, reason = ("", "") if semaphore is None else _line(semaphore, run.uid, "", now)
    what = said.partition(" that wait for ")[2].partition(";")[0] or "its turn"
    words = f"{place} that wait for {what}{reason}" if place else said or "it waits for its turn"
    mend = "it begins by itself; "
    if what.startswith("Workflow "):
        return words, f"{mend}a higher concurrency.limit of Workflow {run.workflow} lets more begin"
    return words, f"{mend}the limit is a setting of the operator (maxActiveRuns, maxActiveRunsPerNamespace of the chart)"


def lock_words(run: Run, record: StepRecord, semaphore: Manifest | None, now: datetime) -> tuple[str, str]:
    """Say who holds the lock that a step waits for, and what can be done."""
    wanted = record.lock or {}
    waited = f" for {length(now - record.started_at)}" if record.started_at else ""
    limit = f"; it gives up in {length(record.due_at - now)}" if record.due_at is not None and record.due_at > now else ""
    place, reason = ("", "") if semaphore is None else _line(semaphore, run.uid, record.path, now)
    live = f"{place} in line{reason}" if place else ""
    said = clean(one_line(record.message or ""), _WORDS).partition(lock.label(wanted))[2].lstrip(":, ")
    sentence = f"waits{waited} for {lock.label(wanted)}" + (f": {live or said}" if live or said else "") + limit
    if wanted.get("scope") == LockScope.RUN:
        return sentence, ""
    name = wanted.get("name", "")
    if semaphore is None or _is_ours(semaphore):
        return sentence, f"it begins by itself; apply a Semaphore {name} with a higher limit to let more in"
    return sentence, f"it begins by itself; kubectl get semaphore {name} -n {run.namespace} -o yaml shows everybody in line"


def _line(semaphore: Manifest, uid: str, step: str, now: datetime) -> tuple[str, str]:
    """Return the place in line, and what keeps it waiting, as they are now; nothing where it is further back than the status shows."""
    status = semaphore.get("status") or {}
    waiting: Sequence[Manifest] = status.get("waiting") or ()
    mine = next((item for item in waiting if item.get("uid") == uid and item.get("step", "") == step), None)
    if mine is None:
        return "", ""
    line = [item for item in waiting if item.get("key", "") == mine.get("key", "")]
    holders = [item for item in status.get("holders") or () if item.get("key", "") == mine.get("key", "")]
    not_shown = 0 if mine.get("key") else max(0, int(status.get("queued") or 0) - len(waiting))
    place = f"{ordinal(line.index(mine) + 1)} of {len(line) + not_shown}"
    limit, rate = _slots(semaphore)
    if limit == 0:
        return place, "; its limit is 0"
    if limit is not None and len(holders) >= limit:
        more = f" and {len(holders) - SHOWN} more" if len(holders) > SHOWN else ""
        return place, f"; held by {', '.join(_holder(item, now) for item in holders[:SHOWN])}{more}"
    return place, f"; {rate['limit']} may begin in {rate['per']}" if rate else ""


def _slots(semaphore: Manifest) -> tuple[int | None, Manifest | None]:
    spec = semaphore.get("spec") or {}
    return spec.get("limit"), spec.get("rate")


def _holder(item: Manifest, now: datetime) -> str:
    step = f", step {item['step']}" if item.get("step") else ""
    try:
        since = f", for {length(now - codec.time_from_json(item['since']))}"
    except (KeyError, ValueError, TypeError):
        since = ""
    return f"run {item.get('run')}" + (f" ({(step + since).lstrip(', ')})" if step or since else "")


def _is_ours(semaphore: Manifest) -> bool:
    return (semaphore["metadata"].get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGER
