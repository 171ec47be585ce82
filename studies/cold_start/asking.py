"""Cases in the item numbers of the whole data, answered by a recommender with its own numbers, and by a baseline."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Cases, Interactions, Sequences
from deftrec.evaluation import accuracy
from deftrec.recommender import Recommender
from deftrec.retrieval import ExcludeHistory, LatentSimilarity, Queries, Ranker, ScorePart, target_ranks

CUTOFFS = (10, 50)


def ask(recommender: Recommender, whole: Interactions, cases: Cases) -> dict[str, Tensor]:
    """Metrics of every case by the whole score; see `ask_parts`."""
    return ask_parts(recommender, whole, cases, ("hybrid",))[0]


def ask_parts(
    recommender: Recommender, whole: Interactions, cases: Cases, parts: Sequence[ScorePart]
) -> list[dict[str, Tensor]]:
    """Metrics of every case: all items that the recommender knows are ranked, those of the history excluded.

    Items of the history that the recommender does not know are left out of it.

    Returns:
        for each of `parts`: `hr@10`, `ndcg@10`, `hr@50`, `ndcg@50` and others. Each `[N]` float64
    """
    cases = translated(cases, whole, recommender.interactions)
    queries, rules = recommender.queries(cases.histories), (ExcludeHistory(),)
    return [accuracy(target_ranks(recommender.ranker.part(part), queries, cases, rules), CUTOFFS) for part in parts]


def translated(cases: Cases, whole: Interactions, known: Interactions) -> Cases:
    """Cases in the item numbers of `known`; items that it does not contain leave the histories."""
    numbers_of = {item: number for number, item in enumerate(known.catalogue["item"])}
    numbers = np.array([numbers_of.get(item, -1) for item in whole.catalogue["item"]], np.int64)
    histories = [numbers[history] for history in cases.histories]
    return replace(
        cases,
        histories=Sequences.from_lists([history[history >= 0] for history in histories]),
        targets=numbers[cases.targets],
    )


def content_neighbours(vectors: Tensor, cases: Cases, newest: int | None) -> dict[str, Tensor]:
    """Metrics of content-kNN: items by the cosine of their text vector with the mean of the history's.

    Args:
        vectors: sentence vectors of the whole catalogue, zeros for items without text. `[I, E]`
        cases: cases in numbers of the whole.
        newest: number of newest history items in the mean; None: all.
    """
    unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
    means = torch.stack([unit[history[-newest:] if newest else history].mean(0) for history in cases.histories])
    ranker = Ranker(len(unit), (LatentSimilarity(unit),))
    return accuracy(target_ranks(ranker, Queries(cases.histories, means), cases, (ExcludeHistory(),)), CUTOFFS)


def of_equal_length(unseen: Cases, seen: Cases, max_history: int) -> tuple[Tensor, Tensor]:
    """Match the history lengths of two groups of cases; lengths beyond `max_history` count as equal.

    Returns:
        `[N]` bool, the unseen cases with a seen case of equal length; `[M]` float64, weights of the seen cases: the
        number of unseen cases of that length, divided by the number of seen ones.
    """
    lengths = [np.minimum(cases.histories.lengths, max_history) for cases in (unseen, seen)]
    counts = [np.bincount(one, minlength=max_history + 1) for one in lengths]
    weights = np.where(counts[1] > 0, counts[0] / np.maximum(counts[1], 1), 0.0)
    return torch.from_numpy(counts[1][lengths[0]] > 0), torch.from_numpy(weights[lengths[1]])
