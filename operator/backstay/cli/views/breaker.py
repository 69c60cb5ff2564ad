"""What people ask of a circuit breaker: the change to its spec, and what will happen. And what it says to a step that waits for it. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backstay.api.circuit import ForcedState
from backstay.cli.views.control import Step
from backstay.cli.views.text import clean, length, one_line
from backstay.engine import codec

Manifest = Mapping[str, Any]
_WORDS = 400


def reset(breaker: Manifest, id_: str, reason: str) -> Step:
    """Close a breaker: all is well again."""
    name = _name(breaker)
    if (held := _forced(breaker)) is not None:
        mend = f"let it go with `backstay breaker release {name}`"
        return Step(refusal=f"CircuitBreaker {name} is held {held} by a person, and a reset changes nothing then", mend=mend)
    return Step(f"CircuitBreaker {name} is closed, and counts anew", {"reset": {"id": id_, "reason": reason}})


def force(breaker: Manifest, state: ForcedState, reason: str) -> Step:
    """Hold a breaker open or closed."""
    name = _name(breaker)
    if _forced(breaker) == state:
        return Step(f"CircuitBreaker {name} is held {state} already")
    through = "lets nothing through" if state is ForcedState.OPEN else "lets everything through"
    words = f"CircuitBreaker {name} is held {state}: it {through} until `backstay breaker release {name}`"
    return Step(words, {"forced": {"state": str(state), "reason": reason}})


def release(breaker: Manifest) -> Step:
    """Let a breaker go on by itself."""
    name = _name(breaker)
    held = _forced(breaker)
    if held is None:
        return Step(f"CircuitBreaker {name} goes on by itself already")
    how = "lets probes through to find out whether calls go well" if held == ForcedState.OPEN else "counts anew"
    return Step(f"CircuitBreaker {name} goes on by itself: it {how}", {"forced": None})


def waiting_words(name: str, namespace: str, breaker: Manifest | None, said: str, now: datetime) -> tuple[str, str, datetime | None]:
    """Say why a step waits for its breaker, what can be done, and until when that lets nothing through."""
    if breaker is None:
        return clean(one_line(said or f"waits for circuit breaker {name}"), _WORDS), "it goes on by itself", None
    status = breaker.get("status") or {}
    state, until = str(status.get("state") or "Closed"), _moment(status.get("openUntil"))
    why = next((str(item.get("message") or "") for item in status.get("conditions") or () if item.get("type") == "Closed"), "")
    because = f" ({clean(one_line(why), _WORDS)})" if why else ""
    look = f"kubectl describe circuitbreaker {name} -n {namespace} tells more"
    if _forced(breaker) is not None:
        mend = f"whoever holds it lets it go with `backstay breaker release {name}`"
        return f"waits for circuit breaker {name}, which is {state}{because}", mend, None
    mend = f"it goes on by itself; where all is well again: backstay breaker reset {name} -n {namespace} --reason …; {look}"
    if state == "Open" and until is not None:
        left = f"for {length(until - now)} more" if until > now else "and about to let probes through"
        return f"waits for circuit breaker {name}, which is open {left}{because}", mend, until
    if state == "HalfOpen":
        probes = len(status.get("probes") or ())
        goes = f"; {probes} {'probes go' if probes > 1 else 'probe goes'} on" if probes else ""
        return f"waits for circuit breaker {name}, which is half open{goes}{because}", mend, None
    return f"waits for circuit breaker {name}, which is closed: it is about to go on", "", None


def _name(breaker: Manifest) -> str:
    return str(breaker["metadata"]["name"])


def _forced(breaker: Manifest) -> str | None:
    forced = (breaker.get("spec") or {}).get("forced")
    return str(forced.get("state")) if isinstance(forced, Mapping) else None


def _moment(text: Any) -> datetime | None:
    try:
        return codec.time_from_json(text) if text else None
    except (TypeError, ValueError):
        return None
