"""Prompts and language models: tokens and words in, a condition out."""

from collections.abc import Sequence

from deftrec.config import LanguageOptions, NanoOptions
from deftrec.language.base import LanguageModel, Layout
from deftrec.language.engines import TextEngine, VllmEngine
from deftrec.language.nano import NanoLanguageModel
from deftrec.language.preferences import Preferences, guessed_category
from deftrec.language.pretrained import PretrainedLanguageModel
from deftrec.language.reasoning import RationaleBatch, Reasoner, Reasoning
from deftrec.language.weights import model_folder

__all__ = [
    "LanguageModel",
    "Layout",
    "NanoLanguageModel",
    "Preferences",
    "PretrainedLanguageModel",
    "RationaleBatch",
    "Reasoner",
    "Reasoning",
    "TextEngine",
    "VllmEngine",
    "build_language_model",
    "guessed_category",
]


def build_language_model(
    options: LanguageOptions, *, domain: str, ways: int, max_history: int, titles: Sequence[str] = ()
) -> LanguageModel:
    """The language model that `options` describe. A pre-trained model's files are fetched if they are not there.

    Args:
        domain: what the items are, for prompts.
        ways: K, continuous tokens of one item.
        max_history: items of one history.
        titles: of every item, for models that read them.
    """
    if isinstance(options, NanoOptions):
        return NanoLanguageModel(
            int(options.width), int(options.layers), options.heads, float(options.dropout), max_history, ways
        )
    folder = model_folder(options.model, options.revision)
    return PretrainedLanguageModel(folder, options, domain, ways, max_history, titles)
