"""What the server counts, in Prometheus' text format under the names of the real API server, so that a test can count writes where they arrive."""

from collections import Counter
from typing import Final, NamedTuple

_LABELS: Final = ("verb", "group", "version", "resource", "subresource", "scope", "dry_run", "code")
_HELP: Final = (
    "# HELP apiserver_request_total Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, "
    "component, and HTTP response code.\n# TYPE apiserver_request_total counter\n"
)


class RequestLabels(NamedTuple):
    """What `apiserver_request_total` tells requests apart by; `verb` in capitals (APPLY for server-side apply), `dry_run` "All" or ""."""

    verb: str
    group: str
    version: str
    resource: str
    subresource: str
    scope: str
    dry_run: str
    code: int


class Metrics:
    """Counts of requests, and how many watches are open."""

    def __init__(self) -> None:
        self.requests: Counter[RequestLabels] = Counter()
        self.watches = 0

    def text(self, objects: dict[tuple[str, str], int]) -> str:
        """Return the exposition; `objects` is the number stored of each (group, plural)."""
        lines = [_HELP.rstrip("\n")]
        for labels, count in sorted(self.requests.items()):
            pairs = ",".join(f'{name}="{value}"' for name, value in zip(_LABELS, labels, strict=True))
            lines.append(f'apiserver_request_total{{component="apiserver",{pairs}}} {count}')
        lines += ["# HELP apiserver_longrunning_requests Open watches.", "# TYPE apiserver_longrunning_requests gauge"]
        lines.append(f'apiserver_longrunning_requests{{verb="WATCH",component="apiserver"}} {self.watches}')
        lines += ["# HELP apiserver_storage_objects Number of stored objects by resource.", "# TYPE apiserver_storage_objects gauge"]
        for (group, plural), count in sorted(objects.items()):
            lines.append(f'apiserver_storage_objects{{resource="{plural}{f".{group}" if group else ""}"}} {count}')
        return "\n".join(lines) + "\n"
