"""The service without HTTP: what the routes ask, and what all of them share."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deftrec.errors import DeftRecError, in_a_line
from deftrec.serving.batching import Batcher
from deftrec.serving.engine import EngineRequest, EngineResponse, InferenceEngine, answer_all
from deftrec.serving.keys import ApiKeys
from deftrec.serving.logs import log
from deftrec.serving.metrics import ServiceMetrics
from deftrec.serving.model_manager import ModelManager
from deftrec.serving.rates import RateLimit
from deftrec.serving.settings import Settings
from deftrec.serving.store import EventStore
from deftrec.serving.threads import BoundedExecutor

STORE_THREADS = 8
"""Calls of the store that are under way at once."""


@dataclass(frozen=True)
class History:
    """What a user took.

    Attributes:
        items: external ids that the run knows, oldest first: those of its data, then those of the store.
        unknown: how many stored events are of items that the run does not know.
    """

    items: list[str]
    unknown: int


class Service:
    """Store, model and queue together.

    Args:
        settings: its limits.
        engine: the first run.
        store: of events.
        keys: None: everybody may do everything.
    """

    def __init__(
        self, settings: Settings, engine: InferenceEngine, store: EventStore, keys: ApiKeys | None = None
    ) -> None:
        self.settings, self.store, self.keys = settings, store, keys
        self.threads = BoundedExecutor(STORE_THREADS, settings.queue, settings.deadline)
        self.holder = ModelManager(
            engine,
            settings.run.resolve().parent,
            load=lambda folder: load_engine(folder, settings),
            close=lambda old: self.batcher.between(old.close),
        )
        self.limit = RateLimit(settings.rate, settings.burst)
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
        """The run that new requests are given to."""
        return self.holder.current

    async def knowing(self, items: Iterable[str]) -> InferenceEngine:
        """The run that new requests are given to; where it lacks one of `items`, first what came to it from others."""
        if any(item not in self.engine.numbers for item in items):
            await self._renew()
        return self.engine

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside the block it works; whoever waits at its end is answered first."""
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
        """Serve what other workers and the command line do to the run, for ever."""
        while True:
            await asyncio.sleep(self.settings.watch_seconds)
            await self._renew()

    async def _renew(self) -> None:
        """Serve what came to the run from others; where that fails, what was known stays."""
        try:
            if await self.holder.renew():
                self.metrics.renewals.labels("done").inc()
                log("renewed", run=self.engine.name, version=self.engine.version)
        except (DeftRecError, OSError) as error:
            self.metrics.renewals.labels("failed").inc()
            log("renewal failed", 30, run=self.engine.name, reason=in_a_line(error))

    async def history(self, engine: InferenceEngine, user: str) -> tuple[History, float]:
        """What a user took as far as `engine` knows it, and the seconds that the store took.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        began = time.perf_counter()
        stored = await self.threads.call(self.store.history, user, self.settings.user_history)
        seconds = time.perf_counter() - began
        self.metrics.stages.labels("store").observe(seconds)
        own = [] if stored.erased else engine.own_history(user)
        known = [item for item in stored.items if item in engine.numbers]
        return History(own + known, len(stored.items) - len(known)), seconds

    async def answer(self, job: EngineRequest, seconds: float | None = None) -> EngineResponse:
        """The model's answer; its `seconds` name the time in the queue too.

        Args:
            job: of the engine that the request began with.
            seconds: until the request is given up; None: the settings'.

        Raises:
            OverloadedError: too many wait, or the time is up.
        """
        limit = self.settings.deadline if seconds is None else min(seconds, self.settings.deadline)
        with self.holder.working(job.engine):
            answer, queued = await self.batcher.submit(job, limit)
        times = {"queue": queued, **answer.seconds}
        for stage, took in times.items():
            self.metrics.stages.labels(stage).observe(took)
        return replace(answer, seconds=times)


def load_engine(folder: Path, settings: Settings) -> InferenceEngine:
    """A run whose first request is no slower than others.

    Raises:
        DeftRecError: it is missing, unfinished or damaged, or does not suit the settings' index.
    """
    engine = InferenceEngine.load(folder, settings.index, settings.store_url, settings.runtime)
    try:
        engine.warm()
    except BaseException:
        engine.close()
        raise
    return engine


def numbers_of(engine: InferenceEngine, items: Sequence[str]) -> np.ndarray:
    """Numbers of items that `engine` knows. `[n]` int64"""
    return np.array([engine.numbers[item] for item in items], np.int64)
