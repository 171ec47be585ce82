"""The catalogue ranked: score terms, rules, the best k."""

from deftrec.retrieval.choose import Validation, one_standard_error_rule
from deftrec.retrieval.exact import Found, row_chunks, top
from deftrec.retrieval.fit import fit_ranker, latent_ranker
from deftrec.retrieval.linear import LinearPrior
from deftrec.retrieval.lists import CANDIDATES, ListRule, list_notes, make_lists
from deftrec.retrieval.queries import EncodedRequest, Queries, generate_queries, generate_texts, inference_queries
from deftrec.retrieval.ranker import Ranker, ScorePart, rank_targets, target_ranks
from deftrec.retrieval.rerank import Calibrated, Dpp, Mmr, Reranker
from deftrec.retrieval.rules import Allow, Deny, ExcludeHistory, HistoryLast, Rule, request_rules, seen_rules
from deftrec.retrieval.rules.build import build_rules
from deftrec.retrieval.rules.columns import ItemColumns
from deftrec.retrieval.rules.effects import rule_effects
from deftrec.retrieval.rules.options import RuleOptions, parse_rules, read_rules
from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm
from deftrec.retrieval.terms.cold_start_bonus import ColdStartBonus
from deftrec.retrieval.terms.collaborative_prior import CollaborativePrior
from deftrec.retrieval.terms.latent import LatentSimilarity
from deftrec.retrieval.terms.popularity_trend import PopularityTrend
from deftrec.retrieval.terms.repeat_bias import RepeatBias
from deftrec.retrieval.terms.request import RequestHead, RequestTerm

__all__ = ["CANDIDATES", "Allow", "Calibrated", "ColdStartBonus", "CollaborativePrior", "Deny", "Dpp"]
__all__ += ["EncodedRequest", "ExcludeHistory", "ExtendedCatalogue", "Found", "HistoryLast", "ItemColumns"]
__all__ += ["LatentSimilarity", "LinearPrior", "ListRule", "Mmr", "PopularityTrend", "Queries", "Ranker"]
__all__ += ["RepeatBias", "RequestHead", "RequestTerm", "Reranker", "Rule", "RuleOptions", "ScorePart"]
__all__ += ["ScoreTerm", "Validation", "build_rules", "fit_ranker", "generate_queries", "generate_texts"]
__all__ += ["inference_queries", "latent_ranker", "list_notes", "make_lists", "one_standard_error_rule"]
__all__ += ["parse_rules", "rank_targets", "read_rules", "request_rules", "row_chunks", "rule_effects"]
__all__ += ["seen_rules", "target_ranks", "top"]
