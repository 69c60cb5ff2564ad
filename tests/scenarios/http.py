"""http steps as a user sees them: examples/http against its bank, and what an installation does not let a workflow do."""

import json
import re
import socket
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.names import idempotency_key
from tests.cluster.processes import end_child
from tests.scenarios.examples import promised
from tests.scenarios.fixtures import undone
from tests.scenarios.manifests import run_of, step
from tests.support.api import Object
from tests.support.bound import spawn_bound
from tests.support.cluster import EXAMPLES, Cluster, Place, documents, step_of
from tests.support.waiting import wait_for

HTTP = EXAMPLES / "http"
PAYMENTS = sorted((HTTP / "runs").glob("*.yaml"))
TOKEN = "open-sesame-4711"


@dataclass(frozen=True)
class Bank:
    """The bank of the example, as a process of its own."""

    url: str

    @property
    def books(self) -> Any:
        with urllib.request.urlopen(f"{self.url}/books", timeout=10) as answer:
            return json.load(answer)

    def approve(self) -> None:
        urllib.request.urlopen(f"{self.url}/approve", data=b"{}", timeout=10).close()

    def asked(self, run: Object, path: str) -> list[Any]:
        """Return the requests that a step of a run has made, by their key."""
        key = idempotency_key(run["metadata"]["uid"], path)
        return [item for item in self.books["asked"] if item["key"] == key]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    log = tmp_path_factory.mktemp("bank") / "bank.log"
    process = spawn_bound([sys.executable, HTTP / "bank.py", "--port", "0", "--token", TOKEN], log)
    try:
        url = wait_for(lambda: "".join(re.findall(r"^open at (\S+)$", log.read_text(), re.MULTILINE)), what="the bank does not open")
        yield Bank(url)
    finally:
        end_child(process)


@pytest.fixture
def counter(place: Place) -> Place:
    """A namespace in which payments can be made, as the example's README says."""
    place.kubectl("create", "secret", "generic", "bank", f"--from-literal=token={TOKEN}")
    place.apply(HTTP / "payer.yaml", HTTP / "payment.yaml")
    return place


def payment(example: Path, bank: Bank, name: str = "", **parameters: Any) -> Object:
    """Return one of the example's runs, for this bank."""
    (run,) = documents(example)
    run["metadata"]["name"] = name or run["metadata"]["name"]
    run["spec"]["parameters"] |= {"bank": bank.url, **parameters}
    return run


def test_payments_end_as_they_say_and_the_books_are_right(counter: Place, bank: Bank, cluster: Cluster) -> None:
    before = {charge["id"] for charge in bank.books["charges"]}
    counter.apply(*(payment(example, bank) for example in PAYMENTS))
    runs = {example.stem: counter.ended(example.stem) for example in PAYMENTS}
    for example in PAYMENTS:
        status, expected = runs[example.stem]["status"], promised(example)
        assert (status["phase"], status.get("error", {}).get("type")) == (expected.phase, expected.error), status.get("error")
        assert expected.outputs is None or status["outputs"] == expected.outputs
    assert sorted(charge["amount"] for charge in bank.books["charges"] if charge["id"] not in before) == [12.5, 13]
    assert runs["declined"]["status"]["error"]["detail"] == "card 4111-0002 has no money left"
    assert undone(runs["out-of-stock"]) == ["charge"]
    first, second = bank.asked(runs["busy"], "charge")
    assert (first["attempt"], second["attempt"], second["at"] - first["at"] >= 1) == ("1", "2", True)
    told = str([runs, *(counter.events(name) for name in runs), cluster.operator.log.read_text()])
    assert TOKEN not in told


def test_a_call_whose_operator_was_killed_is_made_again_under_the_same_key_and_counts_once(counter: Place, bank: Bank) -> None:
    name = "large"
    counter.apply(payment(HTTP / "runs" / "good.yaml", bank, name, amount=20_000))
    run = counter.reached(name, "charge")
    wait_for(lambda: len(bank.asked(run, "charge")) == 1, what="the bank was not asked")
    counter.cluster.operator.kill9()
    counter.cluster.operator.start()
    wait_for(lambda: len(bank.asked(run, "charge")) == 2, what="the bank was not asked again")
    bank.approve()
    assert counter.ended(name)["status"]["phase"] == "Succeeded"
    assert [item["attempt"] for item in bank.asked(run, "charge")] == ["1", "1"]
    assert [charge["amount"] for charge in bank.books["charges"]].count(20_000) == 1


def test_a_host_that_is_not_named_is_not_called_and_the_error_says_what_to_ask_for(counter: Place, bank: Bank) -> None:
    hosts = {
        "metadata": "http://169.254.169.254/latest/meta-data/",
        "elsewhere": "https://api.example.com/",
        "spelled": bank.url.replace("127.0.0.1", "2130706433"),
        "api": f"{_api_server(counter.cluster)}/version",
    }
    ask = step("a", http={"url": "${ params.url }"})
    counter.apply(*(run_of(name, ask, declared=[{"name": "url"}], parameters={"url": url}) for name, url in hosts.items()))
    errors = {name: counter.ended(name)["status"]["error"] for name in hosts}
    assert {name: error["type"] for name, error in errors.items()} == {
        "metadata": "HostForbidden",
        "elsewhere": "HostForbidden",
        "spelled": "InvalidRequest",
        "api": "HostForbidden",
    }
    assert 'have "api.example.com" added to http.allowedHosts' in errors["elsewhere"]["detail"]


def _api_server(cluster: Cluster) -> str:
    return str(yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"])


def test_a_call_that_is_cancelled_while_the_other_side_is_silent_ends_at_once(counter: Place) -> None:
    thinking = step("a", http={"method": "POST", "url": "${ params.url }", "body": {"card": "1", "amount": 1}})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        counter.apply(run_of("slow", thinking, declared=[{"name": "url"}], parameters={"url": url}))
        counter.reached("slow", "a")
        counter.kubectl("patch", "wfrun", "slow", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "changed her mind"}}}')
        run = counter.ended("slow")
    assert (run["status"]["phase"], step_of(run, "a")["phase"]) == ("Cancelled", "Cancelled")
