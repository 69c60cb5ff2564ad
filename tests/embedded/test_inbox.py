"""examples/inbox: every step runs twice on purpose, is killed after its effect and before its result, and its effect is there once."""

import copy
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api import Object
from tests.support.cluster import EXAMPLES, Cluster, Place, documents, step_of
from tests.support.embedded_cluster import embedded_cluster
from tests.support.postgres import Postgres, PostgresMissing, postgres_servers, psql_in
from tests.support.waiting import wait_for

pytestmark = pytest.mark.embedded

INBOX = EXAMPLES / "inbox"


@pytest.fixture(scope="module")
def bank() -> Iterator[Postgres]:
    try:
        with postgres_servers("bank") as (server,):
            server.sql("postgres", "CREATE DATABASE bank")
            server.sql("bank", (INBOX / "sql" / "schema.sql").read_text())
            yield server
    except PostgresMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def cluster(bank: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{psql_in(tmp_path_factory.mktemp('bin'))}{os.pathsep}{os.environ['PATH']}")
        with embedded_cluster(tmp_path_factory.mktemp("cluster")) as running:
            yield running


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Place:
    """A namespace with the example, as its README says."""
    made = cluster.place("inbox")
    made.kubectl("create", "configmap", "inbox-sql", f"--from-file={INBOX / 'sql'}")
    made.apply(INBOX / "workflow.yaml")
    return made


def transfer(bank: Postgres, name: str, wrapped: str = "") -> list[Object]:
    """The example's run between two accounts of its own; `wrapped` is a script that does each step's command, as "$@", in its own way."""
    bank.sql("bank", f"INSERT INTO accounts VALUES ('{name}-payer', 100), ('{name}-payee', 100)")
    ((run,), (workflow,)) = documents(INBOX / "run.yaml"), documents(INBOX / "workflow.yaml")
    workflow = copy.deepcopy(workflow)
    workflow["metadata"] = {"name": name}
    if wrapped:
        for step in workflow["spec"]["steps"]:
            step["job"]["command"] = ["sh", "-c", wrapped, "twice", *step["job"]["command"]]
    parameters = {"payer": f"{name}-payer", "payee": f"{name}-payee", "amount": 25, "host": str(bank.folder)}
    return [workflow, {**run, "metadata": {"name": name}, "spec": {"workflow": {"name": name}, "parameters": parameters}}]


def check(bank: Postgres, run: Object) -> None:
    """What was to be booked was booked, once."""
    name = run["metadata"]["name"]
    assert run["status"]["phase"] == "Succeeded", run["status"].get("error")
    assert bank.sql("bank", f"SELECT balance FROM accounts WHERE name LIKE '{name}-%' ORDER BY name") == ["125", "75"]
    assert step_of(run, "take")["outputs"] == {"account": f"{name}-payer", "booked": -25}
    assert step_of(run, "give")["outputs"] == {"account": f"{name}-payee", "booked": 25}
    assert bank.sql("bank", f"SELECT count(*) FROM outbox WHERE message->>'account' LIKE '{name}-%'") == ["2"]


WAYS = {
    "once": ("", 1),
    "twice in one attempt": ('"$@" && "$@"', 1),
    "twice at the same moment": ('"$@" & "$@" && wait $!', 1),
    "its first attempt fails after the effect": ('"$@" && test "$BACKSTAY_ATTEMPT" -ge 2', 2),
    "its first attempt is killed after the effect": ('"$@"; test "$BACKSTAY_ATTEMPT" -ge 2 || kill -9 $$', 2),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_step_that_runs_twice_has_its_effect_once(place: Place, bank: Postgres, way: str) -> None:
    script, attempts = WAYS[way]
    name = f"way-{list(WAYS).index(way)}"
    place.apply(*transfer(bank, name, script))
    run = place.ended(name)
    check(bank, run)
    assert [step_of(run, step)["attempt"] for step in ("take", "give")] == [attempts, attempts]


def test_the_operator_and_the_steps_process_are_killed_after_the_effect_and_before_its_result(place: Place, bank: Postgres) -> None:
    place.apply(*transfer(bank, "killed", '"$@" && test "$BACKSTAY_ATTEMPT" -ge 2 || sleep 600'))
    for step in ("take", "give"):
        place.reached("killed", step)
        done = "1" if step == "take" else "2"
        wait_for(lambda: bank.sql("bank", "SELECT count(*) FROM inbox WHERE answer->>'account' LIKE 'killed-%'") == [done])  # noqa: B023
        place.cluster.operator.kill9()
        end_sleepers()
        place.cluster.operator.start()
    run = place.ended("killed")
    check(bank, run)
    assert [step_of(run, step)["attempt"] for step in ("take", "give")] == [2, 2]


def end_sleepers() -> None:
    """Kill what a step does after its effect."""
    for folder in Path("/proc").iterdir():
        try:
            if (
                folder.name.isdigit()
                and (folder / "cmdline").read_bytes() == b"sleep\x00600\x00"
                and b"BACKSTAY_STEP=" in (folder / "environ").read_bytes()
            ):
                os.kill(int(folder.name), signal.SIGKILL)
        except (OSError, ProcessLookupError):
            continue


def test_the_recipe_is_as_short_as_it_says() -> None:
    lines = (INBOX / "sql" / "book.sql").read_text().splitlines()
    assert len(lines) <= 20
