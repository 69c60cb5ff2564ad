"""What the API server says when it refuses a Job, or the Job controller's pod: each sentence was seen on a real one."""

import pytest

from backstay.engine.model import Hold
from backstay.executors.refusals import of_job, of_pod, reason, time_of

POD = 'Error creating: pods "order-1-charge-x7k2p" is forbidden: '
QUOTA = "exceeded quota: small, requested: pods=1, used: pods=5, limited: pods=5"
DOWN = 'failed calling webhook "x.example.com": failed to call webhook: Post "https://x.shop.svc:443/?timeout=5s": dial tcp: connection refused'


@pytest.mark.parametrize(
    ("words", "type_", "title", "detail"),
    [
        (f"{POD}{QUOTA}", "Quota", "Waiting for quota", QUOTA),
        (f"{POD}status unknown for quota: small, resources: pods", "Quota", "Waiting for quota", "status unknown for quota: small"),
        (f"Error creating: Internal error occurred: {DOWN}", "Webhook", "Waiting for an admission webhook", DOWN),
        (f"{POD}not yet ready to handle request", "ApiServer", "Waiting for the API server", "not yet ready to handle request"),
    ],
)
def test_what_passes_by_itself_is_waited_for(words: str, type_: str, title: str, detail: str) -> None:
    for found in (of_pod(words), of_job(words)):
        assert isinstance(found, Hold)
        assert (found.type, found.title, found.detail.startswith(detail)) == (type_, title, True)


def test_a_right_that_is_missing_is_waited_for_and_named_with_the_mend() -> None:
    words = 'jobs.batch is forbidden: User "bob" cannot create resource "jobs" in API group "batch" in the namespace "shop"'
    found = of_job(words)
    assert isinstance(found, Hold)
    assert "grant this account the right to create jobs.batch" in found.detail


@pytest.mark.parametrize(
    "words",
    [
        'violates PodSecurity "restricted:latest": runAsNonRoot != true',
        "maximum cpu usage per Container is 100m, but limit is 2",
        "failed quota: small: must specify limits.cpu for: main",
        "no PriorityClass with name urgent was found",
    ],
)
def test_what_a_policy_objects_to_is_told_without_the_name_of_a_pod_that_never_was(words: str) -> None:
    found = of_pod(f"{POD}{words}")
    assert not isinstance(found, Hold)
    assert (found.type, found.detail) == ("AdmissionDenied", f"no pod can be created: {words}")


def test_a_pod_that_is_invalid_by_the_default_of_a_limit_range_says_so() -> None:
    words = 'spec.containers[0].resources.requests: Invalid value: "200m": must be less than or equal to cpu limit of 50m'
    found = of_pod(f'Error creating: Pod "order-1-charge-x7k2p" is invalid: {words}')
    assert (found.type, found.detail) == ("AdmissionDenied", f"no pod can be created: {words}")


def test_a_denial_is_one_whatever_words_it_chooses() -> None:
    found = of_pod(f'Error creating: admission webhook "x.example.com" denied the request: {QUOTA}')
    assert not isinstance(found, Hold)
    assert found.type == "AdmissionDenied"


def test_a_service_account_that_is_not_there_is_a_mistake_of_the_workflow() -> None:
    found = of_pod('Error creating: pods "a-" is forbidden: error looking up service account shop/nope: serviceaccount "nope" not found')
    assert (found.type, found.detail) == ("InvalidJob", 'error looking up service account shop/nope: serviceaccount "nope" not found')


def test_words_of_any_length_fit_into_a_status() -> None:
    assert len(of_pod(POD + "x" * 5000).detail) < 700


def test_a_reason_that_is_nothing_but_a_name_stays() -> None:
    assert reason('pods "a" is forbidden: ') == 'pods "a" is forbidden: '


@pytest.mark.parametrize(
    ("event", "time"),
    [
        ({"series": {"lastObservedTime": "2026-11-23T10:00:02.5Z"}, "eventTime": "2026-11-23T10:00:00Z"}, "2026-11-23T10:00:02.5Z"),
        ({"deprecatedLastTimestamp": "2026-11-23T10:00:01Z", "eventTime": None}, "2026-11-23T10:00:01Z"),
        ({"eventTime": "2026-11-23T10:00:00Z"}, "2026-11-23T10:00:00Z"),
        ({}, ""),
    ],
)
def test_an_event_was_told_when_it_was_last_told(event: dict[str, object], time: str) -> None:
    assert time_of(event) == time
