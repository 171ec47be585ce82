"""Score the catalogue: exact, with a collaborative prior."""

from deftrec.retrieval.exact import Found, hide, row_chunks, top
from deftrec.retrieval.prior import LinearPrior
from deftrec.retrieval.queries import generate_queries
from deftrec.retrieval.retriever import Retriever

__all__ = ["Found", "LinearPrior", "Retriever", "generate_queries", "hide", "row_chunks", "top"]
