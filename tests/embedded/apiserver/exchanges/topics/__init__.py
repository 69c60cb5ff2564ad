"""What is said, a topic after the other; each may rely on those before it."""

from typing import Final

from tests.embedded.apiserver.exchanges.exchange import Exchange, Topic
from tests.embedded.apiserver.exchanges.topics.applying import applying
from tests.embedded.apiserver.exchanges.topics.builtin import builtin
from tests.embedded.apiserver.exchanges.topics.commands import commands
from tests.embedded.apiserver.exchanges.topics.creating import creating
from tests.embedded.apiserver.exchanges.topics.defining import defining
from tests.embedded.apiserver.exchanges.topics.deleting import deleting
from tests.embedded.apiserver.exchanges.topics.discovering import discovering
from tests.embedded.apiserver.exchanges.topics.ending import ending
from tests.embedded.apiserver.exchanges.topics.namespaces import namespaces
from tests.embedded.apiserver.exchanges.topics.ours import ours
from tests.embedded.apiserver.exchanges.topics.owning import owning
from tests.embedded.apiserver.exchanges.topics.paging import paging
from tests.embedded.apiserver.exchanges.topics.patching import patching
from tests.embedded.apiserver.exchanges.topics.protocols import protocols
from tests.embedded.apiserver.exchanges.topics.reading import reading
from tests.embedded.apiserver.exchanges.topics.selecting import selecting
from tests.embedded.apiserver.exchanges.topics.tables import tables
from tests.embedded.apiserver.exchanges.topics.templates import templates
from tests.embedded.apiserver.exchanges.topics.updating import updating
from tests.embedded.apiserver.exchanges.topics.validating import validating
from tests.embedded.apiserver.exchanges.topics.watching import watching

TOPICS: Final[tuple[Topic, ...]] = (
    namespaces,
    creating,
    reading,
    updating,
    patching,
    applying,
    builtin,
    tables,
    templates,
    selecting,
    paging,
    watching,
    validating,
    defining,
    protocols,
    discovering,
    ours,
    commands,
    owning,
    deleting,
    ending,
)


def conversation() -> dict[str, list[Exchange]]:
    """Return the exchanges of each topic, in order."""
    return {topic.__name__: list(topic()) for topic in TOPICS}
