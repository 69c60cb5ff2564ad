"""What stands in the written state is limited in bytes (DESIGN, promise 8)."""

from typing import Final

import orjson

from backstay.engine.model import Fault, Json

MAX_INPUT_BYTES: Final = 128 * 1024
"""What an attempt is made from stands in the written state until the deed is confirmed."""


def too_large(what: str, inputs: Json) -> Fault | None:
    """Return the fault of an attempt whose resolved inputs take too many bytes; `what` names what they are for."""
    return exceeding(f"Too much data for a {what}", f"the resolved {what} takes", inputs, MAX_INPUT_BYTES)


def exceeding(title: str, takes: str, data: Json, most: int) -> Fault | None:
    """Return the fault of data that take more than `most` bytes as JSON; `takes` is the beginning of the sentence that says so."""
    size = len(orjson.dumps(data))
    if size <= most:
        return None
    return Fault("LimitExceeded", title, f"{takes} {size:,} bytes of at most {most:,}; hand large data over by reference")
