"""Finding out that a run's namespace is being deleted: then what is left to undo can no longer be undone, and must not hold the namespace.

Nothing on the run says so. A Job that is to be created is refused, but a compensation that stalls, waits or is about to be retried creates none,
so the API server is asked whether it would take one: with a dry run, which needs no right that the operator does not have anyway.
"""

import asyncio
from typing import Any, Final

from backstay import names
from backstay.errors import ApiError, Forbidden, TooManyRequests, Unavailable
from backstay.kube import resources
from backstay.kube.client import Client
from backstay.runtime.store import Known

ASK_SECONDS: Final = 10.0
"""How often it is asked, for all runs of a namespace together: about as long a run that is not undone holds its namespace at most."""


class Namespaces:
    """Which namespaces are being deleted, as far as that matters for runs that are being deleted."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._open: dict[str, float] = {}
        """When a namespace last took Jobs, by the loop's clock. That one is being deleted is known of its runs and never of its name: there
        may soon be another namespace of that name."""

    async def find_out(self, known: Known) -> None:
        """Note in `known` whether the run's namespace is being deleted. Raises TooManyRequests and Unavailable."""
        namespace, now = known.run["metadata"]["namespace"], asyncio.get_running_loop().time()
        if known.terminating or now - self._open.get(namespace, -ASK_SECONDS) < ASK_SECONDS:
            return
        known.terminating = await _refuses_jobs(self._client, namespace)
        if not known.terminating:
            self._open = {name: at for name, at in self._open.items() if now - at < ASK_SECONDS} | {namespace: now}


async def _refuses_jobs(client: Client, namespace: str) -> bool:
    """Tell whether a namespace refuses Jobs because it is being deleted. Raises TooManyRequests and Unavailable, which say nothing of it."""
    try:
        await client.create(resources.JOBS, namespace, _probe(namespace), dry_run=True)
    except TooManyRequests:
        raise
    except Unavailable as error:
        if not error.is_failed_webhook:
            raise
        return False  # a webhook that is down must not keep a run from being released
    except Forbidden as error:
        return error.is_terminating_namespace
    except ApiError:
        return False  # a quota or an admission policy refuses it: the namespace itself does not
    return False


def _probe(namespace: str) -> dict[str, Any]:
    """Return a Job that nobody could mind: restricted, suspended, and never stored."""
    container = {
        "name": names.CONTAINER,
        "image": "none",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    labels = {names.LABEL_MANAGED_BY: names.MANAGER}
    meta = {"generateName": "backstay-probe-", "namespace": namespace, "labels": labels}
    return {
        "apiVersion": resources.JOBS.api_version,
        "kind": resources.JOBS.kind,
        "metadata": meta,
        "spec": {"suspend": True, "backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }
