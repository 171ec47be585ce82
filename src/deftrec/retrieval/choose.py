"""Which prior, and how much of it and of the model's words: chosen on validation, like everything else."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

import torch

from deftrec.config import RetrievalOptions
from deftrec.data import Cases
from deftrec.data import Sequences as Histories
from deftrec.evaluation import TargetRanks, accuracy, ranks_from_scores
from deftrec.progress import Progress
from deftrec.retrieval import LinearPrior, Retriever, fused, hide, raised, row_chunks, trend_scores
from deftrec.retrieval.ranks import target_ranks

USERS = 10_000
"""Validation users that are asked; each of them is scored once for every setting."""

CACHED_BYTES = 4 << 20
"""Scores that are weighed at a time: a processor's cache holds them while every weight is tried."""

REGULARISATION, RECENCY = (50.0, 300.0), (0.0, 0.25, 0.5, 1.0)
SLIT_REGULARISATION, SLIT_RECENCY = (100.0, 1000.0), (0.5,)
WEIGHTS = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
NEIGHBOURS = 512
POPULARITY, RECENT_POPULARITY = (-1.2, -0.9, -0.6, -0.3), (0.3, 0.6, 0.9, 1.2)
AGAIN = (-4.0, -3.0, -2.0, -1.0, 1.0, 2.0)

W = TypeVar("W")
Kind: TypeAlias = Literal["ease", "slit", "graph"]


@dataclass(frozen=True)
class PriorSettings:
    """How a prior is fitted and used.

    Attributes:
        kind: `ease`, `slit` or `graph`.
        regularisation: lambda; 0 for `graph`, which has none.
        recency: p of (1 + age)^-p.
    """

    kind: Kind
    regularisation: float
    recency: float


@dataclass(frozen=True)
class PriorChoice(PriorSettings):
    """The settings of the prior that validation chose.

    The best ones, with the smallest weight that is not clearly worse than the best one: where a smaller weight
    (0 among them) loses less than one standard error of the paired difference, it is taken. A prior that seems
    to help by chance on a thousand users is left out.

    Attributes:
        weight: of the prior in the score; 0 where it does not clearly help.
        ndcg: validation NDCG@10 with these settings, on the users that were asked.
        ndcg_without: the same with weight 0, and without a trend.
        popularity, recent_popularity: weights of the trend (`trend_scores`), chosen after the prior in the same way; both 0 where
            it does not clearly help.
    """

    weight: float
    ndcg: float
    ndcg_without: float
    popularity: float = 0.0
    recent_popularity: float = 0.0


@dataclass(frozen=True)
class TextChoice:
    """How much the match of the model's words with an item's text counts, chosen as a prior's weight is.

    Attributes:
        weight: pi; 0 where it does not clearly help.
        ndcg: validation NDCG@10 with it, without a prior.
        ndcg_without: the same with weight 0.
    """

    weight: float
    ndcg: float
    ndcg_without: float


@dataclass(frozen=True)
class AgainChoice:
    """What seen items get on top where they are taken again, chosen as a prior's weight is.

    Attributes:
        value: added to their scores; 0 where nothing clearly helps.
        ndcg: validation NDCG@10 of the whole score with it.
        ndcg_without: the same with 0.
    """

    value: float
    ndcg: float
    ndcg_without: float


def choose_text(
    weights: Sequence[float],
    retriever: Retriever,
    queries: torch.Tensor,
    texts: torch.Tensor,
    cases: Cases,
    exclude_seen: bool,
) -> TextChoice:
    """Try every weight on validation.

    Args:
        weights: pi to try; 0 is tried anyway.
        retriever: of the latent score alone, with the match.
        queries: generated latents of `cases`. `[N, D]`
        texts: what the model says of them, encoded. `[N, E]`
        cases: validation cases.
        exclude_seen: whether items of the history are no candidates.
    """
    values = {}
    for weight in sorted({0.0, *weights}):
        ranks = target_ranks(replace(retriever, text_weight=weight), queries, cases, exclude_seen, texts)
        values[weight] = accuracy(ranks, cutoffs=(10,))["ndcg@10"]
    weight = one_standard_error_rule(values, size=abs)
    return TextChoice(weight, float(values[weight].mean()), float(values[0.0].mean()))


def choose_again(
    values: Sequence[float],
    retriever: Retriever,
    queries: torch.Tensor,
    cases: Cases,
    texts: torch.Tensor | None = None,
) -> AgainChoice:
    """Try on validation what seen items get on top, where they are taken again.

    Args:
        values: to try; 0 is tried anyway.
        retriever: of the whole score, with nothing on top yet.
        queries: generated latents of `cases`. `[N, D]`
        cases: validation cases.
        texts: what the model says of them, encoded; None: no words in the score. `[N, E]`
    """
    targets = torch.from_numpy(cases.targets).to(queries.device)
    parts: dict[float, list[TargetRanks]] = {value: [] for value in sorted({0.0, *values})}
    for rows, scores in retriever.chunks(queries, cases.histories, False, texts):
        histories = cases.histories.select(range(rows.start, rows.stop))
        for value, ranks in parts.items():
            ranks.append(ranks_from_scores(raised(scores.clone(), histories, value), targets[rows]))
    found = {
        value: accuracy(TargetRanks.concatenate(ranks), cutoffs=(10,))["ndcg@10"] for value, ranks in parts.items()
    }
    value = one_standard_error_rule(found, size=abs)
    return AgainChoice(value, float(found[value].mean()), float(found[0.0].mean()))


def one_standard_error_rule(values: Mapping[W, torch.Tensor], size: Callable[[W], float]) -> W:
    """The smallest weight that loses less than a standard error of the paired difference to the best one.

    Args:
        values: a metric of every user, by weight.
        size: of a weight.
    """
    best = values[max(values, key=lambda weight: float(values[weight].mean()))]
    for weight in sorted(values, key=size):
        lost = best - values[weight]
        if lost.mean() <= lost.std(correction=0) / len(lost) ** 0.5:
            return weight
    raise AssertionError("the best weight loses nothing to itself")


def fit_prior(
    options: RetrievalOptions, settings: PriorSettings, training: Histories, n_items: int, device: torch.device
) -> LinearPrior:
    """The prior with these settings, on the CPU; what is dense of it is computed on `device`."""
    rest = NEIGHBOURS, options.prior_max_items, device
    if settings.kind == "ease":
        return LinearPrior.ease(training, n_items, settings.regularisation, *rest)
    if settings.kind == "graph":
        return LinearPrior.graph(training, n_items, *rest)
    return LinearPrior.slit(training, n_items, settings.regularisation, settings.recency, *rest)


def choose_prior(
    options: RetrievalOptions,
    training: Histories,
    retriever: Retriever,
    queries: torch.Tensor,
    cases: Cases,
    exclude_seen: bool,
    progress: Progress,
    texts: torch.Tensor | None = None,
) -> PriorChoice:
    """Try every setting of `options` on validation.

    Args:
        training: what the prior is fitted on.
        retriever: without a prior.
        queries: generated latents of `cases`, which are validation cases in random order. `[N, D]`
        exclude_seen: whether items of the history are no candidates.
        progress: who is told.
        texts: what the model says of them, encoded; None: no words in the score. `[N, E]`
    """
    n_items, device = len(retriever.latents), queries.device
    cases = cases.head(USERS)
    targets = torch.from_numpy(cases.targets).to(device)
    weights = sorted({0.0, *WEIGHTS})
    fits = list(_fits(options))
    task = "collaborative prior"
    progress.begin(task, len(fits))
    values: dict[tuple[PriorSettings, float], torch.Tensor] = {}
    for group in fits:
        prior = fit_prior(options, group[0], training, n_items, device)
        parts: dict[tuple[PriorSettings, float], list[TargetRanks]] = {
            setting: [] for setting in itertools.product(group, weights)
        }
        for rows in row_chunks(len(cases), n_items):
            histories = cases.histories.select(range(rows.start, rows.stop))
            latent = retriever.scores(queries[rows], histories, None if texts is None else texts[rows])
            latent = hide(latent, histories) if exclude_seen else latent
            for settings in group:
                linear = prior.scores(histories, settings.recency).to(device)
                for few in _weighed(latent):
                    repeated = histories.select(range(few.start, few.stop)) if retriever.repeats else None
                    for weight in weights:
                        scores = fused(latent[few].clone(), linear[few], weight, repeated)
                        parts[settings, weight].append(ranks_from_scores(scores, targets[rows][few]))
        for setting, ranks in parts.items():
            values[setting] = accuracy(TargetRanks.concatenate(ranks), cutoffs=(10,))["ndcg@10"]
        progress.advance(task)
    progress.end(task)
    settings, _ = max(values, key=lambda setting: float(values[setting].mean()))
    weight = one_standard_error_rule({weight: values[settings, weight] for weight in weights}, size=abs)
    return PriorChoice(
        settings.kind,
        settings.regularisation,
        settings.recency,
        weight,
        ndcg=float(values[settings, weight].mean()),
        ndcg_without=float(values[settings, 0.0].mean()),
    )


def choose_trend(
    choice: PriorChoice,
    training: Histories,
    retriever: Retriever,
    queries: torch.Tensor,
    cases: Cases,
    exclude_seen: bool,
    texts: torch.Tensor | None = None,
) -> PriorChoice:
    """`choice` with the weights of the trend that validation prefers, if it clearly prefers any.

    Args:
        choice: of the prior.
        training: what is counted.
        retriever: with the prior, without a trend.
        queries, cases, exclude_seen, texts: see `choose_prior`.
    """
    n_items, cases = len(retriever.latents), cases.head(USERS)
    weights = list(itertools.product(sorted({0.0, *POPULARITY}), sorted({0.0, *RECENT_POPULARITY})))
    trends = {pair: trend_scores(training, n_items, *pair).to(queries.device) for pair in weights}
    targets = torch.from_numpy(cases.targets).to(queries.device)
    parts: dict[tuple[float, float], list[TargetRanks]] = {pair: [] for pair in weights}
    asked = None if texts is None else texts[: len(cases)]
    for rows, scores in retriever.chunks(queries[: len(cases)], cases.histories, exclude_seen, asked):
        for few in _weighed(scores):
            for pair, trend in trends.items():
                parts[pair].append(ranks_from_scores(scores[few] + trend, targets[rows][few]))
    values = {pair: accuracy(TargetRanks.concatenate(ranks), cutoffs=(10,))["ndcg@10"] for pair, ranks in parts.items()}
    pair = one_standard_error_rule(values, size=lambda pair: abs(pair[0]) + abs(pair[1]))
    return replace(choice, popularity=pair[0], recent_popularity=pair[1], ndcg=float(values[pair].mean()))


def _weighed(scores: torch.Tensor) -> Iterator[slice]:
    """Rows of `[N, I]` scores that every weight is tried on before the next ones; a GPU takes all at once."""
    return row_chunks(len(scores), scores.shape[1], CACHED_BYTES if scores.device.type == "cpu" else None)


def _fits(options: RetrievalOptions) -> Iterator[list[PriorSettings]]:
    """Settings to try, in groups that one fit serves: SLIT alone is fitted to how the history is weighed."""
    if options.prior in {"any", "graph"}:
        yield [PriorSettings("graph", 0.0, recency) for recency in RECENCY]
    if options.prior in {"any", "ease"}:
        for regularisation in REGULARISATION:
            yield [PriorSettings("ease", regularisation, recency) for recency in RECENCY]
    if options.prior in {"any", "slit"}:
        for regularisation, recency in itertools.product(SLIT_REGULARISATION, SLIT_RECENCY):
            yield [PriorSettings("slit", regularisation, recency)]
