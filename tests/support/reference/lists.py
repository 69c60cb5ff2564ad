"""Lists of steps, and what expressions in them see."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import orjson

from backstay.errors import EvaluationError
from backstay.expressions.template import Template, compile_template
from tests.support.reference.words import Fault, Json, Spec


class Listing:
    """One list of steps: a block's, a branch's, an iteration's. A goto that leads back begins its next lap."""

    def __init__(self, prefix: str, steps: Sequence[Spec]) -> None:
        self.prefix, self.steps, self.lap = prefix, steps, 1
        self.visits: Counter[str] = Counter()
        self.views = {step["name"]: view_of("Pending") for step in steps}
        """How expressions see its steps."""

    def path(self, name: str) -> str:
        """Where a step of it stands in this lap."""
        return (f"{self.prefix}/{name}" if self.prefix else name) + (f"~{self.lap}" if self.lap > 1 else "")

    def outputs(self) -> dict[str, Json]:
        """What its steps produced, by name."""
        return filled({name: view["outputs"] for name, view in self.views.items()})


@dataclass(frozen=True)
class Scope:
    """What expressions see: the lists around them, innermost first, and values by name."""

    values: Mapping[str, Json]
    lists: tuple[Listing, ...] = ()

    def within(self, listing: Listing) -> "Scope":
        return Scope(self.values, (listing, *self.lists))

    def knowing(self, values: Mapping[str, Json]) -> "Scope":
        return Scope({**self.values, **values}, self.lists)

    def value(self, value: Json) -> Json:
        steps = {name: view for listing in reversed(self.lists) for name, view in listing.views.items()}
        return _compiled(orjson.dumps(value), ("steps", *self.values)).render({**self.values, "steps": steps})

    def holds(self, condition: str) -> bool:
        answer = self.value(condition)
        if not isinstance(answer, bool):
            raise EvaluationError(f"{answer!r} is neither true nor false")
        return answer


def view_of(phase: str, outputs: Json = None, attempt: int = 0) -> dict[str, Json]:
    return {"phase": phase, "outputs": outputs or {}, "attempt": attempt}


def filled(outputs: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in outputs.items() if value}


def error_of(fault: Fault | None) -> dict[str, Json]:
    return {"type": fault.type, "title": "", "detail": "", "step": fault.path, "attempt": 0} if fault else {}


@lru_cache(maxsize=4096)
def _compiled(value: bytes, names: tuple[str, ...]) -> Template:
    return compile_template(orjson.loads(value), names)
