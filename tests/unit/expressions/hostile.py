"""Expressions meant to hurt, run in a process of their own: `python hostile.py` reads {source, data} from stdin and prints what it cost."""

import json
import resource
import sys
import time
from typing import Any

BIG = "x" * 700_000
NUMBERS = list(range(9000))

WHATEVER_THE_DATA: dict[str, str] = {
    "three loops in each other": "params.l.all(a, params.l.all(b, params.l.all(c, a + b + c >= 0)))",
    "lists that double 24 times": "[[1, 2]]" + "".join(f".map(a{i}, a{i} + a{i})" for i in range(24)),
    "texts that double 32 times": '["x"]' + "".join(f".map(a{i}, a{i} + a{i})" for i in range(32)),
    "texts that double in bindings": "".join(f"cel.bind(a{i + 1}, a{i} + a{i}, " for i in range(26)).replace("a0", '"x"')
    + "a26"
    + ")" * 26,
    "a text that grows tenfold eight times": '"x"' + '.replace("x", "xxxxxxxxxx")' * 8,
    "a text that squares itself": "".join(f'cel.bind(a{i + 1}, a{i}.replace("x", a{i}), ' for i in range(20)).replace("a0", '"xx"')
    + "a20"
    + ")" * 20,
    "choices that double in bindings": "".join(f"cel.bind(a{i + 1}, params.b ? a{i} : [a{i}, a{i}], " for i in range(20)).replace(
        "a0", "[1]"
    )
    + "a20"
    + ")" * 20,
    "20,000 parentheses": "(" * 20_000 + "1" + ")" * 20_000,
    "500 parentheses": "(" * 500 + "1" + ")" * 500,
    "300 lists in each other": "[" * 300 + "]" * 300,
    "50,000 negations": "!" * 50_000 + "true",
    "140 conditions in a row": "true ? 1 : " * 90 + "2",
    "340 sums in a row": " + ".join(["1"] * 250),
    "500 dots": "params" + ".a" * 500,
    "a text without an end": '"' + "a" * 100_000,
    "a hundred million numbers": "lists.range(100000000).size() > 0",
    "as many numbers as nothing bounds": "lists.range(params.n * params.n).size() > 0",
    "texts that grow by what was found in them": "".join(
        f"cel.bind(a{i + 1}, regex.replace(a{i}, '(.*)', r'\\1\\1\\1\\1'), " for i in range(12)
    ).replace("a0", "'xx'")
    + "a12"
    + ")" * 12,
    "a regular expression of a million states": '"a".matches("' + r"(\\pL{1,100}){1,9}" * 12 + '")',
}

ON_LARGE_DATA: dict[str, tuple[str, dict[str, Any]]] = {
    "a megabyte copied at each turn": ("params.l.map(x, params.big + string(x))", {"l": NUMBERS, "big": BIG}),
    "a megabyte copied and thrown away": ('params.l.exists(x, (params.big + string(x)).contains("yy"))', {"l": NUMBERS, "big": BIG}),
    "a long list collected": ("params.l.map(x, x)", {"l": NUMBERS}),
    "a long list filtered": ("params.l.filter(x, x > 5)", {"l": NUMBERS}),
    "a list added to itself at each turn": ("params.l.map(x, params.l + [x])", {"l": NUMBERS}),
    "more turns than there may be": ("params.l.all(x, true)", {"l": list(range(10_001))}),
    "all pairs": ("params.l.all(x, params.l.all(y, true))", {"l": NUMBERS}),
    "a search of every text in every text": ("params.l.exists(x, params.big.contains(x))", {"l": ["x" * 34 + "y"] * 9000, "big": BIG}),
    "a search for half of itself": ("params.big.contains(params.half)", {"big": BIG, "half": "x" * 350_000 + "y"}),
    "a regular expression for each turn": (
        'params.l.exists(x, "a".matches(x))',
        {"l": [f"(a{{1,100}}){{1,9}}[b-z]{i}" for i in range(5000)]},
    ),
    "a large regular expression at each turn": (r'params.l.exists(x, x.matches("(a{1,100}){1,9}[b-z]$"))', {"l": ["abc"] * 5000}),
    "a separator of a megabyte": ("params.l.join(params.big).size() > 0", {"l": ["a"] * 5000, "big": BIG}),
    "a megabyte for each letter of a megabyte": ('params.big.replace("x", params.big)', {"big": BIG}),
    "each letter of a megabyte a text of its own": ('params.big.split("").map(x, x + x)', {"big": BIG}),
    "a megabyte thirty times": (" + ".join(["params.big"] * 30), {"big": BIG}),
    "a megabyte sixty times in a list": ('"%s".format([[' + ", ".join(["params.big"] * 60) + "]])", {"big": BIG}),
    "a megabyte as the result": ("params.big", {"big": BIG}),
    "maps compared with each other": ("params.o.distinct().size() > 0", {"o": [{"a": i} for i in range(9000)]}),
    "two sets of maps compared": ("sets.equivalent(params.o, params.o)", {"o": [{"a": i} for i in range(3000)]}),
    "a billion numbers": ("lists.range(params.n).size() > 0", {"n": 10**9}),
    "numbers for each number": ("params.l.exists(x, lists.range(x).size() < 0)", {"l": NUMBERS}),
    "each letter replaced by a megabyte": ("regex.replace(params.big, 'x', params.big).size() > 0", {"big": BIG}),
    "a regular expression for each turn that finds all": (
        "params.l.exists(x, regex.extractAll('a', x).size() > 1)",
        {"l": [f"(a{{1,100}}){{1,9}}[b-z]{i}" for i in range(5000)]},
    ),
    "a megabyte as JSON in JSON in JSON": ("json.encode(json.encode(json.encode(json.encode(params.big))))", {"big": BIG}),
    "a megabyte of JSON read at each turn": (
        "params.l.exists(x, json.decode(params.t).size() < 0)",
        {"l": NUMBERS, "t": "[" + "1," * 99_999 + "1]"},
    ),
    "a large list compared at each turn": (
        "params.l.exists(x, params.o != params.o)",
        {"l": NUMBERS, "o": [{"a": i} for i in range(9000)]},
    ),
    "choices of a long list that double": (
        "".join(f"cel.bind(a{i + 1}, params.b ? a{i} : a{i}, " for i in range(25)).replace("a0", "params.l") + "a25" + ")" * 25,
        {"b": True, "l": NUMBERS},
    ),
}


def main() -> None:
    """Compile and evaluate what is on stdin; print {outcome, message, seconds, megabytes}."""
    from backstay.errors import EvaluationError, InvalidExpression
    from backstay.expressions import compile_expression

    job = json.load(sys.stdin)
    compile_expression("params.a", ["params"]).evaluate({"params": {"a": 1}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    started, outcome, message = time.perf_counter(), "answered", ""
    try:
        compile_expression(job["source"], ["params"]).evaluate({"params": job["data"]})
    except (InvalidExpression, EvaluationError) as error:
        outcome, message = type(error).__name__, str(error)
    seconds = time.perf_counter() - started
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    json.dump({"outcome": outcome, "message": message, "seconds": seconds, "megabytes": megabytes}, sys.stdout)


if __name__ == "__main__":
    main()
