"""What a step says that it produces, held against what it produced."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backstay.api.validate.schemas import InvalidSchema, Schema, compile_schema
from backstay.engine.model import Fault, Json
from backstay.errors import InvalidExpression

_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Declared:
    """The schema of a step's outputs, compiled."""

    schema: Schema

    def accept(self, outputs: Json) -> tuple[Json, Fault | None]:
        """Return the outputs, or what is wrong with them: InvalidOutput."""
        found = {} if outputs is None else outputs
        mistakes = list(self.schema.mistakes(found, "outputs"))
        if not mistakes:
            return outputs, None
        more = f"; and {len(mistakes) - _SHOWN} more" if len(mistakes) > _SHOWN else ""
        words = "; ".join(map(str, mistakes[:_SHOWN])) + more
        return None, Fault(
            "InvalidOutput", "The outputs are not as the step declares them", f"{words}; mend the program, or the step's outputs"
        )


def declare(schema: Mapping[str, Any] | None) -> Declared | None:
    """Compile what a step says of its outputs. Raises InvalidExpression where it is no schema."""
    if schema is None:
        return None
    try:
        return Declared(compile_schema(schema))
    except InvalidSchema as error:
        raise InvalidExpression(f"outputs: {error}") from None


def accepted(declared: Declared | None, outputs: Json) -> tuple[Json, Fault | None]:
    """Return what a step produced, or what is wrong with it; what is not declared may be anything."""
    return (outputs, None) if declared is None else declared.accept(outputs)
