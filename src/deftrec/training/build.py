"""Options resolved for a dataset."""

import numpy as np

from deftrec.config import Config
from deftrec.data import Interactions, Split
from deftrec.recipe import adapt


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
