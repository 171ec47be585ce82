"""Metrics of the lists themselves: distance of their items, exposure of the catalogue, calibration of categories."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from deftrec.data import Sequences
from deftrec.data.categories import CategoryTable

K = 10  # length of the lists that are described
CHUNK_BYTES = 64 << 20  # memory of the category shares held at a time, in bytes


@dataclass(frozen=True, eq=False)
class ItemDescription:
    """Descriptions of the items by which a list is varied or not.

    Attributes:
        graph: vectors of the graph of interactions, zeros for items without any. `[I, d]`
        words: sentence vectors, zeros for items without text; None: the run reads no text. `[I, e]`
        categories: categories of the items.
    """

    graph: Tensor
    words: Tensor | None
    categories: CategoryTable


def describe_lists(top_items: Tensor, histories: Sequences, items: ItemDescription) -> dict[str, float]:
    """Compute the metrics of the first `K` items of N lists.

    `graph_distance@10`, `words_distance@10` and `category_distance@10` are means of `intra_list_distance`,
    `calibration_error@10` of `calibration_error`, over the users who have one. A metric that no user has is left out.

    Args:
        top_items: item numbers, best first, -1 where a list has ended. `[N, K]`
        histories: items before each list. `N` sequences
        items: descriptions of the items.
    """
    lists = top_items[:, :K].cpu().long()
    distances, errors = zip(*_by_category(lists, histories, items.categories), strict=True)
    values = {"graph_distance": intra_list_distance(lists, items.graph)}
    if items.words is not None:
        values["words_distance"] = intra_list_distance(lists, items.words)
    values |= {"category_distance": torch.cat(distances), "calibration_error": torch.cat(errors)}
    return {f"{name}@{K}": float(one.nanmean()) for name, one in values.items() if not one.isnan().all()}


def intra_list_distance(lists: Tensor, vectors: Tensor) -> Tensor:
    """Compute the mean of 1 - cosine over all pairs of items of a list, from 0 (all alike) to about 1.

    After Ziegler et al. 2005, "Improving recommendation lists through topic diversification". Items whose vector is
    zero have no distance; NaN where fewer than two are left. Linear in the length of a list: with m unit vectors u, the
    cosines of all pairs sum to (|sum of u|^2 - m) / 2.

    Args:
        lists: item numbers, -1 where a list has ended. `[N, K]`
        vectors: vectors of the items. `[I, d]`

    Returns:
        Distance of each list. `[N]` float32
    """
    unit = normalize(vectors.cpu().float(), dim=1)
    unit = torch.cat([unit, unit.new_zeros(1, unit.shape[1])])  # the last row: no item
    numbers = torch.where(lists < 0, len(vectors), lists)
    squares = embedding_bag(numbers, unit, mode="sum").square().sum(1)
    return _distance(squares, (unit.abs().sum(1) > 0)[numbers].sum(1))


def calibration_error(listed: Tensor, wanted: Tensor) -> Tensor:
    """Compute the Jensen-Shannon divergence of the category shares of list and history, in bits, from 0 to 1.

    Steck 2018, "Calibrated recommendations", measures calibration by a divergence of these shares. This one is
    symmetric and bounded, and needs no smoothing. NaN where list or history have no category. `[N, G]`, `[N, G]`
    -> `[N]`
    """
    listed, wanted = listed.double(), wanted.double()
    middle = (listed + wanted) / 2
    halves = [torch.xlogy(one, one / middle.clamp_min(1e-300)).sum(1) for one in (listed, wanted)]
    bits = (halves[0] + halves[1]) / (2 * np.log(2))
    return torch.where((listed.sum(1) > 0) & (wanted.sum(1) > 0), bits.clamp_min(0), torch.nan)


def gini(top_items: Tensor, n_items: int, k: int = K) -> float:
    """Compute the Gini coefficient of the items' exposure in the first `k` places of all lists, in 0..1.

    0: every item of the catalogue is listed equally often. Near 1: one item fills all lists. 0 without any list.
    """
    listed = top_items[:, :k].cpu().flatten()
    counts = torch.bincount(listed[listed >= 0], minlength=n_items).double().sort().values
    total = float(counts.sum())
    ranks = torch.arange(1, n_items + 1, dtype=torch.float64)
    return float(((2 * ranks - n_items - 1) * counts).sum()) / (n_items * total) if total else 0.0


def _by_category(lists: Tensor, histories: Sequences, table: CategoryTable) -> Iterator[tuple[Tensor, Tensor]]:
    """Category distance and calibration error, one chunk of users after the other. Each `[n]`"""
    step = max(1, CHUNK_BYTES // (8 * max(1, len(table))))
    for start in range(0, max(1, len(lists)), step):
        rows = lists[start : start + step].numpy()
        n, owners, items = len(rows), np.repeat(np.arange(len(rows)), rows.shape[1]), rows.reshape(-1)
        before = histories.select(range(start, start + n))
        # The unit vector of an item of m categories holds 1 / sqrt(m) for each of them.
        squares = np.square(table.sums(owners, items, n, power=0.5)).sum(1)
        described = (rows >= 0) & (table.sizes[rows] > 0)
        listed = table.shares(owners, items, n)
        wanted = table.shares(before.owners(), before.items.astype(np.int64), n)
        distance = _distance(torch.from_numpy(squares), torch.from_numpy(described.sum(1)))
        yield distance, calibration_error(torch.from_numpy(listed), torch.from_numpy(wanted))


def _distance(squares: Tensor, number: Tensor) -> Tensor:
    """Mean of 1 - cosine over the pairs of `number` unit vectors, from the square of their sum. `[N]`, `[N]`"""
    mean = (squares - number) / (number * (number - 1)).clamp_min(1)
    return torch.where(number > 1, 1 - mean, torch.nan)
