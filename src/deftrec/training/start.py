"""Training that goes on from the weights of a run: what is kept, and what new items enter with."""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from deftrec.collaborative import FoldIn
from deftrec.data import Fit, Interactions, Sequences
from deftrec.errors import ConfigError
from deftrec.language.origin import Origin
from deftrec.language.stored import load_stored_state, stored_state
from deftrec.model import DeftRec
from deftrec.tokenizer import ItemFeatures, Scaling


class Provenance(BaseModel):
    """The run whose weights training went on from.

    Attributes:
        dataset: its name.
        fingerprint: of its interactions.
        weights: SHA-256 over its weights.
        fit: what they were fitted on.
        epochs: of its weights, by stage.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    fingerprint: str
    weights: str
    fit: Fit
    epochs: dict[str, int]


@dataclass(frozen=True, eq=False)
class Start:
    """A run to go on from.

    Attributes:
        members: its models.
        items: external ids of its catalogue, one for each row of features. `[I]`
        trained: which of them LightGCN saw interactions of. `[I]` bool
        collaborative_width: columns of the collaborative half.
        scaling: of its features.
        provenance: which run it is.
        base, sentences: the language model and the sentence model that it was trained on; None where there was none.
    """

    members: tuple[DeftRec, ...]
    items: pl.Series
    trained: np.ndarray
    collaborative_width: int
    scaling: Scaling
    provenance: Provenance
    base: Origin | None = None
    sentences: Origin | None = None

    def places(self, interactions: Interactions) -> np.ndarray:
        """The row that each item of `interactions` had, -1 for a new one. `[I']` int64"""
        rows = {str(item): row for row, item in enumerate(self.items)}
        return np.array([rows.get(str(item), -1) for item in interactions.catalogue["item"]], np.int64)

    def features(
        self, member: int, interactions: Interactions, sequences: Sequences, text: Tensor | None
    ) -> ItemFeatures:
        """Of a new catalogue: items of the run keep their vectors, new ones have their text and what users say of them.

        Args:
            member: whose features, which may have been trained.
            interactions: the new data.
            sequences: what is fitted of it; nothing else is looked at.
            text: sentence vectors, not scaled, of the new items at least. `[I', E]`
        """
        old, places, d = (
            self.members[member].features.detach().cpu(),
            self.places(interactions),
            self.collaborative_width,
        )
        values = torch.zeros(interactions.n_items, old.shape[1])
        known = places >= 0
        values[torch.from_numpy(known)] = old[torch.from_numpy(places[known])]
        if text is not None:
            new = torch.from_numpy(~known)
            values[new, d:] = self.scaling.columns(slice(d, old.shape[1])).apply(text[new])
        with_vector = known & np.where(known, self.trained[places], False)
        having, lacking = np.flatnonzero(with_vector), np.flatnonzero(~with_vector)
        fold = FoldIn.of(sequences, having, lacking, interactions.n_items)
        values[torch.from_numpy(lacking), :d] = fold.vectors(values[torch.from_numpy(having), :d])
        return ItemFeatures(values, slice(0, d), slice(d, old.shape[1]), self.scaling)

    def load_into(self, model: DeftRec, member: int) -> None:
        """Put the weights of a member into a model for the new catalogue, all but the features.

        Raises:
            ConfigError: the model is of another shape.
        """
        state = {**stored_state(self.members[member]), "features": model.features.detach()}
        try:
            load_stored_state(model, state)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"these options build another model than the run to start from ({reason}); change only how it is "
                "trained, or train anew without --from"
            ) from error


def weights_digest(members: tuple[DeftRec, ...]) -> str:
    """SHA-256 over the names and values of all trained weights."""
    digest = hashlib.sha256()
    for member in members:
        for name, tensor in sorted(stored_state(member).items()):
            digest.update(
                name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
    return digest.hexdigest()
