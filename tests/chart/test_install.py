"""The chart on a real API server: it installs, gives the operator exactly its rights, and users theirs."""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.chart.helm import CHART, parsed, run_helm
from tests.chart.operated import ABSENT, Release
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.e2e

RELEASE = "backstay"
SYSTEM = "backstay-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:{RELEASE}"
NARROW = "system:serviceaccount:narrow-system:narrow"

GROUPS = {
    "jobs": "batch",
    "events": "events.k8s.io",
    "controllerrevisions": "apps",
    "deployments": "apps",
    "customresourcedefinitions": "apiextensions.k8s.io",
}
GROUPS |= dict.fromkeys(("workflows", "workflowruns", "workflowjournals", "semaphores", "circuitbreakers", "deadletters"), "backstay.dev")
GROUPS |= dict.fromkeys(("roles", "rolebindings", "clusterroles", "clusterrolebindings"), "rbac.authorization.k8s.io")


@dataclass(frozen=True)
class Installed:
    """The chart, installed in SYSTEM, with the namespaces shop, store and bystander beside it, and a narrow release for the first two."""

    kubectl: Kubectl
    release: Release


@pytest.fixture(scope="module")
def installed(release: Release) -> Iterator[Installed]:
    kubectl = release.cluster.kubectl
    for namespace in ("shop", "store", "bystander", "narrow-system"):
        kubectl("create", "namespace", namespace)
    values = {
        **ABSENT,
        "watchNamespaces": ["shop", "store"],
        "crds": {"enabled": False},
        "userRoles": {"enabled": False},
        "admissionPolicies": {"enabled": False},
    }
    where = ("--kubeconfig", kubectl.kubeconfig, "--namespace", "narrow-system")
    result = run_helm("install", "narrow", CHART, *where, values={**values, "fullnameOverride": "narrow"})
    assert result.returncode == 0, result.stderr
    yield Installed(kubectl, release)
    result = run_helm("uninstall", "narrow", *where)
    assert result.returncode == 0, result.stderr


def allowed(kubectl: Kubectl, user: str, questions: list[tuple[str, str, str | None]]) -> list[bool]:
    """Answer (verb, resource, namespace) as `kubectl auth can-i --as USER` does, all of them in one request of kubectl."""
    reviews = [_review(user, *question) for question in questions]
    request = {"apiVersion": "v1", "kind": "List", "items": reviews}
    answers = kubectl("create", "-f", "-", "-o", "jsonpath={.status.allowed} ", given=request)
    return [answer == "true" for answer in answers.split()]


def _review(user: str, verb: str, resource: str, namespace: str | None) -> dict[str, Any]:
    name, _, subresource = resource.partition("/")
    groups = ["system:authenticated", "system:serviceaccounts"] if user.startswith("system:serviceaccount:") else ["system:authenticated"]
    attributes = {"verb": verb, "group": GROUPS.get(name, ""), "resource": name, "subresource": subresource, "namespace": namespace or ""}
    spec = {"user": user, "groups": groups, "resourceAttributes": attributes}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def each_of(namespace: str | None, *words: str) -> list[tuple[str, str, str | None]]:
    """Spell out `"get,list pods jobs"` as questions."""
    return [(verb, resource, namespace) for line in words for verb in line.split()[0].split(",") for resource in line.split()[1:]]


NEEDED = (
    "list,watch workflows",
    "get,list,watch,create,patch,delete workflowruns",
    "list,create workflowjournals",
    "get,create persistentvolumeclaims",
    "impersonate serviceaccounts",
    "patch workflows/status workflowruns/status",
    "update workflowruns/finalizers",
    "list,watch,create,patch,delete semaphores",
    "patch semaphores/status",
    "list,watch,create circuitbreakers",
    "patch circuitbreakers/status",
    "get,list,watch,create,delete deadletters",
    "patch deadletters/status",
    "get,list,watch,create,delete jobs",
    "list,watch pods",
    "get,list,create,delete controllerrevisions",
    "list,create,patch events",
)
FORBIDDEN = (
    "get,create,update,patch,delete,deletecollection workflows",
    "update,deletecollection workflowruns",
    "get,watch,update,patch,delete,deletecollection workflowjournals",
    "list,watch,update,patch,delete persistentvolumeclaims",
    "update workflows/status workflowruns/status semaphores/status",
    "get,update,deletecollection semaphores",
    "get,update,patch,delete,deletecollection circuitbreakers",
    "update circuitbreakers/status",
    "update,patch,deletecollection deadletters",
    "update deadletters/status",
    "update,patch,deletecollection jobs jobs/status",
    "get,create,update,patch,delete pods pods/exec pods/attach pods/ephemeralcontainers",
    "get pods/log",
    "update,patch controllerrevisions",
    "get,list,watch,create secrets configmaps",
    "create serviceaccounts serviceaccounts/token deployments",
    "get,list,watch,create,update,patch,delete namespaces customresourcedefinitions nodes",
    "create,bind,escalate roles clusterroles rolebindings clusterrolebindings",
    "impersonate users groups",
)


def _wrong(
    kubectl: Kubectl, user: str, questions: list[tuple[str, str, str | None]], *, expected: bool
) -> list[tuple[str, str, str | None]]:
    answers = allowed(kubectl, user, questions)
    return [question for question, answer in zip(questions, answers, strict=True) if answer is not expected]


def test_the_operator_has_the_rights_that_it_needs_in_every_namespace(installed: Installed) -> None:
    questions = each_of("bystander", *NEEDED) + each_of(None, *NEEDED)
    assert _wrong(installed.kubectl, OPERATOR, questions, expected=True) == []


def test_the_operator_has_no_other_rights(installed: Installed) -> None:
    questions = each_of("bystander", *FORBIDDEN) + each_of(SYSTEM, *FORBIDDEN) + each_of(None, *FORBIDDEN)
    assert _wrong(installed.kubectl, OPERATOR, questions, expected=False) == []


def test_an_operator_of_two_namespaces_has_its_rights_there_and_nowhere_else(installed: Installed) -> None:
    there = each_of("shop", *NEEDED) + each_of("store", *NEEDED)
    assert _wrong(installed.kubectl, NARROW, there, expected=True) == []
    elsewhere = each_of("bystander", *NEEDED) + each_of(None, *NEEDED) + each_of("shop", *FORBIDDEN)
    assert _wrong(installed.kubectl, NARROW, elsewhere, expected=False) == []


def test_kubectl_itself_says_what_the_operator_may_do(installed: Installed) -> None:
    assert installed.kubectl("auth", "can-i", "create", "jobs.batch", "--as", OPERATOR, "--namespace", "shop") == "yes\n"
    assert installed.kubectl("auth", "can-i", "watch", "workflowruns.backstay.dev", "--as", OPERATOR, "--all-namespaces") == "yes\n"
    installed.kubectl.refused("auth", "can-i", "get", "secrets", "--as", OPERATOR)


ROLES = {
    "view": (
        ("get,list,watch workflows workflowruns semaphores circuitbreakers deadletters",),
        (
            "create,patch,delete workflows workflowruns semaphores circuitbreakers deadletters",
            "patch,update workflowruns/status circuitbreakers/status deadletters/status",
        ),
    ),
    "edit": (
        (
            "get,list,watch,create,update,patch,delete workflows workflowruns semaphores circuitbreakers",
            "get,list,watch,update,patch,delete deadletters",
        ),
        (
            "deletecollection workflowruns",
            "create deadletters",
            "patch workflowruns/status semaphores/status circuitbreakers/status deadletters/status",
        ),
    ),
    "admin": (("get,create,patch,delete,deletecollection workflows workflowruns",), ("patch,update workflows/status workflowruns/status",)),
}


@pytest.mark.parametrize("role", ROLES)
def test_a_user_of_a_namespace_may_do_with_workflows_what_the_role_says(installed: Installed, role: str) -> None:
    kubectl, user = installed.kubectl, f"{role}-er"
    kubectl("create", "rolebinding", f"{role}-er", "--namespace", "shop", f"--clusterrole={role}", f"--user={user}")
    may, may_not = ROLES[role]
    # Kubernetes adds the rules to its own roles a moment after the chart is installed.
    kubectl.until("get", "clusterrole", role, "-o", "yaml", shows=lambda output: "backstay.dev" in output)
    assert _wrong(kubectl, user, each_of("shop", *may), expected=True) == []
    assert _wrong(kubectl, user, each_of("shop", *may_not) + each_of("store", *may), expected=False) == []


def test_all_that_the_chart_makes_is_accepted_without_a_warning(installed: Installed) -> None:
    result = run_helm("template", "other", CHART, "--namespace", SYSTEM, values={"networkPolicy": {"enabled": True}})
    manifests = [each for each in parsed(result.stdout) if each and each["kind"] not in ("CustomResourceDefinition", "Pod")]
    arguments = ("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "--namespace", SYSTEM, "-f", "-")
    told = installed.kubectl(*arguments, given={"apiVersion": "v1", "kind": "List", "items": manifests}).splitlines()
    assert len(told) == len(manifests)


def test_helms_own_record_of_the_release_has_room_to_grow(installed: Installed) -> None:
    """Helm keeps the chart and its manifests in a Secret, which may hold 1 MiB: beyond that nothing can be installed any more."""
    (record,) = installed.kubectl.json("get", "secrets", "--namespace", SYSTEM, "--selector", f"owner=helm,name={RELEASE},version=1")[
        "items"
    ]
    assert len(b64decode(record["data"]["release"])) < 700_000, "the definitions have grown: shorten their descriptions or their levels"


def test_the_first_workflow_of_the_notes_is_accepted(installed: Installed) -> None:
    notes = installed.release.helm("get notes")
    example = yaml.safe_load(notes.split("<<EOF\n", 1)[1].split("  EOF", 1)[0])
    assert "created (server dry run)" in installed.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", given=example)
