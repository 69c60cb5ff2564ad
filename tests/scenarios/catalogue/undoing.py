"""Failures on the way back: sagas, and what is left to people."""

from typing import Final

from tests.scenarios.catalogue.rows import ALL_UNDONE, HANGS, Deed, Row, Scenario, again, done, says, stop, undo
from tests.scenarios.manifests import shell, step

_WAIT = step("sail", wait={"duration": "1h"})
_ONCE = 'test "$BACKSTAY_ATTEMPT" -ge 2'
"""Fails the first time."""
_CANCEL = {"spec": {"cancel": {"reason": "a whim"}}}
_PEOPLE = "tests/scenarios/people.py::"


def _ask(id_: str, path: str, action: str, **more: object) -> dict[str, object]:
    return {"id": id_, "step": path, "action": action, "reason": "as the runbook says", **more}


SAGAS: Final[dict[str, Row]] = {
    "reverse": Row(
        "a step fails after others have completed",
        "undoes them one at a time, in the reverse order in which they completed",
        "phase `Compensating`, then `Failed`; `Compensated=True`; Events `StepCompensated`",
        "nothing",
        Scenario(
            (done("hotel"), done("car"), stop()),
            error="NoFlight",
            undone=("car", "hotel"),
            conditions=ALL_UNDONE,
            journal=("car:compensate ends before hotel:compensate begins",),
            events={"StepCompensated": "car"},
        ),
    ),
    "block": Row(
        "a block that says how to undo it as a whole has completed",
        "undoes the block, not the steps in it",
        "the block is `Compensated`, its steps are not",
        "nothing",
        Scenario(
            (step("trip", steps=[done("hotel"), done("car")], compensate={"job": shell()}), stop()),
            error="NoFlight",
            undone=("trip",),
            journal=("trip/hotel:compensate never begins",),
        ),
    ),
    "block-fails": Row(
        "such a block fails half-way",
        "undoes the steps in it that had completed, and not the block",
        "these are `Compensated`",
        "nothing",
        Scenario(
            (step("trip", steps=[done("hotel"), stop()], compensate={"job": shell()}),),
            error="NoFlight",
            undone=("trip/hotel",),
            journal=("trip:compensate never begins",),
        ),
    ),
    "loop": Row(
        "a run fails after a loop",
        "undoes each of its iterations, the last one first",
        "`a[1]/b`, then `a[0]/b` are `Compensated`",
        "nothing",
        Scenario(
            (step("a", **{"while": {"condition": "${ index < 2 }", "steps": [done("b")]}}), stop()),
            error="NoFlight",
            undone=("a[1]/b", "a[0]/b"),
        ),
    ),
    "side-by-side": Row(
        "much is to be undone, and `onFailure.parallel` allows it at the same time",
        "undoes steps that are independent of each other at the same time, all others in reverse order",
        "several steps `:compensate` go on",
        "nothing",
        Scenario(
            (
                done("hotel"),
                step(
                    "both",
                    parallel={
                        "branches": [
                            {"name": name, "steps": [done(name, compensate={"job": shell("sleep 0.5")})]} for name in ("car", "ship")
                        ]
                    },
                ),
                stop(),
            ),
            error="NoFlight",
            conditions=ALL_UNDONE,
            journal=(
                "both/car/car:compensate and both/ship/ship:compensate overlap",
                "both/car/car:compensate ends before hotel:compensate begins",
                "both/ship/ship:compensate ends before hotel:compensate begins",
            ),
            fields={"onFailure": {"parallel": True}},
        ),
    ),
    "no-compensation": Row(
        "a workflow does not want to be undone (`onFailure.compensate: false`)",
        "stops, and keeps what was done",
        "`Failed`, no condition `Compensated`",
        "clear up by hand",
        Scenario((done("hotel"), stop()), error="NoFlight", undone=(), fields={"onFailure": {"compensate": False}}),
    ),
    "not-done": Row(
        "a step fails by itself, and says how to undo it",
        "does not undo it: it did not complete; the container has said so",
        "it is `Failed`",
        "nothing; a container that fails must leave nothing behind",
        Scenario((done("hotel"), done("car", job=shell("exit 1"))), error="ExitCode", undone=("hotel",)),
    ),
    "unknown-outcome": Row(
        "an attempt is cut off (timeout, cancelled, its Job deleted), so that nobody knows whether it did its work",
        "undoes the step too, and tells its compensation: `self.outcome` and `BACKSTAY_COMPENSATES_OUTCOME` are `Unknown`",
        "`outcome: Unknown` of the step",
        "write compensations so that undoing what was not done is fine",
        Scenario(
            (
                done("hotel"),
                done(
                    "car",
                    job=shell(HANGS),
                    attemptTimeout="4s",
                    compensate={"job": shell('test "$BACKSTAY_COMPENSATES_OUTCOME" = "$1"', args=["sh", "${ self.outcome }"])},
                ),
            ),
            error="Timeout",
            undone=("car", "hotel"),
            conditions=ALL_UNDONE,
        ),
    ),
    "unknown-without-outputs": Row(
        "the same, and its compensation needs the outputs that the step did not leave behind",
        "leaves it as it is, tells so, and undoes the others",
        "entry `OutcomeUnknown`, `NotUndone`; condition `Compensated`",
        "look by hand whether it was done",
        Scenario(
            (
                done("hotel"),
                done("car", job=shell(HANGS), attemptTimeout="4s", compensate={"job": shell(args=["${ self.outputs.car }"])}),
            ),
            error="Timeout",
            undone=("hotel",),
            conditions={"Compensated": "car"},
        ),
    ),
    "undo-retried": Row(
        "a compensation fails at first",
        "tries it again, five times unless its own `retry` says otherwise",
        "Event `StepRetrying`",
        "nothing",
        Scenario(
            (done("hotel", compensate=undo(_ONCE, 3)), stop()),
            error="NoFlight",
            undone=("hotel",),
            attempts={"hotel:compensate": 2},
            events={"StepRetrying": "hotel:compensate"},
        ),
    ),
    "stalled-and-retried": Row(
        "a compensation cannot be done; somebody mends the cause and has it tried again",
        "waits for a person, and undoes nothing that was done before; then it goes on",
        "STATUS `Stalled`, the condition says what and why; Event",
        "`backstay retry RUN STEP:compensate`",
        Scenario(
            (done("car"), done("hotel", compensate=undo(_ONCE)), stop()),
            error="NoFlight",
            undone=("hotel", "car"),
            conditions=ALL_UNDONE,
            deeds=(Deed("Stalled", ask=_ask("again", "hotel:compensate", "Retry"), seen=("hotel:compensate", "ExitCode")),),
            journal=("again is met",),
        ),
    ),
    "stalled-and-edited": Row(
        "a compensation cannot be done as it is written; somebody changes it",
        "makes the next attempt as it was changed",
        "the same; the change stands in `edits` and in the journal",
        "`backstay retry RUN STEP:compensate --edit …`",
        Scenario(
            (done("hotel", compensate=undo("exit 1")), stop()),
            error="NoFlight",
            undone=("hotel",),
            conditions=ALL_UNDONE,
            deeds=(Deed("Stalled", ask=_ask("other", "hotel:compensate", "Retry", edit={"command": ["true"]})),),
        ),
    ),
    "stalled-and-skipped": Row(
        "a compensation cannot be done; somebody has undone the step by hand",
        "leaves it, tells so, and undoes what was done before",
        "entry and Event `NotUndone`; condition `Compensated`",
        "`backstay skip RUN STEP:compensate --reason …`",
        Scenario(
            (done("car"), done("hotel", compensate=undo("exit 1")), stop()),
            error="NoFlight",
            undone=("car",),
            conditions={"Compensated": "hotel"},
            deeds=(Deed("Stalled", ask=_ask("by-hand", "hotel:compensate", "Skip")),),
            journal=("by-hand is met",),
        ),
    ),
    "stalled-and-released": Row(
        "a compensation cannot be done; somebody lets the run go",
        "ends the run, and names what is not undone",
        "entry and Event `CompensationAbandoned`, a metric; `Compensated=False`, reason `Abandoned`",
        "`kubectl annotate wfrun RUN backstay.dev/release-finalizer=true`",
        Scenario(
            (done("car"), done("hotel", compensate=undo("exit 1")), stop()),
            error="NoFlight",
            undone=(),
            conditions={"Compensated": "False Abandoned"},
            deeds=(Deed("Stalled", {"metadata": {"annotations": {"backstay.dev/release-finalizer": "true"}}}),),
            events={"CompensationAbandoned": "not undone: hotel, car"},
        ),
    ),
    "undo-dispensable": Row(
        "a compensation cannot be done, and says that this is no matter (`onExhausted: Skip`)",
        "leaves the step, tells so, and goes on with the others",
        "entry `NotUndone`; condition `Compensated`",
        "nothing",
        Scenario(
            (done("car"), done("hotel", compensate=undo("exit 1", onExhausted="Skip")), stop()),
            error="NoFlight",
            undone=("car",),
            conditions={"Compensated": "hotel"},
        ),
    ),
    "undo-expression": Row(
        "an expression of a compensation fails",
        "waits for a person, as for any compensation that cannot be done",
        "`Stalled` with `ExpressionError`",
        "skip it; mend the workflow for later runs",
        Scenario(
            (done("hotel", compensate={"job": shell(args=["${ self.outputs.room }"])}), stop()),
            error="NoFlight",
            undone=(),
            deeds=(Deed("Stalled", ask=_ask("by-hand", "hotel:compensate", "Skip"), seen=("ExpressionError",)),),
        ),
    ),
    "cancelled": Row(
        "somebody cancels a run",
        "stops what goes on, and undoes what was done",
        "`Cancelled`, with the reason",
        "nothing",
        Scenario((done("hotel"), _WAIT), phase="Cancelled", error="Cancelled", undone=("hotel",), deeds=(Deed("sail Waiting", _CANCEL),)),
    ),
    "cancelled-and-kept": Row(
        "somebody cancels a run without undoing it (`compensate: false`)",
        "stops what goes on, brings to its end what is being undone at that moment, and keeps what was done",
        "`Cancelled`",
        "nothing",
        Scenario(
            (done("hotel"), _WAIT),
            phase="Cancelled",
            error="Cancelled",
            undone=(),
            deeds=(Deed("sail Waiting", {"spec": {"cancel": {"compensate": False}}}),),
        ),
    ),
    "cancelled-while-undoing": Row(
        "somebody cancels a run while it is being undone",
        "goes on undoing",
        "the run ends as it would have",
        "nothing",
        Scenario(
            (done("hotel", compensate={"job": shell("sleep 8")}), stop()),
            error="NoFlight",
            undone=("hotel",),
            deeds=(Deed("hotel:compensate Running", _CANCEL),),
        ),
    ),
    "deleted": Row(
        "somebody deletes a run",
        "undoes it before it goes, under background, foreground and orphan propagation alike",
        "a finalizer; Events `DeletionRequested`, `StepCompensated`",
        "nothing",
        Scenario((done("hotel"), _WAIT), goes=True, deeds=(Deed("sail Waiting", delete="run"),), events={"StepCompensated": "hotel"}),
        ("tests/e2e/test_deletion.py::test_a_run_that_is_deleted_while_a_step_runs_is_undone_before_it_goes",),
    ),
    "deleted-while-undoing": Row(
        "somebody deletes a run while it is being undone",
        "goes on undoing; then it goes",
        "Event `StepCompensated`",
        "nothing",
        Scenario(
            (done("hotel", compensate={"job": shell("sleep 8")}), stop()),
            goes=True,
            deeds=(Deed("hotel:compensate Running", delete="run"),),
            events={"StepCompensated": "hotel"},
        ),
        ("tests/e2e/test_deletion.py::test_a_run_that_is_deleted_while_it_is_undone_is_undone_to_the_end",),
    ),
    "pivot": Row(
        "a step fails after the pivot",
        "undoes nothing any more: the step waits for a person instead of failing, and the run only goes forward",
        "STATUS `Stalled`, the step is `Paused`",
        "`backstay retry RUN STEP`",
        Scenario(
            (done("hotel"), step("pay", set={"paid": True}, pivot=True), step("ship", job=shell(_ONCE))),
            phase="Succeeded",
            undone=(),
            attempts={"ship": 2},
            deeds=(Deed("ship Paused", ask=_ask("again", "ship", "Retry"), seen=("paused",)),),
        ),
    ),
    "savepoint": Row(
        "a step fails, and its handler goes back to a savepoint (`undo`)",
        "undoes what was completed after it, the last one first; then the run goes on, another way",
        "these steps are `Compensated`, the savepoint is not",
        "nothing",
        Scenario(
            (
                done("hotel"),
                done("car"),
                step(
                    "a",
                    fail={"error": "NoSeat"},
                    catch=[{"steps": [step("back", undo={"to": "hotel"}), step("train", set={"by": "train"})]}],
                ),
            ),
            phase="Succeeded",
            undone=("car",),
            ends={"a": "Caught", "hotel": "Succeeded"},
            journal=("car:compensate ends before a:catch0/train begins",),
        ),
    ),
    "part-cancelled": Row(
        "somebody cancels a step so that what was done in it is undone (`compensate: true`)",
        "stops it, undoes what was completed in it, and goes on after it",
        "the step is `Cancelled`, those in it `Compensated`",
        "nothing",
        Scenario(
            (step("trip", steps=[done("hotel"), _WAIT]), step("after", set={"x": 1})),
            phase="Succeeded",
            undone=("trip/hotel",),
            ends={"trip": "Cancelled", "after": "Succeeded"},
            deeds=(Deed("trip/sail Waiting", ask=_ask("home", "trip", "Cancel", compensate=True)),),
            journal=("trip/hotel:compensate ends before after begins", "home is met"),
        ),
    ),
    "child-stalled": Row(
        "a child run cannot be undone",
        "the caller waits for it, and names it",
        "both are `Stalled`, the caller with reason `ChildStalled`",
        "resolve it at the child run",
        tests=("tests/scenarios/children.py::test_a_child_that_cannot_be_undone_stalls_its_caller_which_names_it",),
    ),
    "random": Row(
        "any of these, in any order, while the operator dies and sees late",
        "undoes every completed step exactly once, after those that came after it; or says why not",
        "–",
        "–",
        tests=("tests/unit/engine/test_random_sagas.py::test_what_was_done_is_undone_exactly_once_in_reverse_or_the_run_says_why",),
    ),
}

EXHAUSTED: Final[dict[str, Row]] = {
    "pause-and-edit": Row(
        "the attempts of a step are used up, and it says `onExhausted: Pause`; somebody changes what it does",
        "waits; no timeout of its own runs meanwhile; then it makes the next attempt as it was changed",
        "STATUS `Stalled`, phase `Paused`, message",
        "`backstay retry RUN STEP --edit …`",
        Scenario(
            (step("a", job=shell("exit 1"), onExhausted="Pause", timeout="30s"),),
            phase="Succeeded",
            attempts={"a": 2},
            deeds=(Deed("a Paused", ask=_ask("other", "a", "Retry", edit={"command": ["true"]}), seen=("ExitCode",)),),
        ),
    ),
    "pause-and-skip": Row(
        "the same; somebody has done the work by hand",
        "goes on after the step, with the outputs that the person gave",
        "the step is `Skipped`",
        "`backstay skip RUN STEP --outputs …`",
        Scenario(
            (step("a", job=shell("exit 1"), onExhausted="Pause"), step("b", set={"n": "${ steps.a.outputs.n }"})),
            phase="Succeeded",
            ends={"a": "Skipped"},
            outputs={"n": 7},
            fields={"outputs": [{"name": "n", "value": "${ vars.n }"}]},
            deeds=(Deed("a Paused", ask=_ask("by-hand", "a", "Skip", outputs={"n": 7})),),
        ),
    ),
    "pause-and-give-up": Row(
        "the same; nothing helps",
        "lets the step fail with the error that it has; what was done is undone",
        "that error",
        "`backstay give-up RUN STEP`",
        Scenario(
            (done("hotel"), step("a", job=shell("exit 1"), onExhausted="Pause")),
            error="ExitCode",
            undone=("hotel",),
            deeds=(Deed("a Paused", ask=_ask("enough", "a", "GiveUp")),),
        ),
    ),
    "pause-and-cancel": Row(
        "the same; somebody cancels the run",
        "ends it, and undoes what was done",
        "`Cancelled`",
        "nothing",
        Scenario(
            (done("hotel"), step("a", job=shell("exit 1"), onExhausted="Pause")),
            phase="Cancelled",
            error="Cancelled",
            undone=("hotel",),
            deeds=(Deed("a Paused", _CANCEL),),
        ),
    ),
    "retriable": Row(
        "a step must come to pass (`retriable: true`) and fails",
        "tries it until it succeeds, whatever the error",
        "Events `StepRetrying`, as one series",
        "nothing; or skip it, or give it up",
        Scenario(
            (step("a", job=shell('test "$BACKSTAY_ATTEMPT" = 5'), retriable=True, retry={"interval": "10ms"}),),
            phase="Succeeded",
            attempts={"a": 5},
        ),
    ),
    "budget": Row(
        "attempts take longer in all than `retry.within`",
        "makes no more of them",
        "the error of the last attempt",
        "raise `within`",
        Scenario(
            (step("a", job=shell("exit 1"), retry=again(1000, within="800ms", interval="200ms", backoff="Constant", jitter="None")),),
            error="ExitCode",
        ),
    ),
    "fallback": Row(
        "a step fails, and its `catch` has `outputs`",
        "gives what follows these instead",
        "the step is `Caught`, with outputs",
        "nothing",
        Scenario(
            (
                step(
                    "a",
                    job=shell("exit 1"),
                    catch=[{"steps": [step("b", job=says('{"n": 3}'))], "outputs": {"n": "${ steps.b.outputs.n }"}}],
                ),
                step("c", set={"n": "${ steps.a.outputs.n }"}),
            ),
            phase="Succeeded",
            outputs={"n": 3},
            fields={"outputs": [{"name": "n", "value": "${ vars.n }"}]},
        ),
    ),
    "rethrown": Row(
        "a handler does what there is to do, and raises the error again",
        "fails as if there were no handler: the same type, step and attempt",
        "the error of the step",
        "as for that error",
        Scenario(
            (step("a", job=shell("exit 4"), catch=[{"steps": [step("b", set={"told": True}), step("c", fail={"rethrow": True})]}]),),
            error="ExitCode",
            says=("exit code 4",),
        ),
    ),
    "exit-code-named": Row(
        "a container ends with an exit code that `job.exitCodes` names",
        "fails with that error of the business",
        "that type",
        "catch it",
        Scenario((step("a", job=shell("exit 3", exitCodes={"3": "OutOfStock"})),), error="OutOfStock"),
    ),
    "finally": Row(
        "a step fails, and has a `finally`",
        "runs that whatever the end; then the run fails",
        "its steps in the status",
        "nothing",
        Scenario(
            (step("a", fail={"error": "NoFlight"}, **{"finally": [step("tidy", set={"tidy": "${ ending.phase }"})]}),),
            error="NoFlight",
            journal=("a:finally/tidy ends Succeeded",),
        ),
    ),
}
