"""Interaction data: which user interacted with which item at which time, and the catalogue of items."""

from deftrec.data.interactions import Id, Interactions, Meta
from deftrec.data.sequences import PADDING, Packed, Sequences
from deftrec.data.split import Cases, Fit, Part, Split, SplitName, leave_one_out, make_split, temporal

__all__ = ["PADDING", "Cases", "Fit", "Id", "Interactions", "Meta", "Packed", "Part", "Sequences", "Split", "SplitName"]
__all__ += ["leave_one_out", "make_split", "temporal"]
