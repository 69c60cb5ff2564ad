"""Resource steps: what they ask for, what their expressions see, and how a run goes on from the answer."""

from typing import Any

import pytest

from backstay.engine.model import Fault
from tests.support.world import World

CART = "apiVersion: v1, kind: ConfigMap"


def asked(world: World, index: int = -1) -> Any:
    """What the step hands over to be done."""
    return world.called[index].inputs


def test_a_manifest_is_resolved_and_its_values_keep_their_types() -> None:
    world = World(
        f"""
parameters: [{{name: id}}, {{name: n}}]
steps:
- name: a
  resource:
    apply: {{{CART}, metadata: {{name: "cart-${{params.id}}", namespace: b}}, data: {{n: "${{params.n}}", t: "${{string(params.n)}}"}}}}
    force: true
    own: false
""",
        {"id": "a-17", "n": 3},
    )
    assert (world.called[0].kind, world.called[0].path, world.called[0].attempt) == ("resource", "a", 1)
    assert asked(world) == {
        "act": "apply",
        "target": {"apiVersion": "v1", "kind": "ConfigMap", "name": "cart-a-17", "namespace": "b"},
        "manifest": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cart-a-17", "namespace": "b"},
            "data": {"n": 3, "t": "3"},
        },
        "own": False,
        "force": True,
    }


def test_expressions_about_the_object_go_along_with_what_else_they_refer_to_as_it_was() -> None:
    world = World(
        f"""
parameters: [{{name: n}}, {{name: other}}]
steps:
- {{name: v, set: {{wanted: 2, not: 1}}}}
- name: a
  resource:
    wait: {{{CART}, name: cart, condition: "${{ object.data.n == params.n + vars.wanted }}", failWhen: "${{ object.data.bad }}"}}
    outputs: {{n: "${{ object.data.n }}"}}
""",
        {"n": 1, "other": "x"},
    )
    assert asked(world) == {
        "act": "wait",
        "target": {"apiVersion": "v1", "kind": "ConfigMap", "name": "cart"},
        "until": "${ object.data.n == params.n + vars.wanted }",
        "failWhen": "${ object.data.bad }",
        "outputs": {"n": "${ object.data.n }"},
        "data": {"params": {"n": 1}, "vars": {"wanted": 2}},
    }
    world.call_waits("a", "Waiting for ConfigMap shop/cart: it is not there")
    assert world.status["steps"][-1]["message"] == "Waiting for ConfigMap shop/cart: it is not there"
    world.answer("a", {"n": 3})
    assert (world.phase, world.status["steps"][-1]["outputs"], "message" in world.status["steps"][-1]) == ("Succeeded", {"n": 3}, False)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (
            f'patch: {{{CART}, name: a, merge: {{data: {{x: "${{ null }}"}}}}, subresource: status}}',
            {"patchKind": "merge", "patch": {"data": {"x": None}}, "subresource": "status"},
        ),
        (
            f"patch: {{{CART}, name: a, json: [{{op: remove, path: /data}}]}}",
            {"patchKind": "json", "patch": [{"op": "remove", "path": "/data"}]},
        ),
        (f"delete: {{{CART}, name: a, propagation: Orphan, wait: false}}", {"propagation": "Orphan", "wait": False}),
        (f"wait: {{{CART}, selector: app=x, atLeast: 2}}", {"atLeast": 2}),
        (f"wait: {{{CART}, name: a, gone: true}}", {"gone": True}),
    ],
)
def test_each_act_hands_over_what_it_needs(action: str, expected: dict[str, Any]) -> None:
    world = World(f"steps: [{{name: a, resource: {{{action}}}}}]")
    found = dict(asked(world))
    assert found.pop("act") == action.partition(":")[0]
    assert found.pop("target")["kind"] == "ConfigMap"
    assert found == expected


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (
            "{create: {apiVersion: v1, kind: '${vars.kind}', metadata: {name: a}, stringData: {x: hush-hush}}}",
            "create.stringData: would stand in",
        ),
        ("{get: {apiVersion: v1, kind: '${vars.none}', name: a}}", "get.kind: is missing"),
        ("{create: {apiVersion: v1, kind: Pod, metadata: '${vars.meta}'}}", 'metadata.labels: "backstay.dev/run" is for'),
    ],
)
def test_what_only_the_data_makes_impossible_fails_before_anything_is_written_of_it(action: str, words: str) -> None:
    variables = "{kind: Secret, none: '', meta: {name: a, labels: {backstay.dev/run: x}}}"
    world = World(f"steps: [{{name: v, set: {variables}}}, {{name: a, resource: {action}}}]")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "InvalidResource")
    assert words in world.status["error"]["detail"]
    assert world.called == []
    assert "hush-hush" not in str(world.entries) + str(world.status)


def test_undoing_creates_what_outlasts_the_run_and_sees_what_was_made() -> None:
    world = World(
        f"""
steps:
- name: a
  resource: {{create: {{{CART}, metadata: {{generateName: cart-}}}}}}
  compensate: {{resource: {{delete: {{{CART}, name: "${{ self.outputs.name }}"}}}}}}
- name: b
  set: {{x: 1}}
  compensate: {{resource: {{create: {{{CART}, metadata: {{name: note}}}}}}}}
- {{name: c, fail: {{error: Enough}}}}
"""
    )
    name = asked(world)["target"]["name"]
    assert name.startswith("cart-")
    assert "own" not in asked(world)
    world.answer("a", {"name": name})
    assert (asked(world)["target"]["name"], asked(world)["own"]) == ("note", False)
    world.answer("b:compensate", {})
    assert asked(world) == {"act": "delete", "target": {"apiVersion": "v1", "kind": "ConfigMap", "name": name}}
    world.answer("a:compensate", {})
    assert (world.phase, world.condition("Compensated")) == ("Failed", ("True", "AllUndone"))


def test_another_attempt_follows_a_transient_error_not_before_the_server_wants_it_and_none_a_permanent_one() -> None:
    retry = "retry: {maxAttempts: 3, interval: 1s, jitter: None}"
    world = World(f"steps: [{{name: a, resource: {{get: {{{CART}, name: a}}}}, {retry}}}]")
    world.answer("a", fault=Fault("Unavailable", detail="x"), retry_after_seconds=30)
    world.pass_time("29s")
    assert (world.phases(), len(world.called)) == ({"a": "Retrying"}, 1)
    world.pass_time("2s")
    assert (world.called[-1].attempt, asked(world, 0)) == (2, asked(world, 1))
    world.answer("a", fault=Fault("NotFound", detail="x"))
    assert (world.phase, world.status["error"]["type"], len(world.called)) == ("Failed", "NotFound", 2)


def test_a_wait_goes_on_after_a_restart_of_the_operator_and_ends_at_the_steps_timeout() -> None:
    world = World(f"steps: [{{name: a, timeout: 10m, resource: {{wait: {{{CART}, name: a}}}}}}]")
    world.call_waits("a", "Waiting for ConfigMap shop/a: it is not there")
    world.restart()
    assert [call.name for call in world.called] == [world.called[0].name] * 2
    world.pass_time("11m")
    assert (world.phase, world.status["error"]["type"]) == ("Failed", "Timeout")
    assert world.calls == {}


def test_a_run_that_is_cancelled_ends_the_wait() -> None:
    world = World(f"steps: [{{name: a, resource: {{wait: {{{CART}, name: a}}}}}}]")
    world.wants(cancel=True)
    assert (world.phase, world.calls) == ("Cancelled", {})
