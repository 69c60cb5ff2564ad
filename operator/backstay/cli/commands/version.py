"""backstay version."""

import platform

import typer

from backstay import __version__
from backstay.cli.options import Format, FormatOption
from backstay.names import API_VERSION


def version(output: FormatOption = Format.TEXT) -> None:
    """Show the version of Backstay and of its API."""
    if output is Format.TEXT:
        typer.echo(f"backstay {__version__} ({API_VERSION}, Python {platform.python_version()})")
        return
    from backstay.cli.output import print_data

    print_data({"version": __version__, "api": API_VERSION, "python": platform.python_version()}, output)
