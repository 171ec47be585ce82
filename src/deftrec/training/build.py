"""Options made definite for a dataset, and the untrained modules that they ask for."""

from collections.abc import Sequence

import numpy as np
import torch

from deftrec.config import Config
from deftrec.data import Interactions, Split
from deftrec.ensemble import Ensemble, Model
from deftrec.errors import ConfigError
from deftrec.language import build_language_model
from deftrec.language.weights import MINILM, model_folder
from deftrec.model import DeftRec
from deftrec.recipe import adapt
from deftrec.retrieval import OverlapMatch, SentenceMatch, TextMatch
from deftrec.tokenizer import ItemFeatures


def resolve(config: Config, interactions: Interactions, split: Split) -> Config:
    """`config` with every `auto` resolved for the training part of `split`."""
    training = split.training("train")
    lengths, n_items = training.lengths, interactions.n_items
    repeated = int(training.repeated(n_items).sum()) if config.retrieval.seen == "keep" else 0
    return adapt(
        config,
        positions=int(np.maximum(lengths - 1, 0).sum()),
        interactions=len(training.items),
        users=int((lengths > 0).sum()),
        items=n_items,
        repeated=repeated / max(1, len(training.items)),
    )


def build_model(features: ItemFeatures, config: Config, domain: str, titles: Sequence[str] = ()) -> Model:
    """All members, untrained, for a catalogue."""
    members = [build_member(features, config, domain, titles) for _ in range(int(config.training.ensemble_size))]
    return Ensemble(members) if len(members) > 1 else members[0]


def build_member(features: ItemFeatures, config: Config, domain: str, titles: Sequence[str] = ()) -> DeftRec:
    """An untrained DeftRec for a catalogue."""
    ways, max_history = config.tokenizer.ways, int(config.data.max_history)
    language = build_language_model(config.language, domain=domain, ways=ways, max_history=max_history, titles=titles)
    return DeftRec(features, language, config)


def build_match(config: Config, texts: list[str], vectors: torch.Tensor | None) -> TextMatch:
    """The text match that the options ask for.

    Args:
        texts: of every item.
        vectors: their sentence vectors, which `sentence` compares with. `[I, E]`

    Raises:
        ConfigError: there are no sentence vectors.
    """
    if config.retrieval.text.match == "overlap":
        return OverlapMatch(texts)
    if vectors is None:
        raise ConfigError("retrieval.text.match sentence compares sentence vectors: set text.encoder to minilm")
    return SentenceMatch(vectors, model_folder(config.text.model or MINILM), config.text.max_tokens)
