"""The chart, installed on a real control plane, and its operator as a process that logs in as the chart's own service account."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from backstay.names import GROUP
from tests.chart.helm import CHART, NAMESPACE, Manifest, parsed, run_helm
from tests.cluster.control_plane import ControlPlane
from tests.scenarios.manifests import ONE, run_of
from tests.support.api import Object, Refused, path
from tests.support.cluster import Cluster
from tests.support.operator_process import OperatorProcess
from tests.support.real_cluster import node
from tests.support.waiting import wait_for

ABSENT: Manifest = {"priorityClassName": "there-is-no-such-class"}
"""The chart's own pod is refused for ever: the operator runs as a process of the test, where it can be looked at."""

RESTORER = "restorer"
"""A user who is trusted with what only the operator writes."""
NARROW = f"system:serviceaccount:{NAMESPACE}:narrow"
"""The operator of another release, which looks after a single namespace of the same cluster."""

QUICK = {"BACKSTAY_SWEEP_SECONDS": "1", "BACKSTAY_MISSING_WORKFLOW_SECONDS": "10"}

_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": [f"system:serviceaccounts:{NAMESPACE}"]}, {"level": "None"}],
}
_STRICT = ("--enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
"""As some distributions have it: who makes an object that holds up its owner's deletion needs the right to change the owner's finalizers."""

_HASTY = Path(__file__).with_name("hasty_operator.py")
_OPERATORS_IMAGE = Path(__file__).with_name("operator_image.py")

_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

Right = tuple[str, str, str]
"""Group, resource with its subresource, verb: `("batch", "jobs", "create")`."""


IMPERSONATE: Right = ("", "serviceaccounts", "impersonate")
"""What every request takes that is made as somebody else, who needs the right to the rest."""


class HastyOperator(OperatorProcess):
    """The operator as a process, for which an hour is over at once (hasty_operator.py)."""

    def __init__(self, kubeconfig: Path, folder: Path, *arguments: str, environment: dict[str, str]) -> None:
        super().__init__(kubeconfig, folder, *arguments, environment=environment)
        self._command = [sys.executable, str(_HASTY), *self._command[3:]]


@dataclass(frozen=True)
class Asked:
    """One request of a release's service account, as the API server's audit log has it."""

    right: Right
    path: str
    is_forbidden: bool
    """Whether a right was missing; a 403 may also come of a quota, a policy or a namespace that is being deleted."""


@dataclass
class Release:
    """A release of the chart. `cluster` has a node; what is installed runs as processes of this machine."""

    cluster: Cluster
    control_plane: ControlPlane
    name: str = "backstay"
    operators: list[OperatorProcess] = field(default_factory=list)

    @property
    def account(self) -> str:
        """The operator, as the API server knows it."""
        return f"system:serviceaccount:{NAMESPACE}:{self.name}"

    def helm(self, command: str, *arguments: str | Path, values: Manifest | None = None) -> str:
        """Run helm on this release and return what it prints."""
        where = ("--kubeconfig", self.cluster.kubeconfig, "--namespace", NAMESPACE)
        result = run_helm(*command.split(), self.name, *arguments, *where, values=values)
        assert result.returncode == 0, result.stderr + result.stdout
        return result.stdout

    def install(self, chart: Path = CHART, values: Manifest | None = None, command: str = "install") -> str:
        """Install the chart, or with `command` upgrade it, and wait until its kinds are served."""
        said = self.helm(command, chart, values={**ABSENT, "fullnameOverride": self.name, **(values or {})})
        self.wait_until_served()
        return said

    def wait_until_served(self) -> None:
        """Wait until a run can be made: an API server that enters who started it needs up to 5 s to learn of a new kind (503 until then)."""
        there = self.cluster.api.list("customresourcedefinitions", None)
        kinds = [f"crd/{crd['metadata']['name']}" for crd in there if crd["spec"]["group"] == GROUP]
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *kinds)
        wait_for(self._takes_runs, what="no run can be made")

    def _takes_runs(self) -> bool:
        try:
            self.cluster.api.call("POST", f"{path('workflowruns', 'default')}?dryRun=All", run_of("probe", ONE))
        except Refused:
            return False
        return True

    def kubeconfig(self, account: str = "") -> Path:
        """Write a kubeconfig that holds a token of a service account of the release's namespace: the release's own, or another."""
        account = account or self.name
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        config["users"][0]["user"]["token"] = self.cluster.kubectl("create", "token", account, "--namespace", NAMESPACE).strip()
        own = self.cluster.folder / f"{account}.kubeconfig"
        own.touch(mode=0o600)
        own.write_text(yaml.safe_dump(config))
        return own

    def operator(self, *arguments: str, environment: dict[str, str] | None = None, name: str = "") -> OperatorProcess:
        """Return the operator, to be started, with its own folder below the cluster's."""
        folder = self.cluster.folder / (name or f"{self.name}-operator-{len(self.operators)}")
        folder.mkdir()
        ports = ("--metrics-port", "0", "--health-port", "0", "--lease", f"{NAMESPACE}/{self.name}")
        made = HastyOperator(self.kubeconfig(), folder, *ports, *arguments, environment={**QUICK, **(environment or {})})
        self.operators.append(made)
        return made

    def end(self) -> None:
        """End its operators."""
        for each in self.operators:
            each.kill9()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Have no operator of this release work until the block ends."""
        running = [each for each in self.operators if each.is_running]
        for each in running:
            each.kill9()
        try:
            yield
        finally:
            for each in running:
                each.start()

    # -------------------------------------------------------------------------------------------------------- rights

    def granted(self) -> set[Right]:
        """Return the rights that the chart gives its operator."""
        return rights_of(self.cluster.kubectl.json("get", "clusterrole", self.name)["rules"])

    @contextmanager
    def without(self, *rights: Right) -> Iterator[None]:
        """Take rights away from the running operator until the block ends, and see to it that the API server knows."""
        before = self.cluster.kubectl.json("get", "clusterrole", self.name)["rules"]
        less = [
            {"apiGroups": [group], "resources": [name], "verbs": [verb]} for group, name, verb in sorted(rights_of(before) - set(rights))
        ]
        try:
            self._rule(less)
            wait_for(lambda: not any(map(self._may, rights)), what=f"{rights} are still there")
            yield
        finally:
            self._rule(before)
            wait_for(lambda: all(map(self._may, rights)), what=f"{rights} do not come back")

    def _rule(self, rules: list[Manifest]) -> None:
        self.cluster.api.call("PATCH", f"{_ROLES}/{self.name}", {"rules": rules}, "application/merge-patch+json")

    def _may(self, right: Right) -> bool:
        group, resource, verb = right
        name, _, subresource = resource.partition("/")
        attributes = {"group": group, "resource": name, "subresource": subresource, "verb": verb}
        groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}"]
        spec = {"user": self.account, "groups": groups, "resourceAttributes": attributes}
        answer = self.cluster.api.call(
            "POST", _REVIEWS, {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        )
        return bool(answer["status"]["allowed"])

    def asked(self) -> list[Asked]:
        """Return each request of the operator, in order."""
        with self.cluster.audit_log.open() as lines:
            events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [_asked(event) for event in events if event["user"]["username"] == self.account]


def rights_of(rules: list[Manifest]) -> set[Right]:
    """Spell out the rules of a role."""
    return {
        (group, resource, verb) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]
    }


def operator_rules(values: Manifest | None = None) -> list[Manifest]:
    """Return the rules of the chart's role for the operator, for tests that are made from them."""
    result = run_helm("template", "backstay", CHART, "--show-only", "templates/rbac.yaml", values=values)
    assert result.returncode == 0, result.stderr
    return next(each["rules"] for each in parsed(result.stdout) if each and each["kind"] in ("ClusterRole", "Role"))


def _asked(event: Object) -> Asked:
    if "impersonatedUser" in event:
        return Asked(IMPERSONATE, event["requestURI"], is_forbidden=False)
    about = event.get("objectRef") or {}
    resource = "/".join(filter(None, (about.get("resource", ""), about.get("subresource"))))
    right = (about.get("apiGroup", ""), resource, event["verb"])
    decision = (event.get("annotations") or {}).get("authorization.k8s.io/decision")
    return Asked(right, event["requestURI"], is_forbidden=decision != "allow")


@contextmanager
def released(folder: Path) -> Iterator[Release]:
    """Start a control plane with a node in `folder`, and a record of all that the service accounts of the chart's namespace ask for.

    The namespace admits restricted pods only. Nothing is installed yet. Everything ends with the block.
    """
    policy, audit, images = folder / "policy.json", folder / "audit.log", folder / "images.json"
    policy.write_text(json.dumps(_AUDIT))
    arguments = ["--audit-policy-file", str(policy), "--audit-log-path", str(audit), "--audit-log-mode", "blocking-strict", *_STRICT]
    with ControlPlane.start(folder, api_arguments=arguments) as control_plane:
        stands_for = {"command": [sys.executable, str(_OPERATORS_IMAGE), control_plane.server]}
        images.write_text(json.dumps({"backstay:*": stands_for}))
        with node(control_plane.kubeconfig, folder, images):
            release = Release(Cluster("real", control_plane.kubeconfig, folder, audit), control_plane)
            release.cluster.kubectl("create", "namespace", NAMESPACE)
            release.cluster.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
            wait_for(lambda: release.cluster.api.get("serviceaccounts", NAMESPACE, "default"), what="no service account")
            try:
                yield release
            finally:
                release.end()
                release.cluster.api.close()
