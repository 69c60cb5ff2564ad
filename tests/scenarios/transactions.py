"""Transactions: decided before anybody is told, carried through whoever wants the run to end, and resolved by a person where one decides alone."""

import json

import pytest

from tests.scenarios.fixtures import journal_kinds
from tests.scenarios.manifests import run_of, shell, step
from tests.support.api import Object
from tests.support.cluster import Cluster, Place, condition, condition_of, phase_of, step_of

QUICK = {"interval": "100ms", "maxDelay": "200ms", "jitter": "None"}
DOOR = {"name": "door", "configMap": {"name": "door", "optional": True}}
"""A ConfigMap that is not there until a test makes it: whoever waits for it fails until then."""


@pytest.fixture(scope="module")
def office(cluster: Cluster) -> Place:
    """One namespace for all transactions of this module."""
    if not cluster.operator.is_running:
        cluster.operator.start()
    return cluster.place("transactions")


def participant(name: str, prepare: Object | None = None, commit: Object | None = None) -> Object:
    told = shell('echo "{\\"under\\": \\"$BACKSTAY_TRANSACTION\\", \\"prepared\\": \\"$BACKSTAY_PREPARED\\"}" > "$BACKSTAY_OUTPUT"')
    return {
        "name": name,
        "prepare": {"job": prepare or told},
        "commit": {"job": commit or told, "retry": QUICK},
        "abort": {"job": told, "retry": QUICK},
    }


def book(*participants: Object) -> Object:
    return step("book", transaction={"decisionTimeout": "30s", "participants": [*participants]})


WAITS = shell('test -e "$0/open"', args=["/door"], workspaces=[{"name": "door", "mountPath": "/door"}])
ALONE = shell('echo "{\\"error\\": {\\"type\\": \\"HeuristicRollback\\", \\"message\\": \\"by hand\\"}}" > "$BACKSTAY_OUTPUT"')


def decision(run: Object) -> str | None:
    return str(step_of(run, "book").get("decision"))


def test_all_participants_commit_and_are_told_the_same_transaction(office: Place) -> None:
    outputs = [{"name": name, "value": f"${{ steps.book.outputs.{name}.commit }}"} for name in "ab"]
    office.apply(run_of("committed", book(participant("a"), participant("b")), outputs=outputs))
    run = office.ended("committed")
    assert (run["status"]["phase"], decision(run)) == ("Succeeded", "Commit")
    one, other = run["status"]["outputs"]["a"], run["status"]["outputs"]["b"]
    assert one == other
    assert one["under"].startswith("backstay-") and one["prepared"] == "Succeeded"
    kinds = journal_kinds(run)
    assert kinds.index("TransactionDecided") < len(kinds) - 1 - kinds[::-1].index("AttemptStarted")


def test_a_run_that_is_cancelled_while_it_prepares_aborts_at_every_participant(office: Place) -> None:
    office.apply(run_of("aborted", book(participant("a"), participant("b", prepare=shell("sleep 600")))))
    office.reached("aborted", "book/a/prepare", "Succeeded")
    office.reached("aborted", "book/b/prepare")
    office.kubectl("patch", "wfrun", "aborted", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "a whim"}}}')
    run = office.ended("aborted")
    assert (run["status"]["phase"], decision(run)) == ("Cancelled", "Abort")
    assert step_of(run, "book/a/abort")["outputs"]["prepared"] == "Succeeded"
    assert phase_of(run, "book/a/commit") == ""


def test_a_decided_transaction_is_in_doubt_until_it_is_carried_through_whoever_dies_or_wants_the_run_to_end(office: Place) -> None:
    office.apply(run_of("doubt", book(participant("a"), participant("b", commit=WAITS)), workspaces=[DOOR]))
    office.reached("doubt", "book/a/commit", "Succeeded")
    run = office.until("doubt", lambda run: condition(run, "InDoubt") == "True")
    assert "book is to be committed, and not so yet at b" in condition_of(run, "InDoubt")["message"]
    assert "InDoubt" in office.kubectl("get", "wfrun", "doubt")
    office.kubectl("patch", "wfrun", "doubt", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "no patience"}}}')
    office.cluster.operator.restart()
    attempts = step_of(office.run("doubt"), "book/b/commit")["attempt"]
    run = office.until("doubt", lambda run: step_of(run, "book/b/commit")["attempt"] > attempts)
    assert (run["status"]["phase"], condition(run, "Complete")) == ("Stopping", "False")
    office.kubectl("create", "configmap", "door", "--from-literal=open=yes")
    run = office.ended("doubt")
    assert (run["status"]["phase"], phase_of(run, "book"), phase_of(run, "book/b/commit")) == ("Cancelled", "Succeeded", "Succeeded")
    assert condition(run, "InDoubt") == "False"


def test_a_participant_that_decided_alone_is_not_asked_again_and_a_person_resolves_it(office: Place) -> None:
    office.apply(run_of("alone", book(participant("a"), participant("b", commit=ALONE))))
    run = office.reached("alone", "book/b/commit", "Paused")
    assert (run["status"]["status"], step_of(run, "book/b/commit")["attempt"]) == ("Stalled", 1)
    request = {"id": "one", "step": "book/b/commit", "action": "Skip", "reason": "entered by hand"}
    office.kubectl("patch", "wfrun", "alone", "--type=merge", "-p", json.dumps({"spec": {"requests": [request]}}))
    run = office.ended("alone")
    assert (run["status"]["phase"], phase_of(run, "book/b/commit")) == ("Succeeded", "Skipped")
