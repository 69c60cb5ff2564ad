"""Plots as SVG, made of a few lines, bars and words: nothing to install, and the same figures give the same file."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

from tests.bench.figures import shown

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 52, 48
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which the colour-blind can tell apart."""
_GOAL: Final = "#555555"
_TICKS = 5


def lines(title: str, x_label: str, y_label: str, series: Mapping[str, Points], *, goal: float | None = None, log_x: bool = False) -> str:
    """Draw a line for each series; `goal` is a dashed line across. Both axes begin at 0, but for a logarithmic one."""
    points = [point for each in series.values() for point in each]
    assert points, f"{title}: there is nothing to draw"
    x_of = _scale([x for x, _ in points], _LEFT, _WIDTH - _RIGHT, log=log_x)
    top = _nice_top(max([y for _, y in points] + ([goal] if goal else [])))
    y_of = _scale([0, top], _HEIGHT - _BOTTOM, _TOP)
    body = [_y_axis(top, y_of), _x_axis(_x_ticks([x for x, _ in points], log=log_x), x_of), _words(title, x_label, y_label)]
    for colour, each in zip(_COLOURS, series.values(), strict=False):
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in each)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        if len(each) <= 12:
            body += [f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in each]
    return _svg([*body, _goal_line(goal, y_of), _legend(series, goal)])


def bars(title: str, y_label: str, groups: Mapping[str, Mapping[str, float]], *, goals: Mapping[str, float] | None = None) -> str:
    """Draw a group of bars for each key, a bar for each of its values, which have the same names in all groups; `goals` by group."""
    assert groups, f"{title}: there is nothing to draw"
    goals = goals or {}
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    top = _nice_top(max([value for group in groups.values() for value in group.values()] + list(goals.values())))
    y_of = _scale([0, top], _HEIGHT - _BOTTOM, _TOP)
    room = (_WIDTH - _LEFT - _RIGHT) / len(groups)
    wide = min(80.0, room * 0.8 / len(names))
    body = [_y_axis(top, y_of), _words(title, "", y_label)]
    for number, (key, group) in enumerate(groups.items()):
        middle = _LEFT + room * (number + 0.5)
        body.append(_text(middle, _HEIGHT - _BOTTOM + 18, key, "middle"))
        begin = middle - wide * len(names) / 2
        for place, name in enumerate(names):
            if name in group:
                x, y = begin + wide * place, y_of(group[name])
                body.append(
                    f'<rect x="{x + 2:.1f}" y="{y:.1f}" width="{wide - 4:.1f}" height="{y_of(0) - y:.1f}" fill="{_COLOURS[place]}"/>'
                )
                body.append(_text(x + wide / 2, y - 4, _short(group[name]), "middle", ' font-size="10"'))
        if key in goals:
            y = y_of(goals[key])
            body.append(_dashed(begin - 6, begin + wide * len(names) + 6, y))
    return _svg([*body, _legend(dict.fromkeys(names), min(goals.values()) if goals else None)])


# --------------------------------------------------------------------------------------------------------------- parts


def _svg(parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    style = 'font-family="Helvetica, Arial, sans-serif" font-size="12" role="img"'
    return "\n".join(
        [f"{head} {style}>", f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>', *filter(None, parts), "</svg>", ""]
    )


def _text(x: float, y: float, words: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#222222"{more}>{escape(words)}</text>'


def _words(title: str, x_label: str, y_label: str) -> str:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    return "\n".join(
        [
            f"<title>{escape(title)}</title>",
            _text(_LEFT, 20, title, more=' font-size="14" font-weight="bold"'),
            _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, x_label, "middle"),
            _text(16, middle, y_label, "middle", more=f' transform="rotate(-90 16 {middle:.0f})"'),
        ]
    )


def _short(value: float) -> str:
    return shown(value) if value >= 10 or value == int(value) else f"{value:.2g}"


def _y_axis(top: float, y_of: Callable[[float], float]) -> str:
    values = [top * number / _TICKS for number in range(_TICKS + 1)]
    rows = [f'<line x1="{_LEFT}" y1="{y_of(y):.1f}" x2="{_WIDTH - _RIGHT}" y2="{y_of(y):.1f}" stroke="#dddddd"/>' for y in values]
    return "\n".join([*rows, *(_text(_LEFT - 8, y_of(y) + 4, shown(y), "end") for y in values)])


def _x_axis(ticks: Sequence[float], x_of: Callable[[float], float]) -> str:
    return "\n".join(_text(x_of(x), _HEIGHT - _BOTTOM + 18, shown(x), "middle") for x in ticks)


def _x_ticks(values: Sequence[float], *, log: bool) -> list[float]:
    if log or len(set(values)) <= _TICKS:
        return sorted(set(values))
    step = _nice_top(max(values) / _TICKS)
    return [step * number for number in range(int(max(values) / step) + 1) if step * number >= min(values)]


def _goal_line(goal: float | None, y_of: Callable[[float], float]) -> str:
    return "" if goal is None else _dashed(_LEFT, _WIDTH - _RIGHT, y_of(goal))


def _dashed(begin: float, end: float, y: float) -> str:
    return f'<line x1="{begin:.1f}" y1="{y:.1f}" x2="{end:.1f}" y2="{y:.1f}" stroke="{_GOAL}" stroke-width="1.5" stroke-dasharray="6 4"/>'


def _legend(names: Mapping[str, object], goal: float | None) -> str:
    found, x = [], float(_LEFT)
    for colour, name in zip(_COLOURS, names, strict=False):
        found += [f'<rect x="{x:.1f}" y="30" width="10" height="10" fill="{colour}"/>', _text(x + 14, 39, name)]
        x += 30 + 6.5 * len(name)
    if goal is not None:
        found += [_dashed(x, x + 18, 35), _text(x + 22, 39, "goal")]
    return "\n".join(found)


# -------------------------------------------------------------------------------------------------------------- scales


def _scale(values: Sequence[float], begin: float, end: float, *, log: bool = False) -> Callable[[float], float]:
    """Return what puts the least value at `begin` and the greatest at `end`."""
    of: Callable[[float], float] = math.log10 if log else float
    least, greatest = of(min(values)), of(max(values))
    return lambda value: begin + (of(value) - least) / ((greatest - least) or 1) * (end - begin)


def _nice_top(value: float) -> float:
    """Return the least of 1, 2, 2.5, 5 and 10 times a power of ten that is not below a value."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= value * (1 - 1e-9))
