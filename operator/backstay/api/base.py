"""The ground of all models: strict, frozen, camelCase outside and snake_case inside; and the types that several of them share."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from backstay.expressions.words import quoted

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
DURATION_MAX_LENGTH = 32
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
ERROR_TYPE_PATTERN = r"^([A-Za-z][A-Za-z0-9._-]*|\*)$"

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = timedelta(days=3650)


class Model(BaseModel):
    """A part of a custom resource. An unknown field is an error, never ignored (DESIGN §4)."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest form: camelCase, nothing that was left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


def parse_duration(text: object) -> timedelta:
    """Read Go's notation with `d` besides: `90s`, `1h30m`, `2d`, `250ms`. Raises ValueError with the mend."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or len(text) > DURATION_MAX_LENGTH or not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{quoted(text)} is no duration; write a number and a unit (ms, s, m, h, d), as in 90s or 1h30m")
    try:
        parts = re.findall(r"([0-9.]+)(ms|s|m|h|d)", text)
        found = timedelta(seconds=sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts))
    except OverflowError:
        raise ValueError(f"{quoted(text)} is longer than ten years") from None
    if found > _LONGEST:
        raise ValueError(f"{quoted(text)} is longer than ten years")
    return found


def format_duration(duration: timedelta) -> str:
    """Write a duration as people do: the largest units first, nothing that is zero; `0s` for none."""
    milliseconds = round(duration.total_seconds() * 1000)
    if milliseconds < 0:
        return "-" + format_duration(-duration)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "maxLength": DURATION_MAX_LENGTH}),
]
"""A length of time in Go's notation with `d` besides."""

Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=63)]
"""A DNS label: what steps, branches and cases are called."""

Identifier = Annotated[str, Field(pattern=IDENTIFIER_PATTERN, min_length=1, max_length=63)]
"""A name that expressions can use without brackets: parameters, variables, what an error is caught as."""

ErrorType = Annotated[str, Field(pattern=ERROR_TYPE_PATTERN, min_length=1, max_length=63)]

ANY_JSON: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
Json = Annotated[Any, WithJsonSchema(ANY_JSON)]
"""Any JSON value; strings in it may hold expressions in `${ }` where the field says so."""

JsonObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object", **ANY_JSON})]

Text = Annotated[str, Field(max_length=8192)]
"""Text that may hold expressions in `${ }`."""


def _whole_expression(text: str) -> str:
    stripped = text.strip()
    if not (stripped.startswith("${") and stripped.endswith("}")):
        raise ValueError(f"{quoted(text)} is no expression; write it as ${{ … }}, as in ${{ params.amount > 1000 }}")
    return text


Expression = Annotated[str, Field(max_length=1100), AfterValidator(_whole_expression)]
"""One whole CEL expression in `${ }`."""


QUANTITY_PATTERN = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"


def _quantity(value: str | int | float) -> str | int | float:
    if isinstance(value, bool) or (isinstance(value, str) and not re.match(QUANTITY_PATTERN, value)):
        raise ValueError(f'"{value}" is no quantity; write a number with a unit, as in 100m, 0.5 or 64Mi')
    return value


Quantity = Annotated[
    str | int | float,
    AfterValidator(_quantity),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": QUANTITY_PATTERN}),
]
"""An amount of a resource, in Kubernetes' notation (apimachinery, resource.Quantity)."""


def unique(what: str, key: Callable[[Any], str]) -> AfterValidator:
    """A validator that refuses a list in which two items have the same key, naming both places."""

    def check(items: list[Any]) -> list[Any]:
        seen: dict[str, int] = {}
        for index, item in enumerate(items):
            name = key(item)
            if name in seen:
                raise ValueError(f"{what} {quoted(name)} stands at [{seen[name]}] and at [{index}]; give each a name of its own")
            seen[name] = index
        return items

    return AfterValidator(check)
