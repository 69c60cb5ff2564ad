"""`backstay why`: one sentence for every reason that a run can have to wait, and the mend."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backstay.cli.views.seen import Run, read_run
from backstay.cli.views.why import Answer, Cause, Evidence, why
from backstay.engine.model import Fault, Hold, JobState
from tests.support.world import World
from tests.unit.cli.runs import manifest_of, run_of, soon

SAGA = """
steps:
- {name: reserve, job: {image: stock}, compensate: {job: {image: stock}, retry: {maxAttempts: 1, errors: ["*"]}}}
- {name: charge, job: {image: pay}, timeout: 1h, retry: {maxAttempts: 3, interval: 10s, jitter: None}}
- {name: nap, wait: {duration: 10m}}
"""


def evidence_of(world: World, **changes: Any) -> Evidence:
    """What the cluster shows of a world's Jobs; `changes` are made to each of them."""
    return Evidence({name: replace(fact, **changes) for name, fact in world.jobs.items()}, {}, (), asked=True)


def ask(world: World, seconds: float = 0, evidence: Evidence | None = None, **options: Any) -> Answer:
    return why(run_of(world, **options), evidence or evidence_of(world), soon(world, seconds))


def stalled() -> World:
    return World(SAGA).succeed("reserve").fail("charge", "Permanent").fail("reserve:compensate")


def charging() -> World:
    return World(SAGA).succeed("reserve")


CASES: dict[str, tuple[Callable[[], World], float, Cause, str, str]] = {
    "a step runs": (
        charging,
        90,
        Cause.JOB,
        "step charge has been running for 1m30s; it times out in 58m30s",
        "logs order-7f2 charge -n shop -f",
    ),
    "a timer runs": (
        lambda: charging().succeed("charge"),
        60,
        Cause.TIMER,
        "step nap waits for time to pass: 9m left, until 2026-11-23T09:10:00Z",
        "",
    ),
    "a timer is late": (lambda: charging().succeed("charge"), 700, Cause.OPERATOR, "no operator has noticed", "kubectl get pods -A"),
    "a retry is due later": (
        lambda: charging().fail("charge"),
        4,
        Cause.RETRY,
        "step charge failed (ExitCode: ExitCode happened), and attempt 2 of 3 begins in 6.0s",
        "backstay logs order-7f2 charge",
    ),
    "a retry is due now": (lambda: charging().fail("charge"), 12, Cause.RETRY, "attempt 2 of 3 is due; it is about to go on", ""),
    "it is suspended": (
        lambda: charging().wants(suspend=True),
        75,
        Cause.RESUME,
        "it has been suspended for 1m15s, so nothing new starts; what runs goes on (charge)",
        "backstay resume order-7f2 -n shop",
    ),
    "it is undoing": (
        lambda: World(SAGA).succeed("reserve").fail("charge", "Permanent"),
        5,
        Cause.JOB,
        "the run has failed (Permanent: Permanent happened) and is being undone: undoing reserve has been running for 5.0s",
        "backstay logs order-7f2 reserve:compensate -n shop -f",
    ),
    "undoing is stuck": (
        stalled,
        5,
        Cause.PERSON,
        "undoing reserve failed after 1 attempt (ExitCode: ExitCode happened)",
        "kubectl annotate wfrun order-7f2 -n shop backstay.dev/release-finalizer=true",
    ),
    "it has succeeded": (
        lambda: charging().succeed("charge").pass_time("10m"),
        0,
        Cause.NOTHING,
        "it waits for nothing: it succeeded at 2026-11-23T09:10:00Z",
        "",
    ),
    "it has failed": (
        lambda: World(SAGA).fail("reserve", "Permanent"),
        0,
        Cause.NOTHING,
        "it failed at 2026-11-23T09:00:00Z (Permanent: Permanent happened)",
        "backstay logs order-7f2 reserve -n shop` shows what step reserve said",
    ),
    "it has failed before it could run": (
        lambda: World(SAGA).fail("reserve", "AdmissionDenied"),
        0,
        Cause.NOTHING,
        "it failed at 2026-11-23T09:00:00Z (AdmissionDenied: AdmissionDenied happened)",
        "mend what the policy objects to in the workflow's job, or the policy",
    ),
    "it was let go": (
        lambda: stalled().wants(release=True),
        0,
        Cause.NOTHING,
        "NOT undone: reserve",
        "backstay logs order-7f2 charge",
    ),
    "it was cancelled": (
        lambda: charging().wants(cancel=True, cancel_reason="changed her mind").succeed("reserve:compensate"),
        0,
        Cause.NOTHING,
        "it was ended early at 2026-11-23T09:00:00Z (cancelled: changed her mind)",
        "",
    ),
}


@pytest.mark.parametrize(("make", "seconds", "cause", "sentence", "mend"), CASES.values(), ids=CASES.keys())
def test_every_reason_to_wait_has_a_sentence_and_a_mend(
    make: Callable[[], World], seconds: float, cause: Cause, sentence: str, mend: str
) -> None:
    answer = ask(make(), seconds)
    assert (answer.cause, "\n" not in answer.sentence) == (cause, True)
    assert sentence in answer.sentence
    assert mend in answer.mend
    assert bool(answer.mend) == bool(mend)


# ------------------------------------------------------------------------------------------------------------ pods and Jobs


@pytest.mark.parametrize(
    ("fault", "mend"),
    [
        (Fault("ImagePull", "", 'Back-off pulling image "shop/pay:3"'), "push the image"),
        (Fault("Unschedulable", "", "0/3 nodes are available"), "room in the cluster"),
        (Fault("InvalidJob", "", 'secret "pay" not found'), "Secret, ConfigMap or service account"),
    ],
)
def test_a_pod_that_cannot_start_says_why_and_what_to_mend(fault: Fault, mend: str) -> None:
    world = charging()
    seen = evidence_of(world, started=False, stuck=fault)
    answer = ask(world, 20, replace(seen, pods={str(world.step("charge").job): "charge-x1"}))
    assert answer.cause is Cause.PERSON
    assert answer.sentence == f"the pod of step charge cannot start (for 20s): {fault.type}: {fault.detail}"
    assert mend in answer.mend and "kubectl describe pod charge-x1 -n shop" in answer.mend


def test_a_quota_that_keeps_a_pod_from_being_made_is_told_in_its_own_words() -> None:
    world = charging()
    seen = replace(evidence_of(world, started=False), warnings=("older", "Error creating: exceeded quota: nopods"))
    answer = ask(world, 20, seen)
    assert answer.cause is Cause.HOLD
    assert answer.sentence == "step charge is held back: Waiting for quota: exceeded quota: nopods"
    assert "raise the quota" in answer.mend


def test_a_policy_that_refuses_a_pod_is_told_with_what_to_mend() -> None:
    world = charging()
    words = 'Error creating: pods "charge-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    answer = ask(world, 20, replace(evidence_of(world, started=False), warnings=(words,)))
    assert answer.cause is Cause.PERSON
    assert 'AdmissionDenied: no pod can be created: violates PodSecurity "restricted:latest"' in answer.sentence
    assert "mend what the policy objects to" in answer.mend


QUOTA = Hold("Quota", "Waiting for quota", "exceeded quota: small")


def test_a_step_that_is_held_back_says_by_what_and_since_when() -> None:
    world = World(SAGA).obstruct(QUOTA).succeed("reserve")
    answer = ask(world, 20, Evidence(asked=True))
    assert (answer.cause, answer.sentence) == (Cause.HOLD, "step charge is held back (for 20s): Waiting for quota: exceeded quota: small")
    assert "raise the quota" in answer.mend


def test_a_step_whose_pod_was_taken_away_says_that_the_same_attempt_runs_again() -> None:
    world = charging().end("charge", JobState.FAILED, None, Fault("PodDeleted", "", "pod x was deleted"))
    answer = ask(world)
    assert answer.cause is Cause.RETRY
    assert "step charge was disrupted (PodDeleted: pod x was deleted), and the same attempt runs again in 1.0s" in answer.sentence
    assert "(1 disruption, at most 20)" in answer.sentence


def test_a_job_that_cannot_be_made_is_told_in_the_words_of_the_api_server() -> None:
    world = charging()
    answer = ask(world, 20, Evidence({}, {}, ("jobs.batch is forbidden: exceeded quota: nojobs; trying again in 3 s",), asked=True))
    assert answer.cause is Cause.API
    assert "the Job of step charge cannot be made: jobs.batch is forbidden" in answer.sentence


def test_a_job_that_nobody_makes_points_at_the_operator() -> None:
    world = charging()
    assert ask(world, 5, Evidence(asked=True)).mend == ""
    late = ask(world, 60, Evidence(asked=True))
    assert (late.cause, "backstay operator" in late.mend) == (Cause.OPERATOR, True)


def test_without_rights_on_pods_the_answer_says_so() -> None:
    world = charging()
    assert "may not be read with your rights" in ask(world, 60, Evidence()).sentence


def test_a_job_that_has_just_ended_waits_for_the_operator() -> None:
    world = charging()
    assert ask(world, 1, evidence_of(world, state=JobState.SUCCEEDED)).cause is Cause.OPERATOR


# ------------------------------------------------------------------------------------------------------------- several steps


def test_of_several_steps_the_one_that_needs_a_person_is_named_and_the_others_are_listed() -> None:
    world = World(
        """
steps:
- name: p
  parallel:
    branches:
    - {name: a, steps: [{name: nap, wait: {duration: 1h}}]}
    - {name: b, steps: [{name: good, job: {image: x}}]}
    - {name: c, steps: [{name: bad, job: {image: y}}]}
"""
    )
    bad = str(world.step("p/c/bad").job)
    seen = evidence_of(world)
    stuck = {**seen.jobs, bad: replace(seen.jobs[bad], started=False, stuck=Fault("ImagePull", "", "no such image"))}
    answer = ask(world, 5, replace(seen, jobs=stuck))
    assert (answer.cause, answer.step, answer.others) == (Cause.PERSON, "p/c/bad", ("p/b/good", "p/a/nap"))
    assert answer.sentence.endswith("(and 2 other steps go on: p/b/good and p/a/nap)")


# ----------------------------------------------------------------------------------------------------------- before it begins


def unbegun(status: Any = None, *, seconds: float = 5, suspend: bool = False) -> Answer:
    world = World(SAGA)
    manifest = {**manifest_of(world, suspend=suspend), "status": status or {}}
    return why(read_run(manifest), Evidence(), soon(world, seconds))


def test_a_run_whose_workflow_is_missing_says_which() -> None:
    condition = {"type": "Succeeded", "status": "Unknown", "reason": "WorkflowNotFound", "message": 'there is no Workflow "order"'}
    answer = unbegun({"conditions": [condition]})
    assert (answer.cause, answer.sentence) == (Cause.WORKFLOW, 'it has not begun: there is no Workflow "order"')
    assert "apply the Workflow" in answer.mend


def test_a_run_that_was_created_suspended_says_how_to_begin() -> None:
    assert unbegun(suspend=True).mend == "backstay resume order-7f2 -n shop"


def test_a_run_that_nobody_looks_at_points_at_the_operator_after_a_while() -> None:
    assert unbegun(seconds=3).mend == ""
    assert "backstay operator" in unbegun(seconds=60).mend


# --------------------------------------------------------------------------------------------------------------- after its end


def test_a_deleted_run_that_a_finalizer_holds_names_it() -> None:
    world = charging().wants(delete=True).succeed("reserve:compensate")
    answer = ask(world, 0, finalizers=["audit.example.com/keep"])
    assert (answer.cause, "audit.example.com/keep" in answer.sentence) == (Cause.FINALIZER, True)


def test_the_sentence_cannot_steer_the_terminal() -> None:
    world = World(SAGA).fail("reserve", "Permanent", output='{"error": {"type": "Evil", "message": "\\u001b[2J\\nboom"}}')
    answer = ask(world)
    assert "\x1b" not in answer.sentence and "\\x1b[2J boom" in answer.sentence


@pytest.mark.parametrize(
    "status", [{"phase": "Running", "startedAt": "2026-11-23T09:00:00Z"}, {"phase": "Running", "steps": "x"}, {"steps": [{}]}]
)
def test_a_strange_status_still_gets_an_answer(status: Any) -> None:
    run: Run = read_run({**manifest_of(World(SAGA)), "status": status})
    assert why(run, Evidence(), soon(World(SAGA), 3600)).sentence


CALLS = """
steps:
- name: ask
  http: {method: GET, url: "https://pay.example.com/state"}
  retry: {maxAttempts: 3, interval: 10s, jitter: None, errors: ["*"]}
  onExhausted: Pause
"""


def test_of_a_step_without_a_job_nobody_is_sent_to_logs_that_are_not_there() -> None:
    world = World(CALLS)
    refused = Fault("HttpStatus", "The answer was refused", "503")
    waits = ask(world.answer("ask", fault=refused), 1)
    assert (waits.cause, waits.mend) == (Cause.RETRY, "")
    for _ in range(2):
        world.pass_time("1m").answer("ask", fault=refused)
    paused = ask(world, 1)
    assert (paused.cause, "logs" in paused.mend) == (Cause.PERSON, False)
    assert paused.mend.startswith("`backstay retry order-7f2 ask -n shop`")
