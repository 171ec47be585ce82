"""Variants against the recipe, on the same users and with the same seeds."""

from collections.abc import Mapping, Sequence

import torch
from pydantic import BaseModel, ConfigDict

from deftrec.ablation.study import Measured
from deftrec.ablation.variants import BASE
from deftrec.data.split import Part
from deftrec.evaluation import paired_bootstrap

METRICS = ("ndcg@10", "hr@10")


class Comparison(BaseModel):
    """One variant beside the recipe, on one part of the data, by one metric.

    Attributes:
        name: of the variant.
        split, metric: what is compared.
        seeds: how many seeds both were trained with.
        mean: of the variant, over seeds.
        spread: standard deviation over seeds; None with one seed.
        difference: mean of the variant minus that of the recipe.
        ci95: of the difference: bootstrap over users, whose values are averaged over seeds. It holds the sampling of
            users, and of the seeds no more than what averaging leaves.
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
            for metric in METRICS:
                mine = torch.stack([run.values[f"{split} {metric}"] for run in common])  # [seeds, users]
                theirs = torch.stack([base[run.seed].values[f"{split} {metric}"] for run in common])
                found = paired_bootstrap(mine.mean(0), theirs.mean(0))
                by_seed = mine.mean(1)
                rows.append(
                    Comparison(
                        name=name,
                        split=split,
                        metric=metric,
                        seeds=len(common),
                        mean=float(by_seed.mean()),
                        spread=float(by_seed.std()) if len(common) > 1 else None,
                        difference=found.difference,
                        ci95=found.ci95,
                        p=found.p,
                        train_seconds=sum(run.train_seconds for run in common) / len(common),
                    )
                )
    return rows
