"""The figures in docs/performance.md and its plots, from the JSON that is kept in docs/performance/: `python -m tests.bench.page`.

Newer JSON in .backstay/, where the benches leave it, is taken over first. Each place in the page that figures go to is between two comments,
`<!-- figures: NAME -->` and `<!-- end of figures -->`; the rest of the page is written by hand.
"""

import json
import operator
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.bench.figures import shown
from tests.bench.plots import bars, lines

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "performance.md"
KEPT: Final = ROOT / "docs" / "performance"
FRESH: Final = ROOT / ".backstay"
COMMANDS: Final = {
    "bench": "make bench",
    "sustained": "make bench-sustained",
    "soak": "make soak",
    "compare": "make compare",
}
"""What makes each file of figures."""

Found = Mapping[str, Any]
"""What is kept: by file, then by part."""


@dataclass(frozen=True)
class Goal:
    """A number to reach (DESIGN §7), and the figure that tells. `size` is a figure that says how much there was, where that matters."""

    words: str
    limit: float
    file: str
    part: str
    figure: str
    unit: str = ""
    at_least: bool = False
    size: str = ""

    def row(self, found: Found) -> str:
        """Return its row of the table."""
        sign = "≥" if self.at_least else "≤" if self.unit == "writes" else "<"
        wanted = f"{sign} {self._told(self.limit)}"
        part = _newest_part(found.get(self.file, {}), self.part)
        if self.figure not in part:
            return f"| {self.words} | {wanted} | not measured | | `{COMMANDS[self.file]}` |"
        value = part[self.figure]
        beyond: Callable[[float, float], bool] = {"≥": operator.ge, "≤": operator.le, "<": operator.lt}[sign]
        of = f" ({self.size.replace('_', ' ')}: {shown(part[self.size])})" if self.size else ""
        reached = "yes" if beyond(value, self.limit) else "no"
        return f"| {self.words} | {wanted} | {self._told(value)}{of} | {reached} | `{COMMANDS[self.file]}` |"

    def _told(self, value: float) -> str:
        # A share of 99.99 percent is no 100.
        number = f"{value:.3f}".rstrip("0").rstrip(".") if self.unit == "%" else shown(value)
        return f"{number} {self.unit}".strip()


_GAP: Final = "step_end_to_next_job_p99_seconds"
GOALS: Final = (
    Goal("one-step runs a minute", 4000, "bench", "one_step", "runs_per_minute", at_least=True, size="runs"),
    Goal("three-step runs a minute", 1400, "bench", "three_steps", "runs_per_minute", at_least=True, size="runs"),
    Goal("a single three-step run", 0.2, "bench", "single", "latency_p50_seconds", "s", size="runs"),
    Goal("operator CPU, one-step run", 3, "bench", "one_step", "operator_cpu_ms_per_run", "ms"),
    Goal("operator CPU, three-step run", 8, "bench", "three_steps", "operator_cpu_ms_per_run", "ms"),
    Goal("writes, one-step run", 3, "bench", "one_step", "writes_per_run", "writes"),
    Goal("writes, three-step run", 7, "bench", "three_steps", "writes_per_run", "writes"),
    Goal(
        "sustained: three-step runs that end a minute",
        1200,
        "sustained",
        "sustained",
        "ended_per_minute",
        at_least=True,
        size="active_most",
    ),
    Goal("sustained: runs that succeeded", 99.99, "sustained", "sustained", "runs_that_succeeded_percent", "%", at_least=True, size="runs"),
    Goal("sustained: a step's end to the next Job, p99", 0.25, "sustained", "sustained", _GAP, "s"),
    Goal("memory with most active runs", 400, "bench", "active_*", "operator_rss_mb", "MB", size="active_runs"),
    Goal("recovery after kill -9", 10, "bench", "recovery", "all_runs_go_on_seconds", "s", size="active_runs"),
    Goal("largest status of a wide forEach", 700_000, "bench", "wide", "largest_status_bytes", "bytes", size="items"),
)


def _newest_part(parts: Found, name: str) -> Found:
    """Return a part; of `active_*` the one with most runs."""
    if not name.endswith("*"):
        return parts.get(name, {})
    several = [part for key, part in parts.items() if key.startswith(name[:-1])]
    return max(several, key=lambda part: part["active_runs"], default={})


# ------------------------------------------------------------------------------------------------------------- figures


def kept() -> dict[str, Found]:
    """Return all figures that are kept, by file."""
    return {name: json.loads(file.read_text()) for name in COMMANDS if (file := KEPT / f"{name}.json").exists()}


def figures(found: Found) -> dict[str, str]:
    """Return what goes into each place of the page."""
    return {"goals": _goals(found), "plots": _pictures(plots(found)), "all": _all(found)}


def _goals(found: Found) -> str:
    head = ["| what | goal | measured | reached | by |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(goal.row(found) for goal in GOALS)])


def _pictures(drawn: Mapping[str, str]) -> str:
    titles = {name: re.search("<title>(.*)</title>", text) for name, text in drawn.items()}
    return "\n\n".join(f"![{title[1]}](performance/{name}.svg)" for name, title in titles.items() if title)


def _all(found: Found) -> str:
    sections = []
    for name, parts in found.items():
        machine = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in parts["machine"].items())
        rows = [
            f"| {part.replace('_', ' ')} | {key.replace('_', ' ')} | {shown(value)} |"
            for part, told in parts.items()
            if part not in ("machine", "series")
            for key, value in told.items()
        ]
        summary = f"<details><summary><code>{COMMANDS[name]}</code>: {machine}</summary>"
        sections.append("\n".join([summary, "", "| part | figure | measured |", "|---|---|---|", *rows, "", "</details>"]))
    return "\n\n".join(sections)


# --------------------------------------------------------------------------------------------------------------- plots


def plots(found: Found) -> dict[str, str]:
    """Return every plot for which there are figures, as SVG by its name."""
    bench = found.get("bench", {})
    return dict(_throughput(found)) | dict(_active(bench)) | dict(_shards(bench)) | dict(_over_time(found))


_STEPS: Final = {"one_step": "one step", "three_steps": "three steps"}


def _throughput(found: Found) -> Iterator[tuple[str, str]]:
    """Ours and the peers' from one run of the comparison, where there is one."""
    if compared := found.get("compare"):
        whose = dict.fromkeys(part.removesuffix("_single") for part in compared if part.endswith("_single"))
        parts = {(name.replace("_", " "), step): compared[f"{name}_{step}"] for name in whose for step in _STEPS}
    else:
        parts = {("backstay", step): found["bench"][step] for step in _STEPS if step in found.get("bench", {})}
    if not parts:
        return

    def groups(figure: str, more: Mapping[tuple[str, str], Found] = MappingProxyType({})) -> dict[str, dict[str, float]]:
        shown = {**parts, **more}
        return {words: {name: part[figure] for (name, step), part in shown.items() if step == key} for key, words in _STEPS.items()}

    alone = {("their Jobs alone", step): part for step in _STEPS if (part := found.get("bench", {}).get(f"jobs_alone_{step}"))}
    goals = {"one step": 4000, "three steps": 1400}
    yield "throughput", bars("Throughput", "runs a minute", groups("runs_per_minute", {} if compared else alone), goals=goals)
    yield "cpu", bars("CPU of the operator", "ms a run", groups("operator_cpu_ms_per_run"), goals={"one step": 3, "three steps": 8})
    yield "writes", bars("Writes to the API server", "a run", groups("writes_per_run"))


def _active(parts: Found) -> Iterator[tuple[str, str]]:
    active = sorted((part for name, part in parts.items() if name.startswith("active_")), key=lambda part: part["active_runs"])
    if len(active) < 2:
        return

    def points(figure: str) -> list[tuple[float, float]]:
        return [(part["active_runs"], part[figure]) for part in active]

    besides = "active runs besides"
    cost = {"operator": points("operator_cpu_ms_per_run")}
    yield "cost", lines("What another three-step run costs the operator", besides, "CPU ms a run", cost, goal=8, log_x=True)
    yield "memory", lines("Memory of the operator", "active runs", "MB", {"operator": points("operator_rss_mb")}, goal=400, log_x=True)


def _shards(parts: Found) -> Iterator[tuple[str, str]]:
    sharded = sorted((part for name, part in parts.items() if name.startswith("shards_")), key=lambda part: part["operators"])
    if sharded:
        groups = {f"operators: {shown(part['operators'])}": {"three-step runs": part["runs_per_minute"]} for part in sharded}
        yield "shards", bars("Throughput of several operators", "runs a minute", groups)
        who = ("operator", "apiserver", "etcd", "controller_manager", "scheduler", "others")
        cores = {
            f"operators: {shown(part['operators'])}": {name.replace("_", " "): part[f"cores_used_by_{name}"] for name in who}
            for part in sharded
        }
        yield "shards-cores", bars("Who had the machine meanwhile", "cores", cores)


def _over_time(found: Found) -> Iterator[tuple[str, str]]:
    for name, title in (("sustained", "Sustained load"), ("soak", "Soak at half load")):
        series = found.get(name, {}).get("series", {}).get(name)
        if not series:
            continue
        minutes = [moment / 60 for moment in series["seconds"]]

        def line(of: str, minutes: list[float] = minutes, series: Found = series) -> list[tuple[float, float]]:
            return list(zip(minutes, series[of], strict=True))

        yield f"{name}-active", lines(f"{title}: runs under way", "minutes", "runs", {"active": line("active")})
        yield f"{name}-memory", lines(f"{title}: memory of the operator", "minutes", "MB", {"operator": line("rss_mb")})
        handles = {"file handles": line("handles"), "threads": line("threads")}
        yield f"{name}-handles", lines(f"{title}: file handles and threads", "minutes", "", handles)


# ---------------------------------------------------------------------------------------------------------------- page


def page(text: str, found: Found) -> str:
    """Return the page with figures in all their places. Raises ValueError where a place is missing."""
    for name, content in figures(found).items():
        begin, end = f"<!-- figures: {name} -->", "<!-- end of figures -->"
        before, mark, rest = text.partition(begin)
        if not mark or end not in rest:
            raise ValueError(f"{PAGE.name} has no place for the figures {name!r}: write {begin} and, below it, {end}")
        text = f"{before}{begin}\n{content}\n{rest[rest.index(end) :]}"
    return text


def main() -> None:
    """Take over newer figures, write the page and draw the plots."""
    KEPT.mkdir(exist_ok=True)
    for name in COMMANDS:
        if (fresh := FRESH / f"{name}.json").exists():
            shutil.move(fresh, KEPT / f"{name}.json")
            print(f"took over {fresh}")
    found = kept()
    PAGE.write_text(page(PAGE.read_text(), found))
    for old in KEPT.glob("*.svg"):
        old.unlink()
    for name, text in plots(found).items():
        (KEPT / f"{name}.svg").write_text(text)


if __name__ == "__main__":
    main()
