"""Workspaces as a user sees them: data that is handed over by reference, a volume that goes with its run, and secrets that nobody else sees."""

import base64
import json
import secrets

from tests.scenarios.manifests import run_of, shell, step
from tests.scenarios.resource import allow, as_manager
from tests.support.api import Object
from tests.support.cluster import Place, condition, step_of
from tests.support.waiting import wait_for


def claims(place: Place) -> list[Object]:
    return place.cluster.api.list("persistentvolumeclaims", place.name)


def test_a_workspace_outlives_a_retry_is_seen_by_what_undoes_the_run_and_goes_with_it(place: Place) -> None:
    mount = [{"name": "data", "mountPath": "/data"}]
    again = 'if [ -e "$0" ]; then exit 0; fi; echo first > "$0"; exit 3'
    place.apply(
        run_of(
            "r",
            step(
                "a",
                job=shell(again, workspaces=mount, command=["sh", "-c", again, "/data/note"]),
                retry={"maxAttempts": 2, "interval": "100ms"},
                compensate={"job": {**shell(), "workspaces": mount, "command": ["sh", "-c", 'grep first "$0"', "/data/note"]}},
            ),
            step("b", fail={"error": "Enough"}),
            workspaces=[{"name": "data", "claim": {"storage": "1Mi"}}],
        )
    )
    run = place.ended("r")
    assert (step_of(run, "a")["attempt"], condition(run, "Compensated")) == (2, "True")
    (claim,) = claims(place)
    assert claim["metadata"]["annotations"]["backstay.dev/run-name"] == "r"
    place.kubectl("delete", "wfrun", "r", "--timeout=60s")
    wait_for(lambda: not claims(place), 60, what="the volume of a run that is gone stays")


def test_a_secret_reaches_the_job_that_refers_to_it_and_nothing_else(place: Place) -> None:
    """Through a variable, all variables and a file; the job proves that it has it by a checksum. Nobody else ever says it."""
    value = secrets.token_hex(16)
    allow(place, "get", resources="secrets")
    place.kubectl("create", "secret", "generic", "pay", f"--from-literal=token={value}")
    check = f'test "$T" = "$S_token" && test "$T" = "$(cat "$0")" && test {len(value)} = "${{#T}}"'.replace("${#", "$${#")
    job = {
        "image": "busybox:1.36",
        "command": ["sh", "-c", check, "/keys/token"],
        "env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "pay", "key": "token"}}}],
        "envFrom": [{"prefix": "S_", "secretRef": {"name": "pay"}}],
        "workspaces": [{"name": "keys", "mountPath": "/keys"}],
    }
    seen = {"get": {"apiVersion": "v1", "kind": "Secret", "name": "pay"}, "outputs": {"all": "${ object }"}}
    failing = step("c", resource={"get": {"apiVersion": "v1", "kind": "Secret", "name": "pay"}, "outputs": {"x": "${ object.nil }"}})
    place.apply(
        as_manager(
            run_of("r", step("a", job=job), step("b", resource=seen), failing, workspaces=[{"name": "keys", "secret": {"name": "pay"}}])
        )
    )
    run = place.ended("r")
    assert (step_of(run, "a")["phase"], step_of(run, "b")["phase"], step_of(run, "c")["phase"]) == ("Succeeded", "Succeeded", "Failed")
    assert step_of(run, "b")["outputs"]["all"]["data"] == {"token": ""}
    log = place.cluster.operator.log
    told = json.dumps([run, place.jobs(), place.events("r")]) + (log() if callable(log) else log.read_text())
    for form in (value, base64.b64encode(value.encode()).decode()):
        assert form not in told
