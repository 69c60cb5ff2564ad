"""The story of a failed run, as `kubectl describe` and `backstay why` tell it: what failed, what was tried, caught and undone, what is left."""

import re

from tests.scenarios.manifests import run_of, shell, step
from tests.support.cluster import Place
from tests.support.waiting import wait_for

DECLINED = """echo '{"error": {"type": "CardDeclined", "message": "the card is empty"}}' > $BACKSTAY_OUTPUT"""
QUICK = {"interval": "100ms", "jitter": "None"}
SAGA = (
    step("reserve", job=shell(), compensate={"job": shell()}),
    step("ship", job=shell(), compensate={"job": shell("exit 4"), "retry": {"maxAttempts": 2, **QUICK}}),
    step("label", job=shell("exit 3"), catch=[{"errors": ["ExitCode"], "steps": [step("plain", set={"label": "plain"})]}]),
    step("charge", job=shell(DECLINED), retry={"maxAttempts": 3, "errors": ["CardDeclined"], **QUICK}),
)
STALLED = [
    ("Warning", "StepCatching", "label failed, and a handler takes over: ExitCode: exit code 3"),
    ("Normal", "StepCaught", "label is done: its handler has dealt with the error"),
    ("Warning", "StepRetrying", "charge failed and is tried again: CardDeclined: the card is empty"),
    ("Warning", "StepFailed", "charge failed after 3 attempts: CardDeclined: the card is empty"),
    (
        "Warning",
        "RunFailing",
        "the run fails: CardDeclined: the card is empty; raised by charge (attempt 3); there is no catch around it",
    ),
    ("Normal", "RunCompensating", "the run is being undone, the newest step first: ship, reserve"),
    ("Warning", "StepRetrying", "ship:compensate failed and is tried again: ExitCode: exit code 4"),
    (
        "Warning",
        "StepPaused",
        "ship:compensate is paused after 2 attempts (ExitCode: exit code 4): a person must retry, edit, skip or give up",
    ),
]
ENDED = [
    ("Warning", "StepSkipped", "ship:compensate is skipped, as a person asked: request r1: sent back by hand"),
    ("Warning", "NotUndone", "the run is left with something undone: ship: skipped"),
    ("Normal", "StepCompensated", "reserve is undone"),
    ("Warning", "RunFailed", "the run has failed: CardDeclined: the card is empty; undone: reserve; left as it is: ship (skipped)"),
]
CONDITIONS = [
    ("Succeeded", "False", "CardDeclined", "CardDeclined: the card is empty; raised by charge (attempt 3); there is no catch around it"),
    (
        "Complete",
        "True",
        "Failed",
        "it has ended; undo by hand what was left (ship); `backstay why` tells what was tried, caught and undone",
    ),
    ("Compensated", "False", "PartlyUndone", "undone: reserve; left as it is: ship (skipped)"),
    ("Reconciling", "False", "Failed", ""),
    ("Suspended", "False", "NotSuspended", ""),
]


def told(described: str) -> list[tuple[str, str, str]]:
    """Return the Events that `kubectl describe` prints, in its order: type, reason and message."""
    _, _, events = described.partition("\nEvents:\n")
    rows = [re.split(r"\s{2,}", line.strip(), maxsplit=4) for line in events.splitlines()[2:] if line.strip()]
    return [(type_, reason, message) for type_, reason, _, _, message in rows]


def conditions(described: str) -> list[tuple[str, str, str, str]]:
    """Return the conditions that `kubectl describe` prints, in its order: type, status, reason and message."""
    _, _, rest = described.partition("\n  Conditions:\n")
    found: list[dict[str, str]] = []
    for line in rest.splitlines():
        if not line.startswith("    "):
            break
        name, _, value = line.strip().partition(":")
        found = [*found, {}] if name == "Last Transition Time" else found
        found[-1][name] = value.strip()
    return [(item["Type"], item["Status"], item["Reason"], item["Message"]) for item in found]


def test_describe_of_a_failed_saga_reads_like_a_story(place: Place) -> None:
    place.apply(run_of("order-7f2", *SAGA))
    described = place.kubectl.until("describe", "wfrun", "order-7f2", shows=lambda text: len(told(text)) >= len(STALLED))
    assert told(described) == STALLED
    stalled = next(item for item in conditions(described) if item[0] == "Stalled")
    assert stalled[1:3] == ("True", "CompensationFailed")
    assert "backstay skip" in stalled[3]
    skip = '{"spec": {"requests": [{"id": "r1", "step": "ship:compensate", "action": "Skip", "reason": "sent back by hand"}]}}'
    place.kubectl("patch", "wfrun", "order-7f2", "--type=merge", "-p", skip)
    described = place.kubectl.until("describe", "wfrun", "order-7f2", shows=lambda text: len(told(text)) >= len(STALLED + ENDED))
    assert told(described) == [*STALLED, *ENDED]
    assert conditions(described) == CONDITIONS


def test_a_step_that_is_tried_fifty_times_is_one_event_that_is_counted(place: Place) -> None:
    """Its error says something else each time; the 50 items that fail at the same step are one Event, too."""
    noisy = 'echo "{\\"error\\": {\\"type\\": \\"Busy\\", \\"message\\": \\"it is $(date +%N)\\"}}" > $BACKSTAY_OUTPUT'
    retry = {"maxAttempts": 50, "interval": "1ms", "maxDelay": "1ms", "jitter": "None", "errors": ["*"]}
    loop = {"count": 50, "parallelism": 50, "tolerate": "100%", "steps": [step("x", fail={"error": "Bad", "message": "${string(index)}"})]}
    place.apply(run_of("noisy", step("items", forEach=loop), step("a", job=shell(noisy), retry=retry)))
    place.ended("noisy", 120)
    found = wait_for(lambda: [event for event in place.events("noisy") if event["reason"] == "RunFailed"] and place.events("noisy"))
    reasons = sorted(event["reason"] for event in found)
    assert reasons == ["RunFailed", "RunFailing", "StepFailed", "StepFailed", "StepRetrying"]
    counts = {event["message"].partition(" ")[0]: (event.get("series") or {}).get("count", 1) for event in found}
    assert counts["items[0]/x"] == 50
