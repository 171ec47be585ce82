"""Recall and latency of every index against exact search, on the latents of a run or on latents drawn around them.

    python benchmarks/index_recall.py RUN --items 100000 --users 200 --store postgresql://USER:PASSWORD@HOST/NAME

Candidates are fetched like in the service, `OVERFETCH` per recommended item. Recall refers to the latent score, with
the popularity trend if the run has one and its own items are searched.

Expected before measuring: HNSW finds 95 % of the exact ten or more, IVF-PQ less; exact is fastest on small catalogues.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from deftrec import Recommender
from deftrec.data import Sequences
from deftrec.retrieval import LatentSimilarity, Queries, Ranker
from deftrec.serving.index.approximate import OVERFETCH, Approximate
from deftrec.serving.index.base import IndexKind
from deftrec.serving.index.build import build_index

K = 10
SPREAD = 0.1
"""Standard deviation of drawn latents around the run's, relative to the standard deviation of the run's."""
PART = 65_536
"""Number of latents drawn at a time."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--items", type=int, help="number of latents to draw around the run's; default: the run's own")
    parser.add_argument("--users", type=int, default=200, help="largest number of users whose histories are queries")
    parser.add_argument(
        "--store",
        default=os.environ.get("DEFTREC_STORE", ""),
        help="PostgreSQL with pgvector, to measure pgvector too; default: $DEFTREC_STORE",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    kinds: list[IndexKind] = ["faiss", "faiss-ivfpq"]
    if options.store.startswith("postgresql"):
        kinds.append("pgvector")
    recommender = Recommender.load(options.run)
    found = list(measure_indexes(recommender, kinds, items=options.items, users=options.users, store=options.store))
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, title=f"{found[0].items:,} items", title_justify="left")
    table.add_column("index", no_wrap=True)
    for heading in ("recall@10", "ms a query", "built in"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        built = "" if one.index == "exact" else f"{one.built:.2f} s"
        table.add_row(one.index, f"{one.recall:.4f}", f"{1000 * one.query:.3f}", built)
    Console(highlight=False).print(table)


@dataclass(frozen=True, eq=False)
class RecallQueries:
    """Queries and the score of the items.

    Attributes:
        ranker: Latent score, with the popularity trend for the run's own items.
        queries: Generated latents, normalised if the similarity is cosine. `[N, D]`
    """

    ranker: Ranker
    queries: Tensor

    @classmethod
    def of(cls, recommender: Recommender, users: int, items: int | None = None) -> "RecallQueries":
        """Queries of the first `users` of a run, for its own items or for `items` latents drawn around them."""
        histories = recommender.interactions.sequences
        chosen = [histories[user] for user in range(min(users, len(histories)))]
        ranker = recommender.ranker.only(("latent", "popularity_trend"))
        latent, latents = ranker.latent, recommender.queries(Sequences.from_lists(chosen)).latents.cpu()
        if items is not None:
            drawn = torch.from_numpy(drawn_around(latent.latents.numpy(), items, latent.similarity == "cosine"))
            ranker = Ranker(items, (LatentSimilarity(drawn, latent.temperature, latent.similarity),))
        return cls(ranker, latent.directions(latents))


@dataclass(frozen=True)
class IndexMeasurement:
    """Measurements of one index.

    Attributes:
        index: Kind of index.
        items: Number of indexed items.
        built: Seconds to build the index.
        recall: Share of the exact top `K` among the candidates.
        query: Seconds per query, one query at a time.
    """

    index: IndexKind
    items: int
    built: float
    recall: float
    query: float


def measure_indexes(
    recommender: Recommender, kinds: Sequence[IndexKind], *, items: int | None = None, users: int = 200, store: str = ""
) -> Iterator[IndexMeasurement]:
    """Measure `exact`, then each of `kinds`, with the histories of a run's users as queries.

    Args:
        recommender: The run.
        kinds: Kinds of index, without `exact`.
        items: Number of latents to draw around the run's; None uses the run's own.
        users: Largest number of users.
        store: URL of the PostgreSQL for pgvector.

    Raises:
        ConfigError, MissingExtraError: An index does not suit the run, the store or this installation.
    """
    asked = RecallQueries.of(recommender, users, items)
    ranker, queries = asked.ranker, asked.queries
    vectors, metric = Approximate.vectors(ranker), Approximate.metric(ranker)
    nothing = Sequences.from_lists([np.zeros(0, np.int32)])
    exact, took = _each(queries, lambda query: ranker.scores(Queries(nothing, query))[0].topk(K).indices)
    yield IndexMeasurement("exact", len(vectors), 0.0, 1.0, took)
    for kind in kinds:
        began = time.perf_counter()
        index = build_index(kind, vectors, metric, f"benchmark{metric}{len(vectors)}", store)
        assert index is not None, "exact needs none"
        built = time.perf_counter() - began
        approximate = Approximate(ranker, index)
        found, took = _each(queries, lambda query, by=approximate: by.candidates(query, [OVERFETCH * K])[0])  # type: ignore[misc]
        recall = np.mean([len(set(one) & set(other)) / K for one, other in zip(exact, found, strict=True)])
        index.close()
        yield IndexMeasurement(kind, len(vectors), built, float(recall), took)


def drawn_around(vectors: np.ndarray, count: int, unit: bool) -> np.ndarray:
    """Draw latents of a larger catalogue, each near one of the run's.

    Args:
        vectors: `[I, D]`
        count: Number of latents to draw.
        unit: Whether to normalise them to length 1.

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
    """Results for each query, and the seconds per query."""
    began = time.perf_counter()
    found = [find(query[None]) for query in queries]
    took = (time.perf_counter() - began) / len(queries)
    return [np.asarray(one).tolist() for one in found], took


if __name__ == "__main__":
    main()
