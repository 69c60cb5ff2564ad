"""The CRDs are what the models say, and nothing in them is what a structural schema may not have."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api.base import Model
from backstay.api.crd import definitions, file_name
from backstay.api.crd.__main__ import main
from backstay.api.journal import WorkflowJournalSpec
from backstay.api.run import WorkflowRunSpec, WorkflowRunStatus
from backstay.api.steps import Step, actions
from backstay.api.workflow import WorkflowSpec, WorkflowStatus

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "crds", ROOT / "charts" / "backstay" / "crd-bases")
KINDS = tuple(definitions())
FORBIDDEN = ("$ref", "$defs", "title", "default", "uniqueItems", "anyOf", "allOf", "oneOf", "not", "nullable", "const", "exclusiveMinimum")


def version(plural: str) -> dict[str, Any]:
    return dict(definitions()[plural]["spec"]["versions"][0])


def schema(plural: str, *path: str) -> dict[str, Any]:
    found = version(plural)["schema"]["openAPIV3Schema"]
    for name in path:
        found = found["items"] if name == "[]" else found["properties"][name]
    return dict(found)


def nodes(found: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema inside a schema, with its path."""
    yield path, found
    for name, below in found.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(below := found.get(name), dict):
            yield from nodes(below, f"{path}[{'' if name == 'items' else '*'}]")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_the_files_are_what_the_models_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(folder)]) == 0, f"run make crds\n{capsys.readouterr().out[:3000]}"


def test_a_difference_is_shown_and_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    changed = tmp_path / file_name("workflows")
    changed.write_text(
        changed.read_text(encoding="utf-8").replace("shortNames:\n    - wf\n", "shortNames:\n    - flow\n"), encoding="utf-8"
    )
    assert main(["--check", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "-    - flow\n+    - wf\n" in shown.out
    assert "make crds" in shown.err


def test_a_missing_file_fails_the_check(tmp_path: Path) -> None:
    shutil.copy(FOLDERS[0] / file_name("workflows"), tmp_path)
    assert main(["--check", str(tmp_path)]) == 1


@pytest.mark.parametrize("plural", KINDS)
def test_the_yaml_says_the_same_as_the_manifest_and_without_anchors(plural: str) -> None:
    text = (FOLDERS[0] / file_name(plural)).read_text(encoding="utf-8")
    assert yaml.safe_load(text) == definitions()[plural]
    assert "*id0" not in text


@pytest.mark.parametrize("plural", KINDS)
def test_every_field_has_a_description(plural: str) -> None:
    parts = [part for part in ("spec", "status") if part in schema(plural)["properties"]]
    spec_and_status = [(f"{part}{path}", node) for part in parts for path, node in nodes(schema(plural, part))]
    missing = [path for path, node in spec_and_status if not node.get("description") and not path.endswith(("[]", "[*]"))]
    assert missing == []


@pytest.mark.parametrize("plural", KINDS)
def test_the_schema_is_structural(plural: str) -> None:
    for path, node in nodes(schema(plural)):
        assert not [name for name in FORBIDDEN if name in node], path
        assert node.get("additionalProperties") is not False, path
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields") or node.get("x-kubernetes-int-or-string"), path
        assert node.get("type") != "null", path
        assert set(node.get("required", ())) <= set(node.get("properties", ())), path


@pytest.mark.parametrize("plural", KINDS)
def test_a_list_that_is_merged_by_a_key_requires_that_key(plural: str) -> None:
    keyed = [(path, node) for path, node in nodes(schema(plural)) if node.get("x-kubernetes-list-type") == "map"]
    assert keyed or plural not in ("workflows", "workflowruns")
    for path, node in keyed:
        assert set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"]), path


@pytest.mark.parametrize("plural", KINDS)
def test_a_crd_fits_into_an_object_of_the_api_server_with_room_to_grow(plural: str) -> None:
    assert len(json.dumps(definitions()[plural])) < 256 * 1024


@pytest.mark.parametrize(
    ("plural", "part", "model"),
    [
        ("workflows", "spec", WorkflowSpec),
        ("workflows", "status", WorkflowStatus),
        ("workflowruns", "spec", WorkflowRunSpec),
        ("workflowruns", "status", WorkflowRunStatus),
        ("workflowjournals", "spec", WorkflowJournalSpec),
    ],
)
def test_every_field_of_the_models_is_in_the_schema_and_no_other(plural: str, part: str, model: type[Model]) -> None:
    assert list(schema(plural, part)["properties"]) == [field.alias or name for name, field in model.model_fields.items()]


@pytest.mark.parametrize(
    "path",
    [
        ("workflows", "spec", "steps", "[]"),
        ("workflows", "spec", "dag", "steps", "[]"),
        ("workflows", "spec", "steps", "[]", "steps", "[]"),
        ("workflowruns", "spec", "workflow", "inline", "steps", "[]"),
    ],
    ids=".".join,
)
def test_the_outermost_steps_and_those_of_blocks_are_typed(path: tuple[str, ...]) -> None:
    assert set(actions(Step)) <= set(schema(*path)["properties"])


@pytest.mark.parametrize(
    "path",
    [
        ("workflows", "spec", "steps", "[]", "steps", "[]", "steps", "[]"),
        ("workflows", "spec", "catch", "[]", "steps", "[]"),
        ("workflows", "spec", "steps", "[]", "catch", "[]", "steps", "[]"),
        ("workflows", "spec", "steps", "[]", "dag", "steps", "[]"),
        ("workflows", "spec", "steps", "[]", "parallel", "branches", "[]", "steps", "[]"),
        ("workflows", "spec", "steps", "[]", "forEach", "steps", "[]"),
        ("workflowruns", "spec", "workflow", "inline", "steps", "[]", "dag", "steps", "[]"),
    ],
    ids=".".join,
)
def test_deeper_steps_are_taken_as_they_are_and_told_apart_by_name(path: tuple[str, ...]) -> None:
    step = schema(*path)
    assert list(step["properties"]) == ["name"]
    assert step["x-kubernetes-preserve-unknown-fields"] is True


def test_a_step_must_have_exactly_one_action_and_the_message_names_them() -> None:
    rules = schema("workflows", "spec", "steps", "[]")["x-kubernetes-validations"]
    assert [rule["message"] for rule in rules] == [f"a step has exactly one action: {', '.join(actions(Step))}"]


def test_columns_and_fields_to_select_by_are_there() -> None:
    columns = {plural: [(column["name"], column["jsonPath"]) for column in version(plural)["additionalPrinterColumns"]] for plural in KINDS}
    assert columns["workflowruns"] == [
        ("Workflow", ".spec.workflow.name"),
        ("Status", ".status.status"),
        ("Progress", ".status.progress"),
        ("Step", ".status.step"),
        ("Age", ".metadata.creationTimestamp"),
        ("Started-By", ".metadata.annotations.backstay\\.dev/started-by"),
    ]
    assert [name for name, _ in columns["workflows"]] == ["Valid", "Revision", "Age", "Message"]
    assert columns["workflowjournals"] == [
        ("Run", ".spec.run.name"),
        ("First", ".spec.first"),
        ("Last", ".spec.last"),
        ("Entries", ".spec.count"),
        ("Age", ".metadata.creationTimestamp"),
    ]
    for selectable in version("workflowruns")["selectableFields"]:
        assert schema("workflowruns", *selectable["jsonPath"].removeprefix(".").split("."))["type"] == "string"


def test_a_default_is_told_and_never_written_into_a_manifest() -> None:
    assert schema("workflows", "spec", "defaults", "retry", "errors")["description"].endswith("Default: [Transient, Timeout].")
    assert schema("workflows", "spec", "defaults", "retry", "interval")["description"] == "Delay before the second attempt. Default: 1s."
    assert schema("workflows", "spec", "compensationTimeout")["description"].count("efault") == 1


def test_a_journal_has_no_status_and_never_changes() -> None:
    written = version("workflowjournals")
    assert ("subresources" in written, "status" in schema("workflowjournals")["properties"]) == (False, False)
    assert schema("workflowjournals", "spec")["x-kubernetes-validations"] == [
        {"rule": "self == oldSelf", "message": "a WorkflowJournal is written once and never changed"}
    ]
