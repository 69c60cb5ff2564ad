"""What Prometheus reads."""

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from backstay import errors
from backstay.kube.limiter import Limiter, Priority
from backstay.kube.resources import PODS
from backstay.observe.metrics import Metrics
from backstay.observe.server import MetricsServer
from backstay.runtime.queue import Key, KeyedQueue
from tests.support.tiny_api import TinyApi, reply, status


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_run_is_counted_in_the_phase_that_it_is_in() -> None:
    metrics = Metrics()
    metrics.run_changed("order", None, "Running")
    metrics.run_changed("order", None, "Running")
    metrics.run_changed("order", "Running", "Waiting")
    metrics.run_changed("order", "Running", "Running")
    assert value(metrics, "backstay_runs", workflow="order", phase="Running") == 1
    assert value(metrics, "backstay_runs", workflow="order", phase="Waiting") == 1
    metrics.run_changed("order", "Waiting", None)
    metrics.run_finished("order", "Succeeded", 12.5)
    assert value(metrics, "backstay_runs", workflow="order", phase="Waiting") == 0
    assert value(metrics, "backstay_runs_finished_total", workflow="order", phase="Succeeded") == 1
    assert value(metrics, "backstay_run_duration_seconds_sum", phase="Succeeded") == 12.5


def test_the_number_of_workflows_with_a_name_of_their_own_is_bounded_and_the_counts_stay_right() -> None:
    metrics = Metrics()
    for number in range(200):
        metrics.run_changed(f"w{number}", None, "Running")
    names = {
        sample.labels["workflow"] for family in metrics.registry.collect() if family.name == "backstay_runs" for sample in family.samples
    }
    assert len(names) == 51
    assert value(metrics, "backstay_runs", workflow="other", phase="Running") == 150
    for number in range(200):
        metrics.run_changed(f"w{number}", "Running", None)
    assert value(metrics, "backstay_runs", workflow="other", phase="Running") == 0
    assert value(metrics, "backstay_runs", workflow="w0", phase="Running") == 0


def test_the_parts_of_a_pass_are_timed_also_when_they_fail() -> None:
    metrics = Metrics()
    with metrics.timed("decide"):
        pass
    with pytest.raises(errors.Conflict), metrics.timed("persist"):
        raise errors.Conflict(409, "Conflict", "x")
    metrics.pass_failed(errors.Conflict(409, "Conflict", "x"))
    metrics.part_took("act", 0.5)
    for part in ("decide", "persist", "act"):
        assert value(metrics, "backstay_pass_seconds_count", part=part) == 1
    assert value(metrics, "backstay_passes_failed_total", error="Conflict") == 1


async def test_requests_are_counted_by_verb_resource_and_code() -> None:
    metrics = Metrics()
    async with TinyApi() as api, api.client() as client:
        client.calls = metrics.api_call
        api.answers("GET", "/api/v1/namespaces/shop/pods/a", reply({}), reply({}), status(404, "NotFound"))
        for _ in range(2):
            await client.get(PODS, "shop", "a")
        with pytest.raises(errors.NotFound):
            await client.get(PODS, "shop", "a")
    assert value(metrics, "backstay_api_requests_total", verb="get", resource="pods", code="200") == 2
    assert value(metrics, "backstay_api_requests_total", verb="get", resource="pods", code="404") == 1
    assert value(metrics, "backstay_api_request_duration_seconds_count", verb="get", resource="pods") == 3


class Picture:
    failures = 2
    lists = 1

    def __init__(self, silence_seconds: float) -> None:
        self.silence_seconds = silence_seconds
        self.lagged: Callable[[float], None] = lambda seconds: None

    def __len__(self) -> int:
        return 7


async def test_queue_informers_and_limiter_are_asked_when_metrics_are_read() -> None:
    metrics = Metrics()
    queue, limiter = KeyedQueue(lambda key: Priority.NEW if key.name == "new" else Priority.RUNNING), Limiter()
    metrics.watch_queue(queue)
    metrics.watch_limiter(limiter)
    pictures = [Picture(4.5), Picture(1.5)]
    for picture in pictures:
        metrics.watch_informer("pods", picture)
    for name in ("a", "b", "new"):
        queue.wake(Key("shop", name, name))
    queue.wake_in(Key("shop", "later", "later"), 60)
    await queue.get()
    pictures[0].lagged(0.25)
    pictures[1].lagged(0.5)
    limiter.pause(60)
    asked = asyncio.ensure_future(limiter.admit())
    await asyncio.sleep(0)
    assert value(metrics, "backstay_queue_depth", priority="running") == 1
    assert value(metrics, "backstay_queue_depth", priority="new") == 1
    assert value(metrics, "backstay_queue_depth", priority="background") == 0
    assert 0 <= (value(metrics, "backstay_queue_oldest_seconds", priority="new") or 0) < 60
    assert value(metrics, "backstay_passes_under_way") == 1
    assert 0 <= (value(metrics, "backstay_pass_longest_seconds") or 0) < 60
    assert value(metrics, "backstay_timers") == 1
    assert value(metrics, "backstay_informer_objects", resource="pods") == 14
    assert value(metrics, "backstay_informer_silence_seconds", resource="pods") == 4.5
    assert value(metrics, "backstay_informer_lists", resource="pods") == 2
    assert value(metrics, "backstay_informer_failures", resource="pods") == 4
    assert value(metrics, "backstay_informer_lag_seconds_count", resource="pods") == 2
    assert value(metrics, "backstay_informer_lag_seconds_sum", resource="pods") == 0.75
    assert value(metrics, "backstay_api_waiting", priority="running") == 1
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


def test_waits_in_the_queue_and_before_the_api_server_are_timed_by_priority() -> None:
    metrics = Metrics()
    metrics.queue_waited(Priority.NEW, 0.5)
    metrics.request_waited(Priority.BACKGROUND, 2.0)
    metrics.requests_paused()
    metrics.loop_late(0.01)
    assert value(metrics, "backstay_queue_wait_seconds_sum", priority="new") == 0.5
    assert value(metrics, "backstay_queue_wait_seconds_count", priority="running") == 0
    assert value(metrics, "backstay_api_wait_seconds_sum", priority="background") == 2.0
    assert value(metrics, "backstay_api_pauses_total") == 1
    assert value(metrics, "backstay_loop_late_seconds_count") == 1


def test_every_metric_of_ours_has_the_prefix_words_and_base_units() -> None:
    ours = [family for family in Metrics().registry.collect() if not family.name.startswith(("process_", "python_"))]
    assert len(ours) > 12
    for family in ours:
        assert family.name.startswith("backstay_"), family.name
        assert family.documentation.endswith("."), family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_minutes")), family.name
        assert family.type != "histogram" or family.name.endswith("_seconds"), family.name


async def test_two_operators_in_one_process_do_not_share_metrics() -> None:
    first, second = Metrics(), Metrics()
    first.step_finished("job", "Succeeded")
    first.step_to_step(0.02)
    assert value(first, "backstay_steps_finished_total", kind="job", phase="Succeeded") == 1
    assert value(second, "backstay_steps_finished_total", kind="job", phase="Succeeded") is None
    assert value(second, "backstay_step_to_step_seconds_count") == 0


async def test_metrics_are_served_as_prometheus_reads_them() -> None:
    metrics = Metrics()
    metrics.event_dropped("full")
    async with MetricsServer(metrics.registry, "127.0.0.1", 0) as server, aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{server.port}/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain")
            families = {family.name: family for family in text_string_to_metric_families(await response.text())}
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with session.get(f"http://127.0.0.1:{server.port}/metrics", headers=accept) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await response.text()).endswith("# EOF\n")
        async with session.get(f"http://127.0.0.1:{server.port}/") as response:
            assert response.status == 404
    assert families["backstay_events_dropped"].samples[0].value == 1
    assert families["backstay_build_info"].samples[0].labels["version"]


async def test_a_port_that_is_taken_is_told() -> None:
    metrics = Metrics()
    async with MetricsServer(metrics.registry, "127.0.0.1", 0) as server:
        with pytest.raises(OSError, match="in use"):
            await MetricsServer(metrics.registry, "127.0.0.1", server.port).__aenter__()


def test_slots_are_counted_by_what_limits_them_and_waits_are_timed() -> None:
    metrics = Metrics()
    metrics.watch_slots("lock", lambda: (2, 5))
    metrics.slot_granted("lock", 3.0)
    metrics.slot_granted("lock", -0.1)
    assert value(metrics, "backstay_slots_held", limit="lock") == 2
    assert value(metrics, "backstay_slots_waiting", limit="lock") == 5
    assert value(metrics, "backstay_slot_wait_seconds_count", limit="lock") == 2
    assert value(metrics, "backstay_slot_wait_seconds_sum", limit="lock") == 3.0


def test_dead_letters_are_counted_by_phase_and_what_becomes_of_them_by_workflow() -> None:
    metrics = Metrics()
    metrics.watch_letters("Waiting", lambda: 3)
    metrics.dead_letter_written("order")
    metrics.dead_letter_settled("order", "Replayed")
    assert value(metrics, "backstay_dead_letters", phase="Waiting") == 3
    assert value(metrics, "backstay_dead_letters_written_total", workflow="order") == 1
    assert value(metrics, "backstay_dead_letters_settled_total", workflow="order", phase="Replayed") == 1
