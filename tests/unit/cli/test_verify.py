"""`backstay verify` and `backstay export`: what they ask for, what they say, and with which exit code they end."""

import copy
import gzip
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from backstay.cli import main as cli
from backstay.cli.verifying import audited, audited_all
from backstay.engine import bounds
from backstay.engine.audit import Audit, audit_file
from backstay.engine.audit.export import NoExport
from backstay.kube.client import Client, ListPage
from tests.simulation.test_archive import LONG, outcome
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating
from tests.support.tiny_api import TinyApi, page, reply
from tests.support.world import World
from tests.unit.cli.runs import manifest_of
from tests.unit.cli.serving import NAMESPACE, RUNS, kubeconfig, missing, served

Object = dict[str, Any]
UID = "uid-1"
JOURNALS = f"/apis/backstay.dev/v1alpha1/namespaces/{NAMESPACE}/workflowjournals"
SAGA = """
steps:
- {name: reserve, job: {image: stock}, compensate: {job: {image: stock}}}
- {name: ship, job: {image: ship}}
"""


def backstay(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), input=given, prog_name="backstay", catch_exceptions=False)


@pytest.fixture(scope="module")
def run() -> Object:
    return manifest_of(World(SAGA).succeed("reserve", {"id": 1}).succeed("ship"), resourceVersion="7", uid=UID)


def changed(run: Object) -> Object:
    """The same run with an entry that was edited by hand."""
    other = copy.deepcopy(run)
    other["status"]["journal"]["entries"][3]["reason"] = "because"
    return other


def serving(*runs: Object) -> Any:
    def prepare(api: TinyApi) -> None:
        for one in runs:
            api.answers("GET", f"{RUNS}/{one['metadata']['name']}", reply(one))
        api.answers("GET", f"{RUNS}/ordr-7f2", missing("ordr-7f2"))
        api.answers("GET", RUNS, page(list(runs), 7))
        api.answers("GET", JOURNALS, page([], 7))

    return prepare


def asked(folder: Path, runs: list[Object], *arguments: str, given: bytes | None = None) -> Result:
    with served(serving(*runs)) as api:
        return backstay(*arguments, "--kubeconfig", kubeconfig(folder, api), given=given)


# --------------------------------------------------------------------------------------------------------------- verify


def test_a_run_that_is_what_its_journal_says_is_proven(run: Object, tmp_path: Path) -> None:
    result = asked(tmp_path, [run], "verify", "wfrun/order-7f2")
    entries, seal = len(run["status"]["journal"]["entries"]), run["status"]["journal"]["head"]
    told = f"✔ order-7f2  proven: {entries} entries, unbroken up to the seal {seal}, and the status is exactly what follows\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, told, "")


def test_what_was_changed_is_named_with_its_entry_and_its_place_and_the_exit_code_is_1(run: Object, tmp_path: Path) -> None:
    result = asked(tmp_path, [changed(run)], "verify", "order-7f2")
    first, second = result.stdout.splitlines()
    assert (result.exit_code, first[:21]) == (1, "✖ order-7f2  BROKEN: ")
    assert second.startswith("    Edited, entry 4 of 2026-11-23T09:00:00Z, the status: it was changed: entry 5, written after it,")


def test_the_verdict_is_also_data(run: Object, tmp_path: Path) -> None:
    result = asked(tmp_path, [changed(run)], "verify", "order-7f2", "-o", "json")
    (told,) = json.loads(result.stdout)["runs"]
    assert (result.exit_code, told["name"], told["namespace"], told["uid"], told["verdict"]) == (1, "order-7f2", "shop", UID, "Broken")
    (finding,) = told["findings"]
    assert (finding["kind"], finding["sequence"], finding["time"], finding["where"]) == (
        "Edited",
        4,
        "2026-11-23T09:00:00.000000Z",
        "the status",
    )


def named(run: Object, name: str) -> Object:
    return {**run, "metadata": {**run["metadata"], "name": name}}


def test_of_a_namespace_only_what_is_wrong_is_told_and_all_is_counted(run: Object, tmp_path: Path) -> None:
    runs = [run, named(changed(run), "order-bad"), {**named(run, "order-new"), "status": {}}]
    result = asked(tmp_path, runs, "verify", "--all")
    assert result.exit_code == 1
    assert [line.split("  ")[0] for line in result.stdout.splitlines() if not line.startswith(" ")][:-1] == ["✖ order-bad"]
    assert result.stdout.splitlines()[-1] == "3 runs in namespace shop: 2 proven, 1 BROKEN"
    both = asked(tmp_path, runs, "verify", "--all", "-o", "json")
    assert [one["verdict"] for one in json.loads(both.stdout)["runs"]] == ["Proven", "Broken", "Proven"]


def test_an_empty_namespace_has_nothing_wrong_in_it(tmp_path: Path) -> None:
    result = asked(tmp_path, [], "verify", "--all")
    assert (result.exit_code, result.stdout) == (0, "there are no runs in namespace shop\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify"], "there is nothing to verify; name a run, or write --all, or --file FILE"),
        (["verify", "order-7f2", "--all"], "a run and --all name different things"),
        (["verify", "--file", "/nowhere.jsonl"], "/nowhere.jsonl cannot be read: No such file"),
        (["export"], "name what to export; a run, as in `backstay export order-7f2`, or --all"),
        (["export", "order-7f2", "--all"], "name what to export"),
    ],
)
def test_what_was_typed_wrong_ends_with_2(arguments: list[str], words: str) -> None:
    result = backstay(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_a_run_that_is_not_there_ends_with_5(run: Object, tmp_path: Path) -> None:
    result = asked(tmp_path, [run], "verify", "ordr-7f2")
    assert result.exit_code == 5 and 'did you mean "order-7f2"?' in result.stderr


# --------------------------------------------------------------------------------------------------------------- export


@pytest.fixture(scope="module")
def exported(run: Object, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("export")
    first, second = (asked(folder, [run], "export", "order-7f2") for _ in range(2))
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout_bytes == second.stdout_bytes
    return first.stdout_bytes


def test_an_export_is_a_header_and_every_entry_as_it_stands(run: Object, exported: bytes) -> None:
    header, *entries = map(json.loads, exported.splitlines())
    assert entries == run["status"]["journal"]["entries"]
    assert header["run"] == {
        "name": "order-7f2",
        "namespace": "shop",
        "uid": UID,
        "createdAt": run["metadata"]["creationTimestamp"],
        "workflow": "order",
    }
    assert header["status"] == {key: value for key, value in run["status"].items() if key != "journal"}
    assert header["journal"] == {"count": len(entries), "dropped": 0, "head": run["status"]["journal"]["head"]}


@pytest.mark.parametrize("how", ["plain", "gzip", "stdin", "crlf"])
def test_an_export_is_verified_without_a_cluster(exported: bytes, how: str, tmp_path: Path) -> None:
    file = tmp_path / ("run.jsonl.gz" if how == "gzip" else "run.jsonl")
    content = {"gzip": gzip.compress(exported), "crlf": exported.replace(b"\n", b"\r\n")}.get(how, exported)
    file.write_bytes(content)
    result = backstay("verify", "--file", "-" if how == "stdin" else str(file), given=exported if how == "stdin" else None)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "✔ order-7f2  (" in result.stdout and "proven: " in result.stdout


def test_every_byte_of_an_export_counts(exported: bytes) -> None:
    """Each line is changed in some places, and taken away."""
    lines = exported.splitlines(keepends=True)
    for number, line in enumerate(lines):
        for place in (1, *range(4, len(line) - 3, 7), len(line) - 3):
            other = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
            try:
                ((_, found),) = audit_file([*lines[:number], other, *lines[number + 1 :]], "run.jsonl")
            except NoExport:
                assert number == 0
                continue
            assert found.findings, (number, place)
            assert number == 0 or any(one.where == f"run.jsonl, line {number + 1}" for one in found.findings), (number, place)
        if number:
            ((_, found),) = audit_file([*lines[:number], *lines[number + 1 :]], "run.jsonl")
            assert [one.sequence for one in found.findings] == [number]


def test_an_export_whose_end_is_missing_says_how_many_there_were(exported: bytes, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_bytes(b"".join(exported.splitlines(keepends=True)[:-1]))
    told = json.loads(backstay("verify", "-f", str(file), "-o", "json").stdout)["runs"][0]
    assert [(one["kind"], one["sequence"], one["where"]) for one in told["findings"]] == [
        ("Truncated", told["entries"] + 1, f"{file}, line 1")
    ]
    assert told["file"] == str(file)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"{}\n", b'{"kind":"RunExport","sequence":1}\n', b"\xff\xfe\n"])
def test_a_file_that_is_no_export_ends_with_2(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_bytes(content)
    result = backstay("verify", "-f", str(file))
    assert result.exit_code == 2 and "an export begins with a header of kind RunExport" in result.stderr


@pytest.mark.parametrize("where", ["status", "entry", "other"])
def test_a_file_that_is_meant_to_break_the_reader_is_told_of_as_any_other(run: Object, where: str) -> None:
    deep, nested = "DEEP", b"[" * 1000 + b"0" + b"]" * 1000
    entry = run["status"]["journal"]["entries"][0]
    header = {
        "kind": "RunExport",
        "run": {"name": "r", "uid": "u"},
        "journal": {"head": "x"},
        "status": {"vars": deep if where == "status" else {}},
    }
    second = {**entry, "changes": {"vars": {"x": deep}}} if where == "entry" else deep
    lines = [json.dumps(one, separators=(",", ":"), sort_keys=True).encode().replace(b'"DEEP"', nested) for one in (header, second)]
    try:
        ((_, found),) = audit_file(lines, "run.jsonl")
        assert found.findings
    except NoExport as error:
        assert where == "status" and "line 1" in str(error)


def test_a_whole_namespace_is_exported_into_one_file_and_verified_from_it(run: Object, tmp_path: Path) -> None:
    other = copy.deepcopy(named(run, "other"))
    file = tmp_path / "shop.jsonl"
    result = asked(tmp_path, [run, other], "export", "--all")
    file.write_bytes(result.stdout_bytes)
    told = json.loads(backstay("verify", "-f", str(file), "-o", "json").stdout)["runs"]
    assert [(one["name"], one["verdict"]) for one in told] == [("order-7f2", "Proven"), ("other", "Proven")]


def test_a_journal_that_cannot_be_trusted_is_exported_all_the_same_and_the_exit_code_is_1(run: Object, tmp_path: Path) -> None:
    result = asked(tmp_path, [changed(run)], "export", "order-7f2")
    assert (result.exit_code, len(result.stdout_bytes.splitlines())) == (1, 1 + len(run["status"]["journal"]["entries"]))
    assert "order-7f2 cannot be trusted (1 finding); `backstay verify order-7f2` names what was changed" in result.stderr
    file = tmp_path / "run.jsonl"
    file.write_bytes(result.stdout_bytes)
    assert "line 5: it was changed: entry 5" in backstay("verify", "-f", str(file)).stdout


# ----------------------------------------------------------------------------------------------- against an earlier export


def test_a_run_that_went_on_from_its_export_is_proven(run: Object, tmp_path: Path) -> None:
    early = manifest_of(World(SAGA).succeed("reserve", {"id": 1}), resourceVersion="3", uid=UID)
    file = tmp_path / "early.jsonl"
    file.write_bytes(asked(tmp_path, [early], "export", "order-7f2").stdout_bytes)
    assert asked(tmp_path, [run], "verify", "order-7f2", "-f", str(file)).exit_code == 0
    assert asked(tmp_path, [run], "verify", "--all", "-f", str(file)).exit_code == 0


def test_a_run_whose_journal_is_another_one_than_its_export_is_found_although_all_its_hashes_fit(exported: bytes, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_bytes(exported)
    forged = manifest_of(World(SAGA).succeed("reserve", {"id": 2}).succeed("ship"), resourceVersion="7", uid=UID)
    assert asked(tmp_path, [forged], "verify", "order-7f2").exit_code == 0
    result = asked(tmp_path, [forged], "verify", "order-7f2", "-f", str(file))
    assert result.exit_code == 1
    assert "Edited, entry 4 of 2026-11-23T09:00:00Z, the status: it is another one than in the export, where it is" in result.stdout


def test_an_export_of_another_run_cannot_be_held_against_this_one(run: Object, exported: bytes, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_bytes(exported)
    other = {**run, "metadata": {**run["metadata"], "uid": "another"}}
    result = asked(tmp_path, [other], "verify", "order-7f2", "-f", str(file))
    assert result.exit_code == 2 and "there is no export of run order-7f2 (UID another) in the files" in result.stderr


# ------------------------------------------------------------------------------------------------------ large runs, moving


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """A cluster in which a long run has ended: most of its entries stand in WorkflowJournals, and its status leaves out steps."""
    for name, value in {"KEEP_ENTRIES": 6, "LEAVE_ENTRIES": 3, "WORTH_ENTRIES": 2, "STEPS_BYTES": 900}.items():
        monkeypatch.setattr(bounds, name, value)
    found = FakeApi(outcome)
    found.apply_run({"workflow": {"inline": LONG}})
    async with operating(found):
        await eventually(lambda: ended(found))
    return found


async def verdict(api: FakeApi, manifest: Object | None = None) -> Audit:
    found = await audited(cast(Client, api), manifest or api.run() or {})
    assert found is not None
    return found[1]


async def test_a_long_run_is_proven_from_its_workflowjournals_and_its_status(api: FakeApi) -> None:
    found = await verdict(api)
    assert (found.findings, found.notes) == ((), ())
    assert len(found.entries) > len(found.state.steps) > len((api.run() or {})["status"]["steps"])
    assert [name async for name, _ in _names(api)] == ["r1"]


async def _names(api: FakeApi) -> AsyncGenerator[tuple[str, Audit], None]:
    async for manifest, found in audited_all(cast(Client, api), "shop"):
        yield manifest["metadata"]["name"], found


async def test_a_workflowjournal_that_is_gone_or_lost_its_label_is_named(api: FakeApi) -> None:
    first = min(one["metadata"]["name"] for one in api.all("workflowjournals"))
    labels = api.objects["workflowjournals", "shop", first]["metadata"]["labels"]
    uid = labels.pop("backstay.dev/run")
    found = await verdict(api)
    assert found.is_proven
    assert f"WorkflowJournal {first} has lost its label backstay.dev/run" in found.notes[0]
    labels["backstay.dev/run"] = uid
    del api.objects["workflowjournals", "shop", first]
    (finding,) = (await verdict(api)).findings
    assert (str(finding.kind), finding.sequence, finding.where) == ("Missing", 1, f"WorkflowJournal {first}")


async def test_where_there_are_journals_of_another_run_of_the_name_a_note_says_that_it_may_be_a_copy(api: FakeApi) -> None:
    manifest = copy.deepcopy(api.run() or {})
    manifest["metadata"]["uid"] = "run-new"
    api.put("workflowruns", manifest)
    found = await verdict(api, manifest)
    assert [str(finding.kind) for finding in found.findings] == ["Missing"]
    assert "WorkflowJournals of a run of this name with the UID run-r1" in found.notes[0]


async def test_a_run_that_goes_on_between_two_requests_is_looked_at_again_and_not_taken_for_a_forged_one(api: FakeApi) -> None:
    """The status is that from before the newest WorkflowJournals, as where the operator writes in between."""
    manifest = copy.deepcopy(api.run() or {})
    entries = manifest["status"]["journal"]["entries"]
    manifest["metadata"]["resourceVersion"] = "1"
    manifest["status"]["journal"] = {"head": entries[0].get("previous"), "archived": 1, "entries": [{"sequence": 2}]}
    assert (await verdict(api, manifest)).is_proven


async def test_a_run_that_is_deleted_meanwhile_is_no_finding(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = api.run() or {}
    pages = api.pages

    async def gone(*given: Any, **selectors: Any) -> AsyncGenerator[ListPage, None]:
        if api.run() is not None:
            api.forget("workflowruns", "r1")
        for one in api.all("workflowjournals"):
            api.remove("workflowjournals", one)
        async for found in pages(*given, **selectors):
            yield found

    monkeypatch.setattr(api, "pages", gone)
    assert await audited(cast(Client, api), manifest) is None
