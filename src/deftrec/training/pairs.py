"""What a trained small model knows at places of histories: its conditions there, and the items that followed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deftrec.data import PADDING, Sequences
from deftrec.ensemble import Model, members_of, own_catalogues
from deftrec.model import ItemLatents
from deftrec.modes import evaluating
from deftrec.retrieval.queries import batches


@torch.no_grad()
def small_conditions(model: Model, catalogue: ItemLatents, histories: Sequence[np.ndarray], last: int) -> Tensor:
    """Condition of every member at the newest `last` items of each history, the newest at the end. `[N, last, M, d]`

    Zero before the first item of a history that is shorter.
    """
    device = catalogue.latents.device
    pairs = list(zip(members_of(model), own_catalogues(model, catalogue), strict=True))
    conditions = torch.zeros(len(histories), last, len(pairs), pairs[0][0].language.width, device=device)
    sequences = Sequences.from_lists(list(histories))
    with evaluating(model):
        for which, items, layout in batches(model.max_history, sequences, device):
            lengths = layout.lengths
            for m, (member, own) in enumerate(pairs):
                hidden = member.condition(own.ways, own.features, items, layout).float()
                for row, (n, length) in enumerate(zip(which.tolist(), lengths.tolist(), strict=True)):
                    kept = min(last, length)
                    conditions[n, last - kept :, m] = hidden[row, length - kept : length]
    return conditions


@dataclass(frozen=True, eq=False)
class Pairs:
    """Histories' ends and the items that followed, for the training of a residual.

    Attributes:
        conditions: the small model's conditions. `[N, M, d]`
        states: hidden states of the reasoner. `[N, D]`
        targets: next items. `[N]` int64
        seen: (pair, item) of items in the history of a pair, other than its target, sorted by pair. `[S, 2]` int64
        content: mean hidden states of statements; None: there are none. `[N, D]`
    """

    conditions: Tensor
    states: Tensor
    targets: Tensor
    seen: Tensor
    content: Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, rows: Tensor) -> "Pairs":
        """Some pairs, `[n]` int64, in rising order."""
        seen = seen_of(self.seen, rows, len(self))
        content = None if self.content is None else self.content[rows]
        return Pairs(self.conditions[rows], self.states[rows], self.targets[rows], seen, content)


def seen_of(seen: Tensor, rows: Tensor, count: int) -> Tensor:
    """The (row, item) pairs `seen` `[S, 2]` of some of `count` rows, `[n]` int64, numbered in the order of `rows`."""
    place = torch.full((count,), PADDING, device=rows.device)
    place[rows] = torch.arange(len(rows), device=rows.device)
    kept = seen[place[seen[:, 0]] != PADDING]
    return torch.stack([place[kept[:, 0]], kept[:, 1]], 1)


def places_of(read: list[np.ndarray], ends: np.ndarray, window: int) -> list[tuple[int, int]]:
    """(history, place) of the newest `window` items before a target whose next item is before the `ends` `[N]`."""
    return [
        (n, place)
        for n, (history, end) in enumerate(zip(read, ends.tolist(), strict=True))
        for place in range(max(0, len(history) - 1 - window), min(end, len(history)) - 1)
    ]


def pairs_of(read: list[np.ndarray], places: list[tuple[int, int]], conditions: Tensor, states: Tensor) -> Pairs:
    """Pairs at places (history, place of its newest item), sorted; the item behind the place is the target.

    `conditions` `[N, W, M, d]` and `states` `[N, W, D]` are those at the newest W items before the last of `read`.
    """
    targets, seen = [], []
    for pair, (n, place) in enumerate(places):
        target = int(read[n][place + 1])
        before = np.unique(read[n][: place + 1])
        seen.append(np.stack([np.full(len(before), pair), before], 1)[before != target])
        targets.append(target)
    device, W = states.device, states.shape[1]
    rows = torch.tensor([n for n, _ in places], device=device)
    columns = torch.tensor([W - len(read[n]) + 1 + place for n, place in places], device=device)
    pairs = torch.from_numpy(np.concatenate(seen)).to(device)
    return Pairs(conditions[rows, columns], states[rows, columns], torch.tensor(targets, device=device), pairs)
