"""The oldest Kubernetes that is supported answers the recorded conversation with the verdicts of the newest: what we ask for, it knows.

Words differ, verdicts hardly: each exchange whose HTTP status is another one stands here, with the reason why Backstay does not mind. `make
e2e-oldest` runs it.
"""

from pathlib import Path

import pytest

from tests.cluster.build import release
from tests.embedded.apiserver.exchanges.record import answers_of_the_real_server, recorded

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        release() == "newest", reason="the record is of the newest release: tests/embedded/apiserver/test_answers.py holds it"
    ),
]

ANOTHER_VERDICT = {
    "a version that is no number": (500, 400),
    "a negative version": (500, 400),
    "options of another kind": (500, 400),
    "options that are no JSON": (500, 400),
    "options that are a list": (500, 400),
    "create while its definition goes": (405, 403),
}
"""Status on the oldest and on the newest. The first five are requests that no client of ours makes, refused either way; the last is refused to
whoever creates a run while the CRDs are being deleted."""


def test_each_recorded_request_gets_the_verdict_of_the_newest_release_but_for_a_few(tmp_path: Path) -> None:
    newest, oldest = recorded(), answers_of_the_real_server(tmp_path)
    statuses = {name: (answer["status"], newest[name]["status"]) for name, answer in oldest.items()}
    assert {name: both for name, both in statuses.items() if both[0] != both[1]} == ANOTHER_VERDICT
    assert len(statuses) >= 700
