"""Resource steps as a user sees them: objects come and go with their run, waits survive the operator, and errors name what is wrong."""

from tests.scenarios.manifests import run_of, step
from tests.support.api import Object
from tests.support.cluster import Place, condition, step_of
from tests.support.waiting import wait_for

CART: Object = {"apiVersion": "v1", "kind": "ConfigMap", "name": "cart"}
MANAGER = "manager"


def allow(place: Place, *verbs: str, resources: str = "configmaps", group: str = "") -> None:
    """Give the service account `manager`, which is made if need be, rights in its namespace."""
    if place.cluster.api.get("serviceaccounts", place.name, MANAGER) is None:
        place.kubectl("create", "serviceaccount", MANAGER)
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": MANAGER},
        "rules": [{"apiGroups": [group], "resources": [resources], "verbs": list(verbs)}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": MANAGER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": MANAGER},
        "subjects": [{"kind": "ServiceAccount", "name": MANAGER, "namespace": place.name}],
    }
    place.apply(role, binding)
    account = f"system:serviceaccount:{place.name}:{MANAGER}"
    for verb in verbs:  # the API server hears of a new role a moment later
        wait_for(
            lambda verb=verb: place.kubectl("auth", "can-i", verb, f"{resources}.{group}".strip("."), f"--as={account}").strip() == "yes"
        )


def as_manager(run: Object) -> Object:
    run["spec"]["serviceAccountName"] = MANAGER
    return run


def manifest(name: str = "cart", **fields: object) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **fields}


def config_map(place: Place, name: str = "cart") -> Object | None:
    return place.cluster.api.get("configmaps", place.name, name)


def test_what_a_run_creates_goes_with_it_and_what_it_does_not_own_stays(place: Place) -> None:
    allow(place, "get", "create", "patch")
    own, kept = {"create": manifest("own")}, {"apply": manifest("kept"), "own": False}
    place.apply(as_manager(run_of("r", step("own", resource=own), step("kept", resource=kept))))
    assert condition(place.ended("r"), "Succeeded") == "True"
    made = config_map(place, "own")
    assert made is not None
    assert made["metadata"]["annotations"]["backstay.dev/run-name"] == "r"
    place.kubectl("delete", "wfrun", "r", "--timeout=30s")
    wait_for(lambda: config_map(place, "own") is None, what="the object of a run that is gone stays")
    assert config_map(place, "kept") is not None


def test_a_wait_is_told_survives_the_operator_and_ends_when_it_holds(place: Place) -> None:
    allow(place, "get", "list", "watch")
    waiting = {"wait": {**CART, "condition": "${ object.data.state == 'open' }"}, "outputs": {"state": "${ object.data.state }"}}
    place.apply(as_manager(run_of("r", step("a", resource=waiting))))
    place.until("r", lambda run: "it is not there" in str(step_of(run, "a").get("message") if run.get("status", {}).get("steps") else ""))
    wait_for(lambda: any(e["reason"] == "Waiting" and "it is not there" in e["message"] for e in place.events("r")), what="no Event tells")
    place.cluster.operator.kill9()
    place.apply(manifest(data={"state": "closed"}))
    place.cluster.operator.start()
    place.apply(manifest(data={"state": "open"}))
    run = place.ended("r")
    assert condition(run, "Succeeded") == "True"
    assert step_of(run, "a")["outputs"] == {"state": "open"}
    assert step_of(run, "a")["attempt"] == 1


def test_an_object_of_somebody_else_is_not_touched_and_the_error_says_whose_it_is(place: Place) -> None:
    allow(place, "get", "create")
    place.apply(manifest(data={"state": "theirs"}))
    place.apply(as_manager(run_of("r", step("a", resource={"create": manifest(data={"state": "ours"})}))))
    error = place.ended("r")["status"]["error"]
    assert (error["type"], "ConfigMap cart: it is there already, not made by a run" in error["detail"]) == ("AlreadyExists", True)
    found = config_map(place)
    assert found is not None
    assert found["data"] == {"state": "theirs"}
