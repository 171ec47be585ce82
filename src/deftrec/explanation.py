"""Why an item was recommended: the model's words, the history items that moved its score, and the score's parts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences
from deftrec.retrieval import Retriever

ASKED = 200
"""Newest items of a history that are left out one by one."""


@dataclass(frozen=True)
class Influence:
    """What one item of the history did for a recommendation.

    Attributes:
        place: in the history, from 0 for the oldest.
        item: its number.
        change: of the recommended item's log share of the whole catalogue's score, by this item's being there.
    """

    place: int
    item: int
    change: float


@dataclass(frozen=True)
class Reasons:
    """Why one item was recommended, in numbers.

    Attributes:
        influences: the history items, those that helped most first.
        shares: of `latent`, `text`, `prior` and `trend` in what lifts the item above the average of the catalogue, each
            from 0 to 1; a part that does not lift it has none.
    """

    influences: tuple[Influence, ...]
    shares: dict[str, float]


@dataclass(frozen=True, eq=False)
class Queries:
    """Histories as a retriever takes them.

    Attributes:
        histories: N of them.
        queries: their generated latents. `[N, D]`
        texts: what the model says of them, encoded; None: no words in the score. `[N, E]`
    """

    histories: Sequences
    queries: Tensor
    texts: Tensor | None

    def first(self) -> "Queries":
        """The first history alone."""
        return Queries(self.histories.select([0]), self.queries[:1], None if self.texts is None else self.texts[:1])


def reasons(
    retriever: Retriever, ask: Callable[[Sequences], Queries], history: np.ndarray, items: Sequence[int]
) -> list[Reasons]:
    """Why each of `items` is where it is after `history`.

    An influence is the difference that leaving one item out makes, everything else computed anew (leave-one-out).

    Args:
        retriever: the whole score.
        ask: generates for histories.
        history: item numbers, oldest first, one or more.
        items: item numbers.
    """
    places = range(max(0, len(history) - ASKED), len(history))
    without = [np.delete(history, place) for place in places] if len(history) > 1 else []
    asked = ask(Sequences.from_lists([history, *without]))
    chosen = torch.tensor(list(items), device=retriever.latents.device)
    shares = torch.cat(
        [scores.log_softmax(-1)[:, chosen] for scores in _scores(retriever, asked)]
    )  # [1 + places, items]
    if not without:  # nothing is left to compare with but a score that is the same for all
        shares = torch.cat([shares, torch.full_like(shares, -float(np.log(len(retriever.latents))))])
    changes = (shares[0] - shares[1:]).T.tolist()
    parts = _parts(replace(retriever, removed=retriever.removed[:0], bonus=None), asked.first(), chosen)
    return [
        Reasons(
            tuple(
                sorted(
                    (Influence(place, int(history[place]), one) for place, one in zip(places, row, strict=True)),
                    key=lambda influence: -influence.change,
                )
            ),
            {name: float(values[n]) for name, values in parts.items()},
        )
        for n, row in enumerate(changes)
    ]


def _scores(retriever: Retriever, asked: Queries) -> Iterator[Tensor]:
    """Of every item, for some of the histories after the others. Each `[n, I]`"""
    return (scores for _, scores in retriever.chunks(asked.queries, asked.histories, False, asked.texts))


def _parts(retriever: Retriever, asked: Queries, chosen: Tensor) -> dict[str, Tensor]:
    """Share of each part of the score in what lifts the chosen items. Each `[items]`"""
    forms = {
        "latent": replace(retriever, text_weight=0.0, prior=None, trend=None),
        "text": replace(retriever, prior=None, trend=None),
        "prior": replace(retriever, trend=None),
        "trend": retriever,
    }
    lifts, before = {}, torch.zeros_like(retriever.latents[:, 0])
    for name, form in forms.items():
        [scores] = _scores(form, asked)
        lift = scores[0] - before
        lifts[name] = (lift - lift.mean())[chosen].clamp_min(0)
        before = scores[0]
    total = torch.stack(list(lifts.values())).sum(0).clamp_min(1e-12)
    return {name: lift / total for name, lift in lifts.items()}
