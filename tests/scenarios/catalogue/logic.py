"""Failures of time, data and flow: what a definition asks for and the world does not give."""

from typing import Any, Final

from tests.scenarios.catalogue.rows import ALL_UNDONE, HANGS, Deed, Row, Scenario, done, says, stop, undo
from tests.scenarios.manifests import shell, step, steps, workflow_of

_PEOPLE = "tests/scenarios/people.py::"
WAIT: Final = {"duration": "1h"}

TIME: Final[dict[str, Row]] = {
    "step-timeout": Row(
        "a step takes longer than its `timeout`, all attempts together",
        "stops it; its `catch` may deal with `Timeout`, a `retry` does not",
        "`Timeout`, and how long it took",
        "raise `timeout`",
        Scenario((step("a", wait=WAIT, timeout="300ms"),), error="Timeout", says=("see its timeout",)),
    ),
    "block-timeout": Row(
        "a block takes longer than its `timeout`",
        "stops all that goes on in it; what was completed in it is undone like anything else",
        "`Timeout` at the block, its steps `Cancelled`",
        "raise `timeout`",
        Scenario(
            (step("trip", steps=[done("hotel"), step("sail", wait=WAIT)], timeout="6s"),),
            error="Timeout",
            undone=("trip/hotel",),
            ends={"trip/sail": "Cancelled"},
        ),
    ),
    "timeout-caught": Row(
        "a timeout is caught",
        "runs the handler; the run goes on",
        "the step is `Caught`",
        "nothing",
        Scenario(
            (step("a", wait=WAIT, timeout="300ms", catch=[{"errors": ["Timeout"], "steps": [step("b", set={"late": True})]}]),),
            phase="Succeeded",
            ends={"a": "Caught"},
        ),
    ),
    "deadline": Row(
        "a run takes longer than its `timeout`",
        "stops it with `DeadlineExceeded`, and undoes what was done",
        "`error.type: DeadlineExceeded`",
        "raise the run's `timeout`",
        Scenario((done("hotel"), step("a", wait=WAIT)), error="DeadlineExceeded", undone=("hotel",), fields={"timeout": "6s"}),
    ),
    "start-timeout": Row(
        "a pod does not start in time",
        "ends the attempt after `startTimeout` with what stood in the way",
        "`ImagePull`, `Unschedulable`, `InvalidJob`, `StartTimeout`",
        "as for these",
        tests=("tests/scenarios/answers.py::test_a_run_fails_with_words_that_help",),
    ),
    "lock-timeout": Row(
        "a step does not get its lock within `lock.timeout`",
        "leaves the line, and fails with `Timeout`",
        "who holds it, while it waits; Event `LockWaiting`",
        "look at the holder: `backstay why`",
        Scenario(
            (
                step(
                    "both",
                    parallel={
                        "branches": [
                            {"name": "x", "steps": [step("a", lock={"name": "desk", "scope": "Run"}, wait={"duration": "20s"})]},
                            {
                                "name": "y",
                                "steps": [
                                    step("pause", wait={"duration": "50ms"}),
                                    step("b", lock={"name": "desk", "scope": "Run", "timeout": "300ms"}, set={"x": 1}),
                                ],
                            },
                        ]
                    },
                ),
            ),
            error="LockTimeout",
            ends={"both/x/a": "Cancelled", "both/y/b": "Failed"},
        ),
    ),
    "compensation-timeout": Row(
        "undoing takes longer than `compensationTimeout`",
        "gives up what is not undone, and names it",
        "`Compensated=False`, reason `Abandoned`; entry and Event `CompensationAbandoned`; a metric",
        "undo by hand what it names",
        Scenario(
            (done("hotel", compensate=undo(HANGS)), stop()),
            error="NoFlight",
            undone=(),
            fields={"compensationTimeout": "1s"},
            conditions={"Compensated": "not undone: hotel"},
            events={"CompensationAbandoned": "the compensation timeout is over; not undone: hotel"},
        ),
    ),
    "suspended-over-deadline": Row(
        "a run is suspended over a deadline of it",
        "moves its deadlines by as long as it was suspended",
        "`deadlineAt` is later; entry `DeadlinesMoved`",
        "nothing",
        tests=("tests/unit/engine/test_suspend.py::test_time_in_suspension_does_not_count_towards_timeouts",),
    ),
    "due-while-suspended": Row(
        "a timer falls due while its run is suspended",
        "waits for the end of the suspension",
        "`Suspended=True`",
        "`backstay resume RUN`",
        tests=(_PEOPLE + "test_a_timer_that_falls_due_while_its_run_is_suspended_waits_for_the_end_of_it",),
    ),
}

DATA: Final[dict[str, Row]] = {
    "bad-parameters": Row(
        "a run is given parameters that do not fit",
        "ends it at once; nothing is done",
        "`InvalidParameters`, each with its path and the mend",
        "mend them, make another run",
        Scenario(
            (step("a", set={"x": 1}),),
            error="InvalidParameters",
            says=('parameters: missing "amount"',),
            fields={"declared": [{"name": "amount", "schema": {"type": "number"}}], "parameters": {}},
        ),
    ),
    "bad-definition": Row(
        "a definition cannot be run: an expression names what is not there",
        "tells it when the Workflow is applied (`Valid=False`); a run of it ends at once",
        "`InvalidWorkflow`, the path and the mend",
        "mend it; `backstay lint` tells before",
        Scenario((step("a", set={"x": "${ params.y }"}),), error="InvalidWorkflow", says=("steps[0].set.x", '"y"')),
    ),
    "missing-output": Row(
        "a step did not produce the output that another one wants",
        "fails that one with `ExpressionError`",
        "what there is instead",
        "declare `outputs`, and mend whichever is wrong",
        Scenario(
            (step("a", job=says('{"n": 1}')), step("b", set={"x": "${ steps.a.outputs.m }"})),
            error="ExpressionError",
            says=('there is no "m"', "there is: n"),
        ),
    ),
    "bad-expression": Row(
        "an expression fails when it is evaluated: a division by zero, text instead of a number",
        "fails the step with `ExpressionError`, which can be caught",
        "the expression and what went wrong",
        "mend it",
        Scenario(
            (
                step("a", set={"n": 0}),
                step("b", set={"x": "${ 1 / vars.n }"}, catch=[{"errors": ["ExpressionError"], "steps": [step("c", set={"x": 0})]}]),
            ),
            phase="Succeeded",
            ends={"b": "Caught"},
        ),
    ),
    "bad-condition": Row(
        "an `if` is neither true nor false",
        "fails the step with `ExpressionError`",
        "what it is instead",
        "compare it with something",
        Scenario(
            (step("a", job=says('{"n": 1}')), step("b", set={"x": 1}, **{"if": "${ steps.a.outputs.n }"})),
            error="ExpressionError",
            says=("if: 1 is neither true nor false",),
        ),
    ),
    "too-much-data": Row(
        "a step would be given too much data",
        "fails it with `LimitExceeded` before anything is done",
        "how much, and how much there may be",
        "hand large data over by reference",
        Scenario(
            (step("a", job=shell(args=["${ params.data }"])),),
            error="LimitExceeded",
            says=("at most 131,072", "by reference"),
            fields={"declared": [{"name": "data"}], "parameters": {"data": "x" * 140_000}},
        ),
    ),
    "too-many-variables": Row(
        "variables would take too much",
        "fails the step that sets them with `LimitExceeded`",
        "how much, and how much there may be",
        "hand large data over by reference",
        Scenario(
            (step("a", set={"x": "${ params.data }"}),),
            error="LimitExceeded",
            says=("at most 65,536",),
            fields={"declared": [{"name": "data"}], "parameters": {"data": "x" * 70_000}},
        ),
    ),
    "bad-outputs": Row(
        "the outputs of the run itself cannot be worked out",
        "fails the run, and undoes what was done",
        "`ExpressionError`, which output",
        "mend it",
        Scenario(
            (done("hotel"), step("a", job=says('{"n": 1}'))),
            error="ExpressionError",
            says=("outputs",),
            undone=("hotel",),
            fields={"outputs": [{"name": "m", "value": "${ steps.a.outputs.m }"}]},
        ),
    ),
}


def _fails(error: str, before: str = "") -> dict[str, Any]:
    return shell(f'{before}printf \'%s\' \'{{"error": {{"type": "{error}"}}}}\' > $BACKSTAY_OUTPUT')


def _branches(join: Any) -> dict[str, Any]:
    """Three branches, of which two fail."""
    names = {"x": done("hotel"), "y": step("b", job=_fails("First")), "z": step("c", job=_fails("Second", "sleep 0.5; "))}
    return {"join": join, "branches": [{"name": name, "steps": [one]} for name, one in names.items()]}


FLOW: Final[dict[str, Row]] = {
    "endless-loop": Row(
        "a `while` does not come to an end",
        "fails it after `maxIterations` with `LimitExceeded`",
        "the limit",
        "mend its condition, or raise `maxIterations`",
        Scenario(
            (
                step(
                    "a",
                    **{
                        "while": {
                            "condition": "${ !has(vars.x) || vars.x >= 0 }",
                            "maxIterations": 5,
                            "steps": [step("b", set={"x": "${ index }"})],
                        }
                    },
                ),
            ),
            error="LimitExceeded",
            says=("maxIterations",),
            journal=("a/b begins 5 times",),
        ),
    ),
    "endless-goto": Row(
        "a `goto` leads back again and again",
        "fails it after `maxVisits` with `LimitExceeded`",
        "the limit",
        "mend its condition, or raise `maxVisits`",
        Scenario(
            (step("a", set={"x": 1}), step("back", goto={"step": "a", "maxVisits": 3}, **{"if": "${ vars.x > 0 }"})),
            error="LimitExceeded",
            says=("maxVisits",),
            journal=("a begins 3 times",),
        ),
    ),
    "join": Row(
        "a join cannot be met any more",
        "fails the `parallel` at once with the error that decided it, and stops the rest",
        "that error",
        "catch it at the `parallel`",
        Scenario((step("all", parallel=_branches(2)),), error="Second"),
    ),
    "join-with-rest": Row(
        "the same, and other branches have completed steps",
        "undoes these",
        "`Compensated=True`",
        "nothing",
        Scenario(
            (step("first", steps=[done("hotel")]), step("all", parallel=_branches("All"))),
            error="First",
            conditions={"Compensated": "True AllUndone"},
        ),
    ),
    "dag": Row(
        "a step of a `dag` fails, and no other step deals with that",
        "stops the others and fails the `dag`; with `failFast: false` those go on that do not depend on it",
        "the step's error",
        "`dependsOn` with `outcome: Failed` deals with it",
        Scenario(
            (
                step(
                    "d",
                    dag={
                        "failFast": False,
                        "steps": [
                            step("a", job=_fails("First")),
                            step("b", set={"x": 1}, dependsOn=["a"]),
                            step("c", set={"y": 1}),
                        ],
                    },
                ),
            ),
            error="First",
            ends={"d/b": "Skipped", "d/c": "Succeeded"},
        ),
    ),
    "lock-holder": Row(
        "a run that holds a lock is deleted",
        "gives its slot to the next one in line",
        "the other run goes on",
        "nothing",
        tests=("tests/scenarios/limits.py::test_a_holder_that_dies_while_no_operator_is_there_frees_its_lock",),
    ),
    "child-fails": Row(
        "a child run fails",
        "fails the step with the child's own error, which `catch` knows by its type",
        "the path in the child, in `error.step`",
        "look at the child run that the detail names",
        Scenario(
            (done("hotel"), step("tour", workflow={"name": "sinks"})),
            error="Sunk",
            says=("by an iceberg",),
            undone=("hotel",),
            also=(workflow_of(steps(step("sail", fail={"error": "Sunk", "message": "by an iceberg"})), "sinks"),),
        ),
    ),
    "child-deleted": Row(
        "somebody deletes a child run",
        "the child undoes itself; then the step fails with the child's error",
        "that it was deleted, in `error.detail`",
        "nothing",
        Scenario(
            (done("hotel"), step("tour", workflow={"name": "drifts"})),
            error="Cancelled",
            says=("deleted before it had ended",),
            undone=("hotel",),
            deeds=(Deed("tour Running", delete="child tour"),),
            also=(workflow_of(steps(done("sail"), step("drift", wait=WAIT)), "drifts"),),
        ),
    ),
    "child-undone": Row(
        "a run fails after a child run of it has succeeded",
        "undoes the child at its place in the order",
        "the child is `Compensated`",
        "nothing",
        Scenario(
            (done("hotel"), step("tour", workflow={"name": "sails"}), stop()),
            error="NoFlight",
            undone=("tour", "hotel"),
            conditions=ALL_UNDONE,
            also=(workflow_of(steps(done("sail")), "sails"),),
        ),
    ),
    "too-deep": Row(
        "a Workflow calls itself without an end",
        "fails the run that would be too deep with `LimitExceeded`",
        "the chain of callers",
        "mend the condition",
        tests=("tests/scenarios/children.py::test_a_workflow_may_call_itself_until_the_limit_which_names_the_chain",),
    ),
    "item-fails": Row(
        "an item of a `forEach` fails",
        "stops the others and fails it; what was completed for other items is undone",
        "the item's error, with its path `a[1]/b`",
        "`tolerate`, or a `catch` inside",
        Scenario(
            (
                step(
                    "a",
                    forEach={
                        "in": ["x", "y"],
                        "parallelism": 1,
                        "steps": [done("b"), step("c", fail={"error": "NoRoom"}, **{"if": "${ item == 'y' }"})],
                    },
                ),
            ),
            error="NoRoom",
            undone=("a[1]/b", "a[0]/b"),
        ),
    ),
    "items-tolerated": Row(
        "some items of a `forEach` fail, and it tolerates that",
        "goes on to the end",
        "the counts `succeeded` and `failed`",
        "nothing",
        Scenario(
            (step("a", forEach={"count": 3, "tolerate": 1, "steps": [step("c", fail={"error": "NoRoom"}, **{"if": "${ index == 1 }"})]}),),
            phase="Succeeded",
            outputs={"failed": 1},
            fields={"outputs": [{"name": "failed", "value": "${ steps.a.outputs.failed }"}]},
        ),
    ),
    "too-many-items": Row(
        "a `forEach` is given more items than `maxItems`",
        "fails it before the first one begins",
        "how many there are, and may be",
        "raise `maxItems`, or divide the work",
        Scenario(
            (step("a", forEach={"count": "${ params.count }", "maxItems": 10, "steps": [step("b", set={"x": 1})]}),),
            error="LimitExceeded",
            says=("maxItems",),
            fields={"declared": [{"name": "count"}], "parameters": {"count": 20}},
            journal=("a/b never begins",),
        ),
    ),
}
