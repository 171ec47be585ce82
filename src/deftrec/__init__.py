"""DeftRec: LLM-based recommendation with continuous tokens and denoising diffusion (arXiv 2504.12007v1).

Names are loaded when they are first used: `deftrec --help` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deftrec.config import Config
    from deftrec.data import Interactions
    from deftrec.recipe import load_recipe
    from deftrec.recommendation import Recommendation
    from deftrec.recommender import Recommender

__version__ = "0.1.0"
__all__ = ["Config", "Interactions", "Recommendation", "Recommender", "load_recipe"]

_HOMES = {
    "Config": "deftrec.config",
    "Interactions": "deftrec.data",
    "Recommendation": "deftrec.recommendation",
    "Recommender": "deftrec.recommender",
    "load_recipe": "deftrec.recipe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
