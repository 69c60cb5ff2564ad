"""What is wrong with transactions: path, finding, mend."""

from typing import Any

import pytest
import yaml

from backstay.api.validate import check_workflow, parse_workflow
from backstay.errors import InvalidDefinition

JOB = "job: {image: i}"
PHASES = f"prepare: {{{JOB}}}, commit: {{{JOB}}}, abort: {{{JOB}}}"
A = f"{{name: a, {PHASES}}}"


def b(prepare: str = JOB, commit: str = JOB, abort: str = JOB) -> str:
    return f"{{name: b, prepare: {{{prepare}}}, commit: {{{commit}}}, abort: {{{abort}}}}}"


def book(*participants: str, head: str = "", step: str = "", after: str = "") -> str:
    return f"steps: [{{name: book, {step}transaction: {{{head}participants: [{', '.join(participants)}]}}}}{after}]"


def problems(text: str) -> list[str]:
    spec: dict[str, Any] = yaml.safe_load(text)
    try:
        found = check_workflow(parse_workflow(spec))
    except InvalidDefinition as error:
        found = list(error.problems)
    return [f"(warning) {problem}" if problem.severity == "warning" else str(problem) for problem in found]


WAYS = "give prepare, commit and abort (TwoPhase) or try, confirm and cancel (TCC), all three"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (book(A, f"{{name: b, prepare: {{{JOB}}}}}"), f"steps[0].transaction.participants[1]: has prepare; {WAYS}"),
        (book(A, "{name: b}"), f"steps[0].transaction.participants[1]: has no phase; {WAYS}"),
        (
            book(A, f"{{name: b, try: {{{JOB}}}, commit: {{{JOB}}}, abort: {{{JOB}}}}}"),
            f"steps[0].transaction.participants[1]: has commit, abort, try; {WAYS}",
        ),
        (
            book(A, b(), head="mode: TCC, "),
            'steps[0].transaction: the mode is TCC, and participant "a" has prepare, commit, abort; write mode: TwoPhase, or try, confirm, cancel',
        ),
        (book(A, A), 'steps[0].transaction.participants: participant "a" stands at [0] and at [1]; give each a name of its own'),
        (
            book(A, b(prepare=f"{JOB}, http: {{url: 'https://a.example.com'}}")),
            "steps[0].transaction.participants[1].prepare: has job and http; give exactly one of job, http, workflow",
        ),
        (
            book(A, b(commit="timeout: 3s")),
            "steps[0].transaction.participants[1].commit: has no action; give exactly one of job, http, workflow",
        ),
        (book(A, b(), head="mode: Three, "), 'steps[0].transaction.mode: "Three" is unknown; there are: TCC, TwoPhase'),
        (book(), "steps[0].transaction.participants: is empty; it needs at least one item"),
        (
            book(A),
            "(warning) steps[0].transaction.participants: one participant alone needs no transaction; write its work as a step, or name the others",
        ),
        (
            book(A, b(prepare="job: {image: i, args: ['${ participants.a.outputs.x }']}")),
            'steps[0].transaction.participants[1].prepare.job.args[0]: ${ participants.a.outputs.x }: position 1: there is no "participants" '
            "here; there are: attempt, lastError, params, run, self, steps, vars; participants is there in commit and confirm of a transaction only",
        ),
        (
            book(A, b(abort="job: {image: i, args: ['${ participants.a.outputs.x }']}")),
            'steps[0].transaction.participants[1].abort.job.args[0]: ${ participants.a.outputs.x }: position 1: there is no "participants" '
            "here; there are: attempt, lastError, params, run, self, steps, vars; participants is there in commit and confirm of a transaction only",
        ),
        (
            book(A, b(prepare="job: {image: i, args: ['${ self.outputs.x }']}")),
            'steps[0].transaction.participants[1].prepare.job.args[0]: self.outputs: there is no field "outputs"; there are: name, transaction',
        ),
        (
            book(A, b(prepare="job: {image: i, args: ['${ steps.book.outputs.a }']}")),
            'steps[0].transaction.participants[1].prepare.job.args[0]: steps.book: "book" is not done while its phases run; write self.outputs, '
            "or participants.NAME.outputs in the phase after Commit",
        ),
        (
            book(A, b(commit="job: {image: i, args: ['${ participants.c.outputs.x }']}")),
            'steps[0].transaction.participants[1].commit.job.args[0]: participants.c: there is no participant "c"; there are: a, b',
        ),
        (
            book(A, b(commit="job: {image: i, args: ['${ participants.a.output.x }']}")),
            'steps[0].transaction.participants[1].commit.job.args[0]: participants.a.output: there is no field "output"; there are: name, outputs, '
            'prepared, transaction; did you mean "outputs"?',
        ),
        (
            book(A, b(commit=f"{JOB}, timeout: 3s")),
            "steps[0].transaction.participants[1].commit.timeout: commit is tried until it succeeds, so nothing ends it; write attemptTimeout for "
            "a single attempt",
        ),
        (
            book(A, b(abort=f"{JOB}, retry: {{maxAttempts: 3, interval: 1s}}")),
            "steps[0].transaction.participants[1].abort.retry: abort is tried until it succeeds, whatever the error; remove maxAttempts",
        ),
        (
            book(A, b(prepare="workflow: {name: w, wait: false}")),
            "steps[0].transaction.participants[1].prepare.workflow.wait: a transaction answers for its participants and has to wait for them; "
            "remove wait: false",
        ),
        (
            book(A, b(prepare=f"{JOB}, timeout: 2m")),
            "(warning) steps[0].transaction.participants[1].prepare.timeout: timeout (2m) is longer than decisionTimeout (1m) and never comes to "
            "pass; make one of them fit the other",
        ),
        (
            book(A, b(), head="decisionTimeout: 10m, ", step="timeout: 5m, "),
            "(warning) steps[0].transaction.decisionTimeout: decisionTimeout (10m) is longer than the step's timeout (5m) and never comes to pass; "
            "make it shorter",
        ),
        (
            book(A, b(), step="retry: {maxAttempts: 2}, "),
            "steps[0].retry: transaction makes no attempts of its own; put retry on the phases of its participants",
        ),
        (
            book(A, b(), after=", {name: c, set: {x: '${ steps.book.outputs.a.abort.x }'}}"),
            'steps[1].set.x: steps.book.outputs.a.abort: there is no phase "abort"; there are: commit, prepare',
        ),
        (
            book(A, b(), after=", {name: c, set: {x: '${ steps.book.outputs.d.commit.x }'}}"),
            'steps[1].set.x: steps.book.outputs.d: there is no participant "d"; there are: a, b',
        ),
        (
            book(A, b(commit="http: {url: 'http://localhost/x'}")),
            'steps[0].transaction.participants[1].commit.http.url: "http://localhost/x" leads to localhost, which is the operator\'s own machine; '
            "name the host, or the Service, that is meant, as in http://payments.shop.svc",
        ),
        (
            book(A, b(commit="job: {image: i, workspaces: [{name: data, mountPath: /data}]}")),
            'steps[0].transaction.participants[1].commit.job.workspaces[0].name: there is no workspace "data"; the workflow has none; declare it in '
            "workspaces",
        ),
    ],
)
def test_a_faulty_transaction_is_answered_with_path_and_mend(text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    "text",
    [
        book(A, b()),
        book(A, b(), step="catch: [{errors: [NoTruck, HeuristicMixed], steps: [{name: c, set: {x: 1}}]}], "),
        book(A, b(commit="job: {image: i, args: ['${ participants.a.outputs.x }', '${ self.outputs.y }', '${ self.prepared }']}")),
        book(A, b(prepare="job: {image: i, args: ['${ self.transaction }', '${ self.name }']}, retry: {maxAttempts: 2, errors: ['*']}")),
        book(A, b(), after=", {name: c, set: {x: '${ steps.book.outputs.a.prepare.x }', y: '${ steps.book.outputs.b.commit.y }'}}"),
    ],
)
def test_a_sound_transaction_has_no_problems(text: str) -> None:
    assert problems(text) == []
