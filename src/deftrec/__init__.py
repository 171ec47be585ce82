"""DeftRec: LLM-based recommendation with continuous tokens and denoising diffusion (arXiv 2504.12007v1).

Names are loaded at first use, so that `deftrec --help` does not wait for torch.
"""

from importlib import import_module

TYPE_CHECKING = False  # as `typing` has it, which takes a while to import
if TYPE_CHECKING:
    from typing import Any

    from deftrec.config import Config
    from deftrec.data import Interactions
    from deftrec.errors import ConfigError, DataError, DeftRecError
    from deftrec.evaluation import Result
    from deftrec.recipe import load_recipe
    from deftrec.recommendation import Explanation, Recommendation
    from deftrec.recommender import Recommender
    from deftrec.retrieval import Ranker, Rule, ScoreTerm
    from deftrec.session import Session

__version__ = "0.1.0"
__all__ = ["Config", "ConfigError", "DataError", "DeftRecError", "Explanation", "Interactions", "Ranker"]
__all__ += ["Recommendation", "Recommender", "Result", "Rule", "ScoreTerm", "Session", "load_recipe"]

_HOMES = {
    "Config": "deftrec.config",
    "ConfigError": "deftrec.errors",
    "DataError": "deftrec.errors",
    "DeftRecError": "deftrec.errors",
    "Explanation": "deftrec.recommendation",
    "Interactions": "deftrec.data",
    "Ranker": "deftrec.retrieval",
    "Recommendation": "deftrec.recommendation",
    "Recommender": "deftrec.recommender",
    "Result": "deftrec.evaluation",
    "Rule": "deftrec.retrieval",
    "ScoreTerm": "deftrec.retrieval",
    "Session": "deftrec.session",
    "load_recipe": "deftrec.recipe",
}


def __getattr__(name: str) -> "Any":
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
