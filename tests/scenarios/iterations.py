"""Steps that are run again and again, and what people ask of them while they go on."""

import json
from typing import Any

from tests.scenarios.fixtures import journal_kinds
from tests.scenarios.manifests import run_of, shell, step
from tests.support.api import Object
from tests.support.cluster import Place, phase_of, step_of


def pack(place: Place, name: str, **more: Any) -> None:
    """A run that packs a, b and c until it is told to stop; only c is ever done by itself."""
    script = 'test "$BOX" = c || sleep 600; echo "{\\"parcel\\": \\"$BOX\\"}" > "$BACKSTAY_OUTPUT"'
    box = step("box", job=shell(script, env=[{"name": "BOX", "value": "${ item }"}]))
    each = {"in": ["a", "b", "c"], "collect": "${ steps.box.outputs.parcel }", "steps": [box], **more}
    run = run_of(name, {"name": "pack", "forEach": each}, {"name": "after", "set": {"got": "${ steps.pack.outputs.items }"}})
    place.apply(run)
    place.reached(name, "pack[2]/box", "Succeeded")


def ask(place: Place, name: str, *requests: Object) -> None:
    place.kubectl("patch", "wfrun", name, "--type=merge", "-p", json.dumps({"spec": {"requests": requests}}))


def test_an_iteration_is_cancelled_another_one_added_and_the_rest_completed_from_outside(place: Place) -> None:
    pack(place, "parcels")
    first = {"id": "no-a", "step": "pack[0]", "action": "Cancel", "reason": "sold out"}
    more = {"id": "one-more", "step": "pack", "action": "AddItems", "items": ["c"]}
    nonsense = {"id": "nonsense", "step": "pack[7]", "action": "Cancel"}
    ask(place, "parcels", first, more, nonsense)
    place.reached("parcels", "pack[3]/box", "Succeeded")
    ask(place, "parcels", first, more, nonsense, {"id": "enough", "step": "pack", "action": "Complete"})
    run = place.ended("parcels")
    assert run["status"]["answers"] == {
        "no-a": "Done",
        "one-more": "Done",
        "nonsense": "Refused: iteration 7 of pack does not go on",
        "enough": "Done",
    }
    assert run["status"]["vars"] == {"got": [None, None, "c", "c"]}
    assert [phase_of(run, f"pack[{index}]/box") for index in range(4)] == ["Cancelled", "Cancelled", "Succeeded", "Succeeded"]
    assert journal_kinds(run).count("RequestMet") == 3
    assert step_of(run, "pack")["iterations"]["cancelled"] >= 1


def test_requests_are_only_ever_added(place: Place) -> None:
    pack(place, "asked")
    ask(place, "asked", {"id": "r1", "step": "pack[0]", "action": "Cancel"})
    place.until("asked", lambda run: run["status"].get("answers"))
    for changed in ([], [{"id": "r1", "step": "pack[1]", "action": "Cancel"}]):
        patch = json.dumps({"spec": {"requests": changed}})
        told = place.kubectl.refused("patch", "wfrun", "asked", "--type=merge", "-p", patch)
        assert "requests are only ever added, never changed or taken back" in told
    place.kubectl("patch", "wfrun", "asked", "--type=merge", "-p", '{"spec": {"cancel": {}}}')
    assert place.ended("asked")["status"]["phase"] == "Cancelled"


def test_a_cancelled_loop_leaves_no_job_behind(place: Place) -> None:
    poll = {"name": "poll", "while": {"until": "${ index > 5 }", "steps": [step("ask", job=shell("sleep 600"))]}}
    place.apply(run_of("loop", poll, {"name": "after", "set": {"went": "on"}}))
    place.reached("loop", "poll[0]/ask")
    ask(place, "loop", {"id": "stop", "step": "poll", "action": "Cancel"})
    run = place.ended("loop")
    assert (run["status"]["phase"], phase_of(run, "poll"), run["status"]["vars"]) == ("Succeeded", "Cancelled", {"went": "on"})
