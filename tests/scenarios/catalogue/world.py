"""Failures of what is around the work: Kubernetes, and the operator itself. Most need a fault that only other tests can inject."""

from typing import Final

from tests.scenarios.catalogue.rows import Row, Scenario
from tests.scenarios.manifests import shell, step

_PODS = "tests/e2e/test_troubles_with_pods.py::"
_SERVER = "tests/e2e/test_troubles_with_the_server.py::"
_CRASHES = "tests/simulation/test_crashes.py::"
_RANDOM = "tests/simulation/test_random_sagas.py::test_a_saga_survives_whatever_happens_to_its_operator_and_to_the_server"
_ANSWERS = "tests/scenarios/answers.py::"
_PEOPLE = "tests/scenarios/people.py::"

KUBERNETES: Final[dict[str, Row]] = {
    "conflict": Row(
        "somebody else writes the run at the same moment (409)",
        "throws its decision away, looks again, and decides anew: nothing was done yet",
        "nothing",
        "nothing",
        tests=(_CRASHES + "test_a_fault_at_any_write_changes_no_outcome_and_no_job_runs_twice", _RANDOM),
    ),
    "throttled": Row(
        "the API server turns the operator away (429)",
        "waits as long as it is told",
        "runs go on more slowly",
        "give the operator a priority level of its own",
        tests=(_SERVER + "test_an_operator_that_is_turned_away_with_429_waits_as_told_and_its_runs_end", _RANDOM),
    ),
    "server-error": Row(
        "the API server answers 500 or 503",
        "tries again, with growing pauses",
        "Event `Waiting` where it lasts",
        "nothing",
        tests=(_CRASHES + "test_a_fault_at_any_write_changes_no_outcome_and_no_job_runs_twice", _RANDOM),
    ),
    "lost-answer": Row(
        "a write is done and its answer is lost",
        "looks before it does anything more; a Job that is made a second time is the same Job",
        "nothing",
        "nothing",
        tests=(_CRASHES + "test_a_fault_at_any_write_changes_no_outcome_and_no_job_runs_twice", _RANDOM),
    ),
    "outage": Row(
        "the API server, or etcd, is down for a while",
        "waits; what runs goes on; it takes runs up within 30 s",
        "nothing afterwards",
        "nothing",
        tests=(_SERVER + "test_an_outage_in_the_middle_of_runs_changes_none_of_them",),
    ),
    "watch-expired": Row(
        "the API server has forgotten what the operator has not yet seen (410)",
        "lists everything anew: nothing is missed, nothing is repeated",
        "nothing",
        "nothing",
        tests=(_SERVER + "test_an_operator_that_falls_behind_what_the_server_remembers_misses_nothing_and_repeats_nothing",),
    ),
    "quota": Row(
        "a quota on Jobs or pods is used up",
        "holds the step back, and goes on when there is room; uses up no attempt, and `startTimeout` does not run",
        "STATUS `Waiting`, the quota's words in `message`, Event `Waiting`, `backstay why`",
        "raise the quota, or wait",
        tests=(
            _PODS + "test_a_quota_on_jobs_is_waited_for_whatever_its_start_timeout_and_costs_no_write_meanwhile",
            _PODS + "test_a_quota_on_pods_is_waited_for_and_told_in_its_own_words_though_only_the_job_controller_hears_them",
        ),
    ),
    "webhook-down": Row(
        "an admission webhook for Jobs is down",
        "holds the step back until it answers",
        "STATUS `Waiting`, with the webhook's name",
        "mend the webhook",
        tests=(_PODS + "test_a_webhook_that_is_down_is_waited_for",),
    ),
    "webhook-denies": Row(
        "an admission webhook, or a policy, denies a Job",
        "fails the step at once with `AdmissionDenied` (Permanent)",
        "its words in `error.detail`",
        "mend what it objects to",
        tests=(_PODS + "test_a_webhook_that_denies_our_job_fails_the_step_at_once_in_its_own_words",),
    ),
    "invalid-job": Row(
        "the API server refuses a Job that cannot be",
        "fails the step at once with `InvalidJob` (Permanent)",
        "the field and what is wrong with it",
        "mend the job in the workflow",
        Scenario(
            (step("a", job=shell(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),),
            error="InvalidJob",
            says=("spec.template.spec.containers[0].resources.requests",),
        ),
    ),
    "namespace": Row(
        "the namespace of a run is deleted",
        "lets the run go: no Job can be made any more; what is not undone is recorded",
        "Event `CompensationAbandoned` in namespace `default`, a metric",
        "undo by hand what it names",
        tests=(
            _PEOPLE + "test_a_namespace_that_is_deleted_takes_its_runs_along",
            "tests/e2e/test_deletion.py::test_a_namespace_that_is_deleted_goes_and_it_is_told_what_was_not_undone",
            _CRASHES + "test_a_run_lets_go_of_a_namespace_that_is_being_deleted_whenever_the_operator_dies",
        ),
    ),
    "right-missing": Row(
        "a right of the operator is missing",
        "holds back what needs it, and goes on once it is granted",
        "STATUS `Waiting`, with the right and how to grant it",
        "`helm upgrade`",
        tests=("tests/chart/test_rights.py::test_without_a_right_a_user_sees_what_is_missing_and_afterwards_nothing_is_lost",),
    ),
    "account-missing": Row(
        "the service account of a job is not there",
        "waits for it; after `startTimeout` it fails with `InvalidJob`",
        "STATUS `Waiting`, with its name",
        "make it",
        tests=(_PODS + "test_a_service_account_that_comes_late_is_waited_for", _ANSWERS + "test_a_run_fails_with_words_that_help"),
    ),
    "workflow-missing": Row(
        "the Workflow of a run is not there",
        "waits a minute for it; then `WorkflowNotFound`",
        "STATUS `Pending`, condition `Succeeded=Unknown` with its name",
        "apply it",
        tests=(_ANSWERS + "test_a_run_whose_workflow_is_missing_says_so_and_goes_on_when_it_is_applied",),
    ),
    "revision-missing": Row(
        "the revision that a run asks for is not there",
        "fails the run",
        "those that are there, in `error.detail`",
        "name one of them",
        tests=(_ANSWERS + "test_a_run_of_a_revision_that_is_not_there_names_those_that_are",),
    ),
    "workflow-deleted": Row(
        "somebody deletes a Workflow under its live runs",
        "lets them go on with the revision that they began with",
        "nothing",
        "nothing",
        tests=("tests/scenarios/operation.py::test_a_workflow_that_is_deleted_leaves_its_live_runs_to_finish_even_after_a_restart",),
    ),
    "status-edited": Row(
        "somebody edits the status of a run by hand",
        "does not believe it, and puts it back from the journal (with the chart, the API server refuses such an edit)",
        "Event and entry `StatusRestored`",
        "nothing",
        tests=(
            _PEOPLE + "test_a_status_that_somebody_edits_is_not_believed_and_is_put_back",
            _PEOPLE + "test_a_run_whose_status_is_edited_to_look_finished_goes_on",
            _CRASHES + "test_a_status_changed_by_hand_is_restored_and_the_journal_tells",
        ),
    ),
    "condition-edited": Row(
        "somebody edits a condition of a run, or what its columns show, and leaves the journal as it is",
        "puts back what was there, with one write; what was edited while no operator ran, where it is `Succeeded`, `Complete` or `Suspended`",
        "Event and entry `StatusRestored`",
        "see who may write statuses",
        tests=("tests/unit/runtime/test_runs.py::test_a_condition_that_somebody_sets_by_hand_is_set_right_with_one_write_and_told_once",),
    ),
    "vanished": Row(
        "somebody takes the finalizer off a run that has something to undo, and it is gone; or it is deleted while that is put on",
        "can undo nothing any more, and tells what is left: what was done and is not undone, and what goes on",
        "Event `RunVanished`, an error in the log, a metric with an alert",
        "undo by hand what it names; to let a run go, use the annotation",
        tests=(
            "tests/unit/runtime/test_vanished.py::test_a_run_whose_finalizer_is_taken_off_by_hand_is_told_with_what_it_leaves",
            "tests/unit/runtime/test_vanished.py::test_a_run_that_was_deleted_while_its_finalizer_was_put_on_is_told",
        ),
    ),
    "backup": Row(
        "the cluster goes back to a backup",
        "goes on where the backup was made; what came after is done again under the same key",
        "runs as they were",
        "nothing, where steps are idempotent",
        tests=(
            "tests/e2e/test_backup.py::test_a_snapshot_of_etcd_brings_runs_back_exactly_and_what_came_after_it_is_done_again_under_the_same_key",
        ),
    ),
}

OPERATOR: Final[dict[str, Row]] = {
    "killed": Row(
        "the operator is killed, between any two of its calls",
        "the next one goes on from the status; no Job runs twice, no timer is lost",
        "nothing",
        "nothing",
        tests=(
            _CRASHES + "test_a_fault_at_any_write_changes_no_outcome_and_no_job_runs_twice",
            "tests/scenarios/operation.py::test_killing_the_operator_at_ten_random_moments_changes_no_outcome_and_no_job_runs_twice",
            _RANDOM,
        ),
    ),
    "two-operators": Row(
        "two operators are alive at once",
        "loses one of two writes each time, and that one does nothing",
        "nothing",
        "nothing",
        tests=(_CRASHES + "test_two_operators_at_once_do_no_harm",),
    ),
    "stale": Row(
        "an operator sees the world as it was some time ago",
        "loses its write, so that it starts nothing and ends nothing",
        "nothing",
        "nothing",
        tests=(_CRASHES + "test_an_operator_with_a_stale_view_starts_nothing_and_ends_nothing",),
    ),
    "clock": Row(
        "the operator's clock is wrong",
        "ends nothing early and nothing late; deletes nothing before its time",
        "a warning in its log",
        "mend the clock",
        tests=(_SERVER + "test_an_operator_whose_clock_is_five_minutes_off_ends_nothing_early_and_nothing_late",),
    ),
    "killed-while-undoing": Row(
        "the operator is killed in the middle of a compensation",
        "the next one goes on undoing: each step once, in the same order",
        "nothing",
        "nothing",
        tests=(_CRASHES + "test_a_run_that_is_deleted_is_undone_before_it_goes_whenever_the_operator_dies", _RANDOM),
    ),
    "timer": Row(
        "the operator is down when a timer falls due",
        "the timer falls due as soon as the operator is back",
        "nothing",
        "nothing",
        tests=("tests/scenarios/operation.py::test_a_timer_survives_a_restart_and_keeps_its_time",),
    ),
    "node-of-operator": Row(
        "the operator's node is lost",
        "another node takes the operator over",
        "runs end",
        "nothing",
        tests=("tests/containers/test_troubles.py::test_the_operator_is_taken_over_by_another_node_when_its_own_is_lost",),
    ),
    "upgrade": Row(
        "the operator is upgraded, and taken back, under live runs",
        "loses none, and repeats nothing",
        "nothing",
        "nothing",
        tests=("tests/upgrade/test_upgrade.py::test_an_upgrade_and_the_way_back_lose_no_run_and_repeat_nothing",),
    ),
}
