"""resource: make, change, delete, read or wait for an object of Kubernetes, as the run's service account.

    state     on        becomes    then
    (new)     start     Running    the resolved act stands in the status; it is done once that is written
    Running   waits     Running    for a condition, for an object to be gone, for a quota, for an API server that is down: its message says for what
    Running   done      Succeeded  with its outputs
    Running   refused   Failed     Forbidden, NotFound, InvalidResource …; or a catch
    Running   busy      Retrying   a conflict, or the API server failed, where the retry policy says so; not before Retry-After
    Retrying  due       Running    the next attempt, which is the same deed: an object that an attempt before has made is found again
    Running   timeout   Stopping   attemptTimeout or timeout is over: it is not waited for any more, then it failed
    Running   stop      Stopping   it is not waited for any more
    Stopping  gone      Cancelled  nobody works at it any more
    Stopping  done      Succeeded  it was done before it could be stopped; what was done counts, and can be undone

What is to be done is resolved when the attempt begins. Conditions and outputs speak of an object that is not known then: they go along as they
are written, with the values of all else that they refer to, and the executor evaluates them.

Example:
    - name: settings
      resource: {apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: "cart-${params.orderId}"}, data: {state: open}}}
    - name: ready
      resource: {wait: {apiVersion: apps/v1, kind: Deployment, name: web, condition: "${ object.status.readyReplicas >= params.replicas }"}}
      timeout: 10m
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backstay.api.actions.resource import MAKES, OBJECT, ResourceAction, mistakes
from backstay.engine.lifecycle import fail
from backstay.engine.model import Fault, Json
from backstay.engine.node import Nesting, Node
from backstay.engine.paths import undone_by
from backstay.engine.policies import editing
from backstay.engine.scopes import Bound, Scope, bind
from backstay.engine.steps.call import Call
from backstay.engine.turn import Turn
from backstay.errors import EvaluationError
from backstay.expressions.format import to_text
from backstay.names import digest

_TEXTS: Final = ("apiVersion", "kind", "name", "namespace", "selector")
_PLAIN: Final = ("propagation", "wait", "subresource", "gone", "atLeast")


@dataclass(frozen=True, slots=True)
class Body:
    """The act with its expressions bound, and apart those that speak of the object."""

    act: str
    what: Bound
    later: Bound
    own: bool | None
    force: bool


class _Impossible(Exception):
    """What the step is to do cannot be done by anybody."""


class ResourceStep(Call):
    """The machine of `resource`."""

    def compile(self, action: ResourceAction, path: str, scope: Scope, nesting: Nesting) -> Body:
        written = action.model_dump(mode="json", by_alias=True, exclude_unset=True)
        what = written[action.act]
        later = {key: written.get(key) for key in ("until", "failWhen", "outputs")}
        if action.wait is not None:
            later |= {"until": what.pop("condition", None), "failWhen": what.pop("failWhen", None)}
        about = bind({key: value for key, value in later.items() if value is not None}, Scope(scope.segments, scope, (OBJECT,)))
        own = False if action.own is None and undone_by(path) is not None else action.own
        return Body(action.act, bind(what, scope), about, own, action.force)

    def _attempt(self, turn: Turn, node: Node, path: str, attempt: int, changes: Mapping[str, Any]) -> None:
        try:
            super()._attempt(turn, node, path, attempt, changes)
        except _Impossible as error:
            fail(turn, node, path, Fault("InvalidResource", "That cannot be done", str(error)))

    def inputs(self, turn: Turn, node: Node, path: str) -> Mapping[str, Json]:
        body: Body = node.body
        action = editing.edited(turn, "resource", path, self.resolved(turn, node, path))
        if body.act not in action:
            raise EvaluationError(f"edit: {body.act} is missing; an edit changes what is done, and a step of its own does something else")
        what, own, force = action[body.act], action.get("own"), action.get("force", False)
        for place, words in mistakes(body.act, what):
            raise _Impossible(f"{body.act}.{place}: {words}")
        inputs: dict[str, Json] = {"act": body.act, "target": _target(turn, body.act, what, path)}
        if body.act in MAKES:
            inputs |= {"manifest": what}
        if body.act == "patch":
            kind = "merge" if what.get("merge") is not None else "json"
            inputs |= {"patchKind": kind, "patch": what[kind]}
        inputs |= {key: what[key] for key in _PLAIN if body.act not in MAKES and what.get(key) is not None}
        inputs |= {key: value for key, value in (("own", own), ("force", force)) if value is not None and body.act in MAKES}
        if body.later.template.value:
            inputs |= body.later.template.value
            data = turn.seen(body.later, path)
            inputs["data"] = {name: value for name, value in data.items() if name != OBJECT}
        return inputs

    def resolved(self, turn: Turn, node: Node, path: str) -> dict[str, Json]:
        body: Body = node.body
        given = {"own": body.own if body.act in MAKES else None, "force": body.force or None}
        return {body.act: turn.evaluate(body.what, path), **{name: value for name, value in given.items() if value is not None}}


def _target(turn: Turn, act: str, what: Mapping[str, Any], path: str) -> dict[str, Json]:
    """Return what names the object. `generateName` becomes a name that is the same for each attempt: the object is made once."""
    found = {**what, **{key: what["metadata"].get(key) for key in ("name", "namespace")}} if act in MAKES else what
    target: dict[str, Json] = {key: to_text(found[key]) for key in _TEXTS if found.get(key) is not None}
    if act in MAKES and "name" not in target:
        target["name"] = f"{to_text(what['metadata']['generateName'])}{digest(turn.identity.uid, path, length=10)}"
    return target
