"""The kinds of objects that Backstay speaks of to an API server, and where the server keeps them."""

import re
from dataclasses import dataclass
from typing import Final

from backstay import errors, names

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object: `plural` is its place in paths, `kind` its name in manifests; the core group is `""`."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of one object, or of the collection where `name` is None: of all namespaces where `namespace` is None.

        Raises Invalid for a name that cannot be one: a run may carry `../secrets/x` as the name of its workflow, and the path of
        another object must not come of it.
        """
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", _segment(namespace, "namespace")]
        elif self.namespaced and name is not None:
            raise errors.Invalid(400, "BadRequest", f"{self.kind} {name!r} needs a namespace; name the one that it is in")
        parts.append(self.plural)
        if name is not None:
            parts.append(_segment(name, self.kind))
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


def _segment(text: str, what: str) -> str:
    if not _SEGMENT.fullmatch(text):
        raise errors.Invalid(400, "BadRequest", f"{text[:80]!r} is no name of a {what}; names have letters, digits, '-' and '.' only")
    return text


RUNS: Final = Resource(names.GROUP, names.VERSION, names.RUNS, names.RUN)
WORKFLOWS: Final = Resource(names.GROUP, names.VERSION, names.WORKFLOWS, names.WORKFLOW)
JOURNALS: Final = Resource(names.GROUP, names.VERSION, names.JOURNALS, names.JOURNAL)
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
PODS: Final = Resource("", "v1", "pods", "Pod")
SEMAPHORES: Final = Resource(names.GROUP, names.VERSION, names.SEMAPHORES, names.SEMAPHORE)
BREAKERS: Final = Resource(names.GROUP, names.VERSION, names.BREAKERS, names.BREAKER)
DEAD_LETTERS: Final = Resource(names.GROUP, names.VERSION, names.DEAD_LETTERS, names.DEAD_LETTER)
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
