"""Variants against the recipe, on the same users and with the same seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from studies.ablation.study import Measured
from studies.ablation.variants import BASE

from deftrec.benchmark.scoring import COMPARED
from deftrec.benchmark.slices import UserSlice
from deftrec.data.split import Part
from deftrec.evaluation import paired_over_seeds


class Comparison(BaseModel):
    """One variant beside the recipe, on one part of the data, by one metric.

    Attributes:
        name: of the variant.
        split, metric: what is compared.
        seeds: how many seeds both were trained with.
        mean: of the variant, over seeds.
        spread: standard deviation over seeds; None with one seed.
        difference: mean of the variant minus that of the recipe.
        ci95: of the difference, as `paired_over_seeds` gives it.
        p: two-sided bootstrap p-value of no difference, not corrected for the number of variants.
        train_seconds: mean over seeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    split: Part
    metric: str
    seeds: int
    mean: float
    spread: float | None
    difference: float
    ci95: tuple[float, float]
    p: float
    train_seconds: float


class SliceComparison(BaseModel):
    """One variant beside the recipe on some users of test, by NDCG@10.

    Attributes:
        name: of the variant.
        by, part: what the users were sorted by, and which of them these are.
        users: how many.
        seeds: how many both were trained with.
        base: NDCG@10 of the recipe, mean over these seeds and users.
        difference, ci95, p: see `Comparison`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    runs: Mapping[str, Sequence[Measured]], splits: Sequence[Part] = ("test", "validation")
) -> list[Comparison]:
    """Every variant of `runs` against the recipe among them, over the seeds that both have.

    Args:
        runs: by name, one for each seed that was trained; the recipe's are there too.
    """
    rows = []
    for name, pairs in _paired(runs).items():
        for split in splits:
            for metric in COMPARED:
                mine, base = ([run.values[f"{split} {metric}"] for run in side] for side in zip(*pairs, strict=True))
                found = paired_over_seeds(mine, base)
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
                        train_seconds=sum(run.train_seconds for run, _ in pairs) / len(pairs),
                    )
                )
    return rows


def compare_slices(runs: Mapping[str, Sequence[Measured]], parts: Sequence[UserSlice]) -> list[SliceComparison]:
    """Every variant against the recipe on every slice of test's users, over the seeds that both have.

    Args:
        runs: as for `compare`.
        parts: slices of the users of test.
    """
    rows = []
    for name, pairs in _paired(runs).items():
        for part in parts:
            users = torch.from_numpy(part.users)
            mine, base = ([run.values["test ndcg@10"][users] for run in side] for side in zip(*pairs, strict=True))
            found = paired_over_seeds(mine, base)
            rows.append(
                SliceComparison(
                    name=name,
                    by=part.by,
                    part=part.name,
                    users=len(users),
                    seeds=len(pairs),
                    base=found.second,
                    difference=found.difference,
                    ci95=found.ci95,
                    p=found.p,
                )
            )
    return rows


def _paired(runs: Mapping[str, Sequence[Measured]]) -> dict[str, list[tuple[Measured, Measured]]]:
    """Each variant's trainings beside the recipe's of the same seed, where there is any."""
    base = {run.seed: run for run in runs[BASE]}
    pairs = {
        name: [(run, base[run.seed]) for run in variant if run.seed in base]
        for name, variant in runs.items()
        if name != BASE
    }
    return {name: of_both for name, of_both in pairs.items() if of_both}
