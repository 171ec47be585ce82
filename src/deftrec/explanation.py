"""Reasons for a recommendation: the influence of each history item, and the share of each score term."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from deftrec.data import Sequences
from deftrec.retrieval import Queries, Ranker

MAX_LEFT_OUT = 200  # newest items of a history that are left out one by one


@dataclass(frozen=True)
class Reasons:
    """Reasons for one recommendation.

    Attributes:
        changes: change of the recommended item's log softmax score over the catalogue due to one history item, by the
            item's position in the history (from 0, the oldest); largest change first.
        shares: share of each score term in the item's lift above the catalogue's average, from 0 to 1.
    """

    changes: dict[int, float]
    shares: dict[str, float]


def reasons(
    ranker: Ranker, generate: Callable[[Sequences], Queries], history: Sequences | np.ndarray, items: Sequence[int]
) -> list[Reasons]:
    """Reasons for the scores of `items` (item numbers) after one `history` (item numbers, one or more, oldest first).

    A change is the difference made by leaving one history item out and calling `generate` again (leave-one-out).
    """
    whole = history if isinstance(history, Sequences) else Sequences.from_lists([history])
    length = len(whole.items)
    positions = range(max(0, length - MAX_LEFT_OUT), length)
    without = [whole.where(np.arange(length) != position) for position in positions] if length > 1 else []
    queries = generate(Sequences.joined([whole, *without]))
    chosen = torch.tensor(list(items), device=queries.latents.device)
    logs = torch.cat([scores.log_softmax(-1)[:, chosen] for _, scores in ranker.chunks(queries)])  # [1 + places, items]
    if not without:  # nothing is left to compare with but the same score for all items
        logs = torch.cat([logs, torch.full_like(logs, -float(np.log(ranker.n_items)))])
    changes = (logs[0] - logs[1:]).T.tolist()
    shares = replace(ranker, rules=()).shares(queries.head(1), chosen)
    found = []
    for n, row in enumerate(changes):
        ordered = sorted(zip(positions, row, strict=True), key=lambda change: -change[1])
        found.append(Reasons(dict(ordered), {name: float(values[n]) for name, values in shares.items()}))
    return found
