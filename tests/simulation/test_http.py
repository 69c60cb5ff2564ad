"""Kill the operator at every call to the API server while a saga goes on over HTTP: whoever is called sees the same keys, a key twice at most,
and what each key did is done once and, where it is undone, undone once. The operator is the real one, and so is the other side."""

from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from backstay.engine import journal
from backstay.names import idempotency_key
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, survive
from tests.unit.executors.http.site import Site


def saga(url: str) -> dict[str, Any]:
    def book(name: str) -> dict[str, Any]:
        return {
            "name": name,
            "http": {"method": "POST", "url": f"${{ params.url }}/{name}", "output": {"id": "${ response.body.id }"}},
            "compensate": {"http": {"method": "DELETE", "url": f"${{ params.url }}/{name}/${{ self.outputs.id }}"}},
        }

    full = {"method": "POST", "url": "${ params.url }/full", "errors": [{"when": "${ response.status == 409 }", "error": "Full"}]}
    parameters = [{"name": "url", "default": url}]
    return {"parameters": parameters, "steps": [book("hotel"), book("flight"), {"name": "car", "http": full, "retry": {"maxAttempts": 3}}]}


class Agency:
    """Books what it is asked for once a key, and takes it back."""

    def __init__(self) -> None:
        self.booked: dict[str, str] = {}
        self.taken_back: list[str] = []
        self.asked: list[tuple[str, str]] = []

    async def book(self, request: web.Request) -> web.StreamResponse:
        key = request.headers["Idempotency-Key"]
        self.asked.append((f"{request.method} {request.path.split('/')[1]}", key))
        if request.path == "/full":
            return web.Response(status=409)
        if request.method == "DELETE":
            number = request.path.split("/")[2]
            if number not in self.taken_back:
                self.taken_back.append(number)
            return web.Response(status=204)
        return web.json_response({"id": self.booked.setdefault(key, f"{request.path.strip('/')}-{len(self.booked) + 1}")})


async def run_to_the_end(fault: str | None, at: int) -> tuple[FakeApi, Agency]:
    api, agency = FakeApi(lambda job: (0, "")), Agency()
    api.fault = lambda number, verb, plural: fault if number == at else None
    async with Site() as site:
        site.routes = dict.fromkeys(("/hotel", "/flight", "/full", "/hotel/hotel-1", "/flight/flight-2"), agency.book)
        api.apply_run({"workflow": {"inline": saga(site.url)}})
        await survive(api, lambda: ended(api), http_allowed_hosts=("127.0.0.1:*",))
    return api, agency


async def test_a_saga_over_http_is_undone_in_reverse() -> None:
    api, agency = await run_to_the_end(None, 0)
    assert [what for what, _ in agency.asked] == ["POST hotel", "POST flight", "POST full", "DELETE flight", "DELETE hotel"]
    assert api.run()["status"]["error"]["type"] == "Full"  # type: ignore[index]
    assert agency.taken_back == ["flight-2", "hotel-1"]


@pytest.mark.parametrize("fault", ["hang", "hang-after", "conflict", "unavailable", "lost", "busy"])
async def test_a_fault_at_any_write_does_nothing_twice(fault: str) -> None:
    right, _ = await run_to_the_end(None, 0)
    writes = sum(1 for _, plural in right.writes if plural != "events")
    for at in range(writes + 1):
        api, agency = await run_to_the_end(fault, at)
        where = f"{fault} at write {at}: {agency.asked}"
        uid = api.run()["metadata"]["uid"]  # type: ignore[index]
        paths = ("hotel", "flight", "car", "flight:compensate", "hotel:compensate")
        keys = {idempotency_key(uid, path): path for path in paths}
        asked = Counter(keys[key] for _, key in agency.asked)
        assert set(asked) == set(paths), where
        assert max(asked.values()) <= 2, where
        assert sorted(agency.booked.values()) == ["flight-2", "hotel-1"], where
        assert agency.taken_back == ["flight-2", "hotel-1"], where
        status = api.run()["status"]  # type: ignore[index]
        assert (status["phase"], status["error"]["type"]) == ("Failed", "Full"), where
        journal.verify(status)
