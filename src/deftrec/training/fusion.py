"""Which prior, and how much of it: chosen on the validation targets, like everything else."""

import itertools
from dataclasses import dataclass

import torch

from deftrec.config import PriorOptions
from deftrec.data import Cases, Sequences
from deftrec.evaluation.metrics import TargetRanks, accuracy, ranks_from_scores
from deftrec.progress import Progress
from deftrec.retrieval import EasePrior, Retriever, hide, row_chunks

USERS = 10_000
"""Validation users that are asked; each of them is scored once for every setting."""


@dataclass(frozen=True)
class PriorChoice:
    """The settings of the prior that validation chose.

    The best lambda and p, with the smallest weight that is not clearly worse than the best one: where a smaller weight
    (0 among them) loses less than one standard error of the paired difference, it is taken. A prior that seems
    to help by chance on a thousand users is left out.

    Attributes:
        regularisation: lambda of EASE.
        recency: p of (1 + age)^-p.
        weight: of the prior in the score; 0 where it does not clearly help.
        ndcg: validation NDCG@10 with these settings, on the users that were asked.
        ndcg_without: the same with weight 0.
    """

    regularisation: float
    recency: float
    weight: float
    ndcg: float
    ndcg_without: float


def choose_prior(
    options: PriorOptions,
    training: Sequences,
    retriever: Retriever,
    queries: torch.Tensor,
    cases: Cases,
    progress: Progress,
) -> PriorChoice:
    """Try every setting of `options` on validation.

    Args:
        training: what the prior is fitted on.
        retriever: of the latent score alone.
        queries: generated latents of `cases`, which are validation cases in random order. `[N, D]`
    """
    n_items = len(retriever.latents)
    cases = cases.head(USERS)
    targets = torch.from_numpy(cases.targets)
    settings = list(itertools.product(options.recency, sorted({0.0, *options.weights})))
    task = "collaborative prior"
    progress.begin(task, len(options.regularisation))
    values: dict[tuple[float, float, float], torch.Tensor] = {}
    for regularisation in options.regularisation:
        prior = EasePrior.fit(training, n_items, regularisation, options.neighbours, options.max_items)
        parts: dict[tuple[float, float], list[TargetRanks]] = {setting: [] for setting in settings}
        for rows in row_chunks(len(cases), n_items):
            histories = cases.histories.select(range(rows.start, rows.stop))
            latent = hide(retriever.scores(queries[rows], histories), histories).cpu()
            for recency, group in itertools.groupby(settings, key=lambda setting: setting[0]):
                linear = prior.scores(histories, recency)
                for setting in group:
                    scores = latent.add(linear, alpha=setting[1])
                    parts[setting].append(ranks_from_scores(scores, targets[rows]))
        for setting, ranks in parts.items():
            values[regularisation, *setting] = accuracy(TargetRanks.concatenate(ranks), cutoffs=(10,))["ndcg@10"]
        progress.advance(task)
    progress.end(task)
    best = max(values, key=lambda setting: float(values[setting].mean()))
    regularisation, recency, _ = best
    for weight in sorted({0.0, *options.weights}):
        lost = values[best] - values[regularisation, recency, weight]
        if lost.mean() <= lost.std(correction=0) / len(lost) ** 0.5:
            break
    return PriorChoice(
        regularisation,
        recency,
        weight,
        ndcg=float(values[regularisation, recency, weight].mean()),
        ndcg_without=float(values[regularisation, recency, 0.0].mean()),
    )
