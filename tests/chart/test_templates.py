"""What the chart makes of its values: a restricted pod, the rights that the operator needs and no others, and definitions that stay."""

import re
import shutil
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from backstay import names
from backstay.cli import preflight
from backstay.settings import Settings
from tests.chart.helm import CHART, NAMESPACE, Manifest, of_kind, parsed, rendered, run_helm, the

KEEP = "helm.sh/resource-policy"
NO_POLICIES = {"admissionPolicies": {"enabled": False}}
MONITORING = {
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    }
}

POLICIES = {f"{kind}{what}" for kind in ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy") for what in ("", "Binding")}

SETTINGS: dict[str, Manifest] = {
    "defaults": {},
    "two namespaces": {
        "watchNamespaces": ["shop", "store"],
        "crds": {"enabled": False},
        "userRoles": {"enabled": False},
        "admissionPolicies": {"enabled": False},
    },
    "everything on": {
        **MONITORING,
        "fullnameOverride": "workflows",
        "networkPolicy": {"enabled": True, "metricsFrom": [{"podSelector": {}}]},
        "imagePullSecrets": [{"name": "registry"}],
        "extraEnv": [{"name": "A", "value": "b"}],
        "podLabels": {"team": "platform", "app.kubernetes.io/name": "another"},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "serviceAccount": {"annotations": {"a": "b"}},
    },
    "nothing that can be left out": {
        "rbac": {"create": False},
        "crds": {"enabled": False},
        "userRoles": {"enabled": False},
        "admissionPolicies": {"enabled": False},
        "serviceAccount": {"create": False, "name": "own"},
        "metrics": {"service": {"enabled": False}},
        "resources": {},
    },
}


@pytest.fixture(params=list(SETTINGS.values()), ids=list(SETTINGS))
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return rendered(request.param)


def _without_tests(manifests: list[Manifest]) -> list[Manifest]:
    return [each for each in manifests if "helm.sh/hook" not in each["metadata"].get("annotations", {})]


def _pod(manifests: list[Manifest]) -> Manifest:
    pod: Manifest = the(manifests, "Deployment")["spec"]["template"]["spec"]
    return pod


def test_the_pod_is_restricted_whatever_the_values(manifests: list[Manifest]) -> None:
    pod = _pod(manifests)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert [volume for volume in pod["volumes"] if "emptyDir" not in volume] == []


def test_the_selector_of_the_operator_matches_its_pod(manifests: list[Manifest]) -> None:
    spec = the(manifests, "Deployment")["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert set(spec["selector"]["matchLabels"].values()) == {"backstay", "operator"}


def test_by_default_there_is_one_operator_at_a_time() -> None:
    manifests = rendered()
    spec = the(manifests, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert not of_kind(manifests, "PodDisruptionBudget")
    assert "affinity" not in _pod(manifests)


def test_several_operators_stand_by_on_other_nodes_and_are_changed_one_after_the_other() -> None:
    manifests = rendered({"replicas": 3, "shards": 2})
    spec = the(manifests, "Deployment")["spec"]
    assert spec["replicas"] == 3
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    budget = the(manifests, "PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": spec["selector"]["matchLabels"]}}
    (rule,) = _pod(manifests)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert rule["podAffinityTerm"]["labelSelector"]["matchLabels"] == spec["selector"]["matchLabels"]
    (container,) = _pod(manifests)["containers"]
    assert Settings.from_environment({item["name"]: item["value"] for item in container["env"]}).shards == 2
    own = {"nodeAffinity": {}}
    assert _pod(rendered({"replicas": 3, "affinity": own}))["affinity"] == own


def test_the_operator_has_its_lease_where_the_release_is_and_rights_on_leases_there_alone(manifests: list[Manifest]) -> None:
    name = the(manifests, "Deployment")["metadata"]["name"]
    assert f"--lease={NAMESPACE}/{name}" in _pod(manifests)["containers"][0]["args"]
    roles = of_kind(manifests, "Role") + of_kind(manifests, "ClusterRole")
    found = [role for role in roles if any("leases" in rule["resources"] for rule in role["rules"])]
    if not of_kind(_without_tests(manifests), "Role"):
        assert found == [], "rights are bound by somebody else"
        return
    (role,) = found
    assert role["metadata"]["namespace"] == NAMESPACE
    group, resource, _, verbs = preflight.LEASES
    assert _rights(role) == {(group, resource, verb) for verb in verbs}


def test_what_lives_in_a_namespace_names_it_and_nothing_is_made_twice(manifests: list[Manifest]) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", *POLICIES}
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in manifests]
    assert len(names) == len(set(names))
    assert [name for name in names if (name[0] in cluster_wide) == bool(name[1])] == []


def test_the_probes_ask_where_the_operator_is_told_to_answer() -> None:
    (container,) = _pod(rendered())["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f"--health-port={ports['health']}" in container["args"]
    assert f"--metrics-port={ports['metrics']}" in container["args"]
    asked = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {port["port"] for port in asked.values()} == {"health"}
    assert [port["path"] for port in asked.values()] == ["/healthz", "/healthz", "/readyz"]


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "backstay:0.2.0"),
        ({"image": {"repository": "registry:5000/team/backstay", "tag": "2.0"}}, "registry:5000/team/backstay:2.0"),
        ({"image": {"tag": "2.0", "digest": "sha256:" + "a" * 64}}, "backstay@sha256:" + "a" * 64),
    ],
)
def test_the_image_is_the_tag_or_the_digest_and_else_the_version_of_the_chart(values: Manifest, image: str) -> None:
    assert _pod(rendered(values))["containers"][0]["image"] == image


def test_the_version_of_the_chart_is_the_version_of_the_package() -> None:
    package = (CHART.parents[1] / "pyproject.toml").read_text()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in package


def test_values_reach_the_pod() -> None:
    pod = _pod(rendered(SETTINGS["everything on"]))
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["containers"][0]["env"] == [{"name": "A", "value": "b"}]


def test_the_operator_is_told_how_many_runs_may_go_on() -> None:
    (container,) = _pod(rendered({"limits": {"maxActiveRuns": 100, "maxActiveRunsPerNamespace": 20}}))["containers"]
    read = Settings.from_environment({item["name"]: item["value"] for item in container["env"]})
    assert (read.max_active_runs, read.max_active_runs_per_namespace) == (100, 20)
    assert "env" not in _pod(rendered())["containers"][0]


def test_the_operator_is_told_how_fast_it_may_ask_the_api_server() -> None:
    (container,) = _pod(rendered({"apiServer": {"qps": 12.5, "burst": 40}}))["containers"]
    read = Settings.from_environment({item["name"]: item["value"] for item in container["env"]})
    assert (read.api_qps, read.api_burst) == (12.5, 40)
    (container,) = _pod(rendered({"apiServer": {"qps": 0}}))["containers"]
    assert container["env"] == [{"name": "BACKSTAY_API_QPS", "value": "0"}]
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())["apiServer"]
    assert defaults == {"qps": Settings().api_qps, "burst": Settings().api_burst}


def test_the_operator_is_told_which_hosts_may_be_called_and_whom_to_trust_there() -> None:
    http = {"allowedHosts": ["api.example.com", "*.example.com:8443"], "internalRanges": ["52.1.0.0/16"], "caConfigMap": "authorities"}
    pod = _pod(rendered({"http": http, "extraEnv": [{"name": "A", "value": "b"}]}))
    (container,) = pod["containers"]
    assert {item["name"]: item["value"] for item in container["env"]} == {
        "BACKSTAY_HTTP_ALLOWED_HOSTS": "api.example.com,*.example.com:8443",
        "BACKSTAY_HTTP_INTERNAL_RANGES": "52.1.0.0/16",
        "BACKSTAY_HTTP_CA_FILE": "/etc/backstay/ca/ca.crt",
        "A": "b",
    }
    read = Settings.from_environment({item["name"]: item["value"] for item in container["env"] if item["name"] != "BACKSTAY_HTTP_CA_FILE"})
    assert read.http_allowed_hosts == ("api.example.com", "*.example.com:8443")
    assert {"name": "ca", "mountPath": "/etc/backstay/ca", "readOnly": True} in container["volumeMounts"]
    assert {"name": "ca", "configMap": {"name": "authorities"}} in pod["volumes"]


def test_no_host_may_be_called_by_default() -> None:
    assert "env" not in _pod(rendered({}))["containers"][0]
    assert Settings.from_environment({}).http_allowed_hosts == ()


def test_the_operator_is_told_its_namespaces_and_how_to_log() -> None:
    arguments = _pod(rendered({"watchNamespaces": ["shop", "store"], "log": {"format": "text", "level": "debug"}}))["containers"][0]["args"]
    assert arguments[0] == "operator"
    assert arguments[1:5] == ["--namespace=shop", "--namespace=store", "--log-format=text", "--log-level=debug"]


def test_the_test_of_the_release_leaves_nothing_behind_and_its_pod_is_no_less_restricted(manifests: list[Manifest]) -> None:
    hooks = [each for each in manifests if each["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]
    assert [each["kind"] for each in hooks] == ["ServiceAccount", "Role", "RoleBinding", "Pod"]
    for each in hooks:
        assert each["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert each["metadata"]["labels"]["app.kubernetes.io/component"] == "test", "the operator's selectors must not find it"
    pod, operators = hooks[-1]["spec"], _pod(manifests)
    assert pod["securityContext"] == operators["securityContext"]
    assert pod["containers"][0]["securityContext"] == operators["containers"][0]["securityContext"]
    assert pod["containers"][0]["image"] == operators["containers"][0]["image"]


def test_the_test_of_the_release_runs_where_the_operator_works() -> None:
    pod = the(rendered({"watchNamespaces": ["shop", "store"], "imagePullSecrets": [{"name": "registry"}]}), "Pod")
    assert "--namespace=shop" in pod["spec"]["containers"][0]["args"]
    assert "--pull-secret=registry" not in pod["spec"]["containers"][0]["args"], "the secret is in another namespace"
    pod = the(rendered({"imagePullSecrets": [{"name": "registry"}]}), "Pod")
    assert {f"--namespace={NAMESPACE}", "--pull-secret=registry", "--image=backstay:0.2.0"} <= set(pod["spec"]["containers"][0]["args"])


def _rights(role: Manifest) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


IMPERSONATE = ("", "serviceaccounts", "impersonate")
"""The one right that is as wide as what the service accounts of runs may: docs/rbac.md says what that means, and a value takes it away."""


def test_no_rule_is_wider_than_its_words(manifests: list[Manifest]) -> None:
    for role in of_kind(manifests, "ClusterRole") + of_kind(manifests, "Role"):
        for group, resource, verb in _rights(role) - {IMPERSONATE}:
            assert "*" not in (group, resource, verb)
            assert verb not in ("impersonate", "escalate", "bind")
            assert resource not in (
                "secrets",
                "configmaps",
                "pods/exec",
                "pods/attach",
                "serviceaccounts",
                "roles",
                "clusterroles",
                "nodes",
            )


def test_every_rule_of_the_operator_says_why_it_is_needed() -> None:
    rules = (
        run_helm("template", "x", CHART, "--show-only", "templates/rbac.yaml").stdout.split("rules:\n", 1)[1].split("---")[0].splitlines()
    )
    first_lines = [number for number, line in enumerate(rules) if line.startswith("- apiGroups")]
    assert len(first_lines) >= 8
    assert [rules[number] for number in first_lines if not rules[number - 1].startswith("# ")] == []


def test_with_namespaces_the_operator_has_rights_there_and_none_in_the_cluster() -> None:
    manifests = _without_tests(rendered(SETTINGS["two namespaces"]))
    assert not of_kind(manifests, "ClusterRole")
    assert not of_kind(manifests, "ClusterRoleBinding")
    assert [role["metadata"]["namespace"] for role in of_kind(manifests, "Role")] == [NAMESPACE, "shop", "store"]
    for binding in of_kind(manifests, "RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "backstay", "namespace": NAMESPACE}]


def _of_the_operator(values: Manifest | None = None) -> list[Manifest]:
    manifests = _without_tests(rendered(values))
    return [each for each in of_kind(manifests, "Role") + of_kind(manifests, "ClusterRole") if each["metadata"]["name"] == "backstay"]


def test_the_operator_has_in_a_namespace_the_rights_that_it_has_in_the_cluster() -> None:
    (everywhere,) = _of_the_operator()
    (there,) = _of_the_operator({"watchNamespaces": ["shop"]})
    assert there["rules"] == everywhere["rules"]


def test_the_operator_is_given_what_it_asks_for_when_it_starts_and_nothing_else() -> None:
    (role,) = _of_the_operator()
    asked = (*preflight.NEEDED, *(right for right, _ in preflight.WANTED))
    assert _rights(role) == {(group, f"{name}/{sub}" if sub else name, verb) for group, name, sub, verbs in asked for verb in verbs}


def test_the_page_on_rights_tells_of_each_of_them() -> None:
    roles = [*_of_the_operator(), *(role for role in of_kind(rendered(), "Role") if role["metadata"]["name"] == "backstay-leases")]
    page = (CHART.parents[1] / "docs" / "rbac.md").read_text().split("## RBAC explained")[1].split("**Users**")[0]
    told = set()
    for cell in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE):
        resources, verbs = cell.rsplit(":", 1)
        told |= {(resource, verb.strip()) for resource in re.findall("`([^`]+)`", resources) for verb in verbs.split(",")}
    named = {(f"{name}.{group}" if group and group != names.GROUP else name, verb) for role in roles for group, name, verb in _rights(role)}
    assert told == named


def test_users_get_their_rights_through_the_roles_that_they_have() -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(rendered(), "ClusterRole")}
    for name in ("view", "edit", "admin"):
        assert roles[f"backstay-{name}"]["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{name}"] == "true"
    assert {verb for _, _, verb in _rights(roles["backstay-view"])} == {"get", "list", "watch"}
    writable = {resource for _, resource, _ in _rights(roles["backstay-edit"]) | _rights(roles["backstay-admin"])}
    assert writable == {"workflows", "workflowruns", "semaphores", "circuitbreakers", "deadletters"}, (
        "a status is written by the operator alone"
    )


def test_policies_hold_for_everybody_but_the_operator_and_who_is_trusted() -> None:
    manifests = rendered({"admissionPolicies": {"trusted": ["velero", 'o"dd']}, "serviceAccount": {"name": "own"}})
    policies = of_kind(manifests, "ValidatingAdmissionPolicy")
    for policy in policies:
        (condition,) = policy["spec"]["matchConditions"]
        assert condition["expression"] == f'!(request.userInfo.username in ["system:serviceaccount:{NAMESPACE}:own","velero","o\\"dd"])'
        assert policy["spec"]["failurePolicy"] == "Fail"
    bindings = of_kind(manifests, "ValidatingAdmissionPolicyBinding")
    assert [binding["spec"]["policyName"] for binding in bindings] == [policy["metadata"]["name"] for policy in policies]
    assert [binding["spec"]["validationActions"] for binding in bindings] == [["Deny"], ["Deny"]]


def test_policies_hold_where_the_operator_works_and_nowhere_else() -> None:
    everywhere = of_kind(rendered(), "ValidatingAdmissionPolicyBinding")
    assert [binding for binding in everywhere if "matchResources" in binding["spec"]] == []
    for binding in of_kind(rendered({"watchNamespaces": ["shop", "store"]}), "ValidatingAdmissionPolicyBinding"):
        (expression,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert expression == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "store"]}


def test_who_started_a_run_is_entered_only_where_the_api_server_can() -> None:
    assert of_kind(rendered(), "MutatingAdmissionPolicy") == []
    can = run_helm("template", "x", CHART, "--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")
    made = [each for each in parsed(can.stdout) if each]
    assert the(made, "MutatingAdmissionPolicyBinding")["spec"]["policyName"] == the(made, "MutatingAdmissionPolicy")["metadata"]["name"]
    off = run_helm("template", "x", CHART, "--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy", values=NO_POLICIES)
    assert [each["kind"] for each in parsed(off.stdout) if each and each["kind"] in POLICIES] == []


def test_what_users_may_annotate_is_what_the_operator_reads() -> None:
    (records,) = [each for each in of_kind(rendered(), "ValidatingAdmissionPolicy") if each["metadata"]["name"] == "backstay-records"]
    (rule,) = [each["expression"] for each in records["spec"]["variables"] if each["name"] == "otherAnnotations"]
    assert f"key.startsWith('{names.GROUP}/') && !(key in ['{names.ANNOTATION_RELEASE}'])" in rule
    assert f"key == '{names.ANNOTATION_STARTED_BY}' && !(key in variables.annotations)" in rule


def test_monitors_select_the_operator_and_carry_the_labels_that_prometheus_wants() -> None:
    manifests = rendered(MONITORING)
    service = the(manifests, "Service")
    monitor = the(manifests, "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert the(manifests, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"


def test_a_network_policy_lets_out_to_names_and_to_the_api_server_only() -> None:
    policy = the(rendered({"networkPolicy": {"enabled": True}}), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert sorted({port["port"] for rule in policy["egress"] for port in rule["ports"]}) == [53, 443, 6443]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == ["metrics"]


def test_a_network_policy_lets_calls_out_to_public_addresses_where_hosts_may_be_called_and_to_what_is_named() -> None:
    further = {"to": [{"podSelector": {"matchLabels": {"app": "payments"}}}], "ports": [{"port": 8080}]}
    values = {"networkPolicy": {"enabled": True, "extraEgress": [further]}, "http": {"allowedHosts": ["api.example.com"]}}
    *_, outside, last = the(rendered(values), "NetworkPolicy")["spec"]["egress"]
    assert last == further
    assert [port["port"] for port in outside["ports"]] == [80, 443]
    four, six = (block["ipBlock"] for block in outside["to"])
    for text in ("10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "127.0.0.1", "100.64.0.1", "168.63.129.16"):
        assert any(ip_address(text) in ip_network(network) for network in four["except"]), text
    assert not any(ip_address("93.184.216.34") in ip_network(network) for network in four["except"])
    assert six == {"cidr": "2000::/3"}


def test_a_name_stays_short_enough_for_what_is_made_from_it() -> None:
    for each in rendered(release="r" * 53):
        assert len(each["metadata"]["name"]) <= 63


@pytest.fixture
def chart_with_a_definition(tmp_path: Path) -> Path:
    """A copy of the chart with one definition, which has all that templating could spoil: braces, large numbers, long texts."""
    chart = tmp_path / "backstay"
    shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("crd-bases"))
    (chart / "crd-bases").mkdir()
    schema = {"type": "object", "description": "A step's value, as in `${{ params.x }}`.\n\n" + "long words " * 80, "maxLength": 10485760}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.backstay.dev", "annotations": {"own": "kept"}},
        "spec": {"group": "backstay.dev", "versions": [{"name": "v1alpha1", "schema": {"openAPIV3Schema": schema}}]},
    }
    (chart / "crd-bases" / "things.yaml").write_text(yaml.safe_dump(definition))
    return chart


def test_a_definition_is_installed_unchanged_and_kept_by_default(chart_with_a_definition: Path) -> None:
    written = yaml.safe_load((chart_with_a_definition / "crd-bases" / "things.yaml").read_text())
    definition = the(rendered(chart=chart_with_a_definition), "CustomResourceDefinition")
    assert definition["spec"] == written["spec"]
    assert definition["metadata"]["annotations"] == {"own": "kept", KEEP: "keep"}


def test_definitions_can_be_left_out_or_made_to_leave(chart_with_a_definition: Path) -> None:
    assert not of_kind(rendered({"crds": {"enabled": False}}, chart=chart_with_a_definition), "CustomResourceDefinition")
    leaving = the(rendered({"crds": {"keep": False}}, chart=chart_with_a_definition), "CustomResourceDefinition")
    assert KEEP not in leaving["metadata"]["annotations"]


def test_a_file_that_is_no_definition_is_refused_with_its_name(chart_with_a_definition: Path) -> None:
    (chart_with_a_definition / "crd-bases" / "broken.yaml").write_text("a: [")
    result = run_helm("template", "x", chart_with_a_definition)
    assert result.returncode != 0
    assert "crd-bases/broken.yaml holds no CustomResourceDefinition; generate it again with `make crds`" in result.stderr


def test_the_projects_own_definitions_are_in_the_chart_unchanged() -> None:
    written = [each for path in (CHART / "crd-bases").glob("*.yaml") for each in parsed(path.read_text())]
    made = {each["metadata"]["name"]: each["spec"] for each in of_kind(rendered(), "CustomResourceDefinition")}
    assert {"workflows.backstay.dev", "workflowruns.backstay.dev"} <= set(made)
    assert made == {each["metadata"]["name"]: each["spec"] for each in written}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {},
            [
                "in all namespaces",
                "logs deployment/backstay",
                "helm test backstay",
                "`helm uninstall` leaves the custom resource definitions",
            ],
        ),
        ({"watchNamespaces": ["shop", "store"]}, ["in the namespaces shop, store", "namespace: shop", "kubectl --namespace shop get"]),
        ({"crds": {"keep": False}}, ["WARNING: `helm uninstall` deletes every workflow and every run"]),
        ({"crds": {"enabled": False}}, ["without them the operator cannot start"]),
        ({"rbac": {"create": False}}, ["was given no rights (rbac.create is false)"]),
        (NO_POLICIES, ["Nobody checks who may write which field"]),
    ],
)
def test_the_notes_say_what_to_do_next(values: Manifest, told: list[str]) -> None:
    result = run_helm("install", "backstay", CHART, "--namespace", NAMESPACE, "--dry-run=client", values=values)
    assert result.returncode == 0, result.stderr
    notes = result.stdout.split("NOTES:", 1)[1]
    assert [each for each in told if each not in notes] == []
    example = notes.split("<<EOF\n", 1)[1].split("  EOF", 1)[0]
    assert yaml.safe_load(example)["kind"] == "WorkflowRun"
