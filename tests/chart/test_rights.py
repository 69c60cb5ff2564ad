"""The operator's rights, each one proved: it lives with them and is refused nothing, and it has none that nobody would miss."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from backstay.cli import preflight
from backstay.cli.failures import CommandFailed
from backstay.kube.client import Client
from backstay.kube.login import find_login
from tests.chart.helm import NAMESPACE
from tests.chart.operated import IMPERSONATE, Release, Right, operator_rules, rights_of
from tests.chart.story import (
    GIVES_UP,
    HOLD,
    UNDONE,
    WORKSPACE,
    foreign_claim,
    foreign_job,
    foreign_journal,
    letter_of,
    limited,
    live_through_everything,
    long_run,
    mounting,
    obstruct,
    resolved,
)
from tests.scenarios.manifests import ONE, run_by_name, run_of, shell, step, workflow_of
from tests.scenarios.resource import allow, as_manager, manifest
from tests.support.cluster import Place, condition
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

RIGHTS = sorted(rights_of(operator_rules()))
GROUP = "backstay.dev"
NOT_REQUESTS: dict[Right, str] = {
    (GROUP, "workflowruns/finalizers", "update"): "an admission plugin asks whether the operator may; the operator never does it",
}
WARNED = {
    (group, f"{resource}/{subresource}".rstrip("/"), verb)
    for (group, resource, subresource, verbs), _ in preflight.WANTED
    for verb in verbs
}
"""What the operator can begin without, because not every cluster and not every workflow needs it."""


def spoken(right: Right) -> str:
    """Return a right in the words of messages: `create jobs.batch`."""
    group, resource, verb = right
    name, slash, subresource = resource.partition("/")
    return f"{verb} {name}{group and '.'}{group}{slash}{subresource}"


# ------------------------------------------------------------------------------------------------------ no less, no more


def test_an_operator_of_all_namespaces_is_refused_nothing_and_uses_every_right(release: Release) -> None:
    place = release.cluster.place("all")
    live_through_everything(place)
    asked = release.asked()
    assert [each for each in asked if each.is_forbidden] == []
    used = {each.right for each in asked}
    assert release.granted() == set(RIGHTS)
    assert set(RIGHTS) - used == set(NOT_REQUESTS)


def test_an_operator_of_one_namespace_is_refused_nothing_and_leaves_the_others_alone(release: Release) -> None:
    place, other = release.cluster.place("one"), release.cluster.place("other")
    values = {
        "watchNamespaces": [place.name],
        "crds": {"enabled": False},
        "userRoles": {"enabled": False},
        "admissionPolicies": {"enabled": False},
    }
    narrow = replace(release, name="narrow", operators=[])
    with release.stopped():
        other.apply(run_of("of-others", HOLD))
        narrow.install(values=values)
        narrow.operator("--namespace", place.name).start()
        try:
            live_through_everything(place)
        finally:
            narrow.end()
        assert "status" not in other.run("of-others")
        assert [each for each in narrow.asked() if each.is_forbidden] == []
        narrow.helm("uninstall")


LEASE_RIGHTS = {(preflight.LEASES[0], preflight.LEASES[1], verb) for verb in preflight.LEASES[3]}


def test_an_operator_that_shares_the_runs_uses_every_right_on_leases_and_no_other_namespace(release: Release) -> None:
    place = release.cluster.place("shared")
    with release.stopped():
        operator = release.operator(environment={"BACKSTAY_SHARDS": "2"})
        operator.start()
        place.apply(run_of("a", ONE))
        place.ended("a")
        assert operator.stop() == 0
        release.operators.remove(operator)
    asked = [each for each in release.asked() if each.right[1] == "leases"]
    assert {each.right for each in asked} == LEASE_RIGHTS
    assert [each for each in asked if each.is_forbidden or f"/namespaces/{NAMESPACE}/" not in each.path] == []


@pytest.mark.parametrize("right", sorted(LEASE_RIGHTS), ids=spoken)
async def test_an_operator_that_lacks_a_right_on_its_lease_says_so_before_it_begins(release: Release, right: Right) -> None:
    user = f"lacks-leases-{right[2]}"
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": [verb]} for group, resource, verb in {*RIGHTS, *LEASE_RIGHTS} - {right}
    ]
    _bind(release, user, rules)
    access = find_login(str(release.cluster.kubeconfig))()
    async with Client(replace(access, headers=(*access.headers, ("Impersonate-User", user)))) as client:
        with pytest.raises(CommandFailed, match=f"missing are: {spoken(right)} in {NAMESPACE}; .*--lease"):
            await preflight.check(client, (), NAMESPACE)


def test_an_installation_can_do_without_acting_as_service_accounts() -> None:
    assert set(RIGHTS) - rights_of(operator_rules({"impersonation": {"enabled": False}})) == {IMPERSONATE}


# -------------------------------------------------------------------------------------------- each one is missed at start


@pytest.mark.parametrize("right", RIGHTS, ids=spoken)
async def test_an_operator_that_lacks_a_right_says_so_before_it_begins(
    release: Release, right: Right, caplog: pytest.LogCaptureFixture
) -> None:
    user = f"lacks-{RIGHTS.index(right)}"
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        for group, resource, verb in RIGHTS
        if (group, resource, verb) != right
    ]
    _bind(release, user, rules)
    access = find_login(str(release.cluster.kubeconfig))()
    async with Client(replace(access, headers=(*access.headers, ("Impersonate-User", user)))) as client:
        if right in WARNED:
            await preflight.check(client, ())
            assert f"without the right to {spoken(right)} in all namespaces" in caplog.text
            return
        with pytest.raises(CommandFailed) as told:
            await preflight.check(client, ())
    assert f"the rights do not suffice, missing are: {spoken(right)} in all namespaces; grant them as the chart does" in str(told.value)


def _bind(release: Release, user: str, rules: list[dict[str, list[str]]]) -> None:
    api, version = "/apis/rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io/v1"
    role = {"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules}
    release.cluster.api.call("POST", f"{api}/clusterroles", role)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    everyone = [
        {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "Group", "name": user, "apiGroup": "rbac.authorization.k8s.io"},
    ]
    binding = {"apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": user}, "roleRef": reference, "subjects": everyone}
    release.cluster.api.call("POST", f"{api}/clusterrolebindings", binding)


# --------------------------------------------------------------------------------------------- each one is missed at work


class Outage:
    """A right is taken away in a namespace of its own: what a user then sees, and what the operator says."""

    def __init__(self, release: Release, place: Place, right: Right) -> None:
        self.release, self.place, self.right = release, place, right
        self._log = release.operators[0].log
        self._said_before = len(self._log.read_text())

    def said(self) -> str:
        """What the operator has logged since."""
        return self._log.read_text()[self._said_before :]

    def told_of(self, run: str) -> str:
        """What Events and the run itself tell a user."""
        status = self.place.run(run).get("status", {})
        return "\n".join(
            [event.get("message", "") for event in self.place.events(run)] + [str(step.get("message")) for step in status.get("steps", ())]
        )

    def is_told(self, run: str) -> None:
        """Wait until a user who looks at a run sees which right is missing, and what to do."""
        wanted = f"grant this account the right to {spoken(self.right)}"
        wait_for(
            lambda: wanted in self.told_of(run), what=lambda: f"no word of it; there is\n{self.told_of(run)}\nand the log\n{self.said()}"
        )

    def is_logged(self) -> None:
        """Wait until the operator's log names the missing right, and says what to do."""
        wait_for(
            lambda: f"grant this account the right to {spoken(self.right)}" in self.said(), what=lambda: f"the log says\n{self.said()}"
        )


def a_run_that_ends_late(outage: Outage, run: dict[str, object] | None = None, succeeds: str = "True") -> None:
    """A run that is made while the right is missing tells so, and ends once it is given back."""
    with outage.release.without(outage.right):
        outage.place.apply(run or run_of("late", step(job=shell())))
        outage.is_told("late")
        assert condition(outage.place.run("late"), "Complete") != "True"
    assert condition(outage.place.ended("late"), "Succeeded") == succeeds


def a_saga_that_ends_late(outage: Outage) -> None:
    a_run_that_ends_late(outage, run_of("late", UNDONE, step("no", fail={"error": "Enough"})), "False")
    assert condition(outage.place.run("late"), "Compensated") == "True"


def a_workspace_that_is_made_late(outage: Outage) -> None:
    a_run_that_ends_late(outage, run_of("late", step(job=mounting()), workspaces=[WORKSPACE]))


def a_claim_of_somebody_else_that_cannot_be_looked_at(outage: Outage) -> None:
    outage.place.create(foreign_claim())
    with outage.release.without(outage.right):
        outage.place.apply(run_of("late", step(job=mounting()), workspaces=[WORKSPACE]))
        outage.is_told("late")
        outage.place.cluster.api.delete("persistentvolumeclaims", outage.place.name, foreign_claim()["metadata"]["name"])
    assert condition(outage.place.ended("late"), "Succeeded") == "True"


def a_resource_step_that_fails_and_says_why(outage: Outage) -> None:
    allow(outage.place, "create")
    make = step(resource={"create": manifest()})
    with outage.release.without(outage.right):
        outage.place.apply(as_manager(run_of("early", make)))
        error = outage.place.ended("early")["status"]["error"]
        assert error["type"] == "Forbidden"
        assert f"the operator may not act as service account {outage.place.name}/manager" in error["detail"]
        assert "impersonation.enabled" in error["detail"]
    outage.place.apply(as_manager(run_of("late", make)))
    assert condition(outage.place.ended("late"), "Succeeded") == "True"


def a_child_run_that_is_made_late(outage: Outage) -> None:
    outage.place.apply(workflow_of({"steps": [ONE]}, "child"))
    a_run_that_ends_late(outage, run_of("late", step("call", workflow={"name": "child"})))


def a_job_that_is_not_stopped(outage: Outage) -> None:
    outage.place.apply(run_of("late", step(job=shell("sleep 60"))))
    wait_for(lambda: outage.place.jobs("late"), what="no Job")
    with outage.release.without(outage.right):
        outage.place.kubectl("patch", "wfrun", "late", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "x"}}}')
        outage.is_told("late")
    outage.place.ended("late")
    wait_for(lambda: not outage.place.jobs("late"), what="the Job is still there")


def a_job_of_somebody_else_that_cannot_be_looked_at(outage: Outage) -> None:
    outage.place.apply(run_of("late", step(job=shell()), suspend=True))
    outage.place.until("late", lambda run: condition(run, "Suspended") == "True")
    foreign = foreign_job(outage.place, "late")
    with outage.release.without(outage.right):
        outage.place.kubectl("patch", "wfrun", "late", "--type=merge", "-p", '{"spec": {"suspend": false}}')
        outage.is_told("late")
        outage.place.cluster.api.delete("jobs", outage.place.name, foreign["metadata"]["name"])
    assert condition(outage.place.ended("late"), "Succeeded") == "True"


def a_run_that_cannot_be_read_anew(outage: Outage) -> None:
    """What a run wants in the world is done only if nobody has overtaken: a Job that a quota holds up is such a case."""
    obstruct(outage.place, **{"count/jobs.batch": "0"})
    outage.place.apply(run_of("late", step(job=shell())))
    wait_for(lambda: "exceeded quota" in outage.told_of("late"), what=lambda: outage.told_of("late"))
    with outage.release.without(outage.right):
        outage.is_told("late")
        outage.place.kubectl("delete", "quota", "none")
    assert condition(outage.place.ended("late"), "Succeeded") == "True"


def a_finished_run_that_stays(outage: Outage) -> None:
    outage.place.apply(run_of("late", ONE, ttl={"succeeded": "1s"}))
    with outage.release.without(outage.right):
        outage.is_logged()
        assert outage.place.has_run("late")
    outage.place.gone("late")


def a_workflow_that_is_not_looked_at(outage: Outage) -> None:
    with outage.release.without(outage.right):
        outage.place.apply(workflow_of({"steps": [ONE]}, "new"), run_by_name("late", "new"))
        outage.is_logged()
    assert condition(outage.place.ended("late"), "Succeeded") == "True"


def a_revision_that_cannot_be_read(outage: Outage) -> None:
    outage.place.apply(workflow_of({"steps": [ONE]}, "new"))
    outage.place.kubectl("wait", "wf/new", "--for=condition=Ready", "--timeout=20s")
    a_run_that_ends_late(outage, run_by_name("late", "new"))


def a_revision_that_stays(outage: Outage) -> None:
    outage.place.apply(workflow_of({"steps": [ONE]}, "new"))
    outage.place.kubectl("wait", "wf/new", "--for=condition=Ready", "--timeout=20s")
    with outage.release.without(outage.right):
        outage.place.kubectl("delete", "wf", "new")
        outage.is_logged()
        assert outage.place.cluster.api.list("controllerrevisions", outage.place.name)
    wait_for(lambda: not outage.place.cluster.api.list("controllerrevisions", outage.place.name), what="the revision stays")


def a_job_without_a_pod(outage: Outage) -> None:
    obstruct(outage.place, pods="0")
    with outage.release.without(outage.right):
        outage.place.apply(run_of("late", step(job=shell())))
        outage.is_told("late")
    outage.place.kubectl("patch", "wfrun", "late", "--type=merge", "-p", '{"spec": {"cancel": {"reason": "x"}}}')
    outage.place.ended("late")


def events_that_are_lost(outage: Outage) -> None:
    outage.place.apply(run_of("late", HOLD))
    outage.place.reached("late", "hold", "Waiting")
    with outage.release.without(outage.right):
        for suspend, holds in (("true", "True"), ("false", "False"), ("true", "True")):
            outage.place.kubectl("patch", "wfrun", "late", "--type=merge", "-p", f'{{"spec": {{"suspend": {suspend}}}}}')
            outage.place.until("late", lambda run, holds=holds: condition(run, "Suspended") == holds)
        outage.is_logged()


LOCKED = step(job=shell(), lock={"name": "printer"})


def a_step_whose_lock_comes_late(outage: Outage) -> None:
    a_run_that_ends_late(outage, run_of("late", LOCKED))


def a_limit_that_is_raised_late(outage: Outage) -> None:
    outage.place.apply(limited(1), run_by_name("first", "limited"))
    outage.place.reached("first", "hold", "Waiting")
    outage.place.apply(run_by_name("late", "limited"))
    outage.place.until("late", lambda run: run.get("status", {}).get("status") == "Queued")
    with outage.release.without(outage.right):
        outage.place.apply(limited(2))
        outage.is_told("late")
        assert outage.place.run("late")["status"]["status"] == "Queued"
    outage.place.reached("late", "hold", "Waiting")


def a_semaphore_that_stays(outage: Outage) -> None:
    with outage.release.without(outage.right):
        outage.place.apply(run_of("late", LOCKED))
        outage.place.ended("late")
        outage.is_logged()
        assert outage.place.cluster.api.list("semaphores", outage.place.name)
    wait_for(lambda: not outage.place.cluster.api.list("semaphores", outage.place.name), what="the Semaphore stays")


GUARDED = step(job=shell("exit 1"), circuit="bank", catch=[{"errors": ["*"], "steps": [{"name": "later", "set": {"later": True}}]}])
BROKEN = {"window": {"count": 1}, "failureRate": "100%", "openFor": "1h"}


def a_breaker_that_is_made_late(outage: Outage) -> None:
    """Nobody waits for it: what it would count meanwhile is not counted."""
    with outage.release.without(outage.right):
        outage.place.apply(run_of("early", GUARDED))
        assert condition(outage.place.ended("early"), "Succeeded") == "True"
        outage.is_logged()
        assert not outage.place.cluster.api.list("circuitbreakers", outage.place.name)
    wait_for(lambda: outage.place.cluster.api.list("circuitbreakers", outage.place.name), what="there is no CircuitBreaker")


def a_breaker_that_opens_late(outage: Outage) -> None:
    meta = {"name": "bank"}
    outage.place.apply({"apiVersion": "backstay.dev/v1alpha1", "kind": "CircuitBreaker", "metadata": meta, "spec": BROKEN})
    wait_for(lambda: _breaker(outage).get("state") == "Closed", what="the operator does not look at it")
    with outage.release.without(outage.right):
        outage.place.apply(run_of("early", GUARDED))
        assert condition(outage.place.ended("early"), "Succeeded") == "True"
        outage.is_logged()
        assert _breaker(outage)["state"] == "Closed"
    wait_for(lambda: _breaker(outage)["state"] == "Open", what="it does not open")


def _breaker(outage: Outage) -> dict[str, str]:
    found = outage.place.cluster.api.get("circuitbreakers", outage.place.name, "bank") or {}
    return dict(found.get("status", {}))


def a_journal_that_is_moved_late(outage: Outage) -> None:
    a_run_that_ends_late(outage, long_run("late") | {"spec": {**long_run("late")["spec"], "suspend": False}})


def a_journal_of_somebody_else_that_cannot_be_looked_at(outage: Outage) -> None:
    outage.place.apply(long_run("late"))
    outage.place.until("late", lambda run: condition(run, "Suspended") == "True")
    foreign = foreign_journal(outage.place, "late")
    with outage.release.without(outage.right):
        outage.place.kubectl("patch", "wfrun", "late", "--type=merge", "-p", '{"spec": {"suspend": false}}')
        outage.is_told("late")
        outage.place.cluster.api.delete("workflowjournals", outage.place.name, foreign["metadata"]["name"])
    assert condition(outage.place.ended("late"), "Succeeded") == "True"


def a_letter_that_is_written_late(outage: Outage) -> None:
    with outage.release.without(outage.right):
        outage.place.apply(run_of("late", GIVES_UP))
        outage.is_told("late")
        assert not outage.place.cluster.api.list("deadletters", outage.place.name)
    resolved(outage.place, letter_of(outage.place, "late"), "Discard")
    outage.place.ended("late")


def a_letter_that_is_settled_late(outage: Outage) -> None:
    outage.place.apply(run_of("late", GIVES_UP))
    letter = letter_of(outage.place, "late")
    with outage.release.without(outage.right):
        resolved(outage.place, letter, "Discard")
        outage.place.ended("late")
        outage.is_logged()
    wait_for(lambda: not outage.place.cluster.api.list("deadletters", outage.place.name), what="the letter is not settled")


def a_replay_that_comes_late(outage: Outage) -> None:
    outage.place.apply(workflow_of({"steps": [GIVES_UP]}, "pay"), run_by_name("late", "pay"))
    letter = letter_of(outage.place, "late")
    outage.place.kubectl("delete", "wfrun", "late")
    with outage.release.without(outage.right):
        resolved(outage.place, letter)
        outage.is_logged()
        assert outage.place.kubectl("get", "wfrun", "-o", "name") == ""
    outage.place.kubectl.until("get", "wfrun", "-l", "backstay.dev/replays", "-o", "name", shows=lambda output: bool(output))


def a_settled_letter_that_stays(outage: Outage) -> None:
    outage.place.apply(run_of("late", GIVES_UP))
    letter = letter_of(outage.place, "late")
    with outage.release.without(outage.right):
        resolved(outage.place, letter, "Discard")
        outage.is_logged()
        assert outage.place.cluster.api.list("deadletters", outage.place.name)
    wait_for(lambda: not outage.place.cluster.api.list("deadletters", outage.place.name), what="the letter stays")


AT_WORK: dict[Right, Callable[[Outage], None]] = {
    ("batch", "jobs", "create"): a_run_that_ends_late,
    ("", "persistentvolumeclaims", "create"): a_workspace_that_is_made_late,
    ("", "persistentvolumeclaims", "get"): a_claim_of_somebody_else_that_cannot_be_looked_at,
    IMPERSONATE: a_resource_step_that_fails_and_says_why,
    ("batch", "jobs", "delete"): a_job_that_is_not_stopped,
    ("batch", "jobs", "get"): a_job_of_somebody_else_that_cannot_be_looked_at,
    (GROUP, "workflowruns/finalizers", "update"): a_run_that_ends_late,
    (GROUP, "workflowruns/status", "patch"): a_run_that_ends_late,
    (GROUP, "workflowruns", "patch"): a_saga_that_ends_late,
    (GROUP, "workflowruns", "create"): a_child_run_that_is_made_late,
    (GROUP, "semaphores", "create"): a_step_whose_lock_comes_late,
    (GROUP, "semaphores/status", "patch"): a_step_whose_lock_comes_late,
    (GROUP, "semaphores", "patch"): a_limit_that_is_raised_late,
    (GROUP, "semaphores", "delete"): a_semaphore_that_stays,
    (GROUP, "deadletters", "create"): a_letter_that_is_written_late,
    (GROUP, "deadletters", "get"): a_replay_that_comes_late,
    (GROUP, "deadletters", "delete"): a_settled_letter_that_stays,
    (GROUP, "deadletters/status", "patch"): a_letter_that_is_settled_late,
    (GROUP, "circuitbreakers", "create"): a_breaker_that_is_made_late,
    (GROUP, "circuitbreakers/status", "patch"): a_breaker_that_opens_late,
    (GROUP, "workflowjournals", "create"): a_journal_that_is_moved_late,
    (GROUP, "workflowjournals", "list"): a_journal_of_somebody_else_that_cannot_be_looked_at,
    (GROUP, "workflowruns", "get"): a_run_that_cannot_be_read_anew,
    (GROUP, "workflowruns", "delete"): a_finished_run_that_stays,
    (GROUP, "workflows/status", "patch"): a_workflow_that_is_not_looked_at,
    ("apps", "controllerrevisions", "list"): a_workflow_that_is_not_looked_at,
    ("apps", "controllerrevisions", "create"): a_workflow_that_is_not_looked_at,
    ("apps", "controllerrevisions", "get"): a_revision_that_cannot_be_read,
    ("apps", "controllerrevisions", "delete"): a_revision_that_stays,
    ("events.k8s.io", "events", "list"): a_job_without_a_pod,
    ("events.k8s.io", "events", "create"): events_that_are_lost,
    ("events.k8s.io", "events", "patch"): events_that_are_lost,
}
AT_START = {
    (group, resource, verb)
    for group, resource in (
        (GROUP, "workflows"),
        (GROUP, "workflowruns"),
        (GROUP, "semaphores"),
        (GROUP, "circuitbreakers"),
        (GROUP, "deadletters"),
        ("batch", "jobs"),
        ("", "pods"),
    )
    for verb in ("list", "watch")
}
"""What the operator asks for when it starts, and again when a watch ends."""


def test_for_each_right_there_is_a_test_of_what_happens_without_it() -> None:
    assert set(AT_WORK) | AT_START == set(RIGHTS)
    assert set(AT_WORK) & AT_START == set()


@pytest.mark.parametrize("right", sorted(AT_WORK), ids=spoken)
def test_without_a_right_a_user_sees_what_is_missing_and_afterwards_nothing_is_lost(release: Release, right: Right) -> None:
    AT_WORK[right](Outage(release, release.cluster.place(spoken(right)), right))


def test_without_the_rights_to_look_the_operator_says_so_does_not_start_again_and_afterwards_goes_on(release: Release) -> None:
    """All that it reads is taken away while it works, and every watch is cut: by the API server, which is killed and comes back."""
    operator = release.operators[0]
    outage = Outage(release, release.cluster.place("looking"), ("batch", "jobs", "list"))
    outage.place.apply(run_of("late", step(job=shell("sleep 2")), step("b", job=shell())))
    wait_for(lambda: outage.place.jobs("late"), what="no Job")
    with release.without(*AT_START):
        release.cluster.api.close()
        release.control_plane.restart("apiserver")
        wait_for(lambda: all(f"right to watch {kind}" in outage.said() for kind in ("jobs.batch", "pods")), what=outage.said)
        operator.kill9()
        operator.start(ready=False)
        wait_for(lambda: not operator.is_running, what="it runs without its rights")
        words = operator.log.read_text()
        assert [right for right in AT_START if f"{right[2]}" not in words or spoken(right).split()[1] not in words] == []
        assert operator.stop() == 5
    operator.start()
    assert condition(outage.place.ended("late"), "Succeeded") == "True"
