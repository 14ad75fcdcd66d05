"""What Prometheus is told: counters kept here, and what engine and log hold at the moment of the question."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from omni_model.serve.exchange import Answer

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
PARTS = ("queue", "decode", "encode", "fuse", "total")
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, kw_only=True)
class Level:
    """A number that something else keeps."""

    name: str
    help: str
    value: float
    is_total: bool = False
    """Only ever grows."""
    device: str = ""
    """The device that it is about, if it is about one."""


class Levels(Collector):
    """Asks for all levels when Prometheus does."""

    def __init__(self, look: Callable[[], Iterable[Level]]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for level in self._look():
            if level.name not in families:
                kind = CounterMetricFamily if level.is_total else GaugeMetricFamily
                families[level.name] = kind(level.name, level.help, labels=["device"] if level.device else [])
            families[level.name].add_metric([level.device] if level.device else [], level.value)
        return families.values()


class Metrics:
    """The service's own registry, so that nothing of another library's shows up in it."""

    def __init__(self, look: Callable[[], Iterable[Level]]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self.requests = Counter(
            "omniloop_requests", "HTTP requests by route and status.", ["route", "status"], registry=self._registry
        )
        self.predictions = Counter(
            "omniloop_predictions", "Answers by version and task.", ["version", "task"], registry=self._registry
        )
        self.mirrors = Counter(
            "omniloop_mirrors",
            "Second answers by version, and whether they agree with the answer that was told.",
            ["version", "agrees"],
            registry=self._registry,
        )
        self.latency = Histogram(
            "omniloop_latency_seconds", "Parts of an answer's time.", ["part"], buckets=SECONDS, registry=self._registry
        )
        self._parts = {part: self.latency.labels(part) for part in PARTS}
        self.ignored = Counter(
            "omniloop_ignored_inputs",
            "Inputs that were not looked at: left out by a budget or the load, or of no use to the version.",
            ["modality"],
            registry=self._registry,
        )
        self.batch_rows = Histogram("omniloop_batch_rows", "Rows of a batch.", buckets=ROWS, registry=self._registry)
        self.swaps = Counter("omniloop_swaps", "Changes of the version in service.", registry=self._registry)
        self.refused = Counter(
            "omniloop_refused_versions", "Versions that failed their check.", registry=self._registry
        )
        self._registry.register(Levels(look))

    def note(self, answer: Answer) -> None:
        """Count an answer, the parts of its time, and what it was not made from."""
        self.predictions.labels(str(answer.version), answer.task).inc()
        parts, latency = self._parts, answer.latency
        parts["queue"].observe(latency.queue_s)
        parts["decode"].observe(latency.decode_s)
        parts["encode"].observe(latency.encode_s)
        parts["fuse"].observe(latency.fuse_s)
        parts["total"].observe(latency.total_s)
        for modality in answer.ignored:
            self.ignored.labels(modality).inc()

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry)
