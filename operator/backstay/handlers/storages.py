"""kopf's storages, told to leave everything alone: what was handled is seen in the statuses, which our own code writes."""

from typing import Any

import kopf


class DiffBase(kopf.DiffBaseStorage):
    """What kopf last handled: nothing is built, fetched or stored (measured: half of kopf's cost an event)."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: kopf.Body) -> Any:
        return {}

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: Any) -> None:
        return


class Progress(kopf.ProgressStorage):
    """How far a handler got: there are none that could get anywhere."""

    def fetch(self, *, key: Any, body: kopf.Body) -> Any:
        return None

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        return

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        return

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        return

    def clear(self, *, essence: Any) -> Any:
        return essence
