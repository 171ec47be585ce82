"""A run and what came after it, as one: catalogue, histories, features and text match."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.collaborative import FoldIn
from deftrec.data import Interactions
from deftrec.data.extend import extended
from deftrec.data.words import item_texts
from deftrec.ensemble import Model
from deftrec.errors import DeftRecError
from deftrec.incremental.overlay import Overlay
from deftrec.retrieval import OverlapMatch, SentenceMatch, TextMatch
from deftrec.run import Run


@dataclass(frozen=True, eq=False)
class CurrentState:
    """What a run knows now.

    Attributes:
        interactions: of training and after it; numbers of training stay, new ones follow.
        model: with features of all items, every weight that of the run.
        match: with the new items' texts.
        removed: numbers of items that are not recommended. `[R]` int64
        confidence: how much is known of each new item by who took it, from 0, nothing, towards 1. `[N]`
    """

    interactions: Interactions
    model: Model
    match: TextMatch | None
    removed: Tensor
    confidence: Tensor


def current_state(run: Run, overlay: Overlay | None) -> CurrentState:
    """What `run` knows with `overlay`; the run itself stays as it is.

    A new item's features are its text vector, scaled by what training saw, beside a collaborative half that is zero
    (the masked half of training) until users who took trained items take it too (`FoldIn`).
    """
    if overlay is None or not overlay.version:
        return CurrentState(run.interactions, run.model, run.match, torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    interactions = extended(run.interactions, overlay.items, overlay.events)
    model, match, confidence = run.model, run.match, torch.zeros(0)
    if overlay.items.height:
        features = NewFeatures.of(run, interactions, overlay.vectors)
        model = model.with_items(features, overlay.items["title"].to_list()).eval()
        match = None if match is None else _wider(match, interactions, overlay)
        confidence = features.fold.confidence
    removed = interactions.item_numbers(overlay.removed["item"])
    return CurrentState(interactions, model, match, torch.from_numpy(removed), confidence)


@dataclass(frozen=True, eq=False)
class NewFeatures:
    """Features of new items, given those of the trained ones.

    Attributes:
        fold: of the collaborative half.
        trained: which items LightGCN saw interactions of, among all of training. `[I]` int64 numbers
        text: the scaled text half. `[N, E]`
        collaborative_width: columns of the collaborative half.
    """

    fold: FoldIn
    trained: np.ndarray
    text: Tensor
    collaborative_width: int

    @classmethod
    def of(cls, run: Run, interactions: Interactions, vectors: Tensor) -> "NewFeatures":
        """Those of the items of `interactions` that lie behind the catalogue of `run`.

        Raises:
            DeftRecError: nothing tells how features are scaled, or the vectors are of another width.
        """
        if run.scaling is None:
            raise DeftRecError("items were added to this run, and scaling.safetensors, which they need, is gone")
        if vectors.shape[1] != run.info.text_width:
            raise DeftRecError(
                f"items were added with vectors of {vectors.shape[1]} numbers, and this run reads {run.info.text_width}"
            )
        old = np.unique(run.training.items).astype(np.int64)
        new = np.arange(run.interactions.n_items, interactions.n_items)
        width = run.info.collaborative_width
        text = run.scaling.columns(slice(width, width + run.info.text_width)).apply(vectors)
        return cls(FoldIn.of(interactions.sequences, old, new, interactions.n_items), old, text, width)

    def __call__(self, features: Tensor) -> Tensor:
        """`[I, F]` -> `[N, F]`"""
        trained = features[torch.from_numpy(self.trained).to(features.device), : self.collaborative_width]
        return torch.cat([self.fold.vectors(trained), self.text], 1)


def _wider(match: TextMatch, interactions: Interactions, overlay: Overlay) -> TextMatch:
    if isinstance(match, SentenceMatch):
        return match.with_items(overlay.vectors)
    return OverlapMatch(item_texts(interactions))
