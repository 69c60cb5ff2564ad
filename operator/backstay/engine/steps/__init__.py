"""The kinds of steps, one a file; each opens with its transition table. Adding one: its file, its model and field in `api/steps.py`, its row here."""

from typing import Final

from backstay.engine.node import Kind
from backstay.engine.steps.block import Block
from backstay.engine.steps.dag import DagStep
from backstay.engine.steps.end import End
from backstay.engine.steps.fail import Fail
from backstay.engine.steps.job import Job
from backstay.engine.steps.parallel import ParallelStep
from backstay.engine.steps.set import Set
from backstay.engine.steps.switch import SwitchStep
from backstay.engine.steps.wait import Wait

KINDS: Final[dict[str, Kind]] = {
    "job": Job(),
    "set": Set(),
    "wait": Wait(),
    "steps": Block(),
    "dag": DagStep(),
    "parallel": ParallelStep(),
    "switch": SwitchStep(),
    "fail": Fail(),
    "end": End(),
}
"""By the name of the action's field in `api.steps.Step`."""
