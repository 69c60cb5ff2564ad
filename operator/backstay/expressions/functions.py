"""Functions that workflows need and CEL does not have: JSON as text, and the sum of a list. Pure, and bounded like all others (`cost.py`).

json.encode(params.order)                    the value as compact JSON text
json.decode(steps.ask.outputs.answer).total  what JSON text holds
params.lines.map(line, line.price).sum()     0 for an empty list; whole and decimal numbers may be mixed
"""

import json
import math
from typing import Any, Final

from cel_expr_python import cel

from backstay.errors import EvaluationError
from backstay.expressions.format import MAX_DEPTH, to_json
from backstay.expressions.words import described, shortened

_LIST: Final = cel.Type.List(cel.Type.DYN)
_KINDS: Final = {
    "map": cel.Type.Map(cel.Type.DYN, cel.Type.DYN),
    "list": _LIST,
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "uint": cel.Type.UINT,
    "double": cel.Type.DOUBLE,
    "bool": cel.Type.BOOL,
    "null": cel.Type.NULL,
    "bytes": cel.Type.BYTES,
    "timestamp": cel.Type.TIMESTAMP,
    "duration": cel.Type.DURATION,
}
_LARGEST: Final = 2**63


def encode(value: Any) -> str:
    """Return a value as JSON text, written as in texts around an expression."""
    return json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":"))


def decode(text: str) -> Any:
    """Return what JSON text holds. Raises EvaluationError with the place where it is none."""
    try:
        found = json.loads(text, parse_constant=_refused)
    except json.JSONDecodeError as error:
        raise EvaluationError(f"json.decode() was given text that is no JSON at position {error.pos + 1}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        words = shortened(str(error)) if isinstance(error, ValueError) else f"it nests deeper than {MAX_DEPTH} levels"
        raise EvaluationError(f"json.decode() was given text that it cannot take: {words}") from None
    return to_json(found)


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def total(items: list[Any]) -> int | float:
    """Return the sum of a list of numbers: a whole number where all of them are. Raises EvaluationError for anything else."""
    for index, item in enumerate(items):
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            raise EvaluationError(f"sum() adds numbers, and [{index}] of the list is {described(item)}")
    found = sum(items) if all(isinstance(item, int) for item in items) else math.fsum(items)
    if isinstance(found, int) and not -_LARGEST <= found < _LARGEST:
        raise EvaluationError("the sum does not fit into 64 bits; use double(…)")
    return found


FUNCTIONS: Final = (
    cel.FunctionDecl(
        "json.encode",
        [cel.Overload(f"backstay_json_encode_{name}", cel.Type.STRING, [kind], False, encode) for name, kind in _KINDS.items()],
    ),
    cel.FunctionDecl("json.decode", [cel.Overload("backstay_json_decode", cel.Type.DYN, [cel.Type.STRING], False, decode)]),
    cel.FunctionDecl("sum", [cel.Overload("backstay_list_sum", cel.Type.DYN, [_LIST], True, total)]),
)
"""As the CEL library wants them; `cel.py` puts them into every environment."""
