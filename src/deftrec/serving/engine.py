"""Engine of the service: a loaded run that processes batches of requests.

Requests hold item numbers. Requests with the same seed and number of samples are processed together.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.hardware import Runtime
from deftrec.incremental import Stamp, overlay_stamp, read_overlay
from deftrec.language.default_dtype import steady_default_dtype
from deftrec.list_making import ListRequest
from deftrec.reasoning import Refresher
from deftrec.recommendation import Recommendations
from deftrec.recommender import Recommender
from deftrec.requests import ReadRequest
from deftrec.rerankers import ItemSimilarity, RerankerName
from deftrec.retrieval import CANDIDATES, Queries, RequestTerm, Rule, RuleOptions, build_rules, request_rules
from deftrec.run import Run, run_digest
from deftrec.serving.catalogue import Catalogue
from deftrec.serving.index import OVERFETCH, Approximate, IndexChoice, VectorIndex, build_index, choose_index

NO_ITEMS = np.zeros(0, np.int64)

BUILT = 16  # sets of rules that are remembered
STEPS = 20  # number of steps of a denoising path


@dataclass(frozen=True, eq=False)
class RecommendationRequest:
    """Request for recommendations; the other fields are described by `schemas.RecommendationQuery`.

    Attributes:
        engine: Engine that the item numbers refer to.
        history, allow, deny: Item numbers, the history's oldest first. Each `[n]` int64
        rules: Rules of the service and of the request, as `InferenceEngine.built` returns them.
        columns: What else is known of the events of the history; see `Sequences`. Each `[n]`
    """

    engine: "InferenceEngine"
    history: np.ndarray
    k: int = 10
    exclude_seen: bool = True
    category: str | None = None
    allow: np.ndarray | None = None
    deny: np.ndarray = field(default_factory=lambda: NO_ITEMS)
    rerank: RerankerName = "none"
    strength: float | None = None
    similarity: ItemSimilarity = "co-occurrence"
    samples: int | None = None
    seed: int | None = None
    explain: bool = False
    request: str | None = None
    guidance: float = 1.0
    offset: int | None = None
    rules: tuple[Rule, ...] = ()
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def events(self) -> Sequences:
        """The history as one sequence."""
        return Sequences.from_lists([self.history]).with_columns(**self.columns)

    @cached_property
    def wish(self) -> ReadRequest | None:
        """The request in words, read; None without one."""
        return None if self.request is None else self.engine.recommender.requests.read(self.request, self.guidance)

    @property
    def page(self) -> slice:
        """Places of the list."""
        first = self.offset or 0
        return slice(first, first + self.k)

    @property
    def names_items(self) -> bool:
        """Whether the items that may be recommended are named, so that they are the candidates."""
        return self.allow is not None or self.category is not None

    @property
    def needs_every_score(self) -> bool:
        """Whether candidates of an index are not enough: words or rules raise far items, or pages must fit together."""
        raised = self.request is not None or not all(rule.only_excludes for rule in self.rules)
        return raised or self.offset is not None


@dataclass(frozen=True, eq=False)
class PathRequest:
    """Request for denoising paths: one per seed, after a history of one or more item numbers. `[n]` int64"""

    engine: "InferenceEngine"
    history: np.ndarray
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class EngineResponse:
    """Recommended items, best first, or denoising paths on the map, one per seed. Each `[steps][2]`

    `seconds` holds the duration of the stages `generate`, `retrieve` (both of the whole batch) and `explain`.
    """

    found: Recommendations = field(default_factory=Recommendations)
    seconds: dict[str, float] = field(default_factory=dict)
    paths: list[list[list[float]]] = field(default_factory=list)


EngineRequest: TypeAlias = RecommendationRequest | PathRequest


class InferenceEngine(Catalogue):
    """A loaded run; use `load`.

    Args:
        recommender, folder: The run and its directory, whose name is the name of the run.
        weights: Identifier of the weights; `version` also identifies the catalogue and the histories.
        stamp: State of the overlay file when it was read.
        index: Index of the items of the training data; None searches exactly.
        rules: Rules of every request.

    Attributes:
        refresher: Computes missing reasoning in the background; None: only what is stored is used.
    """

    def __init__(
        self,
        recommender: Recommender,
        folder: Path,
        weights: str,
        stamp: Stamp,
        index: VectorIndex | None = None,
        rules: tuple[RuleOptions, ...] = (),
    ) -> None:
        super().__init__(recommender)
        self.rules, self._build = rules, lru_cache(BUILT)(build_rules)
        self.built()
        self.refresher: Refresher | None = None
        self.folder, self.weights, self.stamp, self.index = folder, weights, stamp, index
        changes = recommender.overlay.version if recommender.overlay else 0
        self.name, self.version = folder.resolve().name, f"{weights}.{changes}" if changes else weights
        trained = recommender.fitted_on.n_items
        self.approximate = None if index is None else Approximate(recommender.ranker, index, trained)

    @classmethod
    def load(
        cls,
        folder: Path,
        index: IndexChoice = "exact",
        store_url: str = "",
        runtime: Runtime = "torch",
        rules: tuple[RuleOptions, ...] = (),
    ) -> "InferenceEngine":
        """Read the run directory `folder`; the other arguments are described by `Settings`.

        Raises a `DeftRecError` if the run is missing or damaged, or if the index or the rules do not suit it.
        """
        stamp = overlay_stamp(folder)  # before the run is read, so that a change in between is noticed
        recommender = Recommender.load(folder, runtime=runtime)
        if recommender.run.reasoning is not None:
            recommender.run.reasoning.wait = False  # no request waits for the language model
        version, ranker, built = run_digest(folder)[:12], recommender.ranker, None
        if (kind := choose_index(index, ranker)) != "exact":
            vectors = Approximate.vectors(ranker)[: recommender.fitted_on.n_items]
            built = build_index(kind, vectors, Approximate.metric(ranker), version, store_url)
        return cls(recommender, folder, version, stamp, built, rules)

    def outdated(self) -> bool:
        """Whether the overlay was changed since it was read."""
        return overlay_stamp(self.folder) != self.stamp

    def renewed(self) -> "InferenceEngine":
        """Engine with the same weights and index, and the present overlay; a `DeftRecError` if it is damaged."""
        stamp = overlay_stamp(self.folder)
        recommender = self.recommender.with_overlay(read_overlay(self.folder, self.recommender.fitted_on))
        engine = InferenceEngine(recommender, self.folder, self.weights, stamp, self.index, self.rules)
        engine.warm()
        engine.refresher = self.refresher
        return engine

    def built(self, rules: Sequence[RuleOptions] = (), *, timed: bool = True) -> tuple[Rule, ...]:
        """Rules of every request and those of one request; `timed` and errors as for `build_rules`.

        The last ones are remembered. Several threads may call this at the same time.
        """
        return self._build((*self.rules, *rules), self.recommender.columns, timed=timed)

    @property
    def run(self) -> Run:
        """The run with its weights, which engines with different overlays share."""
        return self.recommender.run

    @property
    def states_preferences(self) -> bool:
        """Whether explanations may include a preference in words."""
        return self.recommender.model.has_rationale or self.run.reasoning is not None

    @property
    def reads_requests(self) -> bool:
        """Whether the run has learnt to read requests in words."""
        return self.recommender.ranker.term_of(RequestTerm) is not None

    def close(self, *, wait: bool = False) -> None:
        """Close the connections of the index, and end the refresher; `wait` until its present batch is done."""
        if self.refresher is not None:
            self.refresher.close(wait=wait)
        if self.index is not None:
            self.index.close()

    def warm(self) -> None:
        """Fill the caches and process one request, so that the first request is as fast as later ones."""
        _ = self.recommender.categories, self.recommender.rerankers.categories, self.places, self.folded
        if self.reads_requests:
            self.recommender.requests.read("anything at all")  # loads the sentence model, and reads the categories
        [answer] = self.answer([RecommendationRequest(self, np.zeros(1, np.int64))])
        if isinstance(answer, Exception):
            raise answer

    @staticmethod
    @torch.inference_mode()
    def answer(jobs: Sequence[EngineRequest]) -> list[EngineResponse | Exception]:
        """Process a batch, each request by its own engine; returns one response or exception per request, in order."""
        with steady_default_dtype():  # a refresher or a switch of the run may load a model in another thread
            return InferenceEngine._answers(jobs)

    @staticmethod
    def _answers(jobs: Sequence[EngineRequest]) -> list[EngineResponse | Exception]:
        answers: dict[int, EngineResponse | Exception] = {}
        groups: dict[Hashable, list[tuple[int, RecommendationRequest]]] = {}
        for place, job in enumerate(jobs):
            if isinstance(job, RecommendationRequest) and len(job.history):
                groups.setdefault((job.engine, job.seed, job.samples), []).append((place, job))
            else:
                answers[place] = _attempt(job.engine._single, job)
        for group in groups.values():
            places, requests = [place for place, _ in group], [request for _, request in group]
            try:
                answers.update(zip(places, requests[0].engine._together(requests), strict=True))
            except Exception as error:
                answers.update(dict.fromkeys(places, error))
        return [answers[place] for place in range(len(jobs))]

    def _single(self, job: EngineRequest) -> EngineResponse:
        """Process a request for denoising paths, or for recommendations without a history."""
        began = time.perf_counter()
        if isinstance(job, PathRequest):
            history = [self.items[number] for number in job.history]
            paths = [self.recommender.denoising_path(history, STEPS, seed) for seed in job.seeds]
            points = [self.plane(path).tolist() for path in paths]
            return EngineResponse(paths=points, seconds={"generate": time.perf_counter() - began})
        found = self.recommender.lists.most_popular(self._asked(job), explain=job.explain)
        return EngineResponse(found, {"retrieve": time.perf_counter() - began})

    def _together(self, requests: Sequence[RecommendationRequest]) -> list[EngineResponse | Exception]:
        """Process requests with the same seed and number of samples."""
        histories = Sequences.joined([request.events for request in requests])
        began = time.perf_counter()
        queries = self.recommender.queries(histories, requests[0].seed, requests[0].samples)
        generated = time.perf_counter()
        wishes = [None if request.wish is None else request.wish.encoded for request in requests]
        queries = queries.with_requests(wishes)
        if self.refresher is not None:
            self.refresher.ask(list(histories))
        candidates = enumerate(zip(self._scores(queries, requests), requests, strict=True))
        pairs = [(one, self._list(queries.select(slice(n, n + 1)), near, one)) for n, (near, one) in candidates]
        seconds = {"generate": generated - began, "retrieve": time.perf_counter() - generated}
        return [_attempt(self._explained, *pair, seconds) for pair in pairs]

    def _scores(
        self, queries: Queries, requests: Sequence[RecommendationRequest]
    ) -> Iterator[tuple[Tensor | None, Tensor] | None]:
        """Candidates of the index and their scores for each request `[c]`; without an index None, and all scores `[I]`.

        The index is asked for more candidates than items if some may be left out. Requests that candidates are not
        enough for get None instead of both.
        """
        index = self.approximate
        if index is None:
            yield from ((None, row) for _, scores in self.recommender.ranker.chunks(queries) for row in scores)
            return
        counts = [OVERFETCH * request.k + len(self.removed) + len(request.deny) for request in requests]
        for place, request in enumerate(requests):
            if request.rerank != "none":  # which orders the same candidates for every k
                counts[place] += OVERFETCH * max(0, CANDIDATES - request.k)
            if request.exclude_seen or index.lowers_history:
                counts[place] += len(request.history)
        found = index.candidates(queries.latents, counts)
        for query, request, near in zip(queries.latents, requests, found, strict=True):
            if request.needs_every_score:
                yield None
                continue
            named = self._in_category(request) if request.allow is None else request.allow
            yield index.score(query, request.events, near if named is None else named, also_prior=named is None)

    def _in_category(self, request: RecommendationRequest) -> np.ndarray | None:
        """Numbers of the items in the category of a request; None if it names none. `[n]`"""
        if request.category is None:
            return None
        members = self.recommender.categories.get(request.category)
        return NO_ITEMS if members is None else members.numpy()

    def _asked(self, request: RecommendationRequest) -> ListRequest:
        chosen = request_rules([request.allow, self._in_category(request)], request.deny, request.exclude_seen)
        rules = (*chosen, *request.rules, *(() if request.wish is None else request.wish.rules))
        reranker = self.recommender.reranker(request.rerank, request.strength, request.similarity)
        return ListRequest(request.page, rules, request.wish, reranker, request.seed)

    def _list(
        self, query: Queries, near: tuple[Tensor | None, Tensor] | None, request: RecommendationRequest
    ) -> Recommendations:
        """The list of one request, from candidates as `_scores` returns them.

        Where those of an index do not fill the list, every item is scored: the list is full, or no item is left.
        """
        if near is not None:
            found, is_exact = self._best(*near, request), near[0] is None or request.names_items
            if is_exact or len(found) == request.k:
                return found
        [(_, [scores])] = self.recommender.ranker.chunks(query)
        return self._best(None, scores, request)

    def _best(self, items: Tensor | None, scores: Tensor, request: RecommendationRequest) -> Recommendations:
        """Best permitted items of the candidates `items` by their scores; None stands for all items. Both `[c]`"""
        everywhere = scores.cpu()[None]
        if items is not None:  # rules refer to item numbers
            everywhere = torch.full((1, len(self.items)), float("-inf"))
            everywhere[0, items] = scores.cpu()
        return self.recommender.lists.listed(everywhere, request.events, self._asked(request), explain=request.explain)

    def _explained(
        self, request: RecommendationRequest, found: Recommendations, seconds: dict[str, float]
    ) -> EngineResponse:
        if not request.explain or not found:
            return EngineResponse(found, seconds)
        began = time.perf_counter()
        explained = self.recommender.lists.explained(found, request.events, self._asked(request))
        return EngineResponse(explained, {**seconds, "explain": time.perf_counter() - began})


def _attempt(work: Callable[..., EngineResponse], *args: Any) -> EngineResponse | Exception:
    """Return an exception instead of raising it, so that one request cannot fail the others."""
    try:
        return work(*args)
    except Exception as error:
        return error
