"""Event tokens: kind, value and time of an interaction, added to its item's continuous tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from deftrec.data.sequences import GAPS

VALUES = 16  # largest number of values that are told apart; more of them are read by quantile
UNKNOWN_SHARE = 0.1  # share of histories of training whose signals are hidden, so that histories without any are read


@dataclass(frozen=True, eq=False)
class Events:
    """What is known of the event at each position besides its item, as far as the data have it. None: unknown.

    Attributes:
        kind: code of the event's kind; `PADDING`: unknown. `[B, L]` int64
        value: rating or amount; NaN: none. `[B, L]` float32
        gap: bucket of the time since the event before (`deftrec.data.sequences.gap_buckets`). `[B, L]` int64
        wait: bucket of the time until the request. `[B, L]` int64
        day: time in days. `[B, L]` float64
    """

    kind: Tensor | None = None
    value: Tensor | None = None
    gap: Tensor | None = None
    wait: Tensor | None = None
    day: Tensor | None = None

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray], rows: np.ndarray | None = None) -> "Events | None":
        """The events of packed rows, of some `rows` or all; None where nothing is known."""
        names = [field.name for field in fields(cls) if field.name in columns]
        chosen = {name: columns[name] if rows is None else columns[name][rows] for name in names}
        return cls(**{name: torch.from_numpy(one) for name, one in chosen.items()}) if names else None

    @property
    def shape(self) -> tuple[int, int]:
        """B rows of L positions."""
        known = next(one for one in vars(self).values() if one is not None)
        return known.shape[0], known.shape[1]

    def select(self, rows: Tensor) -> "Events":
        """The events of some rows. `[n]` int64"""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return Events(**{name: one if one is None else one[rows] for name, one in given.items()})


class EventTokens(nn.Module):
    """Embeddings of what is known of an event besides its item; all begin at zero, and what is unknown adds nothing.

    Args:
        width: width D of the language model.
        kinds: number of kinds; 0: none are read.
        values: whether values (ratings, amounts) are read.
        gaps: whether the time since the event before is read.
        wait: whether the time between the last event and the request is read.
    """

    edges: Tensor

    def __init__(self, width: int, *, kinds: int, values: bool, gaps: bool, wait: bool) -> None:
        super().__init__()
        self.width = width
        self.kind = _table(kinds + 1, width) if kinds else None
        self.value = _table(VALUES + 1, width) if values else None
        self.gap = _table(GAPS, width) if gaps else None
        self.wait = _table(GAPS, width) if wait else None
        self.register_buffer("edges", torch.full((VALUES,), torch.finfo(torch.float32).max))

    @torch.no_grad()
    def fit_values(self, values: Tensor) -> None:
        """Set the edges between values: each of up to `VALUES` distinct ones is told apart, else quantiles. `[E]`"""
        known = values[~values.isnan()].float()
        distinct = torch.unique(known)
        if len(distinct) > VALUES:
            distinct = torch.quantile(distinct[:: max(1, len(distinct) // 1_000_000)], torch.arange(VALUES) / VALUES)
        self.edges[: len(distinct)] = distinct.to(self.edges)

    def forward(self, events: Events) -> Tensor:
        """What is added to every token of each position. `[B, L, D]`"""
        places = [
            (self.kind, None if events.kind is None else events.kind + 1),
            (self.value, None if events.value is None else self._value_places(events.value)),
            (self.gap, events.gap),
        ]
        hidden = self._hidden(events)
        total = torch.zeros(*events.shape, self.width, device=hidden.device)
        for table, one in places:
            if table is not None and one is not None:
                total = total + table(one.masked_fill(hidden, 0))
        return total

    def until_request(self, events: Events | None) -> Tensor | float:
        """What is added to the condition after each position, by the time until the request. `[B, L, D]` or 0"""
        if self.wait is None or events is None or events.wait is None:
            return 0.0
        return self.wait(events.wait.masked_fill(self._hidden(events), 0))  # type: ignore[no-any-return]

    def after_history(self, events: Events | None, lengths: Tensor) -> Tensor | float:
        """`until_request` at the last position of one history per row. `[B, D]` or 0"""
        added = self.until_request(events)
        if isinstance(added, float):
            return added
        return added[torch.arange(len(added), device=added.device), (lengths - 1).clamp_min(0)]

    def _value_places(self, values: Tensor) -> Tensor:
        return torch.bucketize(values, self.edges, right=True).masked_fill(values.isnan(), 0)

    def _hidden(self, events: Events) -> Tensor:
        """The histories of training whose signals are hidden, `[B, 1]` bool."""
        share = UNKNOWN_SHARE if self.training else 0.0
        return torch.rand(events.shape[0], 1, device=self.edges.device) < share


def _table(rows: int, width: int) -> nn.Embedding:
    """A table of zeros whose first row, for what is unknown, stays zero."""
    return nn.Embedding(rows, width, padding_idx=0, _weight=torch.zeros(rows, width))  # draws no random numbers
