"""Resource steps by themselves: the call that the engine makes of an action, and its execution against an API server."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from backstay.api.validate import parse_workflow
from backstay.engine.decide import decide
from backstay.engine.effects import effects_of
from backstay.engine.model import CallFact, CallState, Fault, Identity, Observations, StartCall, State
from backstay.engine.program import compile_program
from backstay.executors.calls import CallContext
from backstay.executors.resource import execute
from backstay.kube.client import Client
from backstay.kube.manifests import RunRef
from backstay.settings import Settings
from tests.support.world import START

UID = "uid-1"


def call_of(action: str | Mapping[str, Any], parameters: Mapping[str, Any] | None = None, *, name: str = "a", run: str = UID) -> StartCall:
    """Return the call that the engine makes of a resource step's action (YAML), of a run with these parameters."""
    step = {"name": name, "resource": yaml.safe_load(action) if isinstance(action, str) else action}
    declared = [{"name": key} for key in parameters or {}]
    program = compile_program(parse_workflow({"parameters": declared, "steps": [step]}))
    decision = decide(program, Identity(run, "order-7f2", "shop", parameters or {}), State(), Observations(), START)
    (call,) = effects_of(program, decision.state, Observations())
    assert isinstance(call, StartCall), decision.state.steps
    return call


@dataclass
class Steps:
    """Runs resource steps of one run in the namespace `shop`; `said` is what they waited for."""

    client: Client
    run: RunRef = field(default_factory=lambda: RunRef(UID, "order-7f2", "shop", workflow_name="order"))
    said: list[str | None] = field(default_factory=list)

    async def do(self, action: str | Mapping[str, Any], parameters: Mapping[str, Any] | None = None, *, name: str = "a") -> CallFact:
        """Execute a step to its end, within some seconds."""
        async with asyncio.timeout(15):
            return await execute(self.context, call_of(action, parameters, name=name, run=self.run.uid))

    async def done(self, action: str | Mapping[str, Any], parameters: Mapping[str, Any] | None = None, *, name: str = "a") -> Any:
        """Execute a step that succeeds; return its outputs."""
        fact = await self.do(action, parameters, name=name)
        assert fact.state is CallState.SUCCEEDED, fact.fault
        return fact.outputs

    async def refused(self, action: str | Mapping[str, Any], parameters: Mapping[str, Any] | None = None, *, name: str = "a") -> Fault:
        """Execute a step that fails; return its error."""
        fact = await self.do(action, parameters, name=name)
        assert fact.state is CallState.FAILED, fact.outputs
        assert fact.fault is not None
        return fact.fault

    def begin(self, action: str | Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> "asyncio.Task[CallFact]":
        """Begin a step that lasts."""
        return asyncio.get_running_loop().create_task(execute(self.context, call_of(action, parameters, run=self.run.uid)))

    @property
    def context(self) -> CallContext:
        return CallContext(self.client, self.run, Settings(), self.said.append)
