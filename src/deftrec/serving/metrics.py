"""Prometheus metrics of the service. Labels hold names of routes and stages, never ids."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServiceMetrics:
    """Metrics of one service.

    Args:
        waiting: Returns the number of requests that wait for the model.
        reasoning: Returns the number of states and statements that wait for the reasoner.
    """

    def __init__(self, waiting: Callable[[], float], reasoning: Callable[[], float] = lambda: 0) -> None:
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
        made = "States and statements that the reasoner computed in the background."
        self.reasoning = counter("deftrec_reasoning", made)
        gauge = partial(Gauge, registry=self.registry)
        gauge("deftrec_queue", "Requests that wait for the model.").set_function(waiting)
        waits = "States and statements that wait for the reasoner."
        gauge("deftrec_reasoning_queue", waits).set_function(reasoning)
