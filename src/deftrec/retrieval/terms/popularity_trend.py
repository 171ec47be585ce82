"""What everybody takes, and takes lately: a term of the score that is the same for every history."""

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences


def trend_scores(sequences: Sequences, n_items: int, popularity: float, recent_popularity: float) -> Tensor:
    """How much each item is raised, or lowered, for being popular and for being popular of late.

        t_i = popularity x log(1 + n_i) + lately x log(1 + l_i) - mean over the items that were taken

    n_i counts the interactions with i, l_i the histories that end with it. A model that learns from whole histories
    ranks what was popular once beside what is now; with weights -1 and 1, t_i is the log of the share of an item's
    takers who took it last. Items that nobody took are average: 0.

    Args:
        sequences: of the training.
        n_items: size of the catalogue.
        popularity, recent_popularity: the weights; negative ones lower what is popular.

    Returns:
        `[I]` float32
    """
    counts = sequences.counts(n_items)
    newest = sequences.items[sequences.offsets[1:][sequences.lengths > 0] - 1]
    scores = popularity * np.log1p(counts) + recent_popularity * np.log1p(np.bincount(newest, minlength=n_items))
    taken = counts > 0
    return torch.from_numpy(np.where(taken, scores - scores[taken].mean(), 0.0)).float()
