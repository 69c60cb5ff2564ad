"""An order whose shop is served, as in containers: steps reach it by its address, and it may be away for a while."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.fixtures import ORDER, Market, succeeded, undone
from tests.support.cluster import Cluster
from tests.support.embedded_cluster import embedded_cluster
from tests.support.shop import Shop, ShopServer, served

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with embedded_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ShopServer]:
    with served(tmp_path / "shop.db") as server:
        yield server


@pytest.fixture
def market(cluster: Cluster, server: ShopServer, request: pytest.FixtureRequest) -> Market:
    shop = Shop(server.database, server.address)
    place = cluster.place(request.node.name.removeprefix("test_"))
    where = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": {"database": server.address}}
    place.apply(where, ORDER / "workflow.yaml")
    return Market(place, shop, shop.books())


def test_an_order_ends_well_though_its_shop_is_killed_half_way(market: Market, server: ShopServer) -> None:
    market.shop.close("charge")
    market.start("good")
    market.place.reached("good", "charge")
    server.kill()
    server.start()
    market.shop.open("charge")
    run = market.place.ended("good")
    assert run["status"]["phase"] == "Succeeded"
    assert market.shop.shelves() == {"mug": 97, "lamp": 39, "desk": 10}
    assert market.shop.balance("ada") == 10000 - 121
    assert len(market.shop.done()) == len(succeeded(run)) == 6


def test_an_order_that_fails_leaves_a_served_shop_as_it_was(market: Market) -> None:
    market.start("shipping-fails")
    run = market.place.ended("shipping-fails")
    assert undone(run) == list(reversed(succeeded(run)))
    assert market.shop.books() == market.before
