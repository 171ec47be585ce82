"""Approximate search for candidate items, which are then scored exactly."""

from deftrec.serving.index.approximate import OVERFETCH, Approximate
from deftrec.serving.index.base import IndexChoice, IndexKind, IndexMetric, VectorIndex
from deftrec.serving.index.build import build_index
from deftrec.serving.index.choice import choose_index

__all__ = [
    "OVERFETCH",
    "Approximate",
    "IndexChoice",
    "IndexKind",
    "IndexMetric",
    "VectorIndex",
    "build_index",
    "choose_index",
]
