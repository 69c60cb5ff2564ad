"""Failures of the work itself: containers and pods, and calls over HTTP."""

from typing import Final

from tests.scenarios.catalogue.rows import ALL_UNDONE, HANGS, NOBODY, SERVER, Deed, Row, Scenario, again, done, says
from tests.scenarios.manifests import shell, step

_PODS = "tests/e2e/test_troubles_with_pods.py::"
_CONTAINERS = "tests/containers/test_troubles.py::"
_ANSWERS = "tests/scenarios/answers.py::"
_CALLS = "tests/unit/executors/http/test_calls.py::"

CONTAINERS: Final[dict[str, Row]] = {
    "exit-code": Row(
        "a container ends with an exit code other than 0",
        "fails the step with `ExitCode`, undoes what was done before, and fails the run",
        "`error.type: ExitCode`, the code and what it left in `error.detail`; Events `RunFailing`, `StepCompensated`; `Compensated=True`",
        "read `backstay logs RUN STEP`; mend it and start another run",
        Scenario(
            (done("hotel"), step("a", job=shell("echo the disk is full > $BACKSTAY_OUTPUT; exit 3"))),
            error="ExitCode",
            says=("exit code 3", "the disk is full"),
            undone=("hotel",),
            conditions=ALL_UNDONE | {"Succeeded": "False ExitCode"},
            events={"RunFailing": "exit code 3", "StepCompensated": "hotel"},
        ),
    ),
    "fails-at-first": Row(
        "an attempt fails, and another one may help",
        "makes another attempt after a pause, as `retry` says, each as a Job of its own",
        "phase `Retrying` with the error of the last attempt, Event `StepRetrying`; `attempts`",
        "nothing",
        Scenario(
            (step("a", job=shell('test "$BACKSTAY_ATTEMPT" = 3'), retry=again(3)),),
            phase="Succeeded",
            attempts={"a": 3},
            events={"StepRetrying": "exit code 1"},
        ),
    ),
    "declined": Row(
        "a container reports an error of the business in its output",
        "fails the step with that type, which is `Permanent`: no retry that is for `Transient` errors helps",
        "the container's own type and message as `error`",
        "catch it, where the workflow knows what to do",
        Scenario(
            (step("a", job=says('{"error": {"type": "CardDeclined", "message": "no money left"}}'), retry={"maxAttempts": 3}),),
            error="CardDeclined",
            says=("no money left",),
            attempts={"a": 1},
        ),
    ),
    "declined-and-caught": Row(
        "the same, and a `catch` is for that type",
        "runs the handler, which sees the error as `error`; the run goes on after the step",
        "the step is `Caught`; Events `StepCatching`, `StepCaught`",
        "nothing",
        Scenario(
            (
                step(
                    "a",
                    job=says('{"error": {"type": "CardDeclined"}}'),
                    catch=[{"errors": ["CardDeclined"], "steps": [step("note", set={"why": "${ error.type }"})]}],
                ),
                step("after", set={"x": 1}),
            ),
            phase="Succeeded",
            ends={"a": "Caught", "after": "Succeeded"},
            events={"StepCaught": "a"},
        ),
    ),
    "handler-fails": Row(
        "the handler of an error fails itself",
        "fails the step with the handler's error; steps that the handler completed are undone like any others",
        "the handler's error, with the path of the step in it that raised it",
        "as for any error",
        Scenario(
            (step("a", fail={"error": "First"}, catch=[{"steps": [done("tell"), step("no", fail={"error": "Second"})]}]),),
            error="Second",
            undone=("a:catch0/tell",),
        ),
    ),
    "oom": Row(
        "a container takes more memory than it may",
        "fails the attempt with `OOMKilled`",
        "the limit in `error.detail`",
        "raise `job.resources.limits.memory`",
        tests=(_CONTAINERS + "test_a_container_that_takes_more_memory_than_it_may_fails_with_what_it_was_allowed",),
    ),
    "disk": Row(
        "a container fills a volume, or its disk",
        "fails the attempt with `StorageExceeded`; that is no disruption, and not run again by itself",
        "the volume and its limit in `error.detail`",
        "raise the `sizeLimit`, or `ephemeral-storage`",
        tests=(_CONTAINERS + "test_a_pod_that_fills_its_disk_fails_with_what_it_was_allowed_and_is_not_run_again",),
    ),
    "image": Row(
        "an image cannot be pulled",
        "waits for `startTimeout`, as the next try may go well; then `ImagePull`",
        "STATUS `Waiting`, Event `Waiting` with the image; `backstay why`",
        "push the image or mend its name; within `startTimeout` the run goes on",
        tests=(
            _ANSWERS + "test_a_run_that_waits_for_an_image_says_so_and_goes_on_or_is_cancelled",
            _PODS + "test_an_image_that_is_not_there_is_named_with_the_words_of_the_node",
            _CONTAINERS + "test_an_image_that_cannot_be_pulled_is_told_at_once_and_ends_the_step_after_its_start_timeout",
        ),
    ),
    "unschedulable": Row(
        "no node can take the pod",
        "waits for `startTimeout`, then `Unschedulable`",
        "STATUS `Waiting` in the scheduler's words",
        "make room, lower the requests, mend the node selector",
        tests=(_PODS + "test_a_pod_that_fits_no_node_says_why_and_fails_after_its_start_timeout",),
    ),
    "never-starts": Row(
        "a Secret or ConfigMap of the pod is missing, so that it never starts",
        "waits, and goes on when it is made; after `startTimeout` it fails with `InvalidJob`",
        "STATUS `Waiting`, with the name of what is missing",
        "make it",
        tests=(_ANSWERS + "test_a_run_that_waits_for_a_secret_goes_on_when_it_is_made", _ANSWERS + "test_a_run_fails_with_words_that_help"),
    ),
    "no-command": Row(
        "the command of a container does not exist",
        "fails at once with `InvalidJob`",
        "the command in `error.detail`",
        "mend the command",
        Scenario((step("a", job={"image": "busybox:1.36", "command": ["frobnicate"]}),), error="InvalidJob", says=("frobnicate",)),
    ),
    "evicted": Row(
        "a pod is evicted, preempted, or its node is drained",
        "lets the same attempt run in another pod; no attempt is used up",
        "Event `StepDisrupted`, `disruptions`",
        "nothing, unless it happens often",
        tests=(
            _PODS + "test_a_pod_that_is_evicted_is_waited_for_and_runs_again_in_the_same_job",
            _CONTAINERS + "test_a_drained_node_moves_its_steps_to_another_and_no_attempt_is_used_up",
        ),
    ),
    "too-often": Row(
        "an attempt is disrupted more than 20 times",
        "fails it with what disrupted it last",
        "`Evicted`, `NodeLost` or `PodDeleted` as error",
        "look for who takes the pods away",
        tests=("tests/unit/engine/test_disruptions.py::test_an_attempt_that_is_disrupted_again_and_again_is_given_up_with_the_reason",),
    ),
    "node-lost": Row(
        "a node is lost for good",
        "waits until Kubernetes gives its pods up; then the same attempt runs elsewhere",
        "the step waits for another pod",
        "delete the Node where you know that the machine is off",
        tests=(_CONTAINERS + "test_a_node_that_loses_its_power_costs_time_and_no_attempt",),
    ),
    "node-cut-off": Row(
        "a node is cut off from the cluster, and comes back",
        "starts no second pod while the first may still run",
        "the step waits",
        "nothing",
        tests=(_CONTAINERS + "test_a_node_that_is_cut_off_and_comes_back_runs_nothing_twice_at_once",),
    ),
    "pod-deleted": Row(
        "somebody deletes a pod",
        "runs the same attempt again, with the same idempotency key; no attempt is used up",
        "Event `StepDisrupted` with the pod",
        "nothing",
        tests=(
            _ANSWERS + "test_a_pod_that_somebody_deletes_is_made_up_for_without_using_up_an_attempt",
            _PODS + "test_a_pod_that_is_deleted_by_hand_runs_again_without_using_up_an_attempt",
        ),
    ),
    "job-deleted": Row(
        "somebody deletes the Job of an attempt",
        "fails the attempt with `JobDeleted`, which a `retry` may be for",
        "Event `StepRetrying`, `error.type: JobDeleted`",
        "nothing where the step has a `retry`",
        Scenario(
            (step("a", job=shell('test "$BACKSTAY_ATTEMPT" = 2 || sleep 600'), retry=again(2)),),
            phase="Succeeded",
            attempts={"a": 2},
            deeds=(Deed("a Running", delete="job a"),),
            events={"StepRetrying": "JobDeleted"},
        ),
    ),
    "no-json": Row(
        "the output of a container is no JSON object",
        "fails the attempt with `InvalidOutput`: what it did is not known to the steps that follow",
        "what was found, in `error.detail`",
        "write one JSON object to `$BACKSTAY_OUTPUT`",
        Scenario((step("a", job=says("payment done")),), error="InvalidOutput", says=("no JSON", "payment done")),
    ),
    "output-too-large": Row(
        "the output takes more than 4,095 bytes",
        "fails the attempt with `InvalidOutput`",
        "how large it is, and how large it may be",
        "hand large data over by reference",
        Scenario(
            (step("a", job=shell("head -c 5000 /dev/zero | tr '\\0' x > $BACKSTAY_OUTPUT")),),
            error="InvalidOutput",
            says=("at most 4,095", "by reference"),
        ),
    ),
    "undeclared-output": Row(
        "a container does not leave what the step declares in `outputs`",
        "fails the attempt with `InvalidOutput`",
        "the name that is missing",
        "mend the container, or the declaration",
        tests=(
            "tests/unit/engine/test_declared_outputs.py::test_outputs_that_are_not_as_declared_fail_the_step_with_the_place_and_the_mend",
        ),
    ),
    "too-long": Row(
        "a container never ends",
        "ends the attempt after `attemptTimeout`: its pod gets its grace period; then `retry`, `catch`, or failed with `Timeout`",
        "Event `StepRetrying` for each attempt, `error.type: Timeout`",
        "look what it waits for; raise `attemptTimeout`",
        Scenario(
            (step("a", job=shell(HANGS), attemptTimeout="500ms", retry=again(2)),),
            error="Timeout",
            says=("attemptTimeout",),
            attempts={"a": 2},
        ),
    ),
    "late": Row(
        "an attempt succeeds after it has timed out, while it is being stopped",
        "records that, and does not believe it: the outcome of the attempt is unknown",
        "`LateResult` in the journal",
        "nothing; make steps idempotent, by the key that each attempt is given",
        tests=("tests/unit/engine/test_random_sagas.py::test_what_was_done_is_undone_exactly_once_in_reverse_or_the_run_says_why",),
    ),
    "quick-end": Row(
        "a container ends while no operator runs",
        "sees it when the operator is back",
        "the run goes on",
        "nothing",
        tests=("tests/scenarios/operation.py::test_what_ended_while_no_operator_was_there_is_seen_by_the_next_one",),
    ),
}

HTTP: Final[dict[str, Row]] = {
    "http-refused": Row(
        "nobody listens where an `http` step calls",
        "fails the attempt with `HttpUnavailable` (Transient)",
        "`connection refused` in `error.detail`",
        "`retry` where the other side comes back by itself",
        Scenario((step("a", http={"url": NOBODY}, retry=again(2)),), error="HttpUnavailable", attempts={"a": 2}),
    ),
    "http-500": Row(
        "the other side answers 500",
        "fails the attempt with `HttpStatus` (Transient: another attempt may help)",
        "the status and how the answer begins",
        "look at the other side; the idempotency key is the same in every attempt",
        Scenario(
            (done("hotel"), step("a", http={"url": f"{SERVER}/500"}, retry={"maxAttempts": 2, "interval": "10ms"})),
            error="HttpUnavailable",
            says=("500",),
            attempts={"a": 2},
            undone=("hotel",),
        ),
    ),
    "http-404": Row(
        "the other side says that the request is wrong (4xx)",
        "fails the step with `HttpStatus` (Permanent): a retry for `Transient` errors does not repeat it",
        "the status and how the answer begins",
        "mend the request; or list the status in `expect`, or name it in `errors`",
        Scenario(
            (step("a", http={"url": f"{SERVER}/404"}, retry={"maxAttempts": 3}),), error="HttpStatus", says=("404",), attempts={"a": 1}
        ),
    ),
    "http-busy": Row(
        "the other side says when to come back (429 or 503 with Retry-After)",
        "makes the next attempt not before that",
        "Event `StepRetrying`; `dueAt`",
        "nothing",
        Scenario(
            (step("a", http={"url": f"{SERVER}/busy"}, retry={"maxAttempts": 2, "interval": "1ms"}),),
            phase="Succeeded",
            attempts={"a": 2},
            events={"StepRetrying": "429"},
        ),
    ),
    "http-silent": Row(
        "the other side takes the request and never answers",
        "ends the call after `attemptTimeout`; whether it was carried out is unknown",
        "`Timeout`",
        "a `compensate` is told so (`self.outcome`)",
        Scenario((step("a", http={"url": f"{SERVER}/silent"}, attemptTimeout="500ms"),), error="Timeout"),
    ),
    "http-forbidden": Row(
        "a workflow calls a host that the installation does not allow",
        "calls nobody; fails with `HostForbidden`, wherever the name leads",
        "the entry to have added",
        "ask for `http.allowedHosts`",
        Scenario(
            (step("a", http={"url": "https://api.example.com/"}),), error="HostForbidden", says=('"api.example.com"', "http.allowedHosts")
        ),
    ),
    "http-tls": Row(
        "the certificate of the other side is not to be trusted",
        "calls nobody; fails with `HttpUnavailable`",
        "what is wrong with it",
        "have its authority added",
        tests=(_CALLS + "test_a_certificate_is_for_the_name_that_was_asked_for_not_for_where_it_led",),
    ),
    "http-killed": Row(
        "the operator dies while it waits for an answer",
        "the next operator makes the same call again, under the same key",
        "one charge, however often it was asked for",
        "nothing, where the other side knows the key",
        tests=("tests/scenarios/http.py::test_a_call_whose_operator_was_killed_is_made_again_under_the_same_key_and_counts_once",),
    ),
}
