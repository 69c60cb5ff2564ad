"""backstay lint: judge manifests before they are applied."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from backstay.cli.failures import Exit, Usage
from backstay.cli.options import Format, FormatOption, note

if TYPE_CHECKING:
    from backstay.cli.views.linting import Report, Source

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_STDIN: Final = "-"


def lint(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help="Files, folders (with all *.yaml, *.yml and *.json in them), or - for standard input."),
    ],
    output: FormatOption = Format.TEXT,
) -> Exit:
    """Judge manifests without a cluster, in the operator's words.

    Each problem is told as file:line: path: message. A run is held against its Workflow where that is among the files. Other kinds
    are skipped. Warnings alone leave the exit code at 0; errors make it 1.

    \b
    Examples:
      backstay lint order.yaml
      backstay lint manifests/ -o json
      helm template shop | backstay lint -
    """
    from backstay.cli.output import print_data
    from backstay.cli.views.linting import lint as judge
    from backstay.cli.views.text import clean

    report = judge(list(_sources(files)))
    if output is not Format.TEXT:
        print_data(report.to_json(), output)
    else:
        for finding in report.findings:
            typer.echo(clean(str(finding)))
        for words in report.unchecked:
            note(f"{words}; its parameters are not checked")
        note(_summary(report))
    return Exit.FAILED if report.errors else Exit.OK


def _sources(files: list[str]) -> "Iterator[Source]":
    """Yield what is to be judged, each file once."""
    from backstay.cli.views.linting import Source

    for path, named in dict(_paths(files)).items():
        try:
            text = sys.stdin.read() if path == _STDIN else Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise Usage(f"{path} is no UTF-8 text ({error.reason} at byte {error.start})", "save it as UTF-8") from None
        except OSError as error:
            raise Usage(f"{path} cannot be read: {error.strerror or error}") from None
        yield Source(path, text, named)


def _paths(files: list[str]) -> Iterator[tuple[str, bool]]:
    """Yield every file, and whether it was named itself."""
    for name in files:
        path = Path(name)
        if name == _STDIN or not path.is_dir():
            yield name, True
            continue
        found = sorted(str(inner) for inner in path.rglob("*") if inner.suffix in _SUFFIXES and inner.is_file())
        if not found:
            raise Usage(f"there are no {', '.join(_SUFFIXES)} files in {name}", "name the folder that holds the manifests")
        yield from ((inner, False) for inner in found)


def _summary(report: "Report") -> str:
    from backstay.cli.views.text import counted

    parts = [counted(report.errors, "error"), counted(report.warnings, "warning")]
    about = f"{counted(report.objects, 'object')} in {counted(report.files, 'file')}"
    skipped = ", ".join(f"{kind} ×{count}" if count > 1 else kind for kind, count in sorted(report.skipped.items()))
    words = f"{about}: {', '.join(parts)}" if report.objects or report.findings else f"{about}: nothing for Backstay"
    return f"{words}; skipped, because they are not Backstay's: {skipped}" if skipped else words
