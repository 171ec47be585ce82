"""Score the catalogue: exact, with a collaborative prior, and with what the model says."""

from deftrec.retrieval.exact import LAST, Found, hide, raised, row_chunks, top
from deftrec.retrieval.linear import LinearPrior
from deftrec.retrieval.queries import generate_queries, generate_texts, inference_queries
from deftrec.retrieval.retriever import Retriever, ScorePart, fused
from deftrec.retrieval.terms.popularity_trend import trend_scores
from deftrec.retrieval.terms.text_match import OverlapMatch, SentenceMatch, TextMatch

__all__ = [
    "LAST",
    "Found",
    "LinearPrior",
    "OverlapMatch",
    "Retriever",
    "ScorePart",
    "SentenceMatch",
    "TextMatch",
    "fused",
    "generate_queries",
    "generate_texts",
    "hide",
    "inference_queries",
    "raised",
    "row_chunks",
    "top",
    "trend_scores",
]
