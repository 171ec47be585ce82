"""Variants against the recipe, on the same users and with the same seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from deftrec.ablation.study import Measured
from deftrec.ablation.variants import BASE
from deftrec.benchmark.scoring import COMPARED
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


def compare(
    runs: Mapping[str, Sequence[Measured]], splits: Sequence[Part] = ("test", "validation")
) -> list[Comparison]:
    """Every variant of `runs` against the recipe among them, over the seeds that both have.

    Args:
        runs: by name, one for each seed that was trained; the recipe's are there too.
    """
    base = {run.seed: run for run in runs[BASE]}
    rows = []
    for name, variant in runs.items():
        common = [run for run in variant if run.seed in base]
        if name == BASE or not common:
            continue
        for split in splits:
            for metric in COMPARED:
                mine = [run.values[f"{split} {metric}"] for run in common]
                found = paired_over_seeds(mine, [base[run.seed].values[f"{split} {metric}"] for run in common])
                by_seed = [float(values.mean()) for values in mine]
                rows.append(
                    Comparison(
                        name=name,
                        split=split,
                        metric=metric,
                        seeds=len(common),
                        mean=found.first,
                        spread=float(np.std(by_seed, ddof=1)) if len(common) > 1 else None,
                        difference=found.difference,
                        ci95=found.ci95,
                        p=found.p,
                        train_seconds=sum(run.train_seconds for run in common) / len(common),
                    )
                )
    return rows
