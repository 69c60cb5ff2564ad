"""examples/transfer: money goes from one PostgreSQL to another, and none is lost or made, whoever is killed, and whenever.

What is killed is the operator, a participant's psql, and either database's postmaster, with SIGKILL, at moments that a seed says. The seed of
a run that fails is in the name of the test: `BACKSTAY_TRANSFER_SEED=…` tries it again, or another.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backstay.names import transaction_id
from tests.support.api import Object
from tests.support.cluster import EXAMPLES, Cluster, Place, condition, documents
from tests.support.embedded_cluster import embedded_cluster
from tests.support.postgres import Postgres, PostgresMissing, postgres_servers, psql_in
from tests.support.waiting import wait_for

pytestmark = pytest.mark.embedded

TRANSFER = EXAMPLES / "transfer"
SEED = int(os.environ.get("BACKSTAY_TRANSFER_SEED", "7"))
ACCOUNTS = [f"a{number}" for number in range(6)]
BALANCE = 1000
TRANSFERS = 20
AT_ONCE = 4
KILLS = 14
LIMIT_SECONDS = 90
SLOW = 777
SLOWLY = f"""
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(CASE WHEN NEW.amount = {SLOW} THEN 1 ELSE random() * 0.1 END); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON transfers DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.account IS NOT NULL)
  EXECUTE FUNCTION slowly();
"""
"""PREPARE TRANSACTION takes its time: whoever is killed meanwhile has prepared a moment later, and nobody has heard of it."""


@pytest.fixture(scope="module")
def banks() -> Iterator[list[Postgres]]:
    """Two banks, each with a server and books of its own."""
    try:
        with postgres_servers("payer", "payee") as servers:
            for server in servers:
                server.sql("postgres", "CREATE DATABASE bank")
                server.sql("bank", (TRANSFER / "sql" / "schema.sql").read_text() + SLOWLY)
                server.sql("bank", "".join(f"INSERT INTO accounts VALUES ('{name}', {BALANCE});" for name in ACCOUNTS))
            yield servers
    except PostgresMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def cluster(banks: list[Postgres], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{psql_in(tmp_path_factory.mktemp('bin'))}{os.pathsep}{os.environ['PATH']}")
        with embedded_cluster(tmp_path_factory.mktemp("cluster")) as running:
            yield running


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Place:
    """A namespace with the example, as its README says."""
    made = cluster.place("transfer")
    made.kubectl("create", "configmap", "transfer-sql", f"--from-file={TRANSFER / 'sql'}")
    made.apply(TRANSFER / "workflow.yaml", once())
    return made


def once() -> Object:
    """The same workflow without another attempt at phase one: whoever is killed there ends it."""
    (workflow,) = documents(TRANSFER / "workflow.yaml")
    workflow["metadata"]["name"] = "once"
    for participant in workflow["spec"]["steps"][0]["transaction"]["participants"]:
        del participant["prepare"]["retry"]
    return workflow


def transfer(banks: list[Postgres], name: str, payer: str, payee: str, amount: int, workflow: str = "transfer") -> Object:
    (run,) = documents(TRANSFER / "run.yaml")
    run["spec"]["workflow"]["name"] = workflow
    parameters = {"payer": payer, "payee": payee, "amount": amount}
    parameters |= {"payerHost": str(banks[0].folder), "payeeHost": str(banks[1].folder)}
    return {**run, "metadata": {"name": name}, "spec": {**run["spec"], "parameters": parameters}}


def moved(bank: Postgres, run: Object) -> list[str]:
    """What a bank's books say of a run: account and amount; empty where it took no part, or was aborted."""
    name = transaction_id(run["metadata"]["uid"], "transfer")
    return bank.sql("bank", f"SELECT account, amount FROM transfers WHERE transaction = '{name}' AND account IS NOT NULL")


def money(banks: list[Postgres]) -> int:
    return sum(int(bank.sql("bank", "SELECT sum(balance) FROM accounts")[0]) for bank in banks)


def test_a_transfer_moves_money_and_one_that_is_not_covered_moves_none(place: Place, banks: list[Postgres]) -> None:
    before = money(banks)
    place.apply(transfer(banks, "good", "a0", "a1", 25), transfer(banks, "too-much", "a2", "a3", BALANCE + 1))
    good, bad = place.ended("good"), place.ended("too-much")
    assert (good["status"]["phase"], moved(banks[0], good), moved(banks[1], good)) == ("Succeeded", ["a0|-25"], ["a1|25"])
    assert (bad["status"]["phase"], bad["status"]["error"]["type"]) == ("Failed", "OutOfMoney")
    assert (moved(banks[0], bad), moved(banks[1], bad), money(banks)) == ([], [], before)


def test_what_a_participant_prepares_after_it_was_killed_is_rolled_back(place: Place, banks: list[Postgres]) -> None:
    before = money(banks)
    place.apply(transfer(banks, "cut-off", "a0", "a1", SLOW, "once"))
    preparing = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'PREPARE TRANSACTION%'"
    wait_for(lambda: banks[1].sql("bank", preparing), what="the payee does not prepare")
    for process in phases_that_run(banks[1].folder):
        os.kill(process, signal.SIGKILL)
    run = place.ended("cut-off")
    assert (run["status"]["phase"], run["status"]["error"]["type"]) == ("Failed", "ExitCode")
    assert (moved(banks[0], run), moved(banks[1], run), money(banks)) == ([], [], before)
    for bank in banks:
        assert wait_for(lambda bank=bank: not bank.sql("bank", preparing)), "it is still preparing"
        assert bank.sql("bank", "SELECT gid FROM pg_prepared_xacts") == [], "what was prepared too late stays"


# ----------------------------------------------------------------------------------------------------------------- killing


class Killer:
    """Kills this or that, as its seed says, and has the next operator or database started at once."""

    def __init__(self, cluster: Cluster, banks: list[Postgres], chance: random.Random) -> None:
        self._cluster, self._banks, self._chance = cluster, banks, chance
        self.killed: dict[str, int] = {"operator": 0, "participant": 0, "database": 0}

    def strike(self) -> None:
        what = self._chance.choice(["operator", "participant", "participant", "participant", "database", "database"])
        {"operator": self._operator, "participant": self._participant, "database": self._database}[what](what)

    def _operator(self, what: str) -> None:
        self._cluster.operator.kill9()
        self.killed[what] += 1
        self._cluster.operator.start(ready=False)

    def _database(self, what: str) -> None:
        bank = self._chance.choice(self._banks)
        bank.kill9()
        self.killed[what] += 1
        time.sleep(self._chance.random() * 0.2)  # while it is down, phases fail
        bank.start()

    def _participant(self, what: str) -> None:
        deadline = time.monotonic() + 1
        while not (found := phases_that_run(self._banks[0].folder.parent)) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(self._chance.random() * 0.1)  # how far it gets
        for process in found[:1]:
            try:
                os.kill(process, signal.SIGKILL)
                self.killed[what] += 1
            except ProcessLookupError:
                continue


def phases_that_run(banks: Path) -> list[int]:
    """The processes that are a phase of a transfer just now, at a bank in this folder: those of no other test."""
    marks = (b"BACKSTAY_TRANSACTION=", f"PGHOST={banks}".encode())
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "comm").read_text() == "psql\n":
                environment = (folder / "environ").read_bytes()
                found += [int(folder.name)] if all(mark in environment for mark in marks) else []
        except (OSError, ProcessLookupError):
            continue
    return found


def in_turns(place: Place, runs: list[Object], meanwhile: Callable[[], None]) -> list[Object]:
    """Run transfers, a few at a time, with `meanwhile` in between; return them as they ended."""
    waiting, going, over = list(runs), [], []
    deadline = time.monotonic() + LIMIT_SECONDS
    while waiting or going:
        assert time.monotonic() < deadline, f"{len(going)} transfers do not end: {[place.run(name)['status'] for name in going]}"
        while waiting and len(going) < AT_ONCE:
            run = waiting.pop(0)
            place.create(run)
            going.append(run["metadata"]["name"])
        meanwhile()
        for name in list(going):
            found = place.run(name)
            if condition(found, "Complete") == "True":
                going.remove(name)
                over.append(found)
    return over


@pytest.mark.timeout(LIMIT_SECONDS + 60)
@pytest.mark.parametrize("seed", [SEED])
def test_no_money_is_lost_or_made_whoever_is_killed_at_whatever_moment(place: Place, banks: list[Postgres], seed: int) -> None:
    chance = random.Random(seed)
    killer = Killer(place.cluster, banks, chance)
    before = money(banks)

    def meanwhile() -> None:
        if sum(killer.killed.values()) < KILLS:
            time.sleep(chance.random() * 0.3)  # between one blow and the next
            killer.strike()

    runs = [
        transfer(banks, f"t{number}", *chance.sample(ACCOUNTS, 2), chance.randint(1, BALANCE // 4), ("transfer", "once")[number % 2])
        for number in range(TRANSFERS)
    ]
    ended = in_turns(place, runs, meanwhile)
    assert money(banks) == before, "money was lost or made"
    for bank in banks:
        assert bank.sql("bank", "SELECT gid FROM pg_prepared_xacts") == [], "something is still prepared"
    for run in ended:
        inputs = run["spec"]["parameters"]
        committed = run["status"]["phase"] == "Succeeded"
        expected = ([f"{inputs['payer']}|{-inputs['amount']}"], [f"{inputs['payee']}|{inputs['amount']}"]) if committed else ([], [])
        assert (moved(banks[0], run), moved(banks[1], run)) == expected, f"{run['metadata']['name']} ended {run['status']['phase']}"
        decision = next(step["decision"] for step in run["status"]["steps"] if step["path"] == "transfer")
        assert decision == ("Commit" if committed else "Abort")
    assert all(killer.killed.values()), f"nobody of a kind was killed: {killer.killed}"
    assert any(run["status"]["phase"] == "Succeeded" for run in ended)
    wait_for(lambda: not phases_that_run(banks[0].folder.parent), what="a phase still runs")
