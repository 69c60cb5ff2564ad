"""The whole catalogue: docs/failures.md is written from it (tests/support/failures_page.py), and tests/scenarios/failures.py runs its scenarios."""

from typing import Final

from tests.scenarios.catalogue.circuits import CIRCUITS
from tests.scenarios.catalogue.dead_letters import DEAD_LETTERS
from tests.scenarios.catalogue.logic import DATA, FLOW, TIME
from tests.scenarios.catalogue.rows import Row, Scenario
from tests.scenarios.catalogue.together import EDGES, TRANSACTIONS
from tests.scenarios.catalogue.undoing import EXHAUSTED, SAGAS
from tests.scenarios.catalogue.work import CONTAINERS, HTTP
from tests.scenarios.catalogue.world import KUBERNETES, OPERATOR

CATALOGUE: Final[dict[str, dict[str, Row]]] = {
    "Containers and pods": CONTAINERS,
    "HTTP": HTTP,
    "Kubernetes": KUBERNETES,
    "The operator": OPERATOR,
    "Time": TIME,
    "Data": DATA,
    "Flow": FLOW,
    "When attempts are used up": EXHAUSTED,
    "Dead letters": DEAD_LETTERS,
    "Circuit breakers": CIRCUITS,
    "At the edges of steps and runs": EDGES,
    "Sagas": SAGAS,
    "Transactions": TRANSACTIONS,
}
"""By the heading of each part: rows by their name."""
ROWS: Final[dict[str, Row]] = {name: row for part in CATALOGUE.values() for name, row in part.items()}
SCENARIOS: Final[dict[str, Scenario]] = {name: row.scenario for name, row in ROWS.items() if row.scenario is not None}
