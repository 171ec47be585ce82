"""One run, ready to answer.

Requests come as jobs of item numbers and are answered in batches; everything that a batch shares is computed once.
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
from deftrec.retrieval import HistoryLast, Queries, RepeatBias, top
from deftrec.run import run_digest
from deftrec.serving.catalogue import Catalogue
from deftrec.serving.index import OVERFETCH, Approximate, Choice, Index, build_index, settled

P = ParamSpec("P")

STEPS = 20
"""Of a denoising path."""
PADDING = float("-inf")
NO_ITEMS = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class RecommendationRequest:
    """What is asked of an engine.

    Attributes:
        engine: whose item numbers these are.
        history: oldest first. `[n]` int64
        k: length of the list.
        exclude_seen: leave out items of the history.
        category: only items that are of it; None: of any.
        allow: only these items; None: all. `[n]` int64
        deny: none of these. `[n]` int64
        samples: draws of noise that are averaged; None: as the run samples.
        seed: of the noise; None: the run's.
        explain: say why.
    """

    engine: "Engine"
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
class Trace:
    """Asks for denoising paths.

    Attributes:
        engine: whose item numbers these are.
        history: oldest first, one or more. `[n]` int64
        seeds: a path is drawn for each.
    """

    engine: "Engine"
    history: np.ndarray
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """What an engine answers.

    Attributes:
        found: best first.
        seconds: by stage: `generate`, `retrieve`, `explain`; those of the whole batch, which everybody waited for.
        paths: points of the map, step by step, one path a seed. Each `[steps][2]`
    """

    found: list[Recommendation] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    paths: list[list[list[float]]] = field(default_factory=list)


Job: TypeAlias = RecommendationRequest | Trace


class Engine(Catalogue):
    """A loaded run.

    Args:
        recommender: the run.
        folder: where it lies; its name is what it is switched to by.
        weights: what tells its weights from others.
        stamp: of the overlay, when it was read.
        index: of the items of training; None: all items are looked at.

    Attributes:
        version: another one for other weights, and for other items or histories.

    Raises:
        ConfigError: the run does not suit the index.
    """

    def __init__(
        self, recommender: Recommender, folder: Path, weights: str, stamp: Stamp, index: Index | None = None
    ) -> None:
        super().__init__(recommender)
        self.folder, self.weights, self.stamp, self.index = folder, weights, stamp, index
        changes = recommender.overlay.version if recommender.overlay else 0
        self.name, self.version = folder.resolve().name, f"{weights}.{changes}" if changes else weights
        trained = recommender.fitted_on.n_items
        self.approximate = None if index is None else Approximate(recommender.ranker, index, trained)

    @classmethod
    def load(cls, folder: Path, index: Choice = "exact", store_url: str = "", runtime: Runtime = "torch") -> "Engine":
        """Read a run directory.

        Args:
            folder: the directory.
            index: how items are found; `exact` looks at all of them, `auto` decides by their number.
            store_url: where an index in a database lives.
            runtime: what runs a pre-trained language model.

        Raises:
            DeftRecError: it is missing, unfinished or damaged, or it or this installation does not suit the index.
        """
        stamp = overlay_stamp(folder)  # before it is read: what comes in between is news
        recommender = Recommender.load(folder, runtime=runtime)
        version, ranker = run_digest(folder)[:12], recommender.ranker
        vectors = Approximate.vectors(ranker)[: recommender.fitted_on.n_items]
        kind = settled(index, ranker)
        if kind != "exact":
            Approximate.check(ranker)  # before minutes of building
        built = build_index(kind, vectors, Approximate.metric(ranker), version, store_url)
        return cls(recommender, folder, version, stamp, built)

    def outdated(self) -> bool:
        """Whether something came to the run since it was read."""
        return overlay_stamp(self.folder) != self.stamp

    def renewed(self) -> "Engine":
        """The same run, weights and index, with what came to it meanwhile.

        Raises:
            DeftRecError: what came is damaged.
        """
        stamp = overlay_stamp(self.folder)
        recommender = self.recommender.with_overlay(read_overlay(self.folder, self.recommender.fitted_on))
        engine = Engine(recommender, self.folder, self.weights, stamp, self.index)
        engine.warm()
        return engine

    def close(self) -> None:
        """Let go of what the index holds."""
        if self.index is not None:
            self.index.close()

    def warm(self) -> None:
        """Compute what is kept, and answer once, so that the first request is no slower than others."""
        _ = self.categories, self.popularity, self.places, self.folded
        for answer in self.answer([RecommendationRequest(self, np.zeros(1, np.int64))]):
            if isinstance(answer, Exception):
                raise answer

    @torch.inference_mode()
    def answer(self, jobs: Sequence[Job]) -> list[Answer | Exception]:
        """One answer a job, in order; what goes wrong with one of them is its answer."""
        answers: dict[int, Answer | Exception] = {}
        groups: dict[tuple[int | None, int | None], list[int]] = {}
        for n, job in enumerate(jobs):
            if isinstance(job, Trace):
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

    def _together(self, asks: Sequence[RecommendationRequest]) -> list[Answer | Exception]:
        """Requests that share their noise."""
        histories = Sequences.from_lists([ask.history for ask in asks])
        began = time.perf_counter()
        asked = self.recommender.queries(histories, asks[0].seed, asks[0].samples)
        generated = time.perf_counter()
        scored = self._all_scores(asked) if self.approximate is None else self._some_scores(asked, asks)
        lists = [self._best(*one, ask, "deftrec") for one, ask in zip(scored, asks, strict=True)]
        seconds = {"generate": generated - began, "retrieve": time.perf_counter() - generated}
        return [_attempt(self._explained, ask, found, seconds) for ask, found in zip(asks, lists, strict=True)]

    def _all_scores(self, asked: Queries) -> Iterator[tuple[None, Tensor]]:
        """The exact score of every item `[I]` for each request."""
        chunks = self.recommender.ranker.chunks(asked)
        return ((None, row) for _, scores in chunks for row in scores)

    def _some_scores(self, asked: Queries, asks: Sequence[RecommendationRequest]) -> Iterator[tuple[Tensor, Tensor]]:
        """Candidates and their scores `[c]` for each request: more are fetched by what it could hide or lower."""
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
        """Whether items of the history are ranked below where their latent places them."""
        bias = self.recommender.ranker.term_of(RepeatBias)
        last = any(isinstance(rule, HistoryLast) for rule in self.recommender.ranker.rules)
        return last or (bias is not None and bias.value < 0)

    def _named(self, ask: RecommendationRequest) -> np.ndarray | None:
        """The items that a request names itself, by list or category; None where it names none."""
        if ask.allow is not None:
            return ask.allow
        return None if ask.category is None else self.categories.get(ask.category, NO_ITEMS)

    def _explained(self, ask: RecommendationRequest, found: list[Recommendation], seconds: dict[str, float]) -> Answer:
        if not ask.explain or not found:
            return Answer(found, seconds)
        began = time.perf_counter()
        explained = self.recommender.explained(found, ask.history, ask.seed)
        return Answer(explained, {**seconds, "explain": time.perf_counter() - began})

    def _popular(self, ask: RecommendationRequest) -> Answer:
        began = time.perf_counter()
        return Answer(self._best(None, self.popularity, ask, "popularity"), {"retrieve": time.perf_counter() - began})

    def _best(
        self, items: Tensor | None, scores: Tensor, ask: RecommendationRequest, source: Source
    ) -> list[Recommendation]:
        """The best that may be recommended of `items` by their scores `[c]`; None: of all, in their order."""
        keep = torch.ones(len(self.items), dtype=torch.bool)
        keep[list(self.removed)] = False
        if ask.category is not None:
            keep &= self._only(self.categories.get(ask.category, NO_ITEMS))
        if ask.allow is not None:
            keep &= self._only(ask.allow)
        keep[torch.from_numpy(ask.deny)] = False
        if ask.exclude_seen:
            keep[torch.from_numpy(ask.history)] = False
        if items is not None:
            keep = keep[items]
        found = top(scores.cpu().masked_fill(~keep, PADDING)[None], ask.k)
        return self.recommender.describe(found if items is None else found.among(items), source)[0]

    def _only(self, numbers: np.ndarray) -> Tensor:
        keep = torch.zeros(len(self.items), dtype=torch.bool)
        keep[torch.from_numpy(numbers)] = True
        return keep

    def _trace(self, trace: Trace) -> Answer:
        history = [self.items[number] for number in trace.history]
        began = time.perf_counter()
        paths = [self.plane(self.recommender.denoising_path(history, STEPS, seed)).tolist() for seed in trace.seeds]
        return Answer(paths=paths, seconds={"generate": time.perf_counter() - began})


def _attempt(work: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Answer | Exception:
    """What goes wrong with one job is its answer, and nobody else's."""
    try:
        return work(*args, **kwargs)
    except Exception as error:
        return error


def answer_all(jobs: Sequence[Job]) -> list[Answer | Exception]:
    """Answers of a batch that may span a switch: each job is answered by the engine that it was meant for."""
    answers: dict[int, Answer | Exception] = {}
    for engine in dict.fromkeys(job.engine for job in jobs):
        places = [n for n, job in enumerate(jobs) if job.engine is engine]
        answers.update(zip(places, engine.answer([jobs[n] for n in places]), strict=True))
    return [answers[n] for n in range(len(jobs))]
