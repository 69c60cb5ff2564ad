"""The embedded server answers as the real one does, exchange by exchange, but for what differs on purpose."""

import asyncio
from pathlib import Path

import pytest

from tests.cluster.build import release
from tests.embedded.apiserver.exchanges.differences import ON_PURPOSE, compared
from tests.embedded.apiserver.exchanges.exchange import Exchange
from tests.embedded.apiserver.exchanges.record import (
    Answers,
    answers_of,
    answers_of_the_real_server,
    recorded,
    server_of,
)
from tests.embedded.apiserver.exchanges.topics import conversation
from tests.embedded.apiserver.harness import running

TOPICS = conversation()
EXCHANGES = {exchange.name: exchange for topic in TOPICS.values() for exchange in topic}
DOCUMENT = Path(__file__).parents[3] / "docs" / "embedded.md"


async def answers_of_the_embedded_server(folder: Path) -> Answers:
    """Return what an embedded server, started in `folder`, answers."""
    async with running(folder) as api:
        return await answers_of(server_of(api.server.kubeconfig, api.server.url, api.server.token))


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What the embedded server answers."""
    return asyncio.run(answers_of_the_embedded_server(tmp_path_factory.mktemp("conversation")))


@pytest.fixture(scope="module")
def record() -> Answers:
    """What the real server answered."""
    return recorded()


def assert_alike(exchange: Exchange, embedded: Answers, real: Answers) -> None:
    """Hold an answer of the embedded server against what is recorded of the real one."""
    if exchange.here is None:
        assert compared(exchange, embedded[exchange.name]) == real[exchange.name]
    else:
        assert embedded[exchange.name]["status"] == exchange.here != real[exchange.name]["status"]


@pytest.mark.parametrize("name", EXCHANGES)
def test_it_is_answered_as_by_the_real_server(name: str, answers: Answers, record: Answers) -> None:
    assert_alike(EXCHANGES[name], answers, record)


def test_each_exchange_has_a_name_of_its_own_and_its_answer_is_on_record(record: Answers) -> None:
    names = [exchange.name for topic in TOPICS.values() for exchange in topic]
    assert sorted(names) == sorted(record)
    assert len(names) >= 700


def test_what_differs_has_a_reason_in_the_list() -> None:
    known = {difference.key for difference in ON_PURPOSE}
    assert {exchange.because for exchange in EXCHANGES.values()} - {""} <= known
    assert [exchange.name for exchange in EXCHANGES.values() if (exchange.only or exchange.here) and not exchange.because] == []


def test_the_documents_list_of_differences_is_the_one_in_the_code() -> None:
    rows = [f"| {difference.real} | {difference.embedded} | {difference.reason} |" for difference in ON_PURPOSE]
    _, _, table = DOCUMENT.read_text().partition("| the real one | the embedded one | why |\n|---|---|---|\n")
    assert table.partition("\n\n")[0].splitlines() == rows


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.skipif(release() != "newest", reason="the embedded server is built to the newest Kubernetes, and the record is of it")
def test_both_servers_answer_alike_today_and_the_record_is_true(tmp_path: Path, record: Answers) -> None:
    """The same conversation with both in one run: the record is what the real one says, and every difference in the list is really one."""
    real = answers_of_the_real_server(tmp_path / "real")
    embedded = asyncio.run(answers_of_the_embedded_server(tmp_path / "embedded"))
    stale = [name for name, exchange in EXCHANGES.items() if compared(exchange, real[name]) != record[name]]
    assert {name: compared(EXCHANGES[name], real[name]) for name in stale} == {name: record[name] for name in stale}
    for exchange in EXCHANGES.values():
        assert_alike(exchange, embedded, record)
    differing = [exchange for exchange in EXCHANGES.values() if real[exchange.name] != embedded[exchange.name]]
    needless = {difference.key for difference in ON_PURPOSE} - {key for exchange in differing for key in reasons(exchange, real, embedded)}
    assert needless == set()


def reasons(exchange: Exchange, real: Answers, embedded: Answers) -> set[str]:
    """Return the differences that show in an exchange: the one that it names, and those whose blotting changes one of its answers."""
    found = {exchange.because} - {""}
    for difference in ON_PURPOSE:
        one, other = real[exchange.name], embedded[exchange.name]
        if difference.forget and (difference.forget(exchange, one) != one or difference.forget(exchange, other) != other):
            found.add(difference.key)
    return found
