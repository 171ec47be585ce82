"""Questions in the numbers of the whole, put to a recommender that has numbers of its own; and to a baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Cases, Interactions, Sequences
from deftrec.evaluation import accuracy
from deftrec.recommender import Recommender
from deftrec.retrieval import Retriever, ScorePart
from deftrec.retrieval.ranks import target_ranks

CUTOFFS = (10, 50)
SAMPLES = 2000


def ask(recommender: Recommender, whole: Interactions, cases: Cases) -> dict[str, Tensor]:
    """Metrics of every case by the whole score; see `ask_parts`."""
    return ask_parts(recommender, whole, cases, ("hybrid",))[0]


def ask_parts(
    recommender: Recommender, whole: Interactions, cases: Cases, parts: Sequence[ScorePart]
) -> list[dict[str, Tensor]]:
    """Metrics of every case: items of the history are no candidates, everything else the recommender knows is.

    Items of the history that it does not know are left out of it.

    Returns:
        for each of `parts`: `hr@10`, `ndcg@10`, `hr@50`, `ndcg@50` and others. Each `[N]` float64
    """
    cases = translated(cases, whole, recommender.interactions)
    asked = recommender.ask(cases.histories)
    ranks = [target_ranks(recommender.retriever.part(part), asked.queries, cases, True, asked.texts) for part in parts]
    return [accuracy(one, CUTOFFS) for one in ranks]


def translated(cases: Cases, whole: Interactions, known: Interactions) -> Cases:
    """`cases` in the item numbers of `known`; items that it does not know leave the histories."""
    places = {item: number for number, item in enumerate(known.catalogue["item"])}
    numbers = np.array([places.get(item, -1) for item in whole.catalogue["item"]], np.int64)
    histories = [numbers[history] for history in cases.histories]
    return replace(
        cases,
        histories=Sequences.from_lists([history[history >= 0] for history in histories]),
        targets=numbers[cases.targets],
    )


def content_neighbours(vectors: Tensor, cases: Cases, newest: int | None) -> dict[str, Tensor]:
    """Metrics of content-kNN: the items whose text vectors are nearest to the mean of the history's.

    Args:
        vectors: sentence vectors of the whole catalogue, zeros where there are no words. `[I, E]`
        cases: in numbers of the whole.
        newest: items of the history that count; None: all.
    """
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    means = torch.stack([unit[history[-newest:] if newest else history].mean(0) for history in cases.histories])
    return accuracy(target_ranks(Retriever(unit, "cosine", 1.0), means, cases, True), CUTOFFS)


@dataclass(frozen=True)
class Ratio:
    """One mean over another.

    Attributes:
        first, second: the means.
        value: first / second; 0 where the second is.
        ci95: of the value, by bootstrap over the cases of both.
        cases: of the first, those that took part.
    """

    first: float
    second: float
    value: float
    ci95: tuple[float, float]
    cases: int


def ratio(
    first: Tensor, second: Tensor, weights: Tensor | None = None, paired: bool = False, samples: int = SAMPLES
) -> Ratio:
    """Of two groups of cases, or of two answers to the same (paired).

    Args:
        first: `[N]`
        second: `[M]`
        weights: of the second group's cases; None: all count alike. `[M]`
    """
    rng = np.random.default_rng(0)
    one, two = first.double().numpy(), second.double().numpy()
    w = np.ones(len(two)) if weights is None else weights.double().numpy()
    draws = []
    for _ in range(samples):
        rows = rng.integers(0, len(one), len(one))
        others = rows if paired else rng.integers(0, len(two), len(two))
        below = float((w[others] * two[others]).sum() / max(w[others].sum(), 1e-12))
        draws.append(float(one[rows].mean()) / max(below, 1e-12))
    mean, under = float(one.mean()), float((w * two).sum() / w.sum())
    low, high = np.quantile(draws, [0.025, 0.975])
    return Ratio(mean, under, mean / under if under else 0.0, (float(low), float(high)), len(one))


def of_equal_length(unseen: Cases, seen: Cases, max_history: int) -> tuple[Tensor, Tensor]:
    """Which unseen cases have seen ones of the same length of history, and weights that make those as long as these.

    Lengths past the window are one to the model.

    Returns:
        `[N]` bool of the unseen, `[M]` float64 of the seen: the number of unseen cases of its length, shared among the
        seen ones of that length.
    """
    lengths = [np.minimum(cases.histories.lengths, max_history) for cases in (unseen, seen)]
    counts = [np.bincount(one, minlength=max_history + 1) for one in lengths]
    weights = np.where(counts[1] > 0, counts[0] / np.maximum(counts[1], 1), 0.0)
    return torch.from_numpy(counts[1][lengths[0]] > 0), torch.from_numpy(weights[lengths[1]])
