"""Bootstrap confidence intervals over users.

A bootstrap replicate draws N users with replacement and takes their mean. The mean depends only on how often each
distinct value was drawn, and those counts are multinomial. Replicates are therefore drawn over distinct values: the
same distribution with a fraction of the work (HR@K of ten million users has two values). With more than 4,096 distinct
values, close values are grouped and represented by their mean. With M the largest magnitude, this hides a variance
of at most (M / 4096)^2, too little to change an interval visibly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_CHUNK = 1 << 22  # counts drawn at once: 32 MB
_DISTINCT = 4096
SAMPLES = 1000  # number of bootstrap replicates of an interval


@dataclass(frozen=True)
class PairedDifference:
    """Difference between two systems on the same users.

    Attributes:
        first, second: means over users of the two systems.
        difference: mean of the first minus mean of the second.
        ci95: 95 % percentile bootstrap interval of the difference.
        p: two-sided bootstrap p-value of "no difference"; at least 2 / (samples + 1), at most 1.
    """

    first: float
    second: float
    difference: float
    ci95: tuple[float, float]
    p: float


def bootstrap_interval(values: Tensor, *, seed: int = 0, samples: int = SAMPLES) -> tuple[float, float]:
    """Compute the 95 % percentile bootstrap interval of the mean over users (Efron 1979).

    `values` `[N]` holds one finite metric of each of at least one user. Equal seeds give equal intervals.
    """
    return _interval(_replicates(values, seed, samples))


def paired_bootstrap(first: Tensor, second: Tensor, *, seed: int = 0, samples: int = SAMPLES) -> PairedDifference:
    """Compare two systems on the same users; a replicate resamples users together with both their values.

    `first` and `second` `[N]` hold one metric of every user, in the same order of users. Exchanging the systems flips
    the signs and keeps p exactly. Raises a `ValueError` if the numbers of users differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"paired values need the same users: {tuple(first.shape)} against {tuple(second.shape)}")
    first, second = first.double(), second.double()
    differences = first - second
    replicates = _replicates(differences, seed, samples)
    # Share of replicates on the far side of zero. The observed sample counts as one of them, so p is never 0.
    tail = min(int((replicates <= 0).sum()), int((replicates >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (samples + 1))
    means = float(first.mean()), float(second.mean()), float(differences.mean())
    return PairedDifference(*means, _interval(replicates), p)


def paired_over_seeds(first: Sequence[Tensor], second: Sequence[Tensor], *, samples: int = SAMPLES) -> PairedDifference:
    """Compare two systems trained with several seeds: average each user's values over seeds, then pair them.

    The interval and p measure the sampling of users; the variation between seeds is averaged, not measured. The systems
    may have different numbers of seeds, with one tensor `[N]` each. Raises a `ValueError` if the numbers of users
    differ.
    """
    return paired_bootstrap(mean_over_seeds(first), mean_over_seeds(second), samples=samples)


def mean_over_seeds(values: Sequence[Tensor]) -> Tensor:
    """Average each user's value of one metric over seeds. `[N]` each -> `[N]`"""
    return torch.stack(list(values)).mean(0)


def _replicates(values: Tensor, seed: int, samples: int) -> np.ndarray:
    """Compute the means of bootstrap replicates. `[samples]` float64"""
    array = values.detach().double().cpu().numpy()
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise ValueError("a bootstrap needs one finite value for each of at least one user")
    distinct, counts = _distinct(array)
    drawn = np.random.default_rng(seed)
    chances = counts / len(array)
    step = max(1, _CHUNK // len(distinct))
    sizes = [min(step, samples - start) for start in range(0, samples, step)]
    return np.concatenate([drawn.multinomial(len(array), chances, size) @ distinct / len(array) for size in sizes])


def _distinct(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the distinct values, or the means of groups of close ones, and their numbers of users. `[V]`, `[V]`

    Values stay in order of appearance and groups are symmetric around zero, so negated values get the same draws.
    """
    distinct, first, counts = np.unique(array, return_index=True, return_counts=True)
    if len(distinct) > _DISTINCT:
        groups = np.rint(array * (_DISTINCT / (2 * np.abs(array).max())))
        _, first, group, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
        distinct = np.bincount(group, weights=array) / counts
    order = np.argsort(first)
    return distinct[order], counts[order]


def _interval(replicates: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(replicates, [0.025, 0.975])
    return float(low), float(high)
