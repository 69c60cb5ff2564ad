"""The one suite for both clusters. A test module that has a fixture `cluster` imports all of this, and pytest finds it there."""

from tests.scenarios.answers import *  # noqa: F403
from tests.scenarios.bounded import *  # noqa: F403
from tests.scenarios.children import *  # noqa: F403
from tests.scenarios.circuits import *  # noqa: F403
from tests.scenarios.dead_letters import *  # noqa: F403
from tests.scenarios.errors import *  # noqa: F403
from tests.scenarios.examples import *  # noqa: F403
from tests.scenarios.failures import *  # noqa: F403
from tests.scenarios.finally_ import *  # noqa: F403
from tests.scenarios.fixtures import *  # noqa: F403
from tests.scenarios.http import *  # noqa: F403
from tests.scenarios.iterations import *  # noqa: F403
from tests.scenarios.kubectl import *  # noqa: F403
from tests.scenarios.limits import *  # noqa: F403
from tests.scenarios.operation import *  # noqa: F403
from tests.scenarios.order import *  # noqa: F403
from tests.scenarios.patterns import *  # noqa: F403
from tests.scenarios.pausing import *  # noqa: F403
from tests.scenarios.people import *  # noqa: F403
from tests.scenarios.resource import *  # noqa: F403
from tests.scenarios.sagas import *  # noqa: F403
from tests.scenarios.story import *  # noqa: F403
from tests.scenarios.transactions import *  # noqa: F403
from tests.scenarios.verifying import *  # noqa: F403
from tests.scenarios.workspaces import *  # noqa: F403
