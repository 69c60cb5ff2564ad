"""Undoing: the saga's way back (Garcia-Molina and Salem, "Sagas", 1987).

Completed steps that say how are undone in reverse order of the journal entry that ended them; never by timestamps, which tie. What undoing
needs is derived from the records.

pending   what is to be undone, what is undone, what is left
order     which steps are independent, so that they may be undone at the same time

`lifecycle.undoing` carries it out; `steps.undo` is the step that undoes a part of a run while that goes on.
"""

from backstay.engine.compensation.pending import (
    Reach,
    Standing,
    cut_off,
    has_begun,
    holds_something,
    kept,
    left,
    standing,
    to_undo,
    undone,
    why_left,
)

__all__ = ["Reach", "Standing", "cut_off", "has_begun", "holds_something", "kept", "left", "standing", "to_undo", "undone", "why_left"]
