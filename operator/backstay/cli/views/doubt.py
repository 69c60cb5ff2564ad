"""Transactions in doubt, in words: decided, and not carried out at every participant."""

from backstay.cli.views.seen import Run
from backstay.cli.views.text import clean, listed
from backstay.engine.transactions import Decision, Doubt, doubts, troubled


def aim(run: Run) -> str:
    """Return what stands before what a run waits for, where that is to carry out a decision at a participant that has failed to so far."""
    found = troubled(run.program, run.state.steps) if run.program is not None and not run.is_finished else []
    return f"IN DOUBT: {'; '.join(map(_words, found))}: " if found else ""


def left(run: Run) -> str:
    """Return what a finished run has left in doubt, as the end of a sentence; empty where nothing is."""
    found = list(doubts(run.program, run.state.steps)) if run.program is not None and run.is_finished else []
    return f"; IN DOUBT: {'; '.join(map(_words, found))}" if found else ""


def _words(doubt: Doubt) -> str:
    what = "is to be committed" if doubt.decision is Decision.COMMIT else "is to be aborted"
    return f"{clean(doubt.path)} {what}, and not so yet at {listed(doubt.left)}"
