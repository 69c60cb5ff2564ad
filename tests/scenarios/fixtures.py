"""What the scenarios start from. The fixture `cluster` is what differs: tests/embedded and tests/e2e define it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from backstay.names import idempotency_key
from tests.support.api import Object
from tests.support.cluster import EXAMPLES, Cluster, Place, documents
from tests.support.shop import Books, Shop
from tests.support.waiting import wait_for

ORDER = EXAMPLES / "order"


@pytest.fixture
def place(cluster: Cluster, request: pytest.FixtureRequest) -> Place:
    """A namespace of its own, and an operator that runs."""
    if not cluster.operator.is_running:
        cluster.operator.start()
    return cluster.place(request.node.name.removeprefix("test_"))


@dataclass(frozen=True)
class Market:
    """A namespace with the order workflow of examples/order, and the shop that its steps work on."""

    place: Place
    shop: Shop
    before: Books

    @classmethod
    def opened(cls, place: Place, folder: Path) -> "Market":
        """Do what the example's README says: make a shop, tell the workflow where it is, apply the workflow."""
        shop = Shop.opened(folder / "shop.db")
        address = place.cluster.shop_address(shop.database)
        where = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": {"database": address}}
        place.apply(where, ORDER / "workflow.yaml")
        return cls(place, shop, shop.books())

    def start(self, example: str, name: str = "") -> str:
        """Apply one of the example's runs, perhaps under another name (and order number); return its name."""
        (run,) = documents(ORDER / "runs" / f"{example}.yaml")
        if name:
            run["metadata"]["name"] = run["spec"]["parameters"]["orderId"] = name
        self.place.apply(run)
        return str(run["metadata"]["name"])

    def at_work(self, name: str, *steps: str) -> None:
        """Wait until the Jobs of a run's steps are made: a step is Running before, and one that is cut off then was surely not done."""
        wait_for(
            lambda: set(steps) <= {job["metadata"]["annotations"]["backstay.dev/path"] for job in self.place.jobs(name)},
            what=f"not all of {steps} have a Job",
        )

    def assert_each_job_ran_once(self) -> None:
        """Hold the shop's own record of who asked for what against the Jobs: as many requests under a key as there were attempts."""
        jobs: Counter[str] = Counter()
        for job in self.place.jobs():
            labels, notes = job["metadata"]["labels"], job["metadata"]["annotations"]
            jobs[idempotency_key(labels["backstay.dev/run"], notes["backstay.dev/path"])] += 1
        assert self.shop.asked() == jobs


@pytest.fixture
def market(place: Place, tmp_path: Path) -> Market:
    return Market.opened(place, tmp_path)


def succeeded(run: Object) -> list[str]:
    """Return the paths of the jobs that did their work going forward, in the order in which they were done."""
    paths = [entry["path"] for entry in run["status"]["journal"]["entries"] if entry["kind"] == "StepSucceeded"]
    return [path for path in paths if ":" not in path and _kind(run, path) == "job"]


def undone(run: Object) -> list[str]:
    """Return the paths of the steps that were undone, in that order. One whose outcome was not known keeps its phase: its entry is one of the run."""
    entries = [entry for entry in run["status"]["journal"]["entries"] if entry["kind"] == "StepCompensated"]
    return [str(entry.get("path") or entry["reason"].partition(": undone")[0]) for entry in entries]


def journal_kinds(run: Object) -> list[str]:
    """Return what happened, in order, in single words."""
    return [entry["kind"] for entry in run["status"]["journal"]["entries"]]


def _kind(run: Object, path: str) -> str:
    return next(step["kind"] for step in run["status"]["steps"] if step["path"] == path)
