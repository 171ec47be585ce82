"""Vectors from the interaction graph."""

from deftrec.collaborative.fold import FoldIn
from deftrec.collaborative.lightgcn import CollaborativeVectors, LightGCN, Triples, draw_triples

__all__ = ["CollaborativeVectors", "FoldIn", "LightGCN", "Triples", "draw_triples"]
