"""Nobody gains rights through a resource step: where the API server enforces rights, which the embedded one does not."""

from tests.scenarios.manifests import run_of, step
from tests.scenarios.resource import CART, allow, as_manager, config_map, manifest
from tests.support.cluster import Place, condition


def test_a_run_may_do_what_its_service_account_may_and_nothing_else(place: Place) -> None:
    create = step("a", resource={"create": manifest()})
    place.apply(run_of("refused", create))
    error = place.ended("refused")["status"]["error"]
    assert error["type"] == "Forbidden"
    assert f"service account {place.name}/default may not create configmaps in namespace {place.name}" in error["detail"]
    mend = error["detail"].partition(": kubectl")[2]
    assert config_map(place) is None
    for command in f"kubectl{mend}".split(" && "):
        place.cluster.kubectl(*command.split()[1:])
    place.apply(run_of("allowed", create))
    assert condition(place.ended("allowed"), "Succeeded") == "True"


def test_another_namespace_needs_a_right_there(place: Place) -> None:
    allow(place, "get", "create")
    other = place.cluster.place("of-others")
    far = {"create": {**manifest(), "metadata": {"name": "cart", "namespace": other.name}}}
    place.apply(as_manager(run_of("r", step("a", resource=far))))
    error = place.ended("r")["status"]["error"]
    assert (error["type"], f"in namespace {other.name}" in error["detail"]) == ("Forbidden", True)
    assert config_map(other) is None


def test_a_run_that_may_only_get_still_sees_the_end_of_its_wait(place: Place) -> None:
    allow(place, "get")
    place.apply(manifest(data={"state": "closed"}))
    waiting = {"wait": {**CART, "condition": "${ object.data.state == 'open' }"}}
    place.apply(as_manager(run_of("r", step("a", resource=waiting))))
    place.reached("r", "a")
    place.apply(manifest(data={"state": "open"}))
    assert condition(place.ended("r"), "Succeeded") == "True"
