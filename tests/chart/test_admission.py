"""Who may write which field, on a real API server, as users with real rights: alice may edit in `shop`, bob in `store`, wilma has every right
on our kinds in `shop`, the administrator every right there is, and `restorer` is named in admissionPolicies.trusted."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chart.operated import RESTORER, Release
from tests.scenarios.manifests import run_of, shell, step, workflow_of
from tests.support.api import Object
from tests.support.cluster import Place, condition
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

ADMINISTRATOR = ""
KEPT = "backstay.dev/record"
FINALIZER = "backstay.dev/compensation"
WAITING = step("hold", wait={"duration": "1h"})
UNDONE = step("do", job=shell(), compensate={"job": shell()})

STARTED_BY = "backstay.dev/started-by"
ANOTHER = (
    'metadata.annotations: backstay.dev/started-by is "{said}" and you are "{user}": nobody starts a run in the name of another; '
    "leave it out, or write your own name"
)
LATER = f"metadata.annotations: {STARTED_BY} is a record of the operator; leave it as it is"
STATUS = (
    "the status is the journal of what was done, and the operator alone writes it; ask for something with spec.suspend, spec.cancel or the "
    "command `backstay`; whoever restores a backup is named in admissionPolicies.trusted of the chart"
)
SLOTS = "the status says who holds the slots and who waits, and the operator alone writes it; to let more in, raise spec.limit"
SETTLED = "the status says what has become of it, and the operator alone writes it; to replay or discard it, set spec.resolution, as `backstay replay` does"
LETTER: Object = {
    "apiVersion": "backstay.dev/v1alpha1",
    "kind": "DeadLetter",
    "metadata": {"name": "letter"},
    "spec": {
        "run": {"name": "none", "uid": "none"},
        "workflow": {"name": "flow"},
        "step": "charge",
        "kind": "job",
        "error": {"type": "CardDeclined"},
        "gaveUpAt": "2026-11-23T09:00:00Z",
    },
}
COUNTED = "the status says what was counted, and the operator alone writes it; to close it, set spec.reset or spec.forced, as `backstay breaker` does"
HELD = (
    "metadata.finalizers: backstay.dev/compensation is put on and taken off by the operator alone; to let a run go without undoing the rest: "
    "kubectl annotate wfrun held --namespace {shop} backstay.dev/release-finalizer=true"
)
COPIED = "is a record of the operator; leave it out; a copied manifest carries it"


@dataclass(frozen=True)
class Shop:
    """The namespaces, and kubectl as each of the users in `shop`."""

    release: Release
    shop: Place
    store: Place

    def as_(self, user: str) -> "Callable[..., str]":
        """Return kubectl as a user, in the shop."""
        return lambda *arguments, given=None: self.shop.kubectl(*arguments, *_as(user), given=given)

    def refused(self, user: str, *arguments: str, given: object = None) -> str:
        """Return why the API server refuses what kubectl asks as a user."""
        return self.shop.kubectl.refused(*arguments, *_as(user), given=given)

    def started_by(self, run: str) -> str | None:
        """Return who started a run, if it is known."""
        return self.shop.run(run)["metadata"].get("annotations", {}).get(STARTED_BY)

    @property
    def stamps(self) -> bool:
        """Whether the API server enters by itself who started a run."""
        kinds = self.release.cluster.kubectl("api-resources", "--api-group=admissionregistration.k8s.io", "--no-headers")
        return any(line.split()[0] == "mutatingadmissionpolicies" and "/v1 " in line for line in kinds.splitlines())


def _as(user: str) -> tuple[str, ...]:
    return ("--as", user, "--as-group", "system:authenticated") if user else ()


@pytest.fixture(scope="module")
def shop(release: Release) -> Shop:
    found = Shop(release, release.cluster.place("shop"), release.cluster.place("store"))
    rules = {"apiGroups": ["backstay.dev"], "resources": ["*"], "verbs": ["*"]}
    for place, users in ((found.shop, ("alice", RESTORER)), (found.store, ("bob",))):
        for user in users:
            place.kubectl("create", "rolebinding", user, "--clusterrole=edit", f"--user={user}")
    everything = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "all"}, "rules": [rules]}
    found.shop.kubectl("create", "-f", "-", given=everything)
    for user in ("wilma", RESTORER):
        found.shop.kubectl("create", "rolebinding", f"all-{user}", "--role=all", f"--user={user}")
    # Kubernetes adds the rules to its own roles a moment after the chart is installed, and policies are in force a moment after they are there.
    release.cluster.kubectl.until("get", "clusterrole", "edit", "-o", "yaml", shows=lambda output: "backstay.dev" in output)
    wait_for(lambda: _is_in_force(found), what="the policies are not in force")
    found.shop.apply(run_of("held", UNDONE, WAITING), run_of("plain", WAITING), workflow_of({"steps": [WAITING]}, "flow"))
    found.shop.apply({"apiVersion": "backstay.dev/v1alpha1", "kind": "Semaphore", "metadata": {"name": "bank"}, "spec": {"limit": 3}})
    found.shop.apply({"apiVersion": "backstay.dev/v1alpha1", "kind": "CircuitBreaker", "metadata": {"name": "bank"}, "spec": {}})
    found.as_(RESTORER)("create", "-f", "-", given=LETTER)
    found.as_("alice")("create", "-f", "-", given=_started_by("alice", "named"))
    found.shop.reached("held", "hold", "Waiting")
    found.shop.reached("plain", "hold", "Waiting")
    found.as_(RESTORER)("annotate", "wf", "flow", f"{KEPT}=1")
    return found


def _is_in_force(shop: Shop) -> bool:
    result = shop.shop.kubectl._run(("create", "--dry-run=server", "-f", "-"), {**run_of("probe", WAITING), **_started_by("nobody")})
    return "denied request" in result.stderr


def _started_by(user: str, name: str = "probe") -> Object:
    run = run_of(name, WAITING)
    run["metadata"]["annotations"] = {STARTED_BY: user}
    return run


def _annotated(name: str) -> Object:
    run = run_of(name, WAITING)
    run["metadata"]["annotations"] = {"example.com/note": "x"}
    return run


# ------------------------------------------------------------------------------------------------------- who started it


def test_who_started_a_run_is_entered_by_the_api_server_where_it_can(shop: Shop) -> None:
    shop.as_("alice")("create", "-f", "-", given=run_of("of-alice", WAITING))
    shop.as_("alice")("create", "-f", "-", given=_annotated("of-alice-who-notes"))
    for name in ("of-alice", "of-alice-who-notes"):
        assert shop.started_by(name) == ("alice" if shop.stamps else None)
    shop.as_("alice")("create", "-f", "-", given=_started_by("alice", "also-of-alice"))
    assert shop.started_by("also-of-alice") == "alice"
    assert shop.shop.reached("also-of-alice", "hold", "Waiting")["status"]["journal"]["entries"][0]["actor"] == "alice"
    shown = shop.as_("alice")("get", "wfrun", "also-of-alice", "-o", "wide")
    assert [line.split()[-1] for line in shown.splitlines()] == ["STARTED-BY", "alice"]


@pytest.mark.parametrize(("user", "known_as"), [("alice", "alice"), ("wilma", "wilma"), (ADMINISTRATOR, "backstay-test-admin")])
def test_nobody_starts_a_run_in_the_name_of_another(shop: Shop, user: str, known_as: str) -> None:
    told = shop.refused(user, "create", "-f", "-", given=_started_by("bob"))
    assert told.endswith(f"'backstay-started-by' denied request: {ANOTHER.format(said='bob', user=known_as)}\n")


def test_who_is_trusted_restores_a_run_with_the_name_of_who_started_it_or_without(shop: Shop) -> None:
    shop.as_(RESTORER)("create", "-f", "-", given=_started_by("bob", "restored"))
    shop.as_(RESTORER)("create", "-f", "-", given=run_of("restored-from-before", WAITING))
    assert (shop.started_by("restored"), shop.started_by("restored-from-before")) == ("bob", None)


def test_rights_come_first_and_alice_has_none_in_the_store(shop: Shop) -> None:
    told = shop.store.kubectl.refused("create", "-f", "-", *_as("alice"), given=run_of("x", WAITING))
    assert 'User "alice" cannot create resource "workflowruns"' in told


# ------------------------------------------------------------------------------------------------------------- the table


def patch(kind: str, name: str, change: Object, *more: str) -> tuple[str, ...]:
    """kubectl patch."""
    return ("patch", kind, name, "--type=merge", "-p", json.dumps(change), *more)


def meta(**fields: Any) -> Object:
    return {"metadata": fields}


PROPAGATIONS = ("background", "foreground", "orphan")
STATUS_CHANGE = {"status": {"phase": "Succeeded"}}
REFUSED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "one's own name as who started it, later": ("alice", ("annotate", "--overwrite", "wfrun", "plain", f"{STARTED_BY}=alice"), LATER),
    "another's name, later": ("wilma", ("annotate", "--overwrite", "wfrun", "held", f"{STARTED_BY}=bob"), LATER),
    "no name, later": ("alice", ("annotate", "wfrun", "named", f"{STARTED_BY}-"), LATER),
    "another service account for its pods, later": (
        "alice",
        patch("wfrun", "plain", {"spec": {"serviceAccountName": "rich"}}),
        "a run keeps the service account it was created with; create another run for a different one",
    ),
    "the status of a run, with every right": ("wilma", patch("wfrun", "held", STATUS_CHANGE, "--subresource=status"), STATUS),
    "the status of a run, as the administrator": (ADMINISTRATOR, patch("wfrun", "held", STATUS_CHANGE, "--subresource=status"), STATUS),
    "the status of a workflow": ("wilma", patch("wf", "flow", {"status": {"conditions": []}}, "--subresource=status"), STATUS),
    "the status of a semaphore": ("wilma", patch("semaphore", "bank", {"status": {"holders": []}}, "--subresource=status"), SLOTS),
    "the status of a circuit breaker": (
        "wilma",
        patch("circuitbreaker", "bank", {"status": {"state": "Closed"}}, "--subresource=status"),
        COUNTED,
    ),
    "the status of a dead letter": (
        "wilma",
        patch("deadletter", "letter", {"status": {"phase": "Replayed"}}, "--subresource=status"),
        SETTLED,
    ),
    "what gave up, in a dead letter": (
        "alice",
        patch("deadletter", "letter", {"spec": {"serviceAccountName": "rich"}}),
        "serviceAccountName is a record of what happened; of a DeadLetter only resolution is for you to set",
    ),
    "taking the finalizer off": ("alice", patch("wfrun", "held", meta(finalizers=None)), HELD),
    "taking the finalizer off, as the administrator": (ADMINISTRATOR, patch("wfrun", "held", meta(finalizers=["other.example/own"])), HELD),
    "putting the finalizer on": ("alice", patch("wfrun", "plain", meta(finalizers=[FINALIZER])), HELD.replace("wfrun held", "wfrun plain")),
    "a label of ours": (
        "alice",
        ("label", "wfrun", "plain", "backstay.dev/workflow=flow"),
        "metadata.labels: backstay.dev/workflow is a record of the operator; leave it as it is",
    ),
    "a record of the operator": (
        "wilma",
        ("annotate", "--overwrite", "wf", "flow", f"{KEPT}={{}}", "backstay.dev/more=1"),
        f"metadata.annotations: {KEPT}, backstay.dev/more is a record of the operator; leave it as it is",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_for_users_to_write_is_refused_with_what_to_do_instead(shop: Shop, case: str) -> None:
    user, arguments, told = REFUSED[case]
    said = " ".join(shop.refused(user, *arguments).split())
    # Where kubectl writes the keys of a map is nobody's promise; what the policy says of each is.
    wanted = told.format(shop=shop.shop.name)
    assert said.endswith(wanted) or sorted(said.split("denied request: ")[-1].replace(",", "").split()) == sorted(
        wanted.replace(",", "").split()
    )


def test_a_user_without_the_right_is_refused_a_status_by_rights_alone(shop: Shop) -> None:
    told = shop.refused("alice", *patch("wfrun", "held", STATUS_CHANGE, "--subresource=status"))
    assert 'User "alice" cannot patch resource "workflowruns/status"' in told


ALLOWED: dict[str, tuple[str, tuple[str, ...]]] = {
    "suspending": ("alice", patch("wfrun", "plain", {"spec": {"suspend": True}})),
    "a time to live": ("alice", patch("wfrun", "plain", {"spec": {"ttl": {"succeeded": "1h"}}})),
    "a label of one's own": ("alice", ("label", "wfrun", "plain", "team=blue")),
    "an annotation of one's own": ("alice", ("annotate", "wf", "flow", "example.com/note=x")),
    "a reset of a circuit breaker": ("alice", patch("circuitbreaker", "bank", {"spec": {"reset": {"id": "r1"}}})),
    "a resolution of a dead letter": (
        "alice",
        patch("deadletter", "letter", {"spec": {"resolution": {"id": "r1", "action": "Discard", "reason": "over"}}}),
    ),
    "the limit of a semaphore": ("alice", patch("semaphore", "bank", {"spec": {"limit": 4}})),
    "a finalizer of one's own beside ours": (
        "alice",
        ("patch", "wfrun", "held", "--type=json", "-p", '[{"op": "add", "path": "/metadata/finalizers/-", "value": "example.com/own"}]'),
    ),
    "taking that off": ("alice", patch("wfrun", "held", meta(finalizers=[FINALIZER]))),
    "removing a record, which does no harm": ("alice", ("annotate", "wf", "flow", f"{KEPT}-")),
    "restoring a status, as who is trusted": (RESTORER, patch("wfrun", "plain", {"status": {"message": "x"}}, "--subresource=status")),
    "restoring a record, as who is trusted": (RESTORER, ("annotate", "--overwrite", "wf", "flow", "backstay.dev/restored=1")),
    "asking the operator to let go": ("alice", ("annotate", "wfrun", "plain", "backstay.dev/release-finalizer=true")),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_is_for_users_to_write_is_let_pass(shop: Shop, case: str) -> None:
    user, arguments = ALLOWED[case]
    shop.as_(user)(*arguments)


def test_applying_again_editing_and_replacing_go_on_as_ever(shop: Shop) -> None:
    alice = shop.as_("alice")
    workflow = workflow_of({"steps": [step(set={"x": 1})]}, "applied")
    run = run_of("applied", step(set={"x": 1}))
    both = {"apiVersion": "v1", "kind": "List", "items": [workflow, run]}
    alice("apply", "-f", "-", given=both)
    assert condition(shop.shop.ended("applied"), "Succeeded") == "True"
    shop.as_(RESTORER)("annotate", "wf", "applied", f"{KEPT}=1")
    assert "unchanged" in alice("apply", "-f", "-", given=both)
    assert "serverside-applied" in alice("apply", "--server-side", "--force-conflicts", "-f", "-", given=both)
    alice("replace", "-f", "-", given=workflow)
    alice("patch", "wf", "applied", "--type=merge", "-p", json.dumps({"spec": {"steps": [step(set={"x": 2})]}}))


def test_a_copied_manifest_is_told_to_leave_the_records_out(shop: Shop) -> None:
    copied = workflow_of({"steps": [WAITING]}, "copied")
    copied["metadata"]["annotations"] = {KEPT: "{}"}
    assert shop.refused("alice", "create", "-f", "-", given=copied).endswith(f"metadata.annotations: {KEPT} {COPIED}\n")
    held = run_of("copied", WAITING)
    held["metadata"]["finalizers"] = [FINALIZER]
    told = f"metadata.finalizers: {FINALIZER} is put on and taken off by the operator alone; leave it out; a copied manifest carries it\n"
    assert shop.refused("alice", "create", "-f", "-", given=held).endswith(told)


def test_the_api_server_finds_no_fault_in_the_policies(shop: Shop) -> None:
    """It checks the expressions against the schemas of our kinds and writes what it finds into the status."""
    kubectl = shop.release.cluster.kubectl

    def checked() -> list[Object] | None:
        found = kubectl.json("get", "validatingadmissionpolicies", "-l", "app.kubernetes.io/part-of=backstay")["items"]
        return found if all("typeChecking" in each.get("status", {}) for each in found) else None

    found = wait_for(checked, what="the policies were not checked")
    assert len(found) == 2
    assert [each["status"]["typeChecking"] for each in found] == [{}, {}]


def test_the_garbage_collector_and_the_namespace_controller_go_on_as_ever(shop: Shop) -> None:
    leaving = shop.release.cluster.place("leaving")
    leaving.apply(run_of("r", UNDONE, WAITING))
    for propagation in PROPAGATIONS:
        shop.as_("alice")("create", "-f", "-", given=run_of(propagation, UNDONE, WAITING))
    leaving.reached("r", "hold", "Waiting")
    leaving.kubectl("delete", "namespace", leaving.name, "--wait=false")
    for propagation in PROPAGATIONS:
        shop.shop.reached(propagation, "hold", "Waiting")
        shop.as_("alice")("delete", "wfrun", propagation, f"--cascade={propagation}", "--wait=false")
    for propagation in PROPAGATIONS:
        shop.shop.gone(propagation)
    shop.shop.kubectl("wait", "namespace", leaving.name, "--for=delete", "--timeout=50s")


def test_who_started_a_run_has_started_its_child_runs(shop: Shop) -> None:
    """The operator makes them, in the name of whoever started the run that they are children of; nobody else could."""
    call = run_of("caller", step("call", workflow={"name": "flow"}))
    call["metadata"]["annotations"] = {STARTED_BY: "alice"}
    shop.as_("alice")("create", "-f", "-", given=call)
    run = shop.shop.reached("caller", "call")
    name = next(item["child"] for item in run["status"]["steps"] if item["path"] == "call")
    wait_for(lambda: shop.shop.has_run(name), what="there is no child run")
    child = shop.shop.reached(name, "hold", "Waiting")
    assert child["metadata"]["annotations"][STARTED_BY] == "alice"
    first = child["status"]["journal"]["entries"][0]
    assert (first["kind"], first["actor"]) == ("RunStarted", "alice")


def test_nobody_but_the_operator_writes_a_dead_letter(shop: Shop) -> None:
    """Runs are started from what stands in it: with a right that alice does not have, wilma could start any."""
    forged = {**LETTER, "metadata": {"name": "forged"}, "spec": {**LETTER["spec"], "serviceAccountName": "rich"}}
    assert 'User "alice" cannot create resource "deadletters"' in shop.refused("alice", "create", "-f", "-", given=forged)
    told = shop.refused("wilma", "create", "-f", "-", given=forged)
    assert "a DeadLetter is written by the operator alone, because runs are started from what stands in it; start a run instead" in told
