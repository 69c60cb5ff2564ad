"""backstay deadletters, replay, discard: the steps that gave up, and what is to become of them."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay.cli.failures import Exit, Usage, explain
from backstay.cli.options import Place, complain, note
from backstay.errors import BackstayError

if TYPE_CHECKING:
    from backstay.kube.client import Client

Object = Mapping[str, Any]

ANSWER_SECONDS: Final = 20.0
ASK_SECONDS: Final = 0.25


class ListFormat(StrEnum):
    """How DeadLetters are printed."""

    TEXT = "text"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="The DeadLetters, as `backstay deadletters` shows them.")]
SelectorOption = Annotated[
    str, typer.Option("--selector", "-l", metavar="SELECTOR", help="Those with these labels, as in backstay.dev/error=CardDeclined.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All of the namespace.")]
RateOption = Annotated[str, typer.Option("--rate", metavar="N/UNIT", help="At most so many a second, minute or hour, as in 10/m.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


async def deadletters(
    place: Place,
    selector: SelectorOption = "",
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Those of one run.")] = None,
    output: Annotated[
        ListFormat, typer.Option("--output", "-o", help="text and wide are for eyes, json and yaml for programs, name for both.")
    ] = ListFormat.TEXT,
) -> Exit:
    """List the DeadLetters: steps that gave up, and wait for somebody to say what is to become of them.

    \b
    Examples:
      backstay deadletters
      backstay deadletters -l backstay.dev/error=CardDeclined -o wide
    """
    from backstay.cli.options import Format
    from backstay.cli.output import print_data
    from backstay.cli.reading import run_name
    from backstay.cli.views.deadletters import table

    async with place.connect() as (client, namespace):
        found = await _list(client, namespace, selector)
    if run is not None:
        found = [letter for letter in found if letter["spec"]["run"]["name"] == run_name(run)]
    if output in (ListFormat.JSON, ListFormat.YAML):
        print_data({"apiVersion": "v1", "kind": "List", "items": found}, Format(output))
    elif output is ListFormat.NAME:
        for letter in found:
            typer.echo(letter["metadata"]["name"])
    elif not found:
        note(f"there are no DeadLetters {'like that ' if selector or run else ''}in namespace {namespace}")
    else:
        for line in table(found, datetime.now(UTC), wide=output is ListFormat.WIDE):
            typer.echo(line)
    return Exit.OK


async def replay(
    place: Place,
    names: NamesArgument = None,
    selector: SelectorOption = "",
    every: AllOption = False,
    edit: Annotated[
        str | None,
        typer.Option("--edit", metavar="JSON", help="Changes of the step's inputs, as a JSON merge patch; @FILE reads it from a file."),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option("--parameters", metavar="JSON", help="Changes of the parameters of a new run, as a JSON merge patch, or @FILE."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it goes into the journal.")] = "",
    rate: RateOption = "",
    dry_run: DryRunOption = False,
) -> Exit:
    """Go on with steps that gave up.

    Where the run still waits at the step, it goes on there, with another attempt. Where it has ended or is gone, a new run of the same workflow and
    revision is started with the same parameters. However often it is asked, that happens once.

    \b
    Exit codes besides those of all commands:
      1  some cannot be replayed
      4  some were not answered in time

    \b
    Examples:
      backstay replay order-7f2-charge-5a1b2c3d4e
      backstay replay -l backstay.dev/error=HttpUnavailable --rate 10/m --reason "the bank is back"
      backstay replay order-7f2-charge-5a1b2c3d4e --edit '{"args": ["charge", "b-18"]}'
    """
    wanted: dict[str, Any] = {"action": "Replay"}
    if edit is not None:
        wanted["edit"] = _object("--edit", edit)
    if parameters is not None:
        wanted["parameters"] = _object("--parameters", parameters)
    if reason:
        wanted["reason"] = reason
    return await _ask(place, names or [], selector, wanted, every=every, rate=rate, dry_run=dry_run)


async def discard(
    place: Place,
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it goes into the journal.")],
    names: NamesArgument = None,
    selector: SelectorOption = "",
    every: AllOption = False,
    rate: RateOption = "",
    dry_run: DryRunOption = False,
) -> Exit:
    """Give up steps for good.

    Where the run still waits at the step, the step fails with the error that it has: handlers around it see it, or the run fails and is undone.

    \b
    Example:
      backstay discard order-7f2-charge-5a1b2c3d4e --reason "the customer has cancelled"
    """
    if not reason.strip():
        raise Usage("--reason is empty", "say why, in words; it goes into the journal")
    return await _ask(place, names or [], selector, {"action": "Discard", "reason": reason}, every=every, rate=rate, dry_run=dry_run)


def _object(option: str, text: str) -> Object:
    """Read a JSON object, or YAML from a file. Raises Usage."""
    import yaml

    source = option
    if text.startswith("@"):
        source = f"{option} {text}"
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Usage(f"{source} cannot be read: {error}") from None
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Usage(f"{source} is neither JSON nor YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise Usage(f"{source} holds no object", """write one, as in '{"args": ["charge"]}'""")
    return found


# -------------------------------------------------------------------------------------------------------------------- asking


async def _ask(
    place: Place, names: Sequence[str], selector: str, wanted: Mapping[str, Any], *, every: bool, rate: str, dry_run: bool
) -> Exit:
    from backstay.cli.views.deadletters import pause_of, plan
    from backstay.cli.views.text import clean

    if bool(names) + bool(selector) + every != 1:
        raise Usage("say which: names, or -l SELECTOR, or --all", "`backstay deadletters` shows what there is")
    pause = pause_of(rate).total_seconds() if rate else 0.0
    async with place.connect() as (client, namespace):
        chosen, code = await _chosen(client, namespace, names, selector)
        plans = [(letter, plan(letter, wanted["action"], edit="edit" in wanted, parameters="parameters" in wanted)) for letter in chosen]
        for _, item in plans:
            if item.refusal:
                complain(item.refusal)
                code = code or Exit.FAILED
        todo = [(letter, item) for letter, item in plans if not item.refusal]
        if dry_run:
            for _, item in todo:
                typer.echo(f"{clean(item.words)}; nothing was asked (--dry-run)")
            return code
        answers = await _ask_all(client, namespace, [letter for letter, _ in todo], wanted, pause)
    return _summed_up(answers, len(chosen), code)


async def _chosen(client: "Client", namespace: str, names: Sequence[str], selector: str) -> tuple[list[Object], Exit]:
    """Return the letters that were named; or those that a selector, or --all, leaves to be decided."""
    from backstay.cli.views.deadletters import is_open
    from backstay.errors import NotFound
    from backstay.kube import resources

    if not names:
        return [letter for letter in await _list(client, namespace, selector) if is_open(letter)], Exit.OK
    found: list[Object] = []
    code = Exit.OK
    for name in dict.fromkeys(_bare(name) for name in names):
        try:
            found.append(await client.get(resources.DEAD_LETTERS, namespace, name))
        except NotFound as error:
            if name not in error.message:
                raise
            complain(f'there is no DeadLetter "{name}" in namespace "{namespace}"; `backstay deadletters` shows those that are there')
            code = Exit.CLUSTER
    return found, code


def _bare(text: str) -> str:
    """Return a name without what kubectl writes before it: `dl/x`, `deadletter.backstay.dev/x`."""
    return text.rpartition("/")[2]


async def _list(client: "Client", namespace: str, selector: str) -> list[dict[str, Any]]:
    from backstay.kube import resources

    return (await client.list(resources.DEAD_LETTERS, namespace, label_selector=selector, limit=500)).items


async def _ask_all(
    client: "Client", namespace: str, letters: Sequence[Object], wanted: Mapping[str, Any], pause: float
) -> dict[str, Object | None]:
    """Set the resolution of each letter, `pause` seconds apart, and tell what becomes of them. Returns the letters by name as they are then;
    None for one that could not be asked."""
    from backstay.cli.views.text import clean

    asked: dict[str, str] = {}
    answers: dict[str, Object | None] = {}
    for number, letter in enumerate(letters, 1):
        name = letter["metadata"]["name"]
        if number > 1 and pause:
            await _listen(client, namespace, asked, answers, pause, until_all=False)
        try:
            asked[name] = await _set(client, namespace, letter, wanted)
        except BackstayError as error:
            complain(explain(error)[0])
            answers[name] = None
            continue
        if len(letters) > 1:
            typer.echo(f"{clean(name)}: asked ({number}/{len(letters)})")
    await _listen(client, namespace, asked, answers, ANSWER_SECONDS, until_all=True)
    return answers | {name: {} for name in asked if name not in answers}


async def _set(client: "Client", namespace: str, letter: Object, wanted: Mapping[str, Any]) -> str:
    """Set a letter's resolution, of this very letter, as it is. Returns its id."""
    from backstay.kube import resources

    id_ = f"cli-{secrets.token_hex(6)}"
    meta = letter["metadata"]
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "add", "path": "/spec/resolution", "value": {"id": id_, **wanted}},
    ]
    await client.patch(resources.DEAD_LETTERS, namespace, meta["name"], patch, kind="json", field_manager="backstay-cli")
    return id_


async def _listen(
    client: "Client", namespace: str, asked: Mapping[str, str], answers: dict[str, Object | None], seconds: float, *, until_all: bool
) -> None:
    """Tell what becomes of the letters that were asked for something, for so long; or until all have been answered."""
    from backstay.cli.views.deadletters import is_answered, phase_of, words_of
    from backstay.cli.views.text import clean

    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        open_ = [name for name in asked if name not in answers]
        if open_:
            for letter in await _newest(client, namespace, open_):
                name = letter["metadata"]["name"]
                if is_answered(letter, asked[name]):
                    answers[name] = letter
                    typer.echo(clean(f"{name}: {phase_of(letter)}: {words_of(letter)}"))
        left = deadline - loop.time()
        if left <= 0 or (until_all and all(name in answers for name in asked)):
            return
        await asyncio.sleep(min(ASK_SECONDS, left))


async def _newest(client: "Client", namespace: str, names: Sequence[str]) -> list[Object]:
    """Return letters as they are now; one that is gone meanwhile is left out, and an API server that is away for a moment is asked again later."""
    from backstay.errors import NotFound, TooManyRequests, Unavailable
    from backstay.kube import resources

    try:
        if len(names) > 1:
            return [letter for letter in await _list(client, namespace, "") if letter["metadata"]["name"] in names]
        return [await client.get(resources.DEAD_LETTERS, namespace, names[0])]
    except (NotFound, TooManyRequests, Unavailable):
        return []


def _summed_up(answers: Mapping[str, Object | None], chosen: int, code: Exit) -> Exit:
    """Say in a line what has become of them all, and return the exit code."""
    from backstay.api.dead_letter import LetterPhase
    from backstay.cli.views.deadletters import SETTLED, phase_of

    refused = sum(1 for letter in answers.values() if letter is None)
    silent = sum(1 for letter in answers.values() if letter is not None and not letter)
    done = [phase_of(letter) for letter in answers.values() if letter]
    failed = sum(1 for phase in done if phase == LetterPhase.FAILED)
    if not chosen and not code:
        note("there is nothing to decide: no DeadLetter like that waits")
        return Exit.OK
    if len(answers) > 1 or silent:
        words = [f"{done.count(phase)} {phase.lower()}" for phase in SETTLED if done.count(phase)]
        words += [f"{failed + refused} failed"] if failed + refused else []
        words += [f"{silent} not answered within {ANSWER_SECONDS:.0f} s (`backstay deadletters` shows how they stand)"] if silent else []
        typer.echo(", ".join(words))
    if failed or refused:
        return code or Exit.FAILED
    return code or (Exit.TIMEOUT if silent else Exit.OK)
