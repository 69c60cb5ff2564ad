"""The embedded server answers as the real one does, exchange by exchange."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.embedded.apiserver.conversation import ANSWERS, conversation, recorded_from_the_real_server, talk
from tests.embedded.apiserver.harness import running

NAMES = [exchange.name for exchange in conversation()]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the embedded server answers."""

    async def ask() -> dict[str, object]:
        async with running(tmp_path_factory.mktemp("conversation")) as api:
            return await talk(api.session, api.server.url)

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def recorded() -> dict[str, object]:
    """What the real server answered."""
    return dict(json.loads(ANSWERS.read_text()))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_answered_as_by_the_real_server(name: str, answers: dict[str, object], recorded: dict[str, object]) -> None:
    assert answers[name] == recorded[name]


def test_each_exchange_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.e2e
async def test_the_record_is_what_the_real_server_answers_today(tmp_path: Path, recorded: dict[str, object]) -> None:
    assert await recorded_from_the_real_server(tmp_path) == recorded
