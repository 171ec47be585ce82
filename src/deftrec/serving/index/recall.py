"""Recall and time of every index beside looking at everything, on the latents of a run or on more that lie like them.

Candidates are fetched as the service does, `OVERFETCH` for each item of the list; recall is that of the latent score,
with the trend where the run has one and its own items are searched. Expected before measuring: HNSW finds 95 % of the
exact ten or more, IVF-PQ less; exact is fastest on small catalogues.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.recommender import Recommender
from deftrec.retrieval import LatentSimilarity, Queries, Ranker
from deftrec.serving.index.approximate import OVERFETCH, Approximate
from deftrec.serving.index.base import Kind
from deftrec.serving.index.build import build_index

K = 10
SPREAD = 0.1
"""Of drawn latents about those of the run, as a share of the spread of these."""
PART = 65_536
"""Latents that are drawn at a time."""


@dataclass(frozen=True, eq=False)
class Workload:
    """Queries and the score they are compared by.

    Attributes:
        ranker: the latent score, with the run's popularity trend on its own items.
        queries: generated latents, of unit length where the cosine is compared. `[N, D]`
    """

    ranker: Ranker
    queries: Tensor

    @classmethod
    def of(cls, recommender: Recommender, users: int, items: int | None = None) -> "Workload":
        """Queries of the first `users` of a run, against its own items or `items` latents drawn around them."""
        histories = recommender.interactions.sequences
        chosen = [histories[user] for user in range(min(users, len(histories)))]
        ranker = recommender.ranker.only(("latent", "popularity_trend"))
        latents = recommender.queries(Sequences.from_lists(chosen)).latents.cpu()
        queries = ranker.latent.directions(latents)
        if items is None:
            return cls(ranker, queries)
        latent = ranker.latent
        drawn = torch.from_numpy(drawn_around(latent.latents.numpy(), items, latent.similarity == "cosine"))
        return cls(Ranker(items, (LatentSimilarity(drawn, latent.temperature, latent.similarity),)), queries)


@dataclass(frozen=True)
class Measured:
    """What one index is worth.

    Attributes:
        index: its kind.
        items: that it holds.
        built: seconds.
        recall: share of the exact first `K` that are among its candidates.
        query: seconds of a query, one after the other.
    """

    index: Kind
    items: int
    built: float
    recall: float
    query: float


def measure(
    recommender: Recommender, kinds: Sequence[Kind], *, items: int | None = None, users: int = 200, store: str = ""
) -> Iterator[Measured]:
    """Measure `exact`, then each of `kinds`, with the histories of a run's users as queries.

    Args:
        recommender: the run.
        kinds: of index, without `exact`.
        items: latents to draw around the run's; None: its own.
        users: at most.
        store: where pgvector keeps them.

    Raises:
        ConfigError, MissingExtraError: an index does not suit the run, the store or this installation.
    """
    asked = Workload.of(recommender, users, items)
    ranker, queries = asked.ranker, asked.queries
    vectors, metric = Approximate.vectors(ranker), Approximate.metric(ranker)
    nothing = Sequences.from_lists([np.zeros(0, np.int32)])
    exact, took = _each(queries, lambda query: ranker.scores(Queries(nothing, query))[0].topk(K).indices)
    yield Measured("exact", len(vectors), 0.0, 1.0, took)
    for kind in kinds:
        began = time.perf_counter()
        index = build_index(kind, vectors, metric, f"benchmark{metric}{len(vectors)}", store)
        assert index is not None, "exact needs none"
        built = time.perf_counter() - began
        approximate = Approximate(ranker, index)
        found, took = _each(queries, lambda query, by=approximate: by.candidates(query, [OVERFETCH * K])[0])  # type: ignore[misc]
        recall = np.mean([len(set(one) & set(other)) / K for one, other in zip(exact, found, strict=True)])
        index.close()
        yield Measured(kind, len(vectors), built, float(recall), took)


def drawn_around(vectors: np.ndarray, count: int, unit: bool) -> np.ndarray:
    """Latents of a larger catalogue: each near one of the run's, at a tenth of their spread.

    Args:
        vectors: `[I, D]`
        count: how many to draw.
        unit: whether they are of length 1.

    Returns:
        `[count, D]` float32
    """
    rng = np.random.default_rng(0)
    spread, drawn = SPREAD * vectors.std(), np.empty((count, vectors.shape[1]), np.float32)
    for start in range(0, count, PART):
        part = drawn[start : start + PART]
        rng.standard_normal(out=part, dtype=np.float32)
        part *= spread
        part += vectors[rng.integers(len(vectors), size=len(part))]
        if unit:
            part /= np.linalg.norm(part, axis=1, keepdims=True)
    return drawn


def _each(queries: Tensor, find: Callable[[Tensor], object]) -> tuple[list[list[int]], float]:
    """What is found for each query, and the seconds of one."""
    began = time.perf_counter()
    found = [find(query[None]) for query in queries]
    took = (time.perf_counter() - began) / len(queries)
    return [np.asarray(one).tolist() for one in found], took
