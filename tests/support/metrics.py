"""What a process tells of itself at /metrics."""

from collections.abc import Iterator
from urllib.request import urlopen

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_LIMIT_SECONDS = 5


def metrics_of(port: int) -> str:
    """Return all metrics that are served at a port of this machine, in Prometheus' text."""
    text: bytes = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_LIMIT_SECONDS).read()
    return text.decode()


def total(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of a metric, in Prometheus' text, that have these labels."""
    return sum(sample.value for sample in _samples(text) if sample.name == name and labels.items() <= sample.labels.items())


def _samples(text: str) -> Iterator[Sample]:
    families: Iterator[Metric] = text_string_to_metric_families(text)
    for family in families:
        yield from family.samples
