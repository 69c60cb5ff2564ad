"""kopf's storages, told to leave runs alone: a run is written by the reconciler and by nobody else."""

from typing import Any

import kopf

from backstay.names import GROUP, RUN


class DiffBase(kopf.AnnotationsDiffBaseStorage):
    """What kopf last handled, in an annotation; for runs nothing is built, fetched or stored (measured: half of kopf's cost an event)."""

    def __init__(self) -> None:
        super().__init__(prefix=GROUP)

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> Any:
        return {} if _is_run(body) else super().build(body=body, extra_fields=extra_fields)

    def fetch(self, *, body: kopf.Body) -> Any:
        return {} if _is_run(body) else super().fetch(body=body)

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: Any) -> None:
        if not _is_run(body):
            super().store(body=body, patch=patch, essence=essence)


class Progress(kopf.AnnotationsProgressStorage):
    """How far a handler got, in an annotation; runs have no handlers that could get anywhere."""

    def __init__(self) -> None:
        super().__init__(prefix=GROUP)

    def fetch(self, *, key: Any, body: kopf.Body) -> Any:
        return None if _is_run(body) else super().fetch(key=key, body=body)

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        if not _is_run(body):
            super().purge(key=key, body=body, patch=patch)

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        if not _is_run(body):
            super().touch(body=body, patch=patch, value=value)

    def clear(self, *, essence: Any) -> Any:
        return super().clear(essence=essence) if essence else essence


def _is_run(body: kopf.Body) -> bool:
    return body.get("kind") == RUN
