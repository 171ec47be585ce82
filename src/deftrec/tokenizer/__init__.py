"""Vectors become continuous tokens."""

from deftrec.tokenizer.features import ItemFeatures, Scaling
from studies.discrete_tokens.quantiser import QUANTISERS, Continuous, Quantiser
from deftrec.tokenizer.robust import Masking, RobustTokenizer, Tokens

__all__ = ["QUANTISERS", "Continuous", "ItemFeatures", "Masking", "Quantiser", "RobustTokenizer", "Scaling", "Tokens"]
