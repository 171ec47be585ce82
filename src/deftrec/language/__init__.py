"""Prompts, language models and condition strategies: histories of continuous tokens to conditions."""

from collections.abc import Sequence

from deftrec.config import LanguageOptions, NanoOptions
from deftrec.language.base import LanguageModel, Layout
from deftrec.language.condition import ConditionStrategy, ReasoningCondition, build_condition
from deftrec.language.engines import TextEngine, VllmEngine
from deftrec.language.nano import NanoLanguageModel
from deftrec.language.pretrained import PretrainedLanguageModel
from deftrec.language.rationale import Preferences, RationaleBatch, RationaleWriter, guessed_category
from deftrec.pretrained_files.locate import model_folder

__all__ = ["ConditionStrategy", "LanguageModel", "Layout", "Preferences", "PretrainedLanguageModel"]
__all__ += ["RationaleBatch", "RationaleWriter", "ReasoningCondition", "TextEngine", "VllmEngine"]
__all__ += ["build_condition", "build_language_model", "guessed_category"]


def build_language_model(
    options: LanguageOptions, *, domain: str, ways: int, max_history: int, titles: Sequence[str] = ()
) -> LanguageModel:
    """The language model that `options` describe; a pre-trained model is downloaded if it is not present.

    `NanoLanguageModel` and `PretrainedLanguageModel` describe the other arguments.
    """
    if isinstance(options, NanoOptions):
        sizes = int(options.width), int(options.layers), float(options.dropout)
        return NanoLanguageModel(*sizes, max_history, ways, options.relative_time)
    folder = model_folder(options.model, options.revision)
    return PretrainedLanguageModel(folder, options, domain, ways, max_history, titles)
