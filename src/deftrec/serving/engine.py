"""Engine of the service: a loaded run that processes batches of requests.

Requests hold item numbers. Whatever the requests of a batch share is computed once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeAlias

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.hardware import Runtime
from deftrec.incremental import Stamp, overlay_stamp, read_overlay
from deftrec.recommendation import Recommendation, Source
from deftrec.recommender import Recommender
from deftrec.retrieval import Allow, Deny, ExcludeHistory, HistoryLast, Queries, RepeatBias, Rule, top
from deftrec.run import run_digest
from deftrec.serving.catalogue import Catalogue
from deftrec.serving.index import OVERFETCH, Approximate, IndexChoice, VectorIndex, build_index, choose_index

P = ParamSpec("P")
NO_ITEMS = np.zeros(0, np.int64)

STEPS = 20
"""Number of steps of a denoising path."""


@dataclass(frozen=True, eq=False)
class RecommendationRequest:
    """Request for recommendations.

    Attributes:
        engine: Engine that the item numbers refer to.
        history: Item numbers, oldest first. `[n]` int64
        k: Number of items to recommend.
        exclude_seen: Leave out items of the history.
        category: Recommend only items of this category; None permits all.
        allow: Numbers of the only permitted items; None permits all. `[n]` int64
        deny: Numbers of forbidden items. `[n]` int64
        samples: Number of noise draws to average; None uses the run's setting.
        seed: Random seed of the noise; None uses the run's seed.
        explain: Add explanations.
    """

    engine: "InferenceEngine"
    history: np.ndarray
    k: int = 10
    exclude_seen: bool = True
    category: str | None = None
    allow: np.ndarray | None = None
    deny: np.ndarray = field(default_factory=lambda: NO_ITEMS)
    samples: int | None = None
    seed: int | None = None
    explain: bool = False


@dataclass(frozen=True, eq=False)
class PathRequest:
    """Request for denoising paths.

    Attributes:
        engine: Engine that the item numbers refer to.
        history: Item numbers, oldest first, at least one. `[n]` int64
        seeds: Random seeds of the noise; one path per seed.
    """

    engine: "InferenceEngine"
    history: np.ndarray
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class EngineResponse:
    """Response to a request.

    Attributes:
        found: Recommended items, best first.
        seconds: Seconds of the stages `generate`, `retrieve` (both of the whole batch) and `explain`.
        paths: Points on the map, one path per seed. Each `[steps][2]`
    """

    found: list[Recommendation] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    paths: list[list[list[float]]] = field(default_factory=list)


EngineRequest: TypeAlias = RecommendationRequest | PathRequest


class InferenceEngine(Catalogue):
    """A loaded run.

    Args:
        recommender: The run.
        folder: Run directory; its name is the name of the run.
        weights: Identifier of the weights.
        stamp: State of the overlay file when it was read.
        index: Index of the items of the training data; None searches exactly.

    Attributes:
        version: Identifier of weights, catalogue and histories.

    Raises:
        ConfigError: The run does not suit the index.
    """

    def __init__(
        self, recommender: Recommender, folder: Path, weights: str, stamp: Stamp, index: VectorIndex | None = None
    ) -> None:
        super().__init__(recommender)
        self.folder, self.weights, self.stamp, self.index = folder, weights, stamp, index
        changes = recommender.overlay.version if recommender.overlay else 0
        self.name, self.version = folder.resolve().name, f"{weights}.{changes}" if changes else weights
        trained = recommender.fitted_on.n_items
        self.approximate = None if index is None else Approximate(recommender.ranker, index, trained)

    @classmethod
    def load(
        cls, folder: Path, index: IndexChoice = "exact", store_url: str = "", runtime: Runtime = "torch"
    ) -> "InferenceEngine":
        """Read a run directory.

        Args:
            folder: Run directory.
            index: Kind of index; `auto` chooses by the size of the catalogue.
            store_url: URL of the event store, where pgvector keeps its table.
            runtime: Library that runs a pre-trained language model.

        Raises:
            DeftRecError: The run is missing, incomplete or damaged, or the index does not suit the run or installation.
        """
        stamp = overlay_stamp(folder)  # taken before the run is read, so that a change in between is noticed
        recommender = Recommender.load(folder, runtime=runtime)
        version, ranker = run_digest(folder)[:12], recommender.ranker
        vectors = Approximate.vectors(ranker)[: recommender.fitted_on.n_items]
        kind = choose_index(index, ranker)
        if kind != "exact":
            Approximate.check(ranker)  # before the index is built, which may take minutes
        built = build_index(kind, vectors, Approximate.metric(ranker), version, store_url)
        return cls(recommender, folder, version, stamp, built)

    def outdated(self) -> bool:
        """Whether the overlay was changed since it was read."""
        return overlay_stamp(self.folder) != self.stamp

    def renewed(self) -> "InferenceEngine":
        """Engine with the same weights and index, and the present overlay.

        Raises:
            DeftRecError: The overlay is damaged.
        """
        stamp = overlay_stamp(self.folder)
        recommender = self.recommender.with_overlay(read_overlay(self.folder, self.recommender.fitted_on))
        engine = InferenceEngine(recommender, self.folder, self.weights, stamp, self.index)
        engine.warm()
        return engine

    def close(self) -> None:
        """Close the connections of the index."""
        if self.index is not None:
            self.index.close()

    def warm(self) -> None:
        """Fill the caches and process one request, so that the first request is as fast as later ones."""
        _ = self.categories, self.popularity, self.places, self.folded
        for answer in self.answer([RecommendationRequest(self, np.zeros(1, np.int64))]):
            if isinstance(answer, Exception):
                raise answer

    @torch.inference_mode()
    def answer(self, jobs: Sequence[EngineRequest]) -> list[EngineResponse | Exception]:
        """Process a batch; returns one response or exception per request, in order."""
        answers: dict[int, EngineResponse | Exception] = {}
        groups: dict[tuple[int | None, int | None], list[int]] = {}
        for n, job in enumerate(jobs):
            if isinstance(job, PathRequest):
                answers[n] = _attempt(self._trace, job)
            elif not len(job.history):
                answers[n] = _attempt(self._popular, job)
            else:
                groups.setdefault((job.seed, job.samples), []).append(n)
        for places in groups.values():
            asks = [job for job in (jobs[n] for n in places) if isinstance(job, RecommendationRequest)]
            try:
                answers.update(zip(places, self._together(asks), strict=True))
            except Exception as error:
                answers.update(dict.fromkeys(places, error))
        return [answers[n] for n in range(len(jobs))]

    def _together(self, asks: Sequence[RecommendationRequest]) -> list[EngineResponse | Exception]:
        """Process requests with the same seed and number of samples."""
        histories = Sequences.from_lists([ask.history for ask in asks])
        began = time.perf_counter()
        asked = self.recommender.queries(histories, asks[0].seed, asks[0].samples)
        generated = time.perf_counter()
        scored = self._all_scores(asked) if self.approximate is None else self._some_scores(asked, asks)
        lists = [self._best(*one, ask, "deftrec") for one, ask in zip(scored, asks, strict=True)]
        seconds = {"generate": generated - began, "retrieve": time.perf_counter() - generated}
        return [_attempt(self._explained, ask, found, seconds) for ask, found in zip(asks, lists, strict=True)]

    def _all_scores(self, asked: Queries) -> Iterator[tuple[None, Tensor]]:
        """Exact scores of all items for each request. Each `[I]`"""
        chunks = self.recommender.ranker.chunks(asked)
        return ((None, row) for _, scores in chunks for row in scores)

    def _some_scores(self, asked: Queries, asks: Sequence[RecommendationRequest]) -> Iterator[tuple[Tensor, Tensor]]:
        """Candidates of the index and their scores for each request; more if some may be left out. Each `[c]`"""
        assert self.approximate is not None
        gone, lowered = len(self.removed), self._lowers_history
        hidden = [gone + (len(ask.history) if ask.exclude_seen or lowered else 0) + len(ask.deny) for ask in asks]
        counts = [OVERFETCH * ask.k + extra for ask, extra in zip(asks, hidden, strict=True)]
        for query, ask, near in zip(
            asked.latents, asks, self.approximate.candidates(asked.latents, counts), strict=True
        ):
            named = self._named(ask)
            items, whole = (near, False) if named is None else (named, True)
            yield self.approximate.score(query, ask.history, items, also_prior=not whole)

    @property
    def _lowers_history(self) -> bool:
        """Whether items of the history are ranked below where their latents place them."""
        bias = self.recommender.ranker.term_of(RepeatBias)
        last = any(isinstance(rule, HistoryLast) for rule in self.recommender.ranker.rules)
        return last or (bias is not None and bias.value < 0)

    def _named(self, ask: RecommendationRequest) -> np.ndarray | None:
        """Numbers of the items that a request names by an allow list or a category; None if it names none. `[n]`"""
        if ask.allow is not None:
            return ask.allow
        return None if ask.category is None else self.categories.get(ask.category, NO_ITEMS)

    def _rules(self, ask: RecommendationRequest) -> Iterator[Rule]:
        """Rules of a request, and the one for removed items."""
        yield Deny(torch.tensor([*self.removed, *ask.deny.tolist()], dtype=torch.int64))
        if ask.allow is not None:
            yield Allow(torch.from_numpy(ask.allow))
        if ask.category is not None:
            yield Allow(torch.from_numpy(self.categories.get(ask.category, NO_ITEMS)))
        if ask.exclude_seen:
            yield ExcludeHistory()

    def _explained(
        self, ask: RecommendationRequest, found: list[Recommendation], seconds: dict[str, float]
    ) -> EngineResponse:
        if not ask.explain or not found:
            return EngineResponse(found, seconds)
        began = time.perf_counter()
        explained = self.recommender.explained(found, ask.history, ask.seed)
        return EngineResponse(explained, {**seconds, "explain": time.perf_counter() - began})

    def _popular(self, ask: RecommendationRequest) -> EngineResponse:
        began = time.perf_counter()
        return EngineResponse(
            self._best(None, self.popularity, ask, "popularity"), {"retrieve": time.perf_counter() - began}
        )

    def _best(
        self, items: Tensor | None, scores: Tensor, ask: RecommendationRequest, source: Source
    ) -> list[Recommendation]:
        """Best permitted items of the candidates `items` by their scores; None stands for all items. Both `[c]`"""
        excluded = torch.zeros(1, len(self.items))  # rules know item numbers: they are applied to a full row
        for rule in self._rules(ask):
            rule.apply(excluded, Sequences.from_lists([ask.history]))
        found = top(scores.cpu()[None] + (excluded if items is None else excluded[:, items]), ask.k)
        return self.recommender.describe(found if items is None else found.among(items), source)[0]

    def _trace(self, trace: PathRequest) -> EngineResponse:
        history = [self.items[number] for number in trace.history]
        began = time.perf_counter()
        paths = [self.plane(self.recommender.denoising_path(history, STEPS, seed)).tolist() for seed in trace.seeds]
        return EngineResponse(paths=paths, seconds={"generate": time.perf_counter() - began})


def _attempt(work: Callable[P, EngineResponse], *args: P.args, **kwargs: P.kwargs) -> EngineResponse | Exception:
    """Return an exception instead of raising it, so that one request cannot fail the others."""
    try:
        return work(*args, **kwargs)
    except Exception as error:
        return error


def answer_all(jobs: Sequence[EngineRequest]) -> list[EngineResponse | Exception]:
    """Process a batch whose requests may belong to different engines, each by its own engine."""
    answers: dict[int, EngineResponse | Exception] = {}
    for engine in dict.fromkeys(job.engine for job in jobs):
        places = [n for n, job in enumerate(jobs) if job.engine is engine]
        answers.update(zip(places, engine.answer([jobs[n] for n in places]), strict=True))
    return [answers[n] for n in range(len(jobs))]
