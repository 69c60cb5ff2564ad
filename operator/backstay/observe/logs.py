"""Logging: one line a record, as JSON for machines or as text for eyes, on standard error.

A record tells which run it speaks of: everything logged inside `with about(namespace, run)` does, and so does what is logged with
`extra={"run": …, "namespace": …}` and what kopf logs about an object.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from backstay import names

Format = Literal["json", "text"]
LEVELS: Final = ("debug", "info", "warning", "error")

_SUBJECT: ContextVar[tuple[str, str]] = ContextVar("backstay_subject", default=("", ""))
_QUIET: Final = ("kopf.objects", "kopf.activities", "aiohttp.access", "asyncio", "urllib3", "kubernetes")
"""Loggers whose everyday words are of use to their own developers only; kopf's word on every event costs 5 to 25 % of the time."""


def configure(level: str = "info", style: Format = "json", stream: TextIO | None = None) -> None:
    """Set up logging for this process. `level` is one of LEVELS; at `debug` all loggers speak. Raises ValueError for another."""
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is unknown; choose one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    logging.captureWarnings(True)


@contextmanager
def about(namespace: str, run: str) -> Iterator[None]:
    """Say that what is logged within, also by other modules, is about this run."""
    token = _SUBJECT.set((namespace, run))
    try:
        yield
    finally:
        _SUBJECT.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and where there are any namespace, run and error."""

    def format(self, record: logging.LogRecord) -> str:
        namespace, run = _subject(record)
        fields: dict[str, Any] = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {"namespace": namespace} if namespace else {}
        fields |= {"run": run} if run else {}
        fields |= {"error": self.formatException(record.exc_info)} if record.exc_info else {}
        return json.dumps(fields, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`12:03:04.123 INFO  backstay.runtime  [shop/order-7f2] message`; what follows a message, such as a traceback, is indented."""

    def format(self, record: logging.LogRecord) -> str:
        namespace, run = _subject(record)
        subject = f"[{'/'.join(part for part in (namespace, run) if part)}] " if namespace or run else ""
        time = _time(record).strftime("%H:%M:%S.%f")[:-3]
        lines = record.getMessage().splitlines() or [""]
        if record.exc_info:
            lines += self.formatException(record.exc_info).splitlines()
        return "\n    ".join([f"{time} {record.levelname:<7} {record.name}  {subject}{lines[0]}", *lines[1:]])


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, tz=UTC)


def _subject(record: logging.LogRecord) -> tuple[str, str]:
    """Return (namespace, run) that a record speaks of; empty where it speaks of none."""
    fields = record.__dict__
    if "run" in fields or "namespace" in fields:
        return str(fields.get("namespace") or ""), str(fields.get("run") or "")
    reference = fields.get("k8s_ref")  # kopf's
    if isinstance(reference, dict):
        return str(reference.get("namespace") or ""), str(reference.get("name") or "") if reference.get("kind") == names.RUN else ""
    return _SUBJECT.get()
