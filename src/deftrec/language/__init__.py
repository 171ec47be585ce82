"""Prompts and language models: tokens and words in, a condition out."""

from deftrec.config import LanguageOptions, NanoOptions
from deftrec.language.base import LanguageModel, Layout
from deftrec.language.nano import NanoLanguageModel
from deftrec.language.pretrained import PretrainedLanguageModel
from deftrec.language.weights import model_folder

__all__ = ["LanguageModel", "Layout", "NanoLanguageModel", "PretrainedLanguageModel", "build_language_model"]


def build_language_model(options: LanguageOptions, *, domain: str, length: int) -> LanguageModel:
    """The language model that `options` describe, for histories of up to `length` tokens.

    A pre-trained model's files are fetched if they are not there.
    """
    if isinstance(options, NanoOptions):
        return NanoLanguageModel(int(options.width), options.layers, options.heads, float(options.dropout), length)
    return PretrainedLanguageModel(model_folder(options.model, options.revision), options, domain, length)
