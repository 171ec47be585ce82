"""DeftRec: LLM-based recommendation with continuous tokens and denoising diffusion (arXiv 2504.12007v1)."""

from deftrec.config import Config
from deftrec.data import Interactions
from deftrec.recipe import load_recipe
from deftrec.recommender import Recommendation, Recommender

__version__ = "0.1.0"
__all__ = ["Config", "Interactions", "Recommendation", "Recommender", "load_recipe"]
