"""Printing: lines with styles on a terminal, the same lines bare elsewhere; data as JSON or YAML."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from backstay.cli.options import Format
from backstay.cli.views.glyphs import STYLES, to_ascii
from backstay.cli.views.text import Line, fit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def print_data(data: Any, form: Format) -> None:
    """Print data for programs."""
    if form is Format.JSON:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    import yaml

    typer.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=140), nl=False)


def is_terminal() -> bool:
    """Tell whether somebody looks on who can see colours and lines that change."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines: with styles on a terminal, and with not one control character anywhere else."""
    if not is_terminal():
        for item in lines:
            typer.echo(_plain(item.text))
        return
    console = _console()
    for item in lines:
        console.print(_styled(item), soft_wrap=True)


@contextmanager
def live() -> Iterator[Callable[[Sequence[Line]], None]]:
    """Yield a function that draws lines over those it drew before. What it drew is gone at the end; for terminals only."""
    from rich.console import Group
    from rich.live import Live

    console = _console()
    with Live(console=console, auto_refresh=False, transient=True) as display:

        def draw(lines: Sequence[Line]) -> None:
            shown = [_styled(item) for item in fit(lines, console.height - 1)]
            for text in shown:
                text.truncate(console.width, overflow="ellipsis")
            display.update(Group(*shown), refresh=True)

        yield draw


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def _styled(item: Line) -> "Text":
    from rich.text import Text

    text = Text(no_wrap=True)
    for span in item.spans:
        text.append(_encodable(span.text), style=STYLES.get(span.style, ""))
    text.rstrip()
    return text


def _plain(text: str) -> str:
    return _encodable(text)


def _encodable(text: str) -> str:
    """Return text that standard output can take: plain characters for the glyphs where it knows no Unicode."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return to_ascii(text).encode(encoding, "replace").decode(encoding)
    return text
