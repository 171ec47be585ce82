"""Batches of packed histories."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from deftrec.batch import Batch
from deftrec.config import ObjectiveOptions
from deftrec.data import PADDING, Packed, Sequences
from deftrec.data.sequences import CONTEXT, pack_for_training
from deftrec.language import Layout, Preferences, RationaleBatch
from deftrec.language.rationale import ROWS
from deftrec.training.distributed import Team
from deftrec.training.rationale import rationale


class PackedBatches:
    """Packs the training histories anew for every epoch, in an order drawn from the seed and the number of the epoch.

    Args:
        max_history, batch_positions: positions of a row and of a batch.
        objective: options of the objective; a large catalogue is sampled.
        seed: seed of packing and sampling.
        preferences: rationales learnt beside the next item; None: none are learnt.
        tie_groups: `Interactions.tie_groups`, whose order is drawn anew every epoch; None: no ties. `[E]` int64
    """

    def __init__(
        self,
        sequences: Sequences,
        n_items: int,
        *,
        max_history: int,
        batch_positions: int,
        objective: ObjectiveOptions,
        seed: int,
        preferences: Preferences | None = None,
        tie_groups: np.ndarray | None = None,
    ) -> None:
        self.preferences, self.tie_groups = preferences, tie_groups
        self.sequences, self.n_items, self.max_history, self.seed = sequences, n_items, max_history, seed
        self.rows = max(1, batch_positions // max_history)
        self.sampled = objective.sampled_items if n_items > objective.full_softmax_limit else None
        counts = sequences.targets().counts(n_items)
        self.popularity = counts / max(1, counts.sum())
        self.disliked = Disliked.of(sequences) if objective.disliked_weight else None
        if self.disliked is not None:
            self.sequences = sequences.with_columns(owner=sequences.owners())

    def epoch(self, number: int) -> tuple[int, Iterator[Batch]]:
        """Number of batches of epoch `number`, and the batches; the last one may be smaller."""
        rng = np.random.default_rng([self.seed, number])
        sequences = self.sequences if self.tie_groups is None else self.sequences.redrawn(self.tie_groups, rng)
        packed = pack_for_training(sequences, self.max_history, rng)
        order = rng.permutation(len(packed.items))
        starts = range(0, len(order), self.rows)
        return len(starts), (self._build(packed, order[start : start + self.rows], rng) for start in starts)

    def _build(self, packed: Packed, which: np.ndarray, rng: np.random.Generator) -> Batch:
        items, targets = packed.items[which], packed.targets[which]
        layout = Layout.of(packed, which)
        rationales = None if self.preferences is None else self._rationales(self.preferences, packed, which, rng)
        columns = {name: packed.columns[name][which] for name in ("role", "weight", "owner") if name in packed.columns}
        disliked = None if self.disliked is None else self.disliked.draw(columns["owner"], rng)
        more = {
            "context": torch.from_numpy(columns["role"] == CONTEXT) if "role" in columns else None,
            "weights": torch.from_numpy(columns["weight"]) if "weight" in columns else None,
        }
        if self.sampled is None:
            candidates = torch.arange(self.n_items)
            more["disliked"] = None if disliked is None else torch.from_numpy(disliked)
            return Batch(
                candidates, torch.from_numpy(items), torch.from_numpy(targets), layout, None, rationales, **more
            )
        # The items of the batch, and a uniform sample beside them.
        drawn = rng.integers(0, self.n_items, self.sampled)
        every = (items, targets) if disliked is None else (items, targets, disliked)
        chosen = np.unique(np.concatenate([*(one[one != PADDING] for one in every), drawn]))
        # An item within a history is an input and a target, yet one interaction: only the last target is one more.
        filled = packed.segments[which] != PADDING
        interactions = filled.sum() + (filled & (packed.positions[which] == 0)).sum()
        absent = np.exp(-self.popularity[chosen] * interactions - self.sampled / self.n_items)
        log_q = torch.from_numpy(np.log(np.maximum(1 - absent, 1e-12))).float()

        def place(numbers: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.where(numbers == PADDING, PADDING, np.searchsorted(chosen, numbers)))

        if rationales is not None:  # their items are among those of the batch
            inputs, outputs = place(rationales.items.numpy()), place(rationales.targets.numpy())
            rationales = replace(rationales, items=inputs, targets=outputs)
        more["disliked"] = None if disliked is None else place(disliked)
        return Batch(torch.from_numpy(chosen), place(items), place(targets), layout, log_q, rationales, **more)

    def _rationales(
        self, preferences: Preferences, packed: Packed, which: np.ndarray, rng: np.random.Generator
    ) -> RationaleBatch:
        """Histories up to some positions of some rows, their next items, and rationales."""
        rows, places = (packed.targets[which] != PADDING).nonzero()
        drawn = rng.permutation(len(rows))[:ROWS]
        histories, targets = [], []
        for row, place in zip(which[rows[drawn]], places[drawn], strict=True):
            start = place - int(packed.positions[row, place])
            histories.append(packed.items[row, start : place + 1])
            targets.append(int(packed.targets[row, place]))
        return rationale(preferences, histories, targets, self.max_history)


DISLIKED = 8  # number of items that a user dislikes that are drawn for each target


@dataclass(frozen=True, eq=False)
class Disliked:
    """Items that each user dislikes. `U` sequences"""

    items: Sequences

    @classmethod
    def of(cls, sequences: Sequences) -> "Disliked | None":
        """Those of training histories; None where nobody dislikes anything."""
        items = sequences.disliked()
        return None if items is None else cls(items)

    def draw(self, owners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Random items that users `[B, L]` dislike; `PADDING` for who dislikes none, or no user. `[B, L, M]` int64"""
        counts = np.where(owners >= 0, self.items.lengths[owners], 0)[..., None]
        entries = (rng.random((*owners.shape, DISLIKED)) * counts).astype(np.int64)
        entries += np.where(owners >= 0, self.items.offsets[owners], 0)[..., None]
        drawn = np.append(self.items.items, 0)[np.minimum(entries, len(self.items.items))]
        return np.where(counts > 0, drawn, PADDING).astype(np.int64)


def batch_share(batch: Batch, team: Team) -> tuple[Batch, float]:
    """This process's rows of a batch, and the weight of their mean loss: their share of all targets.

    Every process has all candidates. Rationales weigh as the targets of their rows do.
    """

    def rows(count: int) -> torch.Tensor:
        return torch.from_numpy(team.rows(count)).to(batch.items.device)

    share, learnt = batch.rows(rows(len(batch.items))), batch.rationale
    if learnt is not None:
        some = rows(len(learnt.items))
        own = RationaleBatch(learnt.items[some], learnt.layout.select(some), learnt.targets[some], learnt.text[some])
        share = replace(share, rationale=own)
    targets = float((share.targets != PADDING).sum() / (batch.targets != PADDING).sum())
    return share, team.size * targets if team.index < len(batch.items) else 0.0
