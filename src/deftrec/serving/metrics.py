"""Prometheus metrics of the service. Labels hold names of routes and stages, never ids."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServiceMetrics:
    """Metrics of one service.

    Args:
        waiting: Returns the number of requests that wait for the model.
    """

    def __init__(self, waiting: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        seconds = partial(Histogram, buckets=SECONDS, registry=self.registry)
        self.requests = seconds("deftrec_request_seconds", "Duration of a request.", ["route", "method", "status"])
        self.stages = seconds(
            "deftrec_stage_seconds", "Duration of a stage: store, queue, generate, retrieve, explain.", ["stage"]
        )
        self.batches = Histogram(
            "deftrec_batch_size", "Requests in a batch of the model.", buckets=SIZES, registry=self.registry
        )
        self.events = counter("deftrec_events", "Received events, by outcome.", ["outcome"])
        self.refused = counter("deftrec_refused", "Refused requests, by reason.", ["code"])
        self.switches = counter("deftrec_model_switches", "Switches to another run, by outcome.", ["outcome"])
        self.items = counter("deftrec_item_changes", "Changes of the catalogue, by kind.", ["what"])
        self.renewals = counter(
            "deftrec_renewals", "Reloads of the run after changes by other processes, by outcome.", ["outcome"]
        )
        Gauge("deftrec_queue", "Requests that wait for the model.", registry=self.registry).set_function(waiting)

    def page(self) -> bytes:
        """Metrics in Prometheus' text format."""
        return generate_latest(self.registry)
