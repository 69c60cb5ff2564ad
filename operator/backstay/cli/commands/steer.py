"""backstay retry, skip, give-up: what a person does about a step that is paused, or that waits for its next attempt."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from backstay.cli.asking import ask, tell
from backstay.cli.commands.step import ReasonOption, RunArgument
from backstay.cli.failures import Exit, Usage
from backstay.cli.options import Format, FormatOption, Place

StepArgument = Annotated[
    str, typer.Argument(metavar="STEP", help="The path of the step, as `backstay tree` shows it: charge, or pack[3]/box.")
]


async def retry(
    place: Place,
    run: RunArgument,
    step: StepArgument,
    edit: Annotated[
        str | None,
        typer.Option(
            "--edit",
            metavar="JSON|FILE",
            help="What to change of the step's action, for this and every later attempt: a JSON merge patch, a file with one, or - for standard input.",
        ),
    ] = None,
    reason: ReasonOption = "",
    output: FormatOption = Format.TEXT,
) -> Exit:
    """Make another attempt at a paused step now, or at one that waits for its next attempt; its retries count anew.

    \b
    Examples:
      backstay retry order-7f2 charge --reason "the bank is back"
      backstay retry order-7f2 charge --edit '{"args": ["charge", "a-17", "--card", "new"]}'
      backstay retry order-7f2 reserve:compensate --edit undo.yaml
    """
    given = {} if edit is None else {"edit": _object(edit, "--edit")}
    words = "tried again, edited as you say" if edit is not None else "tried again"
    return tell(await ask(place, run, step, "Retry", given, reason), words, output)


async def skip(
    place: Place,
    run: RunArgument,
    step: StepArgument,
    outputs: Annotated[
        str | None,
        typer.Option("--outputs", metavar="JSON|FILE", help="What the step is to show as its outputs: an object, a file with one, or -."),
    ] = None,
    reason: ReasonOption = "",
    output: FormatOption = Format.TEXT,
) -> Exit:
    """Go on after a paused step, or one that waits for its next attempt, as if it were done: by hand, or not at all.

    \b
    Examples:
      backstay skip order-7f2 charge --outputs '{"payment": "p-9"}' --reason "charged by hand"
      backstay skip order-7f2 reserve:compensate --reason "the stock was counted anew"
    """
    given = {} if outputs is None else {"outputs": _object(outputs, "--outputs")}
    return tell(await ask(place, run, step, "Skip", given, reason), "skipped; the run goes on after it", output)


async def give_up(
    place: Place, run: RunArgument, step: StepArgument, reason: ReasonOption = "", output: FormatOption = Format.TEXT
) -> Exit:
    """Let a paused step, or one that waits for its next attempt, fail with the error that it has; handlers around it see the error.

    \b
    Example:
      backstay give-up order-7f2 charge --reason "the customer is gone"
    """
    return tell(await ask(place, run, step, "GiveUp", {}, reason), "given up; it has failed with its error", output)


def _object(text: str, option: str) -> dict[str, Any]:
    """Read an object: JSON or YAML in the option itself, or from a file. Raises Usage where it is none."""
    from backstay.cli.yaml_reading import BadYaml, read_documents

    where = option
    if not text.lstrip().startswith("{"):
        where = "standard input" if text == "-" else text
        try:
            text = sys.stdin.read() if text == "-" else Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            words = error.strerror if isinstance(error, OSError) else "is no text in UTF-8"
            raise Usage(
                f"{option}: {where}: {words}", f'write an object, as in {option} \'{{"field": "value"}}\', or the name of a file'
            ) from None
    try:
        documents = list(read_documents(text))
    except BadYaml as error:
        raise Usage(f"{option}: {error}", "write JSON or YAML") from None
    if faults := [fault for document in documents for fault in document.faults]:
        raise Usage(f"{option}: {faults[0]}", "write JSON or YAML")
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise Usage(f"{option}: {where} holds no object", f'write one, as in {option} \'{{"field": "value"}}\'')
    return documents[0].value
