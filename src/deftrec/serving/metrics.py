"""What Prometheus reads. Labels are names of routes and stages, never ids."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServiceMetrics:
    """The measures of one service.

    Args:
        waiting: how many requests wait for the model now.
    """

    def __init__(self, waiting: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "deftrec_request_seconds",
            "Time of a request, by route and status.",
            ["route", "method", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "deftrec_stage_seconds",
            "Time of one stage: store, queue, generate, retrieve, explain.",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "deftrec_batch_size", "Requests that the model read at once.", buckets=SIZES, registry=self.registry
        )
        self.events = Counter("deftrec_events", "Events by what became of them.", ["outcome"], registry=self.registry)
        self.refused = Counter(
            "deftrec_refused", "Requests that were not worked on, by reason.", ["code"], registry=self.registry
        )
        self.switches = Counter("deftrec_model_switches", "Switches by outcome.", ["outcome"], registry=self.registry)
        self.items = Counter(
            "deftrec_item_changes", "Changes of items, by what they did.", ["what"], registry=self.registry
        )
        self.renewals = Counter(
            "deftrec_renewals",
            "The run read again, for others had changed it, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        Gauge("deftrec_queue", "Requests that wait for the model.", registry=self.registry).set_function(waiting)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
