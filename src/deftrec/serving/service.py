"""Service without HTTP: the event store, the model and their queues."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deftrec.errors import DeftRecError, in_a_line
from deftrec.serving.engine import EngineRequest, EngineResponse, InferenceEngine, answer_all
from deftrec.serving.keys import ApiKeys
from deftrec.serving.logs import log
from deftrec.serving.metrics import ServiceMetrics
from deftrec.serving.model_manager import ModelManager
from deftrec.serving.queues import Batcher, BoundedExecutor
from deftrec.serving.settings import Settings
from deftrec.serving.store import EventStore

STORE_THREADS = 8
"""Number of concurrent calls of the store."""


@dataclass(frozen=True)
class KnownHistory:
    """Interactions of a user.

    Attributes:
        items: Numbers of the items that the run knows, oldest first: the run's data, then stored events. `[n]` int64
        unknown: Number of stored events whose item the run does not know.
    """

    items: np.ndarray
    unknown: int


class Service:
    """Event store, model and queues.

    Args:
        settings: Settings and limits.
        engine: The run to serve first.
        store: Event store.
        keys: API keys; None permits every request.
    """

    def __init__(
        self, settings: Settings, engine: InferenceEngine, store: EventStore, keys: ApiKeys | None = None
    ) -> None:
        self.settings, self.store, self.keys = settings, store, keys
        self.threads = BoundedExecutor(STORE_THREADS, settings.queue, settings.deadline)
        self.models = ModelManager(
            engine,
            settings.run.resolve().parent,
            load=lambda folder: load_engine(folder, settings),
            close=lambda old: self.batcher.run_between_batches(old.close),
        )
        self.metrics = ServiceMetrics(lambda: len(self.batcher))
        self.batcher: Batcher[EngineRequest, EngineResponse] = Batcher(
            answer_all,
            size=settings.batch,
            queue=settings.queue,
            wait=settings.wait_ms / 1000,
            observe=self.metrics.batches.observe,
        )

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
        self.batcher.start()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await self.batcher.close()
            self.threads.close()
            self.engine.close()
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

    async def history(self, engine: InferenceEngine, user: str) -> tuple[KnownHistory, float]:
        """Read the history of a user by the catalogue of `engine`; also return the seconds that the store took.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        began = time.perf_counter()
        stored = await self.threads.call(self.store.history, user, self.settings.user_history)
        seconds = time.perf_counter() - began
        self.metrics.stages.labels("store").observe(seconds)
        known = [item for item in stored.items if item in engine.numbers]
        items = known if stored.erased else [*engine.own_history(user), *known]
        return KnownHistory(engine.interactions.item_numbers(items), len(stored.items) - len(known)), seconds

    async def answer(self, job: EngineRequest, seconds: float | None = None) -> EngineResponse:
        """Process a request by its engine; the response's `seconds` also hold the time in the queue.

        Args:
            job: Request.
            seconds: Seconds until 503; at most the settings' deadline, which is also the default.

        Raises:
            OverloadedError: Too many requests wait, or the time is up.
        """
        limit = self.settings.deadline if seconds is None else min(seconds, self.settings.deadline)
        with self.models.in_use(job.engine):
            answer, queued = await self.batcher.submit(job, limit)
        times = {"queue": queued, **answer.seconds}
        for stage, took in times.items():
            self.metrics.stages.labels(stage).observe(took)
        return replace(answer, seconds=times)


def load_engine(folder: Path, settings: Settings) -> InferenceEngine:
    """Load a run and warm it up, so that the first request is as fast as later ones.

    Raises:
        DeftRecError: The run is missing, incomplete or damaged, or does not suit the index of the settings.
    """
    engine = InferenceEngine.load(folder, settings.index, settings.store_url, settings.runtime)
    try:
        engine.warm()
    except BaseException:
        engine.close()
        raise
    return engine
