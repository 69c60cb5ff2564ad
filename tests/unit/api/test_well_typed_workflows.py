"""Random workflows whose expressions are right by construction are not complained about: whatever lint says of a workflow is worth reading."""

import os
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.api.validate import check_workflow, parse_workflow

EXAMPLES = int(os.environ.get("BACKSTAY_EXAMPLES", "150"))
Kind = str
Names = dict[Kind, list[str]]
"""By kind of value: the expressions that give one."""

SCHEMAS: dict[Kind, dict[str, Any]] = {
    "int": {"type": "integer"},
    "double": {"type": "number"},
    "text": {"type": "string"},
    "bool": {"type": "boolean"},
    "texts": {"type": "array", "items": {"type": "string"}},
    "lines": {
        "type": "array",
        "items": {"type": "object", "additionalProperties": False, "properties": {"sku": {"type": "string"}, "qty": {"type": "integer"}}},
    },
    "stock": {"type": "object", "additionalProperties": {"type": "integer"}},
}
PARAMETERS = [{"name": f"a{kind}", "schema": schema} for kind, schema in SCHEMAS.items()]
SEEN: Names = {kind: [f"params.a{kind}"] for kind in SCHEMAS}
SEEN["text"] += ["run.name", "run.startedAt"]

FORMS: dict[Kind, list[str]] = {
    "int": [
        "(<int> + <int>)", "(<int> * 2)", "<text>.size()", "<texts>.size()", "(<bool> ? <int> : <int>)", "<lines>[0].qty", "<stock>.a",
        "<texts>.map(t, t.size())[0]", "<lines>.map(l, l.qty).sum()", "int(<double>)", "math.greatest(<int>, <int>)", "cel.bind(n, <int>, n + 1)",
        "<stock>.?b.orValue(0)", "lists.range(3)[<int>]",
    ],
    "double": ["double(<int>)", "(double(<double>) * 1.5)", "math.floor(double(<double>))", "double(<text>)"],
    "text": [
        "(<text> + <text>)", "string(<int>)", "<texts>[0]", "<texts>.join('-')", "(<bool> ? <text> : <text>)", "<text>.lowerAscii()",
        "<lines>.first().orValue({'sku': ''}).sku", "'%s-%d'.format([<text>, <int>])", "<stock>.map(k, k)[0]", "json.encode(<lines>)",
        "string(timestamp(<text>) + duration(<text>))", "<text>.split(',')[0]",
    ],
    "bool": [
        "(<int> > <int>)", "(<double> < 1.5)", "(dyn(<double>) == <int>)", "(<text> == <text>)", "(<bool> && <bool>)", "(<bool> || <bool>)", "!<bool>",
        "<text>.startsWith(<text>)", "<lines>.exists(l, l.qty > <int>)", "<texts>.all(t, t != <text>)", "(<text> in <texts>)", "('a' in <stock>)",
        "has(<stock>.a)", "(dyn(<text>) != null)", "(timestamp(<text>) > timestamp(<text>))",
    ],
    "texts": [
        "(<texts> + <texts>)", "<lines>.map(l, l.sku)", "<texts>.filter(t, <bool>)", "<texts>.sort()", "<text>.split(',')", "[<text>, <text>]",
        "dyn(<texts>.distinct())",
    ],
    "lines": ["<lines>.filter(l, l.qty > <int>)", "<lines>.sortBy(l, l.qty)", "<lines>.slice(0, 1)", "[{'sku': <text>, 'qty': <int>}]"],
    "stock": ["{'a': <int>, 'b': <int>}", "(<bool> ? <stock> : <stock>)"],
}  # fmt: skip
LOOPS = ("map(", "filter(", "exists(", "all(", "sortBy(")


@st.composite
def expressions(draw: st.DrawFn, kind: Kind, names: Names, depth: int = 3) -> str:
    """An expression that gives a value of a kind, of names that are there."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(names[kind]))
    form = draw(st.sampled_from(FORMS[kind]))
    around = 0 if any(loop in form for loop in LOOPS) else depth - 1
    parts = re.split(r"<(\w+)>", form)
    found = "".join(draw(expressions(part, names, around)) if index % 2 else part for index, part in enumerate(parts))
    return found if sum(map(found.count, LOOPS)) <= 2 and len(found) <= 900 else draw(st.sampled_from(names[kind]))


def whole(source: str) -> str:
    return "${ " + source + " }"


@st.composite
def lists(draw: st.DrawFn, names: Names, depth: int, prefix: str) -> list[dict[str, Any]]:
    """Steps in order; each one adds to what the next may refer to."""
    seen: Names = {kind: list(given) for kind, given in names.items()}
    made = []
    for number in range(draw(st.integers(1, 3))):
        name = f"{prefix}s{number}"
        kind = draw(st.sampled_from(["job", "set", "wait", *(["block", "forEach", "switch", "while", "parallel"] if depth else [])]))
        step: dict[str, Any] = {"name": name}
        if draw(st.booleans()):
            step["if"] = whole("params.abool && " + draw(expressions("bool", seen)))
        value = draw(st.sampled_from(list(SCHEMAS)))
        match kind:
            case "job":
                step["job"] = {
                    "image": "x",
                    "args": [whole(draw(expressions(value, seen))), "text " + whole(draw(expressions("int", seen)))],
                }
                step["outputs"] = {"type": "object", "additionalProperties": False, "properties": {"found": SCHEMAS[value]}}
                seen[value].append(f"steps.{name}.outputs.found")
            case "set":
                step["set"] = {f"{name}v": whole(draw(expressions(value, seen)))}
                seen[value].append(f"vars.{name}v")
            case "wait":
                step["wait"] = {"duration": whole(draw(expressions("text", seen)))}
            case "block":
                step["steps"] = draw(lists(seen, depth - 1, f"{name}b"))
            case "forEach":
                inner = {**seen, "text": [*seen["text"], "item.sku"], "int": [*seen["int"], "item.qty", "index"]}
                step["forEach"] = {"in": whole(draw(expressions("lines", seen))), "steps": draw(lists(inner, depth - 1, f"{name}f"))}
                seen["int"].append(f"steps.{name}.outputs.total")
            case "switch":
                cases = [
                    {"when": whole("params.abool || " + draw(expressions("bool", seen))), "steps": draw(lists(seen, depth - 1, f"{name}c"))}
                ]
                step["switch"] = {"cases": cases, "default": draw(lists(seen, depth - 1, f"{name}d"))}
            case "while":
                inner = {**seen, "int": [*seen["int"], "index"]}
                step["while"] = {
                    "condition": whole("index < 3 && " + draw(expressions("bool", inner))),
                    "steps": draw(lists(inner, depth - 1, f"{name}w")),
                }
            case "parallel":
                branches = [{"name": side, "steps": draw(lists(seen, depth - 1, f"{name}{side}"))} for side in ("l", "r")]
                step["parallel"] = {"branches": branches}
        made.append(step)
    return made


@given(steps=lists(SEEN, 2, "a"))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_workflow_whose_expressions_are_right_is_not_complained_about(steps: list[dict[str, Any]]) -> None:
    spec = {"parameters": PARAMETERS, "steps": steps}
    assert [str(problem) for problem in check_workflow(parse_workflow(spec)) if "nothing reads params" not in problem.message] == []
