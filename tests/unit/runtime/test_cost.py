"""What a run costs the operator, counted in calls of its own functions: the same, however many other runs go on."""

import sys
from pathlib import Path
from types import FrameType

import backstay
from backstay.runtime.operator import Operator
from tests.support.fake_api import FakeApi
from tests.support.operating import ended, eventually, operating

FOLDER = str(Path(backstay.__file__).parent)
FEW, MANY = 5, 150
WAITING = {"workflow": {"inline": {"steps": [{"name": "w", "wait": {"duration": "1h"}}]}}}
WORK = {"workflow": {"inline": {"steps": [{"name": f"s{number}", "job": {"image": "ok"}} for number in range(3)]}}}


class Calls:
    """Counts calls of functions of the package while the block lasts."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Calls":
        sys.setprofile(self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _heard(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(FOLDER):
            self.count += 1


def rests(operator: Operator) -> bool:
    return not len(operator.queue) and not operator.queue.busy()


async def calls_of_a_run_beside(others: int) -> int:
    api = FakeApi(lambda job: (0, "{}"))
    for number in range(others):
        api.apply_run(WAITING, f"other-{number}")
    async with operating(api) as operator:
        await eventually(lambda: all((api.run(f"other-{number}") or {}).get("status") for number in range(others)) and rests(operator))
        with Calls() as calls:
            api.apply_run(WORK)
            await eventually(lambda: ended(api) and rests(operator))
        assert len(operator.store) == others
    return calls.count


async def test_a_run_costs_the_same_whether_few_other_runs_go_on_or_many() -> None:
    alone, few, many = [await calls_of_a_run_beside(others) for others in (0, FEW, MANY)]
    assert alone > 500, "nothing was counted"
    assert many < 1.2 * max(alone, few)
