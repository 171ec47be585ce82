"""Prometheus metrics of the service. Labels hold names of routes and stages, never ids."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServiceMetrics:
    """Metrics of one service; `waiting` returns the number of requests that wait for the model."""

    def __init__(self, waiting: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        histogram = partial(Histogram, buckets=SECONDS, registry=self.registry)
        self.requests = histogram("deftrec_request_seconds", "Duration of a request.", ["route", "method", "status"])
        stages = "Duration of a stage: store, queue, generate, retrieve, explain."
        self.stages = histogram("deftrec_stage_seconds", stages, ["stage"])
        self.batches = histogram("deftrec_batch_size", "Requests in a batch of the model.", buckets=SIZES)
        self.events = counter("deftrec_events", "Received events, by outcome.", ["outcome"])
        self.refused = counter("deftrec_refused", "Refused requests, by reason.", ["code"])
        self.switches = counter("deftrec_model_switches", "Switches to another run, by outcome.", ["outcome"])
        self.items = counter("deftrec_item_changes", "Changes of the catalogue, by kind.", ["what"])
        renewals = "Reloads of the run after changes by other processes, by outcome."
        self.renewals = counter("deftrec_renewals", renewals, ["outcome"])
        Gauge("deftrec_queue", "Requests that wait for the model.", registry=self.registry).set_function(waiting)
