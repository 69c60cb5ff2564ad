"""Log lines say what they are about, for machines and for eyes."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from backstay.observe import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    for name in ("kopf.objects", "kopf.activities", "aiohttp.access", "asyncio", "urllib3", "kubernetes"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_has_time_level_logger_and_message() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("backstay.runtime").warning("late by %d s", 3)
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "logger": "backstay.runtime", "message": "late by 3 s"}


def test_a_line_tells_which_run_it_is_about_however_that_was_said() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    log = logging.getLogger("x")
    with logs.about("shop", "order-1"):
        log.info("a")
        log.info("b", extra={"namespace": "other", "run": "order-2"})
    log.info("c", extra={"k8s_ref": {"kind": "WorkflowRun", "name": "order-3", "namespace": "shop"}})
    log.info("d", extra={"k8s_ref": {"kind": "Workflow", "name": "order", "namespace": "shop"}})
    log.info("e")
    assert [(line.get("namespace"), line.get("run")) for line in lines(stream)] == [
        ("shop", "order-1"),
        ("other", "order-2"),
        ("shop", "order-3"),
        ("shop", None),
        (None, None),
    ]


async def test_passes_that_run_at_the_same_time_do_not_mix_their_runs() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)

    async def work(run: str) -> None:
        with logs.about("shop", run):
            await asyncio.sleep(0)
            logging.getLogger("x").info(run)

    await asyncio.gather(*[work(f"order-{number}") for number in range(5)])
    assert all(line["run"] == line["message"] for line in lines(stream))


def test_a_traceback_stays_in_its_line() -> None:
    for style in ("json", "text"):
        stream = io.StringIO()
        logs.configure(style=style, stream=stream)  # type: ignore[arg-type]
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            logging.getLogger("x").exception("it broke")
        first, *rest = stream.getvalue().splitlines()
        assert "it broke" in first
        assert all(line.startswith("    ") for line in rest), "what follows is indented, so that a line that begins anew is a new record"


def test_text_is_for_eyes() -> None:
    stream = io.StringIO()
    logs.configure(style="text", stream=stream)
    with logs.about("shop", "order-1"):
        logging.getLogger("backstay.runtime").info("started\nforged 00:00:00 ERROR line")
    first, second = stream.getvalue().splitlines()
    assert first[12:] == " INFO    backstay.runtime  [shop/order-1] started"
    assert second == "    forged 00:00:00 ERROR line"


def test_everyday_words_of_libraries_are_heard_at_debug_only() -> None:
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    logging.getLogger("kopf.objects").info("handler succeeded")
    logging.getLogger("kopf.objects").warning("handler failed")
    logs.configure("debug", stream=stream)
    logging.getLogger("kopf.objects").info("handler succeeded again")
    assert [line["message"] for line in lines(stream)] == ["handler failed", "handler succeeded again"]


def test_a_level_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="log level 'loud' is unknown; choose one of debug, info, warning, error"):
        logs.configure("loud")
