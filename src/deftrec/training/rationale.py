"""Rationales to learn: beside the next item, and in passes of their own before it."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from deftrec.data import PADDING, Sequences
from deftrec.data.sequences import pad_histories
from deftrec.language import Layout, Preferences, RationaleBatch
from deftrec.language.rationale import HISTORY
from deftrec.model import DeftRec
from deftrec.tensors import to_device
from deftrec.training.loop import Stage

ROWS = 32  # histories of a batch from which only rationales are learnt


def rationale(
    preferences: Preferences, histories: Sequence[np.ndarray], targets: Sequence[int], max_history: int
) -> RationaleBatch:
    """Histories, cut to the items that are read, with the rationales of their `targets`."""
    histories = [history[-HISTORY:] for history in histories]
    padded = pad_histories(Sequences.from_lists(histories), np.arange(len(histories)), max_history)
    texts = [preferences.rationale(history, target) for history, target in zip(histories, targets, strict=True)]
    text = np.full((len(texts), max(map(len, texts))), PADDING)
    for row, ids in zip(text, texts, strict=True):
        row[: len(ids)] = ids
    return RationaleBatch(
        torch.from_numpy(padded.items), Layout.of(padded), torch.tensor(np.asarray(targets)), torch.from_numpy(text)
    )


class RationaleOnly(nn.Module):
    """The rationale loss of a model that writes rationales."""

    def __init__(self, model: DeftRec) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: RationaleBatch) -> dict[str, Tensor]:
        """`loss`, scalar."""
        return {"loss": self.model.rationale_loss(batch)}


class RationaleStage(Stage):
    """Rationales of every user's history, cut at a position drawn anew in each pass.

    Continuous tokens mean nothing to a pre-trained model at first, and small data have few batches: here it learns
    their words before it learns the next item. `seed` draws order and positions.
    """

    def __init__(self, model: DeftRec, sequences: Sequences, preferences: Preferences, seed: int, name: str) -> None:
        self.name, self.module, self.model = name, RationaleOnly(model), model
        self.sequences, self.preferences, self.seed = sequences, preferences, seed
        self.users = (sequences.lengths > 1).nonzero()[0]

    def epoch(self, number: int) -> tuple[int, Iterator[RationaleBatch]]:
        """See `Stage.epoch`."""
        rng = np.random.default_rng([self.seed, number])
        order = rng.permutation(self.users)
        places = rng.integers(1, self.sequences.lengths[order])  # position of the target, after one item or more
        read = np.minimum(places, HISTORY)
        alike = np.split(np.argsort(read, kind="stable"), range(ROWS, len(order), ROWS))  # a batch pads to its longest

        def build(part: np.ndarray) -> RationaleBatch:
            pairs = [(self.sequences[user], place) for user, place in zip(order[part], places[part], strict=True)]
            histories, targets = [items[:at] for items, at in pairs], [int(items[at]) for items, at in pairs]
            learnt = rationale(self.preferences, histories, targets, self.model.max_history)
            return to_device(learnt, self.model.features.device)

        return len(alike), (build(alike[n]) for n in rng.permutation(len(alike)))

    def validate(self) -> dict[str, float]:
        """No metrics: the stage runs for a fixed number of passes."""
        return {}

    def slow_parameters(self) -> set[nn.Parameter]:
        """See `Stage.slow_parameters`."""
        return set(self.model.language.parameters())
