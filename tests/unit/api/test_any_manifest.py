"""However a manifest is mangled, it is parsed or refused in plain words; nothing else is ever raised, and no library speaks to the user."""

import copy
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.api.validate import check_parameters, check_workflow, parse_run, parse_workflow
from backstay.errors import InvalidDefinition

FOREIGN = re.compile(
    r"pydantic|[Ii]nput should|https?://errors|[Tt]uple|validation error|Value error|NoneType|<class|Traceback|dict\b|str\b"
)

WORKFLOW: dict[str, Any] = {
    "description": "d",
    "parameters": [
        {"name": "orderId", "schema": {"type": "string"}, "default": "a"},
        {
            "name": "lines",
            "schema": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
            "default": [],
        },
    ],
    "templates": [
        {
            "name": "tell",
            "parameters": [{"name": "to", "schema": {"type": "string"}}],
            "steps": [{"name": "mail", "job": {"image": "x", "args": ["${ params.to }"]}}],
            "outputs": [{"name": "id", "value": "${ steps.mail.outputs.id }"}],
        }
    ],
    "defaults": {"timeout": "10m", "retry": {"maxAttempts": 3, "errors": ["Transient"], "jitter": "Full"}},
    "timeout": "1h",
    "onFailure": {"compensate": True},
    "catch": [{"errors": ["*"], "as": "problem", "steps": [{"name": "tell", "job": {"image": "${ problem.type }"}}]}],
    "steps": [
        {
            "name": "reserve",
            "job": {
                "image": "x",
                "args": ["${ params.orderId }"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "resources": {"limits": {"cpu": "1"}},
            },
            "retry": {"interval": "1s", "backoffRate": 2},
            "compensate": {"job": {"image": "${ self.outputs.x }"}},
        },
        {"name": "pack", "parallel": {"join": "50%", "branches": [{"name": "l", "steps": [{"name": "a", "set": {"x": 1}}]}]}},
        {"name": "choose", "switch": {"cases": [{"when": "${ vars.x > 1 }", "steps": [{"name": "w", "wait": {"duration": "1m"}}]}]}},
        {
            "name": "each",
            "forEach": {
                "in": "${ params.lines }",
                "as": "line",
                "tolerate": "10%",
                "completeWhen": "${ done > 3 }",
                "collect": "${ steps.box.outputs.parcel }",
                "steps": [
                    {
                        "name": "box",
                        "job": {"image": "x", "args": ["${ line.sku + string(index) }"]},
                        "lock": {"name": "l", "key": "${ line.sku }"},
                    }
                ],
            },
        },
        {
            "name": "poll",
            "while": {"until": "${ steps.ask.outputs.ok }", "maxIterations": 5, "steps": [{"name": "ask", "job": {"image": "x"}}]},
        },
        {
            "name": "first",
            "race": [
                {"name": "paid", "wait": {"condition": "${ vars.x > 1 }"}, "steps": [{"name": "y", "set": {"y": 1}}]},
                {"wait": {"duration": "1m"}},
            ],
        },
        {"name": "again", "if": "${ vars.x < 3 }", "goto": {"step": "poll", "maxVisits": 3}},
        {"name": "use", "template": {"name": "tell", "params": {"to": "${ params.orderId }"}}},
        {"name": "call", "workflow": {"name": "other", "params": {"a": "${ steps.use.outputs.id }"}}},
        {
            "name": "get",
            "http": {"url": "https://a.example.com/", "output": {"id": "${ response.body.id }"}},
            "outputs": {"type": "object"},
        },
        {
            "name": "d",
            "dag": {
                "failFast": True,
                "steps": [
                    {"name": "a", "end": {}},
                    {"name": "b", "dependsOn": ["a", {"step": "a", "outcome": "Done"}], "fail": {"error": "X"}},
                ],
            },
        },
    ],
    "outputs": [{"name": "o", "value": "${ steps.reserve.outputs.x }"}],
}
RUN: dict[str, Any] = {
    "workflow": {"inline": WORKFLOW},
    "parameters": {"orderId": "b"},
    "ttl": {"succeeded": "1h"},
    "cancel": {"reason": "x"},
    "jobLabels": {"a": "b"},
}

KEYS = (
    "name",
    "job",
    "jo",
    "image",
    "steps",
    "retry",
    "timeout",
    "when",
    "if",
    "set",
    "as",
    "true",
    "",
    "a b",
    "errors",
    "schema",
    "outputs",
    "forEach",
    "goto",
    "dependsOn",
    "x" * 300,
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["${ params.orderId }", "${", "${ 1 + }", "10x", "1h", "*", "a", "50%", "steps", "${ steps.a-b.c }", "${ self }"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(KEYS), st.text(max_size=3), max_size=2),
    st.binary(max_size=3),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        found += places(below, (*path, key))
    return found


@st.composite
def mangled(draw: st.DrawFn, manifest: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(manifest)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(changed)))
        parent = changed
        for part in way:
            parent = parent[part]
        how = draw(st.sampled_from(["replace", "remove", "add", "rename"]))
        if how == "remove":
            del parent[last]
        elif how == "replace" or isinstance(parent, list):
            parent[last] = draw(VALUES)
        elif how == "add":
            parent[draw(st.sampled_from(KEYS))] = draw(VALUES)
        else:
            parent[draw(st.sampled_from(KEYS))] = parent.pop(last)
        if not places(changed):
            break
    return changed


def judge(spec: dict[str, Any], *, is_run: bool) -> list[str]:
    try:
        if is_run:
            run = parse_run(spec)
            workflow = run.workflow.inline
            if workflow is None:
                return []
            return [str(problem) for problem in [*check_workflow(workflow), *check_parameters(workflow, run.parameters)[1]]]
        return [str(problem) for problem in check_workflow(parse_workflow(spec))]
    except InvalidDefinition as error:
        assert error.problems
        return [str(problem) for problem in error.problems]


@given(spec=mangled(WORKFLOW))
@settings(max_examples=300, deadline=None)
def test_a_mangled_workflow_is_judged_in_plain_words(spec: dict[str, Any]) -> None:
    for message in judge(spec, is_run=False):
        assert not FOREIGN.search(message), message


@given(spec=mangled(RUN))
@settings(max_examples=200, deadline=None)
def test_a_mangled_run_is_judged_in_plain_words(spec: dict[str, Any]) -> None:
    for message in judge(spec, is_run=True):
        assert not FOREIGN.search(message), message


def test_the_manifests_that_are_mangled_are_sound_to_begin_with() -> None:
    assert [message for message in judge(RUN, is_run=True) if "never reached" not in message] == []
