"""The scenarios in real containers, with the operator as a pod of the chart.

The table of manifests that admission answers (scenarios/answers.py) is left to the real control plane: no container would change an answer.
"""

import pytest

from tests.scenarios.examples import *  # noqa: F403
from tests.scenarios.fixtures import Market
from tests.scenarios.kubectl import *  # noqa: F403
from tests.scenarios.operation import *  # noqa: F403
from tests.scenarios.order import *  # noqa: F403
from tests.scenarios.people import *  # noqa: F403
from tests.scenarios.resource import *  # noqa: F403
from tests.scenarios.resource_rights import *  # noqa: F403
from tests.scenarios.workspaces import *  # noqa: F403

pytestmark = pytest.mark.containers

# Elsewhere an edited status is put back; with the chart's admission policies it cannot be edited.
del test_a_status_that_somebody_edits_is_not_believed_and_is_put_back  # noqa: F821
del test_a_run_whose_status_is_edited_to_look_finished_goes_on  # noqa: F821


def test_a_status_cannot_be_edited_by_anybody_but_the_operator(market: Market) -> None:
    market.shop.close("charge")
    name = market.start("good")
    market.place.reached(name, "charge")
    edit = '{"status": {"phase": "Succeeded"}}'
    refused = market.place.kubectl.refused("patch", "wfrun", name, "--subresource=status", "--type=merge", "-p", edit)
    assert "Forbidden" in refused
    market.shop.open("charge")
    assert market.place.ended(name)["status"]["phase"] == "Succeeded"
