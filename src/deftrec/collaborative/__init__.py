"""Vectors from the interaction graph."""

from deftrec.collaborative.lightgcn import CollaborativeVectors, LightGCN, Triples, draw_triples

__all__ = ["CollaborativeVectors", "LightGCN", "Triples", "draw_triples"]
