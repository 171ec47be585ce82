"""Service without HTTP: the event store, the model and their queues."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deftrec.data import Sequences
from deftrec.errors import DeftRecError, in_a_line
from deftrec.reasoning import Refresher
from deftrec.retrieval import read_rules
from deftrec.serving.engine import EngineRequest, EngineResponse, InferenceEngine
from deftrec.serving.keys import ApiKeys
from deftrec.serving.logs import log
from deftrec.serving.metrics import ServiceMetrics
from deftrec.serving.model_manager import ModelManager
from deftrec.serving.queues import Batcher, BoundedExecutor
from deftrec.serving.settings import Settings
from deftrec.serving.store import SqlStore

STORE_THREADS = 8  # number of concurrent calls of the store


@dataclass(frozen=True, eq=False)
class UserEvents:
    """History of a user.

    Attributes:
        history: events whose items the engine knows, oldest first, as one sequence.
        unknown: number of stored events whose item the engine does not know.
        seconds: seconds that the store took.
    """

    history: Sequences
    unknown: int
    seconds: float

    @property
    def items(self) -> np.ndarray:
        """Numbers of the items. `[n]` int64"""
        return self.history.items.astype(np.int64)


class Service:
    """Event store, model and queues; `engine` is the run to serve first, and `keys` None permits every request."""

    def __init__(self, settings: Settings, engine: InferenceEngine, store: SqlStore, keys: ApiKeys | None) -> None:
        self.settings, self.store, self.keys = settings, store, keys
        self.threads = BoundedExecutor(STORE_THREADS, settings.queue, settings.deadline)
        self.metrics = ServiceMetrics(lambda: len(self.batcher), reasoning=lambda: len(self.engine.refresher or ()))
        self.models = ModelManager(
            self._refreshed(engine),
            load=lambda folder: self._refreshed(load_engine(folder, settings)),
            close=lambda old: self.batcher.run_between_batches(old.close),
        )
        limits = {"size": settings.batch, "queue": settings.queue}
        observe, wait = self.metrics.batches.observe, settings.wait_ms / 1000
        self.batcher = Batcher(InferenceEngine.answer, **limits, wait=wait, observe=observe)

    def _refreshed(self, engine: InferenceEngine) -> InferenceEngine:
        """The engine, with a refresher if the run has a reasoner, the settings permit it and the store is writable."""
        reasoning = engine.run.reasoning
        if reasoning is not None and self.settings.reasoning_refresh:
            if reasoning.store.is_writable:
                engine.refresher = Refresher(reasoning, on_made=self.metrics.reasoning.inc)
            else:
                reason = "the service cannot write to the run directory"
                log("no refresh of reasoning", 30, run=engine.name, reason=reason)
        return engine

    @property
    def engine(self) -> InferenceEngine:
        """Engine that processes new requests."""
        return self.models.current

    async def engine_for(self, items: Iterable[str]) -> InferenceEngine:
        """Engine that processes new requests; reloads the run first if one of `items` is unknown."""
        if any(item not in self.engine.numbers for item in items):
            await self._reload()
        return self.engine

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the service inside the block; at its end waiting requests are answered first."""
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await self.batcher.close()
            self.threads.close()
            self.engine.close(wait=True)
            self.store.close()

    async def _watch(self) -> None:
        """Reload the run periodically, for changes by other workers and the command line."""
        while True:
            await asyncio.sleep(self.settings.watch_seconds)
            await self._reload()

    async def _reload(self) -> None:
        """Reload the run if it was changed on disk; if that fails, the present state stays."""
        try:
            if await self.models.reload():
                self.metrics.renewals.labels("done").inc()
                log("run reloaded", run=self.engine.name, version=self.engine.version)
        except (DeftRecError, OSError) as error:
            self.metrics.renewals.labels("failed").inc()
            log("run reload failed", 30, run=self.engine.name, reason=in_a_line(error))

    async def history(self, engine: InferenceEngine, user: str) -> UserEvents:
        """Read the history of a user: the run's data, then stored events."""
        began = time.perf_counter()
        stored = await self.threads.call(self.store.history, user, self.settings.user_history)
        seconds = time.perf_counter() - began
        self.metrics.stages.labels("store").observe(seconds)
        known = [n for n, item in enumerate(stored.items) if item in engine.numbers]
        history = engine.events(
            [engine.numbers[stored.items[n]] for n in known],
            [stored.times[n] for n in known],
            [stored.kinds[n] for n in known],
            [stored.values[n] for n in known],
        )
        if not stored.erased:
            history = Sequences.joined([engine.own_events(user), history]).as_one()
        return UserEvents(history, len(stored.items) - len(known), seconds)

    async def answer(self, job: EngineRequest, seconds: float | None = None) -> EngineResponse:
        """Process a request by its engine, within `seconds` (default and maximum: the settings' deadline).

        The response's `seconds` also hold the time in the queue.
        """
        limit = self.settings.deadline if seconds is None else min(seconds, self.settings.deadline)
        with self.models.in_use(job.engine):
            answer, queued = await self.batcher.submit(job, limit)
        times = {"queue": queued, **answer.seconds}
        for stage, took in times.items():
            self.metrics.stages.labels(stage).observe(took)
        return replace(answer, seconds=times)


def load_engine(folder: Path, settings: Settings) -> InferenceEngine:
    """Load a run and warm it up, so that the first request is as fast as later ones."""
    rules = () if settings.rules is None else read_rules(settings.rules)
    engine = InferenceEngine.load(folder, settings.index, settings.store_url, settings.runtime, rules)
    try:
        engine.warm()
    except BaseException:
        engine.close()
        raise
    return engine
