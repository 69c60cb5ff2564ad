"""Work that was cut off, or that nobody answered for: it may have been done, so it is undone, and its compensation is told so."""

from dataclasses import replace
from typing import Any, Final

import pytest

from backstay.engine.model import CallState, Fault, JobState
from tests.support.saga_rules import check_saga
from tests.support.world import World

JOB = "job: {image: busybox}"
UNDO = 'compensate: {job: {image: undo, args: ["${ self.outcome }", "${ self.key }", "${ has(self.outputs.id) ? self.outputs.id : \'none\' }"]}}'
STEPS = f"steps: [{{name: a, {JOB}, {UNDO}, timeout: 10m}}, {{name: b, {JOB}}}]"


def undoing(world: World) -> list[str] | None:
    """The arguments of the compensation of step a, without the key; None where it was not begun."""
    check_saga(world.program, world.entries)
    made = world.made_for("a:compensate")
    return [made[0].inputs["args"][0], made[0].inputs["args"][2]] if made else None


def test_a_step_that_succeeded_is_undone_as_one_that_did() -> None:
    world = World(STEPS).succeed("a", {"id": "r-1"}).fail("b")
    assert undoing(world) == ["Succeeded", "r-1"]


ENDINGS: dict[str, tuple[Any, list[str] | None]] = {
    "cancelled while it ran": (lambda world: world.wants(cancel=True), ["Unknown", "none"]),
    "timed out": (lambda world: world.pass_time("10m"), ["Unknown", "none"]),
    "its Job was deleted": (lambda world: world.lose_job("a"), ["Unknown", "none"]),
    "its output cannot be read": (lambda world: world.end("a", JobState.SUCCEEDED, "no JSON"), ["Unknown", "none"]),
    "it said that it failed": (lambda world: world.fail("a"), None),
    "it said which error it was": (lambda world: world.end("a", JobState.SUCCEEDED, '{"error": {"type": "Declined"}}'), None),
    "its Job was refused": (lambda world: world.refuse("a", "InvalidJob", "no"), None),
    "its image could not be pulled": (
        lambda world: world.sees("a", started=False, stuck=Fault("ImagePull", detail="no such image")).pass_time("5m"),
        None,
    ),
    "its pod never started": (lambda world: world.sees("a", started=False).pass_time("5m"), None),
    "cancelled when its pod was about to start": (lambda world: world.sees("a", started=False).wants(cancel=True), ["Unknown", "none"]),
    "cancelled while its image could not be pulled": (
        lambda world: world.sees("a", started=False, stuck=Fault("ImagePull", detail="no such image")).wants(cancel=True),
        None,
    ),
    "cut off while no pod was seen, and nobody knew why": (
        lambda world: world.sees("a", started=False, stuck=Fault("StartTimeout", detail="no Event says why")).wants(cancel=True),
        ["Unknown", "none"],
    ),
}
UNSEEN: Final = {"started": False, "stuck": Fault("ImagePull", detail="no such image")}


@pytest.mark.parametrize(("happens", "told"), ENDINGS.values(), ids=ENDINGS)
def test_a_job_is_undone_where_it_may_have_been_done(happens: Any, told: list[str] | None) -> None:
    assert undoing(happens(World(STEPS))) == told


def test_a_job_that_was_never_made_is_not_undone() -> None:
    world = World(f"steps: [{{name: w, wait: {{duration: 1s}}}}, {{name: a, {JOB}, {UNDO}}}]")
    world.obstruct(Fault("Quota", "Waiting for quota", "exceeded quota")).pass_time("1s").wants(cancel=True)
    assert (world.phase, undoing(world)) == ("Cancelled", None)


def test_a_pod_that_was_lost_may_have_done_its_work_also_where_the_next_one_fails() -> None:
    world = World(STEPS).end("a", JobState.FAILED, None, Fault("NodeLost", detail="node n is gone")).pass_time("1m").fail("a")
    assert undoing(world) == ["Unknown", "none"]


def test_an_attempt_that_was_cut_off_is_remembered_until_one_succeeds() -> None:
    spec = f"steps: [{{name: a, {JOB}, {UNDO}, attemptTimeout: 1m, retry: {{maxAttempts: 2, interval: 1s, jitter: None}}}}, {{name: b, {JOB}}}]"
    world = World(spec).pass_time("61s")
    assert (world.step("a").attempt, world.step("a").outcome) == (2, "Unknown")
    assert undoing(world.fail("a")) == ["Unknown", "none"]
    world = World(spec).pass_time("61s").succeed("a", {"id": "r-2"})
    assert world.step("a").outcome is None
    assert undoing(world.fail("b")) == ["Succeeded", "r-2"]


@pytest.mark.parametrize(
    "turns_out",
    [lambda world: world.succeed("a", {"id": "r-1"}), lambda world: world.sees("a", started=True, stuck=None).gone("a")],
    ids=["it-was-done", "it-had-begun"],
)
def test_a_job_of_which_a_container_is_seen_only_after_it_was_cut_off_is_undone(turns_out: Any) -> None:
    world = World(STEPS.replace("timeout: 10m", "attemptTimeout: 10s"))
    world.stops_at_once = False
    world.sees("a", **UNSEEN).pass_time("11s")
    assert (world.step("a").phase, world.step("a").outcome) == ("Stopping", None)
    assert undoing(turns_out(world)) == ["Unknown", "none"]


def test_a_late_success_of_a_cancelled_step_is_known() -> None:
    world = World(STEPS)
    world.stops_at_once = False
    world.wants(cancel=True).succeed("a", {"id": "r-1"})
    assert undoing(world) == ["Succeeded", "r-1"]


def test_a_step_that_was_caught_and_may_have_been_done_is_undone_after_what_its_handler_did() -> None:
    world = World(
        f"steps: [{{name: a, {JOB}, {UNDO}, timeout: 1m, catch: [{{steps: [{{name: h, {JOB}, compensate: {{{JOB}}}}}]}}]}}, {{name: b, {JOB}}}]"
    )
    world.pass_time("1m").succeed("a:catch0/h").fail("b")
    assert world.running == ["a:catch0/h:compensate"]
    world.succeed("a:catch0/h:compensate")
    assert (world.running, world.made[-1].inputs["args"][0]) == (["a:compensate"], "Unknown")
    world.succeed("a:compensate")
    assert (world.phase, world.phases()["a"], world.condition("Compensated")) == ("Failed", "Caught", ("True", "AllUndone"))


@pytest.mark.parametrize(
    "undo",
    ["job: {image: undo, args: ['${ self.outputs.id }']}", "steps: [{name: x, job: {image: undo, args: ['${ self.outputs.id }']}}]"],
    ids=["one action", "several steps"],
)
def test_where_undoing_needs_outputs_that_were_not_left_the_step_is_left_and_told_and_nothing_stalls(undo: str) -> None:
    world = World(f"steps: [{{name: z, {JOB}, compensate: {{{JOB}}}}}, {{name: a, {JOB}, compensate: {{{undo}}}, timeout: 1m}}]")
    world.succeed("z").pass_time("1m")
    assert (world.running, world.condition("Stalled")) == (["z:compensate"], None)
    world.succeed("z:compensate")
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("Unknown", "OutcomeUnknown"))
    assert any(entry.kind == "NotUndone" and entry.reason.startswith("a: its outcome is not known") for entry in world.entries)
    check_saga(world.program, world.entries)


HTTP = "http: {method: POST, url: 'https://pay.example.com/x'}"


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ({"state": CallState.FAILED, "fault": Fault("HttpUnavailable", detail="reset"), "unanswered": True}, ["Unknown", "none"]),
        ({"state": CallState.FAILED, "fault": Fault("HttpUnavailable", detail="refused")}, None),
        ({"state": CallState.SUCCEEDED, "outputs": {"status": 500, "headers": {}, "body": None}}, None),
        ({"state": CallState.SUCCEEDED, "outputs": {"status": 422, "headers": {}, "body": None}}, None),
        ({"state": CallState.SUCCEEDED, "outputs": {"status": 504, "headers": {}, "body": None}}, ["Unknown", "none"]),
        ({"state": CallState.SUCCEEDED, "outputs": {"status": 200, "headers": {}, "body": "x" * 5000}}, ["Unknown", "none"]),
    ],
    ids=["no answer", "no connection", "the server failed", "refused", "a gateway had no answer", "an answer that cannot be taken"],
)
def test_a_call_is_undone_where_nobody_knows_what_became_of_it(fact: dict[str, Any], told: list[str] | None) -> None:
    world = World(f"steps: [{{name: a, {HTTP}, {UNDO}}}]")
    name = world.step("a").call or ""
    world.calls[name] = replace(world.calls[name], **fact)
    assert undoing(world.look()) == told


def test_a_call_that_is_cut_off_may_have_been_done() -> None:
    assert undoing(World(f"steps: [{{name: a, {HTTP}, {UNDO}}}]").wants(cancel=True)) == ["Unknown", "none"]


@pytest.mark.parametrize(("act", "told"), [("get", None), ("create", ["Unknown", "none"])])
def test_a_resource_that_was_only_read_has_nothing_to_undo(act: str, told: list[str] | None) -> None:
    target = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}" if act == "create" else "{apiVersion: v1, kind: ConfigMap, name: x}"
    assert undoing(World(f"steps: [{{name: a, resource: {{{act}: {target}}}, {UNDO}}}]").wants(cancel=True)) == told


@pytest.mark.parametrize(("undo", "ends"), [(f", {UNDO}", "told"), ("", "left")])
def test_a_child_run_that_is_gone_may_have_done_its_work(undo: str, ends: str) -> None:
    world = World(f"steps: [{{name: a, workflow: {{name: child}}{undo}}}]")
    world.child("a", "Running").child("a", "Running", is_gone=True)
    if ends == "told":
        assert undoing(world) == ["Unknown", "none"]
    else:
        assert (world.phase, world.condition("Compensated"), world.condition("Stalled")) == ("Failed", ("Unknown", "OutcomeUnknown"), None)


def test_the_container_is_told_by_its_environment() -> None:
    from backstay.kube.manifests import RunRef, job

    world = World(STEPS).wants(cancel=True)
    manifest = job(RunRef("uid-1", "order-7f2", "shop", "", "", {}), world.made_for("a:compensate")[0])
    env = {item["name"]: item.get("value") for item in manifest["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["BACKSTAY_COMPENSATES_OUTCOME"] == "Unknown"
    original = job(RunRef("uid-1", "order-7f2", "shop", "", "", {}), world.made_for("a")[0])
    keys = {item["name"]: item.get("value") for item in original["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["BACKSTAY_COMPENSATES_KEY"] == keys["BACKSTAY_IDEMPOTENCY_KEY"] == world.made_for("a:compensate")[0].inputs["args"][1]
