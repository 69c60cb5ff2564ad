"""One exchange of the conversation: a request, and how much of its answer is compared."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from tests.embedded.apiserver.widgets import CRDS_PATH

NAMESPACE = "talk"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
MAPS = f"{CORE}/configmaps"
PODS = f"{CORE}/pods"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
CRON_JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/cronjobs"
WIDGETS = f"/apis/example.com/v1/namespaces/{NAMESPACE}/widgets"
WIDGETS_CRD = f"{CRDS_PATH}/widgets.example.com"
POD_SPEC = {"containers": [{"name": "main", "image": "busybox"}], "restartPolicy": "Never", "automountServiceAccountToken": False}

MERGE, JSON_PATCH, STRATEGIC = (f"application/{kind}+json" for kind in ("merge-patch", "json-patch", "strategic-merge-patch"))
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

Body = dict[str, Any]


@dataclass(frozen=True)
class Exchange:
    """A request to a server, or a kubectl command line.

    In the path, the body and kubectl's arguments, `@uid:NAME@`, `@version:NAME@`, `@name:NAME@` and `@continue:NAME@` stand for what the
    answer to the exchange NAME said. A body is JSON, or bytes that go out as they are.
    """

    name: str
    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    accept: str = "application/json"
    token: str | None = None
    """Instead of the right one; "" sends none."""
    events: int | None = None
    """A watch: how many events are read before it is closed; 0 reads to its end."""
    until: Callable[[Body], object] | None = None
    """Asked again until its answer is accepted: a controller has something to do first."""
    only: tuple[str, ...] = ()
    """Parts of the answer that are compared where not all of it can be; `because` says why."""
    because: str = ""
    """A name in differences.ON_PURPOSE."""
    here: int | None = None
    """The status of the embedded server's answer where it is another one on purpose; nothing else is compared then, and `because` says why."""
    given: Any = None
    """What kubectl finds on its standard input."""

    def part(self, because: str, *only: str) -> "Exchange":
        """Compare no more than parts of the answer's body, for a reason that differences.py explains; no part: the status alone."""
        return replace(self, because=because, only=only or ("-",))

    def otherwise(self, because: str, here: int) -> "Exchange":
        """Expect another status of the embedded server, for a reason that differences.py explains."""
        return replace(self, because=because, here=here)

    def blotted(self, because: str) -> "Exchange":
        """Compare the answer as differences.py blots it for this reason."""
        return replace(self, because=because)


Topic = Callable[[], Iterator[Exchange]]


def asked(path: str, **options: Any) -> str:
    """Return a path with a query."""
    return f"{path}?{urlencode(options, quote_via=quote, safe='@:')}"


def get(name: str, path: str, **more: Any) -> Exchange:
    return Exchange(name, "GET", path, **more)


def post(name: str, path: str, body: Any, content_type: str = "application/json", **more: Any) -> Exchange:
    return Exchange(name, "POST", path, body, content_type, **more)


def put(name: str, path: str, body: Any, **more: Any) -> Exchange:
    return Exchange(name, "PUT", path, body, **more)


def patch(name: str, path: str, body: Any, content_type: str = MERGE, **more: Any) -> Exchange:
    return Exchange(name, "PATCH", path, body, content_type, **more)


def delete(name: str, path: str, body: Any = None, **more: Any) -> Exchange:
    return Exchange(name, "DELETE", path, body, **more)


def watch(name: str, path: str, events: int, **more: Any) -> Exchange:
    """Read so many events of a watch; `path` has the query without `watch`."""
    return Exchange(name, "GET", f"{path}{'&' if '?' in path else '?'}watch=true", events=events, **more)


def kubectl(name: str, arguments: str, given: Any = None, **more: Any) -> Exchange:
    """Run kubectl; `arguments` are split at blanks, `given` is what stands on its standard input: an object or YAML text."""
    return Exchange(f"kubectl: {name}", "KUBECTL", arguments, given=given, **more)


def gone(answer: Body) -> bool:
    """What a GET is repeated until: the object is not there."""
    return bool(answer["status"] == 404)


def there(answer: Body) -> bool:
    """What a GET is repeated until: it is answered."""
    return bool(answer["status"] == 200)
