"""A fresh embedded API server for each test, with Widgets defined."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.embedded.apiserver.harness import Api, running
from tests.embedded.apiserver.widgets import CRDS_PATH, definition


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A client of a running server."""
    async with running(tmp_path / "data") as api:
        await api.create(CRDS_PATH, definition())
        yield api
