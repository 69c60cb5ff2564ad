"""Resource steps against the embedded API server, as one run does them: what is there afterwards, and what the step says."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.engine.model import CallState
from backstay.errors import NotFound
from backstay.executors.resource import doing, waiting
from backstay.executors.resource.doing import shared_by
from backstay.kube.client import Client, Object
from backstay.kube.resources import Resource
from backstay.local.apiserver.server import serve
from tests.support.resource_calls import Steps

pytestmark = pytest.mark.embedded

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
OTHER_RUN = "uid-2"
CART = "{create: {apiVersion: v1, kind: ConfigMap, metadata: {name: cart}, data: {state: open}}}"
APPLIED = "{apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: cart}, data: {state: open}}}"
ESTABLISHED = '${ object.status.conditions.exists(c, c.type == "Established" && c.status == "True") }'


def widgets(**version: Any) -> Object:
    """The definition of a kind of its own."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}],
        },
    }


@pytest.fixture
async def steps(tmp_path: Path) -> AsyncIterator[Steps]:
    async with serve(tmp_path / "data") as server, Client.from_kubeconfig(str(server.kubeconfig)) as client:
        await client.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        yield Steps(client)


async def cart(steps: Steps) -> Object:
    return await steps.client.get(CONFIG_MAPS, "shop", "cart")


async def put(steps: Steps, name: str = "cart", resource: Resource = CONFIG_MAPS, **fields: Any) -> Object:
    """An object of somebody else is there."""
    labels = fields.pop("labels", {})
    manifest = {"apiVersion": "v1", "kind": resource.kind, "metadata": {"name": name, "labels": labels}, **fields}
    return await steps.client.create(resource, "shop", manifest)


def of_another_run(steps: Steps) -> Steps:
    return Steps(steps.client, replace(steps.run, uid=OTHER_RUN, name="order-b"))


# ---------------------------------------------------------------------------------------------------------------- create


async def test_what_a_step_creates_carries_the_runs_marks_and_goes_with_the_run(steps: Steps) -> None:
    outputs = await steps.done(CART)
    made = await cart(steps)
    assert outputs == {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "cart", "uid": made["metadata"]["uid"]}
    assert made["data"] == {"state": "open"}
    assert made["metadata"]["labels"] == {"backstay.dev/made-by-run": "uid-1"}
    assert made["metadata"]["annotations"] == {"backstay.dev/path": "a", "backstay.dev/run-name": "order-7f2"}
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner.get("controller")) == ("WorkflowRun", "order-7f2", "uid-1", None)


async def test_creating_twice_is_the_same_object_and_only_for_the_same_step_of_the_same_run(steps: Steps) -> None:
    first = await steps.done(CART)
    assert await steps.done(CART) == first
    other = await steps.refused(CART, name="b")
    assert (other.type, "made by step a of run order-7f2" in other.detail) == ("AlreadyExists", True)
    foreign = await of_another_run(steps).refused(CART)
    assert (foreign.type, "made by step a of run order-7f2; choose another name" in foreign.detail) == ("AlreadyExists", True)


@pytest.mark.parametrize(("labels", "words"), [({}, "not made by a run"), ({"app.kubernetes.io/managed-by": "Helm"}, "managed by Helm")])
async def test_an_object_of_somebody_else_is_in_the_way_and_the_error_says_whose_it_is(
    steps: Steps, labels: dict[str, str], words: str
) -> None:
    await put(steps, labels=labels, data={"state": "theirs"})
    fault = await steps.refused(CART)
    assert fault.type == "AlreadyExists"
    assert words in fault.detail
    assert (await cart(steps))["data"] == {"state": "theirs"}


async def test_own_false_and_other_namespaces_leave_an_object_to_itself(steps: Steps) -> None:
    await steps.client.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}})
    await steps.done(f"{CART[:-1]}, own: false}}")
    await steps.done("{create: {apiVersion: v1, kind: ConfigMap, metadata: {name: far, namespace: b}}}", name="far")
    await steps.done("{create: {apiVersion: v1, kind: Namespace, metadata: {name: c}}}", name="ns")
    for resource, namespace, name in ((CONFIG_MAPS, "shop", "cart"), (CONFIG_MAPS, "b", "far"), (NAMESPACES, None, "c")):
        metadata = (await steps.client.get(resource, namespace, name))["metadata"]
        assert "ownerReferences" not in metadata
        assert metadata["labels"]["backstay.dev/made-by-run"] == "uid-1"
    fault = await steps.refused("{create: {apiVersion: v1, kind: Namespace, metadata: {name: d}}, own: true}")
    assert (fault.type, "a run owns objects of its own namespace only; set own: false" in fault.detail) == ("InvalidResource", True)


async def test_a_generated_name_is_the_same_for_every_attempt(steps: Steps) -> None:
    action = "{create: {apiVersion: v1, kind: ConfigMap, metadata: {generateName: report-}}}"
    first = await steps.done(action)
    assert first["name"].startswith("report-")
    assert len(first["name"]) > len("report-")
    assert await steps.done(action) == first
    assert (await steps.done(action, name="b"))["name"] != first["name"]


async def test_what_the_api_server_does_not_take_is_said_in_its_own_words(steps: Steps) -> None:
    fault = await steps.refused("{create: {apiVersion: v1, kind: ConfigMap, metadata: {name: cart}, data: {n: 1}}}")
    assert (fault.type, "ConfigMap cart: " in fault.detail) == ("InvalidResource", True)
    fault = await steps.refused("{create: {apiVersion: v1, kind: ConfigMap, metadata: {name: Cart}}}")
    assert (fault.type, "lowercase RFC 1123" in fault.detail) == ("InvalidResource", True)
    fault = await steps.refused("{create: {apiVersion: v1, kind: ConfigMap, metadata: {name: cart}, dta: {}}}")
    assert (fault.type, "dta" in fault.detail) == ("InvalidResource", True)


@pytest.mark.parametrize(
    ("api_version", "kind", "words"),
    [
        ("v1", "ConfigMaps", 'the API server has no kind "ConfigMaps" in v1; did you mean "ConfigMap"?'),
        ("example.com/v1", "Widget", "the API server has no example.com/v1; is what brings it installed?"),
        ("apps/v1", "Gadget", "is its definition installed?"),
    ],
)
async def test_a_kind_that_is_not_there_is_told_with_what_may_be_meant(steps: Steps, api_version: str, kind: str, words: str) -> None:
    fault = await steps.refused(f"{{get: {{apiVersion: {api_version}, kind: {kind}, name: x}}}}")
    assert fault.type == "UnknownKind"
    assert words in fault.detail


async def test_a_kind_that_is_installed_later_is_found_at_once(steps: Steps) -> None:
    widget = "{create: {apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}}"
    assert (await steps.refused(widget)).type == "UnknownKind"
    await steps.done({"create": widgets(), "until": ESTABLISHED}, name="definition")
    assert (await steps.done(widget))["name"] == "w"


# ----------------------------------------------------------------------------------------------------------------- apply


async def test_what_is_applied_is_made_and_then_changed_and_stays_the_runs(steps: Steps) -> None:
    await steps.done(APPLIED)
    await steps.done(APPLIED.replace("state: open", "other: x"))
    made = await cart(steps)
    assert made["data"] == {"other": "x"}
    assert made["metadata"]["labels"] == {"backstay.dev/made-by-run": "uid-1"}
    assert len(made["metadata"]["ownerReferences"]) == 1


async def test_an_object_of_somebody_else_gets_the_fields_and_never_goes_with_the_run(steps: Steps) -> None:
    await put(steps, data={"theirs": "x"})
    await steps.done(APPLIED)
    found = await cart(steps)
    assert found["data"] == {"theirs": "x", "state": "open"}
    assert "ownerReferences" not in found["metadata"]
    assert "backstay.dev/made-by-run" not in (found["metadata"].get("labels") or {})
    fault = await steps.refused(f"{APPLIED[:-1]}, own: true}}")
    assert (fault.type, "cannot become this run's" in fault.detail) == ("AlreadyExists", True)


async def test_the_next_run_of_the_workflow_takes_over_what_one_before_has_applied(steps: Steps) -> None:
    await steps.done(APPLIED)
    await of_another_run(steps).done(APPLIED.replace("state: open", "state: closed"))
    found = await cart(steps)
    assert found["data"] == {"state": "closed"}
    assert found["metadata"]["labels"] == {"backstay.dev/made-by-run": OTHER_RUN}
    assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [OTHER_RUN]


async def test_another_workflow_takes_nothing_over(steps: Steps) -> None:
    await steps.done(APPLIED)
    other = Steps(steps.client, replace(steps.run, uid=OTHER_RUN, name="audit-b", workflow_name="audit"))
    await other.done(APPLIED.replace("state: open", "note: x"))
    found = await cart(steps)
    assert found["data"] == {"state": "open", "note": "x"}
    assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == ["uid-1"]


async def test_fields_that_somebody_else_looks_after_are_taken_over_by_force_only(steps: Steps) -> None:
    await put(steps, data={"state": "theirs"})
    fault = await steps.refused(APPLIED)
    assert fault.type == "FieldConflict"
    assert "set force: true" in fault.detail
    assert "conflict with" in fault.detail, "it names who looks after them"
    await steps.done(f"{APPLIED[:-1]}, force: true}}")
    assert (await cart(steps))["data"] == {"state": "open"}


# ------------------------------------------------------------------------------------------------------ patch, get, delete


async def test_an_object_is_patched_by_merge_and_by_operations(steps: Steps) -> None:
    await put(steps, data={"a": "1", "b": "2"})
    target = "apiVersion: v1, kind: ConfigMap, name: cart"
    outputs = await steps.done(
        f'{{patch: {{{target}, merge: {{data: {{a: "${{ null }}", c: "3"}}}}}}, outputs: {{n: "${{ size(object.data) }}"}}}}'
    )
    assert outputs == {"n": 2}
    assert (await cart(steps))["data"] == {"b": "2", "c": "3"}
    await steps.done(
        f"{{patch: {{{target}, json: [{{op: test, path: /data/b, value: '2'}}, {{op: replace, path: /data/b, value: '9'}}]}}}}"
    )
    assert (await cart(steps))["data"] == {"b": "9", "c": "3"}
    again = await steps.refused(f"{{patch: {{{target}, json: [{{op: test, path: /data/b, value: '2'}}]}}}}")
    assert again.type == "InvalidResource"
    assert (await steps.refused(f"{{patch: {{{target.replace('cart', 'nil')}, merge: {{data: {{}}}}}}}}")).type == "NotFound"


async def test_the_scale_of_an_object_is_patched_and_the_object_itself_is_seen(steps: Steps) -> None:
    scale = {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}
    await steps.done({"create": widgets(subresources=scale), "until": ESTABLISHED}, name="definition")
    await steps.done("{create: {apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {replicas: 1}}}")
    patch = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "subresource": "scale", "merge": {"spec": {"replicas": 3}}}
    outputs = {"kind": "${ object.kind }", "replicas": "${ object.spec.replicas }"}
    assert await steps.done({"patch": patch, "outputs": outputs}) == {"kind": "Widget", "replicas": 3}


async def test_reading_takes_out_what_the_outputs_say_and_no_more_than_fits(steps: Steps) -> None:
    await put(steps, data={"state": "open", "large": "x" * 5000})
    get = "get: {apiVersion: v1, kind: ConfigMap, name: cart}"
    outputs = 'outputs: {state: "${ object.data.state }", by: "${ params.who }"}'
    assert await steps.done(f"{{{get}, {outputs}}}", {"who": "ada"}) == {"state": "open", "by": "ada"}
    large = await steps.refused(f'{{{get}, outputs: {{all: "${{ object.data }}"}}}}')
    assert (large.type, "of at most 4,096" in large.detail) == ("InvalidOutput", True)
    wrong = await steps.refused(f'{{{get}, outputs: {{x: "${{ object.data.nil }}"}}}}')
    assert (wrong.type, "nil" in wrong.detail) == ("ExpressionError", True)
    assert (await steps.refused("{get: {apiVersion: v1, kind: ConfigMap, name: nil}}")).type == "NotFound"


async def test_nothing_of_a_secret_but_its_keys_is_ever_seen(steps: Steps) -> None:
    notes = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"token":"aHVzaA=="}}', "owner": "ada"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pay", "annotations": notes}, "stringData": {"token": "hush"}}
    await steps.client.create(SECRETS, "shop", secret)
    outputs = '{all: "${ object }", has: "${ has(object.data.token) }", token: "${ object.data.token }"}'
    found = await steps.done(f"{{get: {{apiVersion: v1, kind: Secret, name: pay}}, outputs: {outputs}}}")
    assert (found["has"], found["token"], found["all"]["data"]) == (True, "", {"token": ""})
    assert found["all"]["metadata"]["annotations"] == {"owner": "ada"}
    assert "hush" not in str(found)
    assert "aHVzaA" not in str(found)


async def test_a_deleted_object_is_gone_and_deleting_it_again_is_a_success(steps: Steps) -> None:
    await put(steps)
    delete = "{delete: {apiVersion: v1, kind: ConfigMap, name: cart}}"
    assert await steps.done(delete) == {}
    with pytest.raises(NotFound):
        await cart(steps)
    assert await steps.done(delete) == {}


async def test_a_deletion_lasts_until_the_object_is_gone_and_says_what_holds_it(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doing, "TELL_AFTER_SECONDS", 0.05)
    await steps.client.create(
        CONFIG_MAPS, "shop", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cart", "finalizers": ["x.dev/hold"]}}
    )
    task = steps.begin("{delete: {apiVersion: v1, kind: ConfigMap, name: cart}}")
    await until(lambda: bool(steps.said))
    assert steps.said == ["Waiting for ConfigMap shop/cart to be gone: it is held by x.dev/hold"]
    assert not task.done()
    recreated = asyncio.create_task(steps.do(CART))
    await steps.client.patch(CONFIG_MAPS, "shop", "cart", {"metadata": {"finalizers": None}})
    async with asyncio.timeout(10):
        assert (await task).state is CallState.SUCCEEDED
        assert (await recreated).state is CallState.SUCCEEDED, "what is made anew waits until the old one is gone"


# ------------------------------------------------------------------------------------------------------------------ wait


async def until(shows: Any, limit_seconds: float = 10.0) -> None:
    async with asyncio.timeout(limit_seconds):
        while not shows():
            await asyncio.sleep(0.01)


OPEN = '{wait: {apiVersion: v1, kind: ConfigMap, name: cart, condition: "${ object.data.state == params.wanted }"}, outputs: {s: "${ object.data.state }"}}'


async def test_a_wait_goes_on_from_not_there_over_not_yet_to_true(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doing, "TELL_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(doing, "TELL_EVERY_SECONDS", 0.05)
    task = steps.begin(OPEN, {"wanted": "open"})
    await until(lambda: steps.said == ["Waiting for ConfigMap shop/cart: it is not there"])
    await put(steps)
    await until(lambda: len(steps.said) == 2)
    assert "its condition is not true; it cannot be evaluated: " in str(steps.said[-1])
    await steps.client.patch(CONFIG_MAPS, "shop", "cart", {"data": {"state": "closed"}})
    await until(lambda: steps.said[-1] == "Waiting for ConfigMap shop/cart: its condition is not true")
    await steps.client.delete(CONFIG_MAPS, "shop", "cart")
    await until(lambda: steps.said[-1] == "Waiting for ConfigMap shop/cart: it is not there")
    await put(steps, data={"state": "open"})
    async with asyncio.timeout(10):
        assert (await task).outputs == {"s": "open"}


async def test_what_is_true_already_needs_no_watch_and_is_never_said(steps: Steps) -> None:
    await put(steps, data={"state": "open"})
    counted: list[str] = []
    steps.client.calls = lambda verb, *_: counted.append(verb)
    await steps.done(OPEN, {"wanted": "open"})
    assert (counted, steps.said) == (["get", "list"], [])


async def test_a_failure_that_is_watched_for_ends_the_wait(steps: Steps) -> None:
    await put(steps, data={"state": "broken"})
    action = OPEN.replace("}, outputs", ", failWhen: \"${ object.data.state == 'broken' }\"}, outputs")
    fault = await steps.refused(action, {"wanted": "open"})
    assert (fault.type, "ConfigMap cart: ${ object.data.state == 'broken' } is true" in fault.detail) == ("ResourceFailed", True)


async def test_a_selector_waits_for_all_that_there_are_or_for_enough_of_them(steps: Steps) -> None:
    for name, state in (("one", "open"), ("two", "closed"), ("three", "open")):
        await put(steps, name, labels={"app": "web"}, data={"state": state})
    wait = 'apiVersion: v1, kind: ConfigMap, selector: "app=web", condition: "${ object.data.state == \'open\' }"'
    assert await steps.done(f"{{wait: {{{wait}, atLeast: 2}}}}") == {"count": 3}
    task = steps.begin(f"{{wait: {{{wait}}}}}")
    await until(lambda: shared_by(steps.client).watches == 1)
    await steps.client.patch(CONFIG_MAPS, "shop", "two", {"data": {"state": "open"}})
    async with asyncio.timeout(10):
        assert (await task).outputs == {"count": 3}


async def test_waiting_for_nothing_to_be_there(steps: Steps) -> None:
    await put(steps)
    task = steps.begin("{wait: {apiVersion: v1, kind: ConfigMap, name: cart, gone: true}}")
    await until(lambda: shared_by(steps.client).watches == 1)
    await steps.client.delete(CONFIG_MAPS, "shop", "cart")
    async with asyncio.timeout(10):
        assert (await task).state is CallState.SUCCEEDED


async def test_more_waits_than_may_watch_look_now_and_then_and_end_as_well(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_WATCHES", 1)
    tasks = [steps.begin(OPEN, {"wanted": "open"}) for _ in range(3)]
    await until(lambda: (shared := shared_by(steps.client)).watches == 1 and shared.pollers == 2)
    await put(steps, data={"state": "open"})
    async with asyncio.timeout(10):
        assert [(await task).outputs for task in tasks] == [{"s": "open"}] * 3
    shared = shared_by(steps.client)
    assert (shared.watches, shared.pollers) == (0, 0)


async def test_a_wait_that_nobody_wants_any_more_leaves_no_watch_behind(steps: Steps) -> None:
    task = steps.begin(OPEN, {"wanted": "open"})
    await until(lambda: shared_by(steps.client).watches == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert shared_by(steps.client).watches == 0


async def test_what_was_applied_is_waited_for(steps: Steps) -> None:
    task = steps.begin(f'{APPLIED[:-1]}, until: "${{ object.data.ready == \'yes\' }}", outputs: {{r: "${{ object.data.ready }}"}}}}')
    await until(lambda: shared_by(steps.client).watches == 1)
    await steps.client.patch(CONFIG_MAPS, "shop", "cart", {"data": {"ready": "yes"}})
    async with asyncio.timeout(10):
        assert (await task).outputs == {"r": "yes"}
