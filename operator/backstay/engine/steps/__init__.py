"""The kinds of steps, one a file; each opens with its transition table. Adding one: its file, its model and field in `api/steps.py`, its row here."""

from typing import Final

from backstay.engine.node import Kind
from backstay.engine.steps.block import Block
from backstay.engine.steps.cancel import Cancel
from backstay.engine.steps.dag import DagStep
from backstay.engine.steps.end import End
from backstay.engine.steps.escalate import Escalate
from backstay.engine.steps.fail import Fail
from backstay.engine.steps.for_each import ForEachStep
from backstay.engine.steps.goto import Goto
from backstay.engine.steps.http import Http
from backstay.engine.steps.job import Job
from backstay.engine.steps.loop import Loop
from backstay.engine.steps.parallel import ParallelStep
from backstay.engine.steps.race import Race
from backstay.engine.steps.resource import ResourceStep
from backstay.engine.steps.set import Set
from backstay.engine.steps.switch import SwitchStep
from backstay.engine.steps.template import TemplateStep
from backstay.engine.steps.transaction import TransactionStep
from backstay.engine.steps.undo import Undo
from backstay.engine.steps.wait import Wait
from backstay.engine.steps.workflow import ChildRun

KINDS: Final[dict[str, Kind]] = {
    "job": Job(),
    "http": Http(),
    "resource": ResourceStep(),
    "set": Set(),
    "wait": Wait(),
    "steps": Block(),
    "dag": DagStep(),
    "parallel": ParallelStep(),
    "switch": SwitchStep(),
    "race": Race(),
    "goto": Goto(),
    "cancel": Cancel(),
    "undo": Undo(),
    "forEach": ForEachStep(),
    "while": Loop(),
    "workflow": ChildRun(),
    "template": TemplateStep(),
    "transaction": TransactionStep(),
    "fail": Fail(),
    "escalate": Escalate(),
    "end": End(),
}
"""By the name of the action's field in `api.steps.Step`, as users write it."""
