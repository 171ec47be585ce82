"""Faster ways to the nearest latents than to look at all of them; what they find is scored exactly."""

from deftrec.serving.index.approximate import OVERFETCH, Approximate
from deftrec.serving.index.base import Index, Kind, Metric
from deftrec.serving.index.build import build_index

__all__ = ["OVERFETCH", "Approximate", "Index", "Kind", "Metric", "build_index"]
