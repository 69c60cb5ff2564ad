"""What expressions see of an object, what they say about it, and what a step takes out of it: small, and never anything secret."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from backstay.api.actions.resource import OBJECT, SECRET
from backstay.engine.model import Fault, Json, broken_expression
from backstay.errors import EvaluationError
from backstay.expressions import compile_template
from backstay.kube.client import Object
from backstay.names import OUTPUT_LIMIT_BYTES

_SECRET_PLAIN: Final = ("apiVersion", "kind", "type", "immutable")
_NOISE: Final = "managedFields"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""Holds all that was applied, the data of a Secret included."""


@dataclass(frozen=True, slots=True)
class Later:
    """Expressions about an object, and what else they see: as it was when the step began."""

    data: Mapping[str, Json]
    until: str | None = None
    fail_when: str | None = None
    outputs: Mapping[str, Json] | None = None

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> "Later":
        """Read them from the resolved inputs of a step."""
        return cls(inputs.get("data") or {}, inputs.get("until"), inputs.get("failWhen"), inputs.get("outputs"))

    @property
    def waits(self) -> bool:
        """Whether there is anything to wait for."""
        return self.until is not None or self.fail_when is not None

    def evaluate(self, value: Json, found: Object) -> Json:
        """Evaluate a value for an object. Raises EvaluationError."""
        return compile_template(value, (*self.data, OBJECT)).render({**self.data, OBJECT: shown(found)})

    def holds(self, condition: str, found: Object) -> bool:
        """Evaluate a condition for an object. Raises EvaluationError."""
        answer = self.evaluate(condition, found)
        if not isinstance(answer, bool):
            raise EvaluationError(f"{answer!r} is neither true nor false")
        return answer

    def take(self, found: Object) -> tuple[Json, Fault | None]:
        """Return what the step produces of an object: what its outputs say, or how to refer to it; or why it cannot."""
        try:
            outputs = reference_to(found) if self.outputs is None else self.evaluate(dict(self.outputs), found)
        except EvaluationError as error:
            return None, broken_expression(f"outputs: {error}")
        size = len(orjson.dumps(outputs))
        if size > OUTPUT_LIMIT_BYTES:
            detail = f"the outputs take {size:,} bytes of at most {OUTPUT_LIMIT_BYTES:,}; take less out of the object, or hand its name on"
            return None, Fault("InvalidOutput", "The outputs are too large", detail)
        return outputs, None


def reference_to(found: Object) -> dict[str, Json]:
    """Return what is needed to find an object again."""
    metadata = found.get("metadata") or {}
    reference = {"apiVersion": found.get("apiVersion"), "kind": found.get("kind")}
    return {**reference, **{key: metadata[key] for key in ("namespace", "name", "uid") if key in metadata}}


def shown(found: Object) -> Object:
    """Return an object as expressions see it: without who looks after which field; of a Secret the keys of its data, and no value."""
    metadata = {key: value for key, value in (found.get("metadata") or {}).items() if key != _NOISE}
    if found.get("kind") != SECRET or found.get("apiVersion") != "v1":
        return {**found, "metadata": metadata}
    notes = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _LAST_APPLIED}
    plain: Object = {key: found[key] for key in _SECRET_PLAIN if key in found}
    return {**plain, "metadata": {**metadata, "annotations": notes}, "data": dict.fromkeys(found.get("data") or {}, "")}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How objects stand to what is waited for: done, failed for good, or what is still to come, in words."""

    is_done: bool = False
    fault: Fault | None = None
    words: str = ""


def judge(later: Later, objects: Sequence[Object], what: str, at_least: int | None = None) -> Verdict:
    """Hold objects against what is waited for. `what` names them; a condition that cannot be evaluated is not true yet."""
    if not objects:
        return Verdict(words=f"Waiting for {what}: it is not there" if at_least is None else f"Waiting for {what}: none is there")
    if fault := _failed(later, objects):
        return Verdict(fault=fault)
    true, troubles = 0, []
    for found in objects:
        holds, trouble = _asked(later, found)
        true += holds
        troubles += [trouble] if trouble else []
    needed = len(objects) if at_least in (None, 0) else at_least
    if true >= (needed or 1):
        return Verdict(is_done=True)
    count = "" if at_least is None else f" of {true} of {needed}"
    said = f"; it cannot be evaluated: {troubles[0]}" if troubles else ""
    return Verdict(words=f"Waiting for {what}: its condition is not true{count}{said}")


def _asked(later: Later, found: Object) -> tuple[bool, str]:
    try:
        return later.until is None or later.holds(later.until, found), ""
    except EvaluationError as error:
        return False, str(error)[:300]


def _failed(later: Later, objects: Iterable[Object]) -> Fault | None:
    for found in objects if later.fail_when is not None else ():
        try:
            if later.holds(later.fail_when or "", found):
                name = (found.get("metadata") or {}).get("name")
                return Fault("ResourceFailed", "What was waited for has failed", f"{found.get('kind')} {name}: {later.fail_when} is true")
        except EvaluationError:
            continue
    return None
