"""Nobody reads a Secret through an http step: where the API server enforces rights, which the embedded one does not."""

from tests.scenarios.http import HTTP, Bank, payment
from tests.support.cluster import Place


def test_a_secret_that_the_service_account_may_not_read_is_not_sent(counter: Place, bank: Bank) -> None:
    run = payment(HTTP / "runs" / "good.yaml", bank, "nobody")
    del run["spec"]["serviceAccountName"]
    counter.apply(run)
    error = counter.ended("nobody")["status"]["error"]
    assert error["type"] == "Forbidden"
    assert f"service account {counter.name}/default may not get secrets" in error["detail"]
    for command in f"kubectl{error['detail'].partition(': kubectl')[2]}".split(" && "):
        counter.cluster.kubectl(*command.split()[1:])
    run["metadata"]["name"] = "allowed"
    counter.apply(run)
    assert counter.ended("allowed")["status"]["phase"] == "Succeeded"
