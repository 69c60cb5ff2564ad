"""The chart's values: wrong ones are refused in words that name the place, and each is described where users look."""

import json
import re

import pytest
import yaml

from tests.chart.helm import CHART, Manifest, refused, rendered, run_helm

SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_the_chart_passes_helms_own_lint() -> None:
    result = run_helm("lint", "--strict", CHART)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 chart(s) failed" in result.stdout


WRONG: list[tuple[str, Manifest, str]] = [
    ("an unknown value", {"replica": 3}, r"additional properties 'replica' not allowed"),
    ("a misspelt one deep down", {"image": {"repo": "x"}}, r"at '/image': additional properties 'repo' not allowed"),
    ("a number for a tag", {"image": {"tag": 1.1}}, r"at '/image/tag': got number, want string"),
    ("a digest that is none", {"image": {"digest": "sha256:12"}}, r"at '/image/digest': 'sha256:12' does not match pattern"),
    ("a tag in the repository's digest", {"image": {"repository": "x@sha256:12"}}, r"at '/image/repository': .* does not match pattern"),
    ("a policy that nobody knows", {"image": {"pullPolicy": "Sometimes"}}, r"at '/image/pullPolicy': value must be one of 'Always'"),
    ("a namespace that cannot exist", {"watchNamespaces": ["My_Team"]}, r"at '/watchNamespaces/0': 'My_Team' does not match pattern"),
    ("a namespace named twice", {"watchNamespaces": ["a", "a"]}, r"at '/watchNamespaces': items at 0 and 1 are equal"),
    ("a namespace instead of a list", {"watchNamespaces": "team"}, r"at '/watchNamespaces': got string, want array"),
    ("a log level of another program", {"log": {"level": "verbose"}}, r"at '/log/level': value must be one of 'debug', 'info'"),
    ("yes as a string", {"crds": {"keep": "yes"}}, r"at '/crds/keep': got string, want boolean"),
    ("a variable without a name", {"extraEnv": [{"value": "x"}]}, r"at '/extraEnv/0': missing property 'name'"),
    ("a pull secret as a bare name", {"imagePullSecrets": ["registry"]}, r"at '/imagePullSecrets/0': got string, want object"),
    (
        "an interval without a unit",
        {"metrics": {"podMonitor": {"interval": "30"}}},
        r"at '/metrics/podMonitor/interval': '30' does not match",
    ),
    (
        "a port beyond the last",
        {"networkPolicy": {"apiServerPorts": [65536]}},
        r"at '/networkPolicy/apiServerPorts/0': maximum: got 65,?536",
    ),
    ("no way to the API server", {"networkPolicy": {"apiServerPorts": []}}, r"at '/networkPolicy/apiServerPorts': minItems: got 0, want 1"),
    ("a host with a path", {"http": {"allowedHosts": ["https://a.example/x"]}}, r"at '/http/allowedHosts/0': .* does not match pattern"),
    ("two hosts in one", {"http": {"allowedHosts": ["a.example,b.example"]}}, r"at '/http/allowedHosts/0': .* does not match pattern"),
    ("a range that is none", {"http": {"internalRanges": ["pods"]}}, r"at '/http/internalRanges/0': 'pods' does not match pattern"),
    ("less than nobody", {"replicas": -1}, r"at '/replicas': minimum: got -1, want 0"),
    ("no shard for the runs", {"shards": 0}, r"at '/shards': minimum: got 0, want 1"),
    ("a rate that is none", {"apiServer": {"qps": -1}}, r"at '/apiServer/qps': minimum: got -1, want 0"),
    ("a bucket without room", {"apiServer": {"burst": 0}}, r"at '/apiServer/burst': minimum: got 0, want 1"),
    (
        "a runbook that is no address",
        {"metrics": {"prometheusRule": {"runbookUrl": "docs/metrics.md"}}},
        r"at '/metrics/prometheusRule/runbookUrl': .* does not match pattern",
    ),
    ("a negative grace", {"terminationGracePeriodSeconds": -1}, r"at '/terminationGracePeriodSeconds': minimum: got -1, want 0"),
    ("nobody to be trusted", {"admissionPolicies": {"trusted": [""]}}, r"at '/admissionPolicies/trusted/0': minLength: got 0, want 1"),
    ("nobody's service account", {"serviceAccount": {"create": False}}, r"serviceAccount\.name must name an existing service account"),
]


@pytest.mark.parametrize(("values", "told"), [pytest.param(values, told, id=name) for name, values, told in WRONG])
def test_a_wrong_value_is_refused_with_its_place(values: Manifest, told: str) -> None:
    assert re.search(told, refused(values))


def test_a_chart_that_has_this_one_as_a_part_may_pass_its_global_values() -> None:
    assert rendered({"global": {"region": "north"}})


def _leaves(values: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(values, dict) and values:
        return [leaf for name, value in values.items() for leaf in _leaves(value, (*path, name))]
    return [path]


@pytest.mark.parametrize("path", _leaves(yaml.safe_load((CHART / "values.yaml").read_text())), ids=".".join)
def test_each_default_is_described_by_the_schema(path: tuple[str, ...]) -> None:
    where = SCHEMA
    for name in path:
        # The names in a map, as in resources.requests.cpu, are the user's; the map is described.
        where = where["properties"][name] if "properties" in where else where
    assert where["description"]


def test_no_object_of_the_schema_accepts_unknown_names_unless_kubernetes_defines_them() -> None:
    def loose(schema: Manifest, path: str) -> list[str]:
        found = []
        if schema.get("type") == "object" and "additionalProperties" not in schema:
            found.append(path)
        for name, part in schema.get("properties", {}).items():
            found += loose(part, f"{path}.{name}".lstrip("."))
        if "items" in schema:
            found += loose(schema["items"], f"{path}[]")
        return found

    of_kubernetes = {
        "affinity",
        "tolerations[]",
        "extraEnv[].valueFrom",
        "resources.claims[]",
        "networkPolicy.metricsFrom[]",
        "networkPolicy.extraEgress[]",
    }
    assert set(loose(SCHEMA, "")) == of_kubernetes | {"global"}
