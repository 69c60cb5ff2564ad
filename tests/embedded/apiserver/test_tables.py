"""What `kubectl get` shows: the columns of definitions, and of builtin kinds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backstay.local.apiserver.jsonpath import JSONPathError, find
from backstay.local.apiserver.printers import human_duration
from tests.embedded.apiserver.harness import TABLE, Api
from tests.embedded.apiserver.paths import CORE, JOBS, PODS, WIDGETS
from tests.embedded.apiserver.widgets import CRDS_PATH, definition, widget

POD_SPEC = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}


async def cells(api: Api, path: str) -> dict[str, Any]:
    """Return the one row of a table by column name."""
    table = await api.ok("GET", path, accept=TABLE)
    (row,) = table["rows"]
    return dict(zip((column["name"] for column in table["columnDefinitions"]), row["cells"], strict=True))


async def test_a_definitions_columns_are_filled_from_their_paths(api: Api) -> None:
    since = (datetime.now(UTC) - timedelta(hours=3, minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await api.create(WIDGETS, widget("one", spec={"color": "red", "parts": [{"name": "a"}, {"name": "b"}]}))
    conditions = [{"type": "Other", "status": "x"}, {"type": "Ready", "status": "True"}]
    await api.merge(f"{WIDGETS}/one/status", {"status": {"since": since, "conditions": conditions}})
    shown = await cells(api, f"{WIDGETS}/one")
    assert shown == {"Name": "one", "Color": "red", "Size": 1, "Ready": "True", "Since": "3h5m", "Parts": "a"}


async def test_what_is_not_there_is_null(api: Api) -> None:
    await api.create(WIDGETS, widget("one"))
    assert await cells(api, f"{WIDGETS}/one") == {"Name": "one", "Color": None, "Size": None, "Ready": None, "Since": None, "Parts": None}


async def test_a_definition_without_columns_shows_name_and_age(api: Api) -> None:
    await api.delete(f"{CRDS_PATH}/widgets.example.com")
    await api.until_gone(f"{CRDS_PATH}/widgets.example.com")
    plain = definition()
    del plain["spec"]["versions"][0]["additionalPrinterColumns"]
    await api.create(CRDS_PATH, plain)
    await api.create(WIDGETS, widget("one"))
    shown = await cells(api, f"{WIDGETS}/one")
    assert shown.keys() == {"Name", "Age"}
    assert shown["Age"].endswith("s")


@pytest.mark.parametrize(
    ("include", "wanted"), [("None", None), ("Metadata", "PartialObjectMetadata"), ("", "PartialObjectMetadata"), ("Object", "Widget")]
)
async def test_rows_carry_as_much_of_the_object_as_is_asked_for(api: Api, include: str, wanted: str | None) -> None:
    await api.create(WIDGETS, widget("one"))
    table = await api.ok("GET", f"{WIDGETS}?includeObject={include}", accept=TABLE)
    assert (table["rows"][0]["object"] or {}).get("kind") == wanted
    assert table["metadata"]["resourceVersion"]


POD_STATES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "waiting for a node": ({"phase": "Pending"}, ("0/1", "Pending", "0")),
    "running": (
        {"phase": "Running", "containerStatuses": [{"name": "main", "ready": True, "restartCount": 0, "state": {"running": {}}}]},
        ("1/1", "Running", "0"),
    ),
    "ended well": (
        {
            "phase": "Succeeded",
            "containerStatuses": [{"name": "main", "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}],
        },
        ("0/1", "Completed", "0"),
    ),
    "ended badly": (
        {
            "phase": "Failed",
            "containerStatuses": [{"name": "main", "restartCount": 2, "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}],
        },
        ("0/1", "Error", "2"),
    ),
    "cannot pull": (
        {"phase": "Pending", "containerStatuses": [{"name": "main", "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull"}}}]},
        ("0/1", "ErrImagePull", "0"),
    ),
    "killed": (
        {
            "phase": "Failed",
            "containerStatuses": [{"name": "main", "restartCount": 0, "state": {"terminated": {"exitCode": 137, "signal": 9}}}],
        },
        ("0/1", "Signal:9", "0"),
    ),
    "evicted": ({"phase": "Failed", "reason": "Evicted"}, ("0/1", "Evicted", "0")),
}


@pytest.mark.parametrize("state", POD_STATES)
async def test_a_pods_state_in_a_word(api: Api, state: str) -> None:
    status, wanted = POD_STATES[state]
    for each in status.get("containerStatuses", ()):
        each |= {"image": "x", "imageID": "", "ready": each.get("ready", False)}
    await api.create(PODS, {"metadata": {"name": "pod"}, "spec": POD_SPEC})
    await api.merge(f"{PODS}/pod/status", {"status": status})
    shown = await cells(api, f"{PODS}/pod")
    assert (shown["Ready"], shown["Status"], shown["Restarts"]) == wanted


async def test_a_jobs_progress(api: Api) -> None:
    await api.create(JOBS, {"metadata": {"name": "job"}, "spec": {"completions": 3, "template": {"spec": POD_SPEC}}})
    assert (await cells(api, f"{JOBS}/job")) | {"Age": ""} == {
        "Name": "job",
        "Status": "Running",
        "Completions": "0/3",
        "Duration": "",
        "Age": "",
        "Containers": "main",
        "Images": "x",
        "Selector": (await cells(api, f"{JOBS}/job"))["Selector"],
    }
    start, end = "2024-01-01T00:00:00Z", "2024-01-01T00:01:30Z"
    conditions = [
        {"type": each, "status": "True", "lastProbeTime": end, "lastTransitionTime": end} for each in ("SuccessCriteriaMet", "Complete")
    ]
    await api.merge(f"{JOBS}/job/status", {"status": {"succeeded": 3, "startTime": start, "completionTime": end, "conditions": conditions}})
    shown = await cells(api, f"{JOBS}/job")
    assert (shown["Status"], shown["Completions"], shown["Duration"]) == ("Complete", "3/3", "90s")


async def test_other_builtin_kinds(api: Api) -> None:
    await api.create(f"{CORE}/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "1", "b": "2"}})
    secret = await cells(api, f"{CORE}/secrets/s")
    assert (secret["Type"], secret["Data"]) == ("Opaque", 2)
    assert (await cells(api, "/api/v1/namespaces/default"))["Status"] == "Active"
    await api.create("/api/v1/nodes", {"metadata": {"name": "n1"}})
    status = {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
    await api.merge("/api/v1/nodes/n1/status", {"status": {**status, "nodeInfo": {"kubeletVersion": "v1"}}})
    node = await cells(api, "/api/v1/nodes/n1")
    assert (node["Status"], node["Roles"], node["Version"], node["Internal-IP"]) == ("Ready", "<none>", "v1", "127.0.0.1")
    revision = {"metadata": {"name": "r"}, "data": {"a": 1}, "revision": 3}
    await api.create("/apis/apps/v1/namespaces/default/controllerrevisions", revision)
    assert (await cells(api, "/apis/apps/v1/namespaces/default/controllerrevisions/r"))["Revision"] == 3


PATHS: dict[str, list[Any]] = {
    ".a.b": [1],
    "a.b": [1],
    ".a['b']": [1],
    ".list[0].n": [1],
    ".list[-1].n": [3],
    ".list[9].n": [],
    ".list[*].n": [1, 2, 3],
    ".list[1:].n": [2, 3],
    '.list[?(@.k=="y")].n': [2],
    ".list[?(@.n>1)].k": ["y"],
    ".list[?(@.k)].n": [1, 2],
    r".a.dotted\.key": ["d"],
    ".nothing.at.all": [],
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_leads_to(path: str) -> None:
    value = {"a": {"b": 1, "dotted.key": "d"}, "list": [{"n": 1, "k": "x"}, {"n": 2, "k": "y"}, {"n": 3}]}
    assert find(path, value) == PATHS[path]


def test_a_path_that_cannot_be_read_says_where() -> None:
    with pytest.raises(JSONPathError, match=r"cannot be read from '\[oops' on"):
        find(".a[oops", {})


DURATIONS = {0: "0s", -1: "0s", -5: "<invalid>", 119: "119s", 120: "2m", 150: "2m30s", 3600: "60m", 3 * 3600: "3h", 7.5 * 3600: "7h30m", 40 * 3600: "40h",
             50 * 3600: "2d2h", 9 * 86400: "9d", 800 * 86400: "2y70d", 9 * 365 * 86400: "9y"}  # fmt: skip


@pytest.mark.parametrize("seconds", DURATIONS)
def test_a_duration_reads(seconds: float) -> None:
    assert human_duration(seconds) == DURATIONS[seconds]
