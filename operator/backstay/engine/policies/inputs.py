"""What an attempt is made from stands in the written state until the deed is confirmed, and so is limited (DESIGN, promise 8)."""

from collections.abc import Mapping
from typing import Final

import orjson

from backstay.engine.model import Fault, Json

MAX_INPUT_BYTES: Final = 128 * 1024


def too_large(what: str, inputs: Mapping[str, Json]) -> Fault | None:
    """Return the fault of an attempt whose resolved inputs take too many bytes as JSON; `what` names what they are for."""
    size = len(orjson.dumps(inputs))
    if size <= MAX_INPUT_BYTES:
        return None
    detail = f"the resolved {what} takes {size:,} bytes of at most {MAX_INPUT_BYTES:,}; hand large data over by reference"
    return Fault("LimitExceeded", f"Too much data for a {what}", detail)
