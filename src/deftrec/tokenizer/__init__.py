"""Vectors become continuous tokens."""

from deftrec.tokenizer.features import ItemFeatures, Scaling
from deftrec.tokenizer.robust import Masking, RobustTokenizer, Tokens

__all__ = ["ItemFeatures", "Masking", "RobustTokenizer", "Scaling", "Tokens"]
