"""The world outside: a node whose pods do what their arguments say, an HTTP server that does what it is called for, and one book for both.

    python -m tests.chaos.world --kubeconfig FILE --book FILE

Every effect is a line of the book, written by this one process, so that lines stand in the order in which things happened. The book decides what
was done, how often and in which order; nothing in it comes from Backstay but who asked: the order, the word, the attempt.

    a pod of the node            its arguments are WORD ORDER [fails=N] [refuses]; it takes effect when it ends
    POST or DELETE /do/WORD/ORDER    a request takes effect when it comes; the answer comes later, whether anybody still waits for it or not

    what        when
    begun       a pod begins
    done        it has taken effect
    failed      a pod ended with 1 (the attempts up to the Nth do), or said that it refuses
    gone        a pod was deleted before it had ended
    repeated    a request came under a key that is done already, and nothing was done
"""

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp import web

from backstay import names
from backstay.errors import ApiError
from backstay.kube.client import Client
from backstay.kube.login import find_login
from tests.cluster.processes import end_child, tail
from tests.support.bound import spawn_bound
from tests.support.fake_kubelet import FakeKubelet
from tests.support.waiting import wait_for

Object = dict[str, Any]

LONGEST_SECONDS: Final = 0.4
"""A deed takes up to so long, by its word and order; an undoing as well."""
REFUSES: Final = "refuses"
_PAUSE_SECONDS: Final = 0.1
_READY: Final = "the world is at port "
_READY_LIMIT_SECONDS: Final = 30

log = logging.getLogger(__name__)


@contextmanager
def world(kubeconfig: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Have the world while the block lasts; gives its address, as `http://127.0.0.1:8000`, and its book."""
    log_file, book = folder / "world.log", folder / "book.jsonl"
    command = [sys.executable, "-m", "tests.chaos.world", "--kubeconfig", kubeconfig, "--book", book]
    process = spawn_bound(command, log_file, {"PYTHONPATH": str(Path(__file__).parents[2])})

    def port() -> str:
        assert process.poll() is None, f"the world ended with code {process.returncode}; it says\n{tail(log_file)}"
        said = log_file.read_text(errors="replace")
        return said.partition(_READY)[2].partition("\n")[0] if "is ready\n" in said and _READY in said else ""

    try:
        found = wait_for(port, _READY_LIMIT_SECONDS, what=lambda: f"the world is not ready; it says\n{tail(log_file)}")
        yield f"http://127.0.0.1:{found}", book
    finally:
        end_child(process)


# ----------------------------------------------------------------------------------------------------- the process


class Book:
    """The book: whole lines, each written at once."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, what: str, **about: object) -> None:
        """Write down that something happened now."""
        os.write(self._file, json.dumps({"at": time.time(), "what": what, **about}).encode() + b"\n")


def seconds_of(word: str, order: str) -> float:
    """Return how long a deed takes: any time, and the same whenever it is asked for."""
    return random.Random(f"{word} {order}").uniform(0, LONGEST_SECONDS)


def tells_of_its_start(word: str, order: str) -> bool:
    """Whether the API server hears that a pod runs before it has ended: of a quick pod it may hear only the end."""
    return random.Random(f"start of {word} {order}").random() < 0.5


async def _comes(event: asyncio.Event, within_seconds: float) -> bool:
    try:
        async with asyncio.timeout(within_seconds):
            return await event.wait()
    except TimeoutError:
        return False


class Worker(FakeKubelet):
    """The node: each pod does the deed that its arguments name, for a while, and the book tells of it."""

    def __init__(self, client: Client, book: Book) -> None:
        super().__init__(client, 0, "")
        self._book = book
        self._leaving: dict[str, asyncio.Event] = {}

    def _take(self, event: str, pod: Object, group: asyncio.TaskGroup) -> None:
        if event == "BOOKMARK":
            return
        uid = pod["metadata"]["uid"]
        leaving = self._leaving.setdefault(uid, asyncio.Event())
        if event == "DELETED" or "deletionTimestamp" in pod["metadata"]:
            leaving.set()
        if event == "DELETED":
            del self._leaving[uid]
        super()._take(event, pod, group)

    async def _carry(self, pod: Object) -> None:
        container, meta = pod["spec"]["containers"][0], pod["metadata"]
        leaving = self._leaving.setdefault(meta["uid"], asyncio.Event())
        word, order, *options = container["args"]
        attempt = int(meta["annotations"][names.ANNOTATION_ATTEMPT])
        about = {"by": "pod", "word": word, "order": order, "attempt": attempt, "unit": meta["uid"]}
        about["run"] = meta["annotations"][names.ANNOTATION_RUN_NAME]
        begun = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._book.write("begun", **about)
        if tells_of_its_start(word, order):
            await self._insist(pod, "Running", begun, {"running": {"startedAt": begun}})
        if await _comes(leaving, seconds_of(word, order)):
            self._book.write("gone", **about)
            return
        fails = attempt <= next((int(option.partition("=")[2]) for option in options if option.startswith("fails=")), 0)
        self._book.write("failed" if fails or REFUSES in options else "done", **about)
        message = json.dumps({"error": {"type": "Refused", "message": "as it was told to"}} if REFUSES in options else {"v": word})
        end = {"exitCode": int(fails), "reason": "Ended", "startedAt": begun, "finishedAt": begun, "message": message}
        await self._insist(pod, "Failed" if fails else "Succeeded", begun, {"terminated": end})

    async def _insist(self, pod: Object, phase: str, begun: str, state: Object) -> None:
        """Tell the API server how a pod ended, however often it takes: a kubelet does not give up."""
        while True:
            try:
                return await self._tell(pod, phase, begun, state)
            except ApiError as error:
                log.warning("%s: %s; telling it again", pod["metadata"]["name"], error)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _remove(self, meta: Object) -> None:
        while True:
            try:
                return await super()._remove(meta)
            except ApiError as error:
                log.warning("%s: %s; removing it again", meta["name"], error)
                await asyncio.sleep(_PAUSE_SECONDS)


class Desk:
    """The HTTP server: it does at once what it is asked for, once for each key, and takes its time to answer."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._done: set[str] = set()

    async def serve(self) -> None:
        """Serve until cancelled."""
        app = web.Application()
        app.router.add_route("*", "/do/{word}/{order}", self._asked)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        log.info("%s%d", _READY, runner.addresses[0][1])
        await asyncio.Event().wait()

    async def _asked(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        word, order = request.match_info["word"], request.match_info["order"]
        what = "repeated" if key in self._done else "done"
        self._done.add(key)
        run, attempt = request.headers[names.HEADER_RUN], int(request.headers[names.HEADER_ATTEMPT])
        self._book.write(what, by="call", word=word, order=order, attempt=attempt, unit=key, run=run)
        await asyncio.sleep(seconds_of(word, order))
        return web.json_response({"v": word})


async def _serve(asked: argparse.Namespace) -> None:
    login = find_login(str(asked.kubeconfig))
    book = Book(asked.book)
    async with Client(login(), login, user_agent="the-world") as client, asyncio.TaskGroup() as group:
        group.create_task(Worker(client, book).run())
        group.create_task(Desk(book).serve())


def main() -> None:
    """Run the command line until the process is killed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.world", description="A node and an HTTP server that write down what they do."
    )
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--book", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
