"""The catalogue ranked: score terms, rules, the best k."""

from deftrec.retrieval.choose import Validation, one_standard_error_rule
from deftrec.retrieval.exact import Found, row_chunks, top
from deftrec.retrieval.fit import fit_ranker, latent_ranker
from deftrec.retrieval.linear import LinearPrior
from deftrec.retrieval.lists import CANDIDATES, ListRule, make_lists
from deftrec.retrieval.queries import Queries, generate_queries, generate_texts, inference_queries
from deftrec.retrieval.ranker import Ranker, ScorePart, rank_targets, target_ranks
from deftrec.retrieval.rerank import Calibrated, Dpp, Mmr, Reranker
from deftrec.retrieval.rules import Allow, Deny, ExcludeHistory, HistoryLast, Rule, request_rules, seen_rules
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm
from deftrec.retrieval.terms.cold_start_bonus import ColdStartBonus
from deftrec.retrieval.terms.collaborative_prior import CollaborativePrior
from deftrec.retrieval.terms.latent import LatentSimilarity
from deftrec.retrieval.terms.popularity_trend import PopularityTrend
from deftrec.retrieval.terms.repeat_bias import RepeatBias

__all__ = ["CANDIDATES", "Calibrated", "Dpp", "Mmr"]
__all__ += ["Allow", "ColdStartBonus", "CollaborativePrior", "Deny", "ExcludeHistory", "ExtendedCatalogue", "Found"]
__all__ += ["HistoryLast", "LatentSimilarity", "LinearPrior", "ListRule", "PopularityTrend", "Queries", "Ranker"]
__all__ += ["RepeatBias", "Reranker", "Rule", "ScorePart", "ScoreTerm", "Validation", "fit_ranker"]
__all__ += ["generate_queries", "generate_texts", "inference_queries", "latent_ranker", "make_lists"]
__all__ += [
    "one_standard_error_rule",
    "rank_targets",
    "request_rules",
    "row_chunks",
    "seen_rules",
    "target_ranks",
    "top",
]
