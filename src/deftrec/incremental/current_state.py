"""A run together with its overlay: catalogue, histories and item features."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from deftrec.attributes import encode_attributes
from deftrec.collaborative import FoldIn
from deftrec.data import Interactions
from deftrec.ensemble import Model
from deftrec.errors import DeftRecError
from deftrec.incremental.overlay import Overlay
from deftrec.run import Run


def current_state(run: Run, overlay: Overlay | None) -> tuple[Interactions, Model, Tensor, Tensor]:
    """Interactions, model, removed items and confidence of `run` with `overlay`; the run itself does not change.

    Items of training keep their numbers, added ones follow. Numbers of removed items are `[R]` int64. The confidence in
    the collaborative vector of each added item is `[N]`, from 0 (no interactions) towards 1.

    Features of an added item are its text vector, scaled as in training, and its attributes, beside a collaborative
    block that is zero (the masked block of training) until users of training items interact with it (`FoldIn`).
    """
    if overlay is None or not overlay.version:
        return run.interactions, run.model, torch.zeros(0, dtype=torch.int64), torch.zeros(0)
    interactions = overlay.applied(run.interactions)
    model, confidence = run.model, torch.zeros(0)
    if overlay.items.height:
        rows, confidence = _new_features(run, interactions, overlay.vectors)
        model = model.with_items(rows, overlay.items["title"].to_list()).eval()
    removed = interactions.item_numbers(overlay.removed["item"])
    return interactions, model, torch.from_numpy(removed), confidence


def _new_features(run: Run, interactions: Interactions, vectors: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A function from features of training items `[I, F]` to those of added items `[N, F]`, and the confidence `[N]`.

    Raises a `DeftRecError` if the sentence `vectors` of the added items have another width than those of the run.
    """
    if vectors.shape[1] != run.info.text_width:
        raise DeftRecError(
            f"items were added with vectors of {vectors.shape[1]} numbers, and this run reads {run.info.text_width}"
        )
    old = np.unique(run.training.items).astype(np.int64)
    new = np.arange(run.interactions.n_items, interactions.n_items)
    width = run.info.collaborative_width
    text = run.scaling.columns(slice(width, width + run.info.text_width)).apply(vectors)
    attributes = encode_attributes(run.info.attributes, interactions.catalogue[run.interactions.n_items :])
    fold = FoldIn.of(interactions.sequences.liked(), old, new, interactions.n_items)

    def rows(features: Tensor) -> Tensor:
        trained = features[torch.from_numpy(old).to(features.device), :width]
        return torch.cat([fold.vectors(trained), text, attributes.to(text)], 1)

    return rows, fold.confidence
