"""Item features and the tokenizer that turns them into continuous tokens."""

from deftrec.tokenizer.events import Events, EventTokens
from deftrec.tokenizer.features import FeatureTable, ItemFeatures, Scaling
from deftrec.tokenizer.robust import Masking, RobustTokenizer, Tokens

__all__ = ["EventTokens", "Events", "FeatureTable", "ItemFeatures", "Masking", "RobustTokenizer", "Scaling", "Tokens"]
