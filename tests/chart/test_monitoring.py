"""Alerts and the dashboard: they ask for figures that the operator has, and each alert is explained."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from backstay.observe.metrics import Metrics
from tests.chart.helm import CHART, Manifest, of_kind, rendered, the

ALL = {"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}}
DOCS = CHART.parents[1] / "docs" / "metrics.md"
DASHBOARD: Any = json.loads((CHART / "monitoring" / "dashboard.json").read_text())
RULES: Any = [rule for group in yaml.safe_load((CHART / "monitoring" / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
OF_PROMETHEUS = {"le", "instance", "job"}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}


def _labels() -> dict[str, set[str]]:
    """Return the labels of every series that the operator can have, by its name."""
    of_the_process = ("process_open_fds", "process_max_fds", "process_cpu_seconds_total", "process_resident_memory_bytes")
    found: dict[str, set[str]] = {name: set() for name in of_the_process}
    registry: Any = Metrics().registry
    for collector in registry._collector_to_names:
        names, kind = getattr(collector, "_name", ""), getattr(collector, "_type", "")
        labels = {"version", "api"} if kind == "info" else set(getattr(collector, "_labelnames", ()))
        for suffix in _SUFFIXES.get(kind, ("",)):
            found[f"{names}{suffix}"] = labels
    return found


def _queries() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']}, {target['refId']}", target["expr"]


QUERIES = dict(_queries())


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_asks_for_what_the_operator_tells(query: str) -> None:
    labels = _labels()
    asked = re.findall(r"\b((?:backstay|process)_[a-z_]+)(?:\{([^}]*)\})?", query)
    assert asked
    known = set(OF_PROMETHEUS)
    for name, matchers in asked:
        assert name in labels, f"the operator has no {name}"
        known |= labels[name]
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= labels[name]
    for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query):
        assert {label.strip() for label in group.split(",")} <= known


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_how_bad_and_is_explained(rule: Manifest) -> None:
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")
    used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    assert used <= {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in group.split(",")}
    assert f"### {rule['alert']}\n" in DOCS.read_text()


def test_each_alert_is_there_once_and_none_is_explained_that_is_not() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    assert set(re.findall(r"^### (Backstay\w+)$", DOCS.read_text(), re.MULTILINE)) == set(names)


def test_rules_and_dashboard_are_made_where_they_are_wanted() -> None:
    assert of_kind(rendered(), "PrometheusRule") + of_kind(rendered(), "ConfigMap") == []
    manifests = rendered(ALL)
    groups = the(manifests, "PrometheusRule")["spec"]["groups"]
    assert [rule for group in groups for rule in group["rules"]] == RULES
    (config,) = of_kind(manifests, "ConfigMap")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["backstay.json"]) == DASHBOARD


def test_values_reach_the_rules_and_the_dashboard() -> None:
    rule = {"enabled": True, "labels": {"release": "prometheus"}, "runbookUrl": "https://wiki.example.com/metrics"}
    dashboard = {"enabled": True, "labels": {"grafana_dashboard": "yes"}, "annotations": {"grafana_folder": "Workflows"}}
    manifests = rendered({"metrics": {"prometheusRule": rule, "dashboard": dashboard}})
    rules = the(manifests, "PrometheusRule")
    assert rules["metadata"]["labels"]["release"] == "prometheus"
    links = {each["alert"]: each["annotations"]["runbook_url"] for group in rules["spec"]["groups"] for each in group["rules"]}
    assert links["BackstayDown"] == "https://wiki.example.com/metrics#backstaydown"
    assert len(links) == len(RULES)
    (config,) = of_kind(manifests, "ConfigMap")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "yes"
    assert config["metadata"]["annotations"] == {"grafana_folder": "Workflows"}


def test_no_panel_of_the_dashboard_lies_over_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24
                assert (x, y) not in taken, f"{panel['title']} lies over {taken[x, y]}"
                taken[x, y] = panel["title"]
