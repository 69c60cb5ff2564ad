"""An API server in a thread of its own, for commands that run their own event loop, and a kubeconfig that leads to it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.tiny_api import TOKEN, TinyApi, status

NAMESPACE = "shop"
RUNS = f"/apis/backstay.dev/v1alpha1/namespaces/{NAMESPACE}/workflowruns"
WORKFLOWS = f"/apis/backstay.dev/v1alpha1/namespaces/{NAMESPACE}/workflows"
REVISIONS = f"/apis/apps/v1/namespaces/{NAMESPACE}/controllerrevisions"
_LIMIT_SECONDS = 10


@contextmanager
def served(prepare: Callable[[TinyApi], None]) -> Iterator[TinyApi]:
    """Serve what `prepare` says until the block ends."""
    api, loop = TinyApi(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    prepare(api)
    asyncio.run_coroutine_threadsafe(api.__aenter__(), loop).result(_LIMIT_SECONDS)
    try:
        yield api
    finally:
        asyncio.run_coroutine_threadsafe(api.__aexit__(), loop).result(_LIMIT_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_LIMIT_SECONDS)
        loop.close()


def kubeconfig(folder: Path, api: TinyApi) -> str:
    """Write a kubeconfig for a server; its namespace is `shop`."""
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tiny", "cluster": {"server": api.url}}],
        "users": [{"name": "tiny", "user": {"token": TOKEN}}],
        "contexts": [{"name": "tiny", "context": {"cluster": "tiny", "user": "tiny", "namespace": NAMESPACE}}],
        "current-context": "tiny",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def missing(name: str) -> Any:
    """Answer that there is no run or workflow of a name."""
    return status(404, "NotFound", f'workflowruns.backstay.dev "{name}" not found')
