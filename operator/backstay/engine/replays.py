"""What becomes of the DeadLetters whose steps wait: their resolutions, heard where the run's own requests are, and answered in the journal.

    Replay     the step is tried again, with the letter's edit           → StepResumed
    Discard    the step fails with the error that it has                 → StepFailed
    (refused)  the edit makes no action that could be tried              → ReplayRefused; the letter shows why, and another may be set

Steps that are being stopped with their run hear nothing any more: whoever keeps the letters starts a new run once it has ended. Those of a
`finally` do: the run waits for them.
"""

from collections.abc import Mapping

from backstay.engine.lifecycle import give_up, resume
from backstay.engine.model import DeadLetterFact, Json, Phase, StepRecord
from backstay.engine.node import Node
from backstay.engine.paths import finished_by
from backstay.engine.policies import dead_letter, editing
from backstay.engine.turn import Turn

_THE_RUNS_OWN = ("serviceAccountName", "template", "envFrom")
"""What whoever may write a letter, and no run, must not give to a job: other rights, and other Secrets."""


def hear(turn: Turn) -> None:
    """Note the letters that are there, and do what is asked of them."""
    letters = turn.observations.letters
    if not letters or turn.run.phase is None or turn.run.is_finished:
        return
    dead_letter.confirm(turn)
    for record in [record for record in turn.steps.values() if dead_letter.is_open(record) and not _is_stopped(turn, record)]:
        letter = record.letter or {}
        fact = letters.get(letter["name"])
        node = turn.program.node(record.path)
        if fact is not None and node is not None and fact.resolution and fact.resolution != letter.get("refused"):
            _answer(turn, node, record, letter, fact)


def _is_stopped(turn: Turn, record: StepRecord) -> bool:
    return turn.run.phase is Phase.STOPPING and finished_by(record.path) is None


def _answer(turn: Turn, node: Node, record: StepRecord, letter: Mapping[str, str], fact: DeadLetterFact) -> None:
    reason = f"DeadLetter {fact.name} ({fact.resolution}){': ' if fact.reason else ''}{fact.reason}"
    if fact.action == "Discard":
        give_up(turn, record, reason=reason)
    elif words := _refusal(turn, node, record, fact.edit) if fact.edit is not None else "":
        refused = {**letter, "refused": fact.resolution, "why": words[: dead_letter.MOST_WORDS]}
        turn.change_step("ReplayRefused", record.path, actor="user", letter=refused, reason=words)
    elif fact.action == "Replay":
        resume(turn, node, record, fact.edit, reason=reason)


def _refusal(turn: Turn, node: Node, record: StepRecord, edit: Mapping[str, Json]) -> str:
    """Return why the edit of a letter cannot be taken, or nothing."""
    if own := next((name for name in _THE_RUNS_OWN if node.kind == "job" and name in edit), ""):
        return f"edit: {own} cannot be changed by a DeadLetter; who may write the run itself can: backstay retry"
    if words := editing.refusal(turn, node, record, edit):
        return words
    variables = edit.get("env") or ()
    known = editing.resolved(turn, node, record.path).get("env") or () if variables else ()
    for index, variable in enumerate(variables):
        if "valueFrom" in variable and variable not in known:
            return f"edit: env[{index}].valueFrom cannot be changed by a DeadLetter; who may write the run itself can: backstay retry"
    return ""
