"""WorkflowJournal: older entries of a run's journal. Appended once, never changed, and gone with the run."""

from typing import Annotated

from pydantic import Field

from backstay.api.base import Model
from backstay.api.run import JournalEntry


class JournalOf(Model):
    """The run that a part of a journal is of."""

    name: str = Field(min_length=1, max_length=253, description="Its name.")
    uid: str = Field(min_length=1, max_length=128, description="Its UID: another run of the same name has a journal of its own.")


class WorkflowJournalSpec(Model):
    """Entries of one run without gaps, oldest first. It cannot change after creation."""

    run: JournalOf = Field(description="The run that they are of.")
    first: int = Field(ge=1, description="Number of the first entry.")
    last: int = Field(ge=1, description="Number of the last entry.")
    count: int = Field(ge=1, description="How many entries there are.")
    previous: str = Field(default="", max_length=64, description="Hash of the entry before the first; empty where there is none.")
    head: str = Field(max_length=64, description="Hash of the last entry, which covers all entries before it.")
    entries: Annotated[tuple[JournalEntry, ...], Field(min_length=1, max_length=5000)] = Field(description="The entries, oldest first.")
