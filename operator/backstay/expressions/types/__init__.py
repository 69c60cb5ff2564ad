"""What an expression gives, worked out without any data: a bound on the kinds of values, never narrower than what a run may meet.

`model.py` says what a type is, `schema.py` reads one from a JSON Schema, `overloads.py` asks the CEL library what its functions take, and
`infer.py` walks an expression. A complaint is made only where the expression cannot succeed, whatever the data that the types allow.
"""

from backstay.expressions.types.infer import Complaint, infer, infer_template
from backstay.expressions.types.model import ANY, NOTHING, Fields, Type, join, list_of, map_of, of_value, scalar
from backstay.expressions.types.schema import type_of_schema

__all__ = [
    "ANY",
    "NOTHING",
    "Complaint",
    "Fields",
    "Type",
    "infer",
    "infer_template",
    "join",
    "list_of",
    "map_of",
    "of_value",
    "scalar",
    "type_of_schema",
]
