"""The terms of a run's score, fitted one after the other on validation."""

from typing import Any

from deftrec.config import Config
from deftrec.ensemble import Model
from deftrec.model import ItemLatents
from deftrec.progress import Progress
from deftrec.retrieval.choose import Validation
from deftrec.retrieval.ranker import Ranker
from deftrec.retrieval.rules import HistoryLast
from deftrec.retrieval.terms.base import ScoreTerm
from deftrec.retrieval.terms.cold_start_bonus import ColdStartBonus
from deftrec.retrieval.terms.collaborative_prior import CollaborativePrior
from deftrec.retrieval.terms.latent import LatentSimilarity
from deftrec.retrieval.terms.popularity_trend import PopularityTrend
from deftrec.retrieval.terms.repeat_bias import RepeatBias
from deftrec.tokenizer import ItemFeatures


def latent_ranker(catalogue: ItemLatents, config: Config) -> Ranker:
    """The ranker of a model before any other term is fitted: latent similarity, and the rule for repeated items."""
    latent = LatentSimilarity(catalogue.latents, config.objective.temperature)
    return Ranker(len(catalogue.latents), (latent,), (HistoryLast(),) if config.seen_last else ())


def fit_ranker(
    model: Model,
    catalogue: ItemLatents,
    config: Config,
    validation: Validation,
    features: ItemFeatures,
    titles: list[str],
    progress: Progress,
) -> tuple[Ranker, dict[str, dict[str, Any]]]:
    """Fit every term that the options ask for, each on top of those before it.

    Returns the ranker with the terms that validation gave a weight, and the record of every fitted term: its settings,
    and `active`, whether it is part of the score.

    Args:
        features: item features that the tokenizer started from.
    """
    options = config.retrieval
    ranker, record = latent_ranker(catalogue, config), {}

    def add(ranker: Ranker, term: ScoreTerm, active: bool) -> Ranker:
        record[term.name] = {"active": active, **term.settings()}
        return ranker.with_term(term) if active else ranker

    if options.prior != "none":
        prior = CollaborativePrior.fit(
            ranker, validation, options.prior, options.prior_max_items, config.repeats, progress
        )
        ranker = add(ranker, prior, bool(prior.weight))
    if options.trend:
        trend = PopularityTrend.fit(ranker, validation)
        ranker = add(ranker, trend, bool(trend.popularity or trend.recent_popularity))
    if config.repeats:
        bias = RepeatBias.fit(ranker, validation)
        ranker = add(ranker, bias, bool(bias.value))
    if options.cold_start_cost:
        bonus = ColdStartBonus.fit(ranker, validation, model, features, titles, options.cold_start_cost, config.seed)
        if bonus is not None:
            ranker = add(ranker, bonus, bool(bonus.bonus))
    return ranker, record
