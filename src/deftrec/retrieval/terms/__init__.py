"""The terms of the retrieval score, one file each; importing this package registers them all."""

from deftrec.retrieval.terms.base import ExtendedCatalogue, ScoreTerm
from deftrec.retrieval.terms.latent import LatentSimilarity, inner_products

__all__ = ["ExtendedCatalogue", "LatentSimilarity", "ScoreTerm", "inner_products"]
