"""Vectors from the interaction graph."""

from deftrec.collaborative.fold import FoldIn
from deftrec.collaborative.lightgcn import CollaborativeVectors, LightGCN, Triples, draw_triples
from deftrec.collaborative.spectral import spectral_vectors

__all__ = ["CollaborativeVectors", "FoldIn", "LightGCN", "Triples", "draw_triples", "spectral_vectors"]
