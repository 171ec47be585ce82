"""Systems compared with a base on the same users and with the same seeds."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from deftrec.benchmark.verdict import CLEAR
from deftrec.evaluation import paired_over_seeds

__all__ = ["CLEAR", "METRICS"]

METRICS = ("ndcg@10", "hr@10")
"""Metrics that systems are compared by."""
RATIO_SAMPLES = 2000
"""Bootstrap replicates of a ratio."""


class SeedResult(Protocol):
    """One training of one system, measured."""

    @property
    def seed(self) -> int:
        """Seed of the training."""

    @property
    def values(self) -> Mapping[str, Tensor]:
        """Metric of every case, by part and metric, as in `test ndcg@10`. Each `[N]` float64"""

    @property
    def train_seconds(self) -> float:
        """Seconds of training."""


class UserGroup(Protocol):
    """Some of the evaluated users, as `deftrec.benchmark.slices` makes them."""

    @property
    def by(self) -> str:
        """Property that the users were grouped by."""

    @property
    def name(self) -> str:
        """Name of the group."""

    @property
    def users(self) -> np.ndarray:
        """Indices of the users among the cases. `[n]` int64"""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Comparison(_Record):
    """One system beside the base, on one part of the data, by one metric.

    Attributes:
        name: name of the system.
        split: part of the data: `test`, `validation`, or a study's own.
        metric: name of the metric.
        seeds: number of seeds that both were trained with.
        mean: metric of the system, mean over users and seeds.
        spread: standard deviation over seeds; None with one seed.
        difference: mean of the system minus mean of the base.
        ci95: 95 % interval of the difference, by paired bootstrap over users.
        p: two-sided bootstrap p-value of no difference, not corrected for the number of systems.
        train_seconds: seconds of one training, mean over seeds.
    """

    name: str
    split: str
    metric: str
    seeds: int
    mean: float
    spread: float | None
    difference: float
    ci95: tuple[float, float]
    p: float
    train_seconds: float


class SliceComparison(_Record):
    """One system beside the base on a group of users, by one metric.

    Attributes:
        name: name of the system.
        by: property that the users were grouped by.
        part: name of the group.
        users: number of users in the group.
        seeds: number of seeds that both were trained with.
        base: metric of the base, mean over the group and these seeds.
        difference: mean of the system minus mean of the base.
        ci95: 95 % interval of the difference.
        p: two-sided bootstrap p-value of no difference.
    """

    name: str
    by: str
    part: str
    users: int
    seeds: int
    base: float
    difference: float
    ci95: tuple[float, float]
    p: float


def compare(
    results: Mapping[str, Sequence[SeedResult]],
    base: str,
    splits: Sequence[str] = ("test", "validation"),
    metrics: Sequence[str] = METRICS,
) -> list[Comparison]:
    """Compare every system with the base, over the seeds that both have.

    Args:
        results: trainings of every system, one per seed, the base among them.
        base: name of the base.
        splits: parts of the data; a part and metric that a system has no values of is left out.
        metrics: names of the metrics.
    """
    rows = []
    for name, pairs in _paired(results, base).items():
        for key, split, metric in ((f"{split} {metric}", split, metric) for split in splits for metric in metrics):
            if any(key not in one.values for pair in pairs for one in pair):
                continue
            mine, others = ([one.values[key] for one in side] for side in zip(*pairs, strict=True))
            found = paired_over_seeds(mine, others)
            by_seed = [float(values.mean()) for values in mine]
            rows.append(
                Comparison(
                    name=name,
                    split=split,
                    metric=metric,
                    seeds=len(pairs),
                    mean=found.first,
                    spread=float(np.std(by_seed, ddof=1)) if len(pairs) > 1 else None,
                    difference=found.difference,
                    ci95=found.ci95,
                    p=found.p,
                    train_seconds=sum(one.train_seconds for one, _ in pairs) / len(pairs),
                )
            )
    return rows


def compare_slices(
    results: Mapping[str, Sequence[SeedResult]],
    base: str,
    groups: Sequence[UserGroup],
    key: str = "test ndcg@10",
) -> list[SliceComparison]:
    """Compare every system with the base on every group of users, over the seeds that both have.

    Args:
        results: trainings of every system, one per seed, the base among them.
        base: name of the base.
        groups: groups of the users of `key`.
        key: part and metric.
    """
    rows = []
    for name, pairs in _paired(results, base).items():
        for group in groups:
            users = torch.from_numpy(group.users)
            mine, others = ([one.values[key][users] for one in side] for side in zip(*pairs, strict=True))
            found = paired_over_seeds(mine, others)
            rows.append(
                SliceComparison(
                    name=name,
                    by=group.by,
                    part=group.name,
                    users=len(users),
                    seeds=len(pairs),
                    base=found.second,
                    difference=found.difference,
                    ci95=found.ci95,
                    p=found.p,
                )
            )
    return rows


class Ratio(_Record):
    """Ratio of two means.

    Attributes:
        first, second: the means.
        value: first / second; 0 where the second is 0.
        ci95: 95 % interval of the ratio, by bootstrap over the cases of both.
        cases: number of cases of the first mean.
    """

    first: float
    second: float
    value: float
    ci95: tuple[float, float]
    cases: int


def mean_ratio(
    first: Tensor, second: Tensor, weights: Tensor | None = None, paired: bool = False, samples: int = RATIO_SAMPLES
) -> Ratio:
    """Ratio of the means of two groups of cases, or of two systems on the same cases.

    Args:
        first: metric of the first group. `[N]`
        second: metric of the second group. `[M]`
        weights: weights of the second group's cases; None: all equal. `[M]`
        paired: whether both are of the same cases, which are then drawn together.
        samples: bootstrap replicates.
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
    value = mean / under if under else 0.0
    return Ratio(first=mean, second=under, value=value, ci95=(float(low), float(high)), cases=len(one))


def _paired(results: Mapping[str, Sequence[SeedResult]], base: str) -> dict[str, list[tuple[SeedResult, SeedResult]]]:
    """Each system's trainings beside the base's of the same seed, where there is any."""
    of_base = {one.seed: one for one in results[base]}
    pairs = {
        name: [(one, of_base[one.seed]) for one in trainings if one.seed in of_base]
        for name, trainings in results.items()
        if name != base
    }
    return {name: of_both for name, of_both in pairs.items() if of_both}
