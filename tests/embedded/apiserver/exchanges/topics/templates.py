"""Patches deep inside a builtin kind, where lists merge by key."""

from collections.abc import Iterator
from typing import Any

from tests.embedded.apiserver.exchanges.exchange import APPLY, CORE, CRON_JOBS, MERGE, STRATEGIC, Exchange, patch, post
from tests.embedded.apiserver.exchanges.topics.tables import cron_job


def templates() -> Iterator[Exchange]:
    """Yield patches deep inside a builtin kind, where lists merge by key."""
    path = f"{CRON_JOBS}/shown"

    def inner(pod: dict[str, Any]) -> dict[str, Any]:
        return {"spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}}

    def strategic(name: str, pod: dict[str, Any]) -> Exchange:
        return patch(name, path, inner(pod), STRATEGIC)

    env = [{"name": "A", "$patch": "delete"}, {"name": "B", "value": "9"}, {"name": "C", "value": "3"}]
    main = {"name": "main", "env": env, "args": None}
    yield strategic("strategic patch of a container", {"containers": [main]})
    yield strategic(
        "strategic patch with an order",
        {"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}], "containers": [{"name": "side", "tty": True}]},
    )
    yield strategic(
        "strategic patch that adds", {"containers": [{"name": "third", "image": "z"}], "volumes": [{"name": "v", "emptyDir": {}}]}
    )
    yield strategic(
        "strategic patch that changes a volume's kind", {"volumes": [{"name": "v", "emptyDir": None, "secret": {"secretName": "shown"}}]}
    )
    yield strategic("strategic patch that deletes", {"containers": [{"name": "third", "$patch": "delete"}]})
    yield strategic("strategic patch of tolerations", {"tolerations": [{"key": "a", "operator": "Exists"}]})
    yield strategic("strategic patch of tolerations again", {"tolerations": [{"key": "b", "operator": "Exists"}]})
    yield strategic("strategic patch without a key", {"containers": [{"image": "z"}]})
    yield strategic("strategic patch that replaces", {"containers": [{"$patch": "replace"}, {"name": "only", "image": "z"}]})
    yield strategic("strategic patch with a bad directive", {"$patch": "twist"})
    yield patch("merge patch of a template", path, inner({"containers": [{"name": "new", "image": "q"}]}), MERGE)
    applied = f"{CRON_JOBS}/applied?fieldManager="
    yield patch("apply a cron job", f"{applied}alice", cron_job("applied"), APPLY)
    other = cron_job("applied")
    side = other["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][1]
    other["spec"] = {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "side", "ports": [{"containerPort": 81}]}]}}}}}
    yield patch("share a cron job", f"{applied}bob", other, APPLY)
    other["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"] = [side | {"image": "y:2"}]
    yield patch("conflict over a cron job", f"{applied}bob", other, APPLY)
    twice = b'{"metadata": {"name": "twice"}, "data": {"a": "1", "a": "2"}, "other": 1}'
    yield post("a field given twice is warned of", f"{CORE}/configmaps", twice)
    yield post("a field given twice is refused", f"{CORE}/configmaps?fieldValidation=Strict", twice)
