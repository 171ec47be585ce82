"""The catalogue ranked: score terms, rules, the best k."""

from deftrec.retrieval.choose import Validation, one_standard_error_rule
from deftrec.retrieval.exact import Found, row_chunks, top
from deftrec.retrieval.fit import fit_ranker, latent_ranker
from deftrec.retrieval.linear import LinearPrior
from deftrec.retrieval.lists import CANDIDATES, ListRule, make_lists
from deftrec.retrieval.queries import EncodedRequest, Queries, generate_queries, generate_texts, inference_queries
from deftrec.retrieval.ranker import Ranker, ScorePart, rank_targets, target_ranks
from deftrec.retrieval.rerank import Calibrated, Dpp, Mmr, Reranker
from deftrec.retrieval.rules import Allow, Deny, ExcludeHistory, HistoryLast, Rule, request_rules, seen_rules
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm
from deftrec.retrieval.terms.cold_start_bonus import ColdStartBonus
from deftrec.retrieval.terms.collaborative_prior import CollaborativePrior
from deftrec.retrieval.terms.latent import LatentSimilarity
from deftrec.retrieval.terms.popularity_trend import PopularityTrend
from deftrec.retrieval.terms.repeat_bias import RepeatBias
from deftrec.retrieval.terms.request import RequestHead, RequestTerm

__all__ = ["CANDIDATES", "Allow", "Calibrated", "ColdStartBonus", "CollaborativePrior", "Deny", "Dpp"]
__all__ += ["EncodedRequest", "ExcludeHistory", "ExtendedCatalogue", "Found", "HistoryLast", "LatentSimilarity"]
__all__ += ["LinearPrior", "ListRule", "Mmr", "PopularityTrend", "Queries", "Ranker", "RepeatBias"]
__all__ += ["RequestHead", "RequestTerm", "Reranker", "Rule", "ScorePart", "ScoreTerm", "Validation"]
__all__ += ["fit_ranker", "generate_queries", "generate_texts", "inference_queries", "latent_ranker"]
__all__ += ["make_lists", "one_standard_error_rule", "rank_targets", "request_rules", "row_chunks"]
__all__ += ["seen_rules", "target_ranks", "top"]
