"""Faster ways to the nearest latents than to look at all of them; what they find is scored exactly."""

from deftrec.serving.index.approximate import OVERFETCH, Approximate
from deftrec.serving.index.base import Choice, Index, Kind, Metric
from deftrec.serving.index.build import build_index
from deftrec.serving.index.choice import settled

__all__ = ["OVERFETCH", "Approximate", "Choice", "Index", "Kind", "Metric", "build_index", "settled"]
