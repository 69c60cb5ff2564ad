"""`backstay verify` and `backstay export` on a cluster: what somebody with all rights has changed is named, from the cluster and from a file."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from backstay.cli.main import app
from tests.scenarios.fixtures import Market
from tests.support.api import Object
from tests.support.cluster import Place


@dataclass(frozen=True)
class Answer:
    """What a command has printed, and how it ended."""

    code: int
    out: bytes

    @property
    def findings(self) -> list[tuple[str, int | None, str]]:
        """Of `verify -o json` about one run: kind, number of the entry, and where it stands."""
        (run,) = json.loads(self.out)["runs"]
        return [(one["kind"], one.get("sequence"), one["where"]) for one in run["findings"]]


def backstay(place: Place, *arguments: str) -> Answer:
    """Run a command in the namespace, in this process."""
    where = ["--kubeconfig", str(place.cluster.kubeconfig), "-n", place.name]
    result = CliRunner().invoke(app, [*arguments, *where], catch_exceptions=False)
    return Answer(result.exit_code, result.stdout_bytes)


def verified(place: Place, *arguments: str) -> Answer:
    return backstay(place, "verify", *arguments, "-o", "json")


def rewrite(place: Place, name: str, status: Object) -> None:
    """Write a run's status over, as somebody may who has the right to."""
    patch = [{"op": "replace", "path": "/status", "value": status}]
    place.kubectl("patch", "wfrun", name, "--subresource=status", "--type=json", "-p", json.dumps(patch))


def without(status: Object, index: int) -> Object:
    changed = copy.deepcopy(status)
    del changed["journal"]["entries"][index]
    return changed


def edited(status: Object, index: int) -> Object:
    changed = copy.deepcopy(status)
    changed["journal"]["entries"][index]["reason"] = "because"
    return changed


def test_a_saga_is_proven_from_its_journal_and_what_is_changed_in_it_afterwards_is_named(market: Market, tmp_path: Path) -> None:
    place, name = market.place, market.start("large")
    status = place.ended(name)["status"]
    assert verified(place, name).findings == []
    export = backstay(place, "export", name)
    assert (export.code, export.out) == (0, backstay(place, "export", name).out)
    file = tmp_path / "order.jsonl"
    file.write_bytes(export.out)
    assert verified(place, "--file", str(file)).code == 0
    assert verified(place, "--all", "--file", str(file)).code == 0

    last = len(status["journal"]["entries"])
    rewrite(place, name, edited(status, 6))
    assert verified(place, name).findings == [("Edited", 7, "the status")]
    rewrite(place, name, without(status, 6))
    assert verified(place, name).findings == [("Missing", 7, "the status")]
    rewrite(place, name, without(status, -1))
    assert verified(place, name).findings == [("Truncated", last, "the status")]
    rewrite(place, name, {**status, "vars": {"paid": True}})
    answer = verified(place, "--all")
    assert (answer.code, [kind for kind, _, _ in answer.findings]) == (1, ["Status"])
    rewrite(place, name, status)
    assert verified(place, name, "--file", str(file)).code == 0


@pytest.mark.parametrize("line", [1, 5, -1])
def test_an_export_that_was_changed_is_found_without_the_cluster(place: Place, line: int, tmp_path: Path) -> None:
    place.apply({"apiVersion": "backstay.dev/v1alpha1", "kind": "WorkflowRun", "metadata": {"name": "one"}, "spec": SMALL})
    place.ended("one")
    lines = backstay(place, "export", "one").out.splitlines()
    entry = orjson.loads(lines[line])
    lines[line] = orjson.dumps({**entry, "time": "2026-01-01T00:00:00.000000Z"}, option=orjson.OPT_SORT_KEYS)
    file = tmp_path / "one.jsonl"
    file.write_bytes(b"\n".join(lines))
    answer = verified(place, "--file", str(file))
    assert answer.code == 1
    assert [(number, where) for _, number, where in answer.findings] == [(entry["sequence"], f"{file}, line {line % len(lines) + 1}")]


SMALL = {"workflow": {"inline": {"steps": [{"name": f"s{number}", "set": {"x": number}} for number in range(3)]}}}
