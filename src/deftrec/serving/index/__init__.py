"""Approximate search for candidate items, which are then scored exactly."""

from deftrec.serving.index.approximate import OVERFETCH, Approximate
from deftrec.serving.index.base import IndexChoice, IndexKind, IndexMetric, VectorIndex
from deftrec.serving.index.choice import build_index, choose_index

__all__ = ["OVERFETCH", "Approximate", "IndexChoice", "IndexKind", "IndexMetric", "VectorIndex"]
__all__ += ["build_index", "choose_index"]
