"""Interface of a language model: continuous tokens among words in, a hidden state per item out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.data import PADDING, Packed
from deftrec.tokenizer import Events


@dataclass(frozen=True, eq=False)
class Layout:
    """Positions of the histories in the rows of a batch.

    Attributes:
        segments: number of the history in its row; `PADDING` at empty positions. `[B, L]` int64
        positions: position within the history, from 0. `[B, L]` int64
        events: what is known of the events besides their items; None: nothing.
    """

    segments: Tensor
    positions: Tensor
    events: Events | None = None

    @classmethod
    def of(cls, packed: Packed, rows: np.ndarray | None = None) -> "Layout":
        """The layout of packed or padded rows, of some `rows` `[n]` int64 or all."""
        segments, positions = (
            torch.from_numpy(one if rows is None else one[rows]) for one in (packed.segments, packed.positions)
        )
        return cls(segments, positions, Events.of(packed.columns, rows))

    def select(self, rows: Tensor) -> "Layout":
        """The layout of some rows. `[n]` int64"""
        events = None if self.events is None else self.events.select(rows)
        return Layout(self.segments[rows], self.positions[rows], events)

    @property
    def lengths(self) -> Tensor:
        """Number of items in each row. `[B]` int64"""
        return (self.segments != PADDING).sum(1)

    def attention_mask(self) -> Tensor:
        """True where a position (second axis) may read another (third): same history, not later. `[B, L, L]` bool

        An empty position reads itself alone, so that no softmax is empty.
        """
        same = self.segments[:, :, None] == self.segments[:, None, :]
        L = self.segments.shape[1]
        causal = torch.ones(L, L, dtype=torch.bool, device=same.device).tril()
        filled = (self.segments != PADDING)[:, :, None]
        alone = torch.eye(L, dtype=torch.bool, device=same.device)
        return (same & causal & filled) | alone


@dataclass(frozen=True, eq=False)
class Prompt:
    """Input of a language model: P words, then S tokens at each of L positions.

    Attributes:
        embeddings: `[B, P + L S, D]`
        mask: true where a token (second axis) may read another (third). `[B, P + L S, P + L S]` bool
        positions: `[B, P + L S]` int64
        present: false at padding. `[B, P + L S]` bool
        days: time of each token's event in days, 0 for words; None where times are unknown. `[B, P + L S]` float64
        words: number of words P.
        step: number of tokens S per position.
    """

    embeddings: Tensor
    mask: Tensor
    positions: Tensor
    present: Tensor
    words: int
    step: int
    days: Tensor | None = None


class LanguageModel(nn.Module, ABC):
    """Reads a prompt that ends with a history of items, K continuous tokens each.

    The hidden state at an item's last token is the condition of the item after it. The words of a prompt stand once at
    the start of each row and are read by every history in it. They read only themselves, so the result equals that of a
    separate prompt per history.

    Attributes:
        width: width D of tokens and hidden states.
        max_history: largest number of items read from one history.
    """

    width: int
    max_history: int

    def forward(self, ways: Tensor, layout: Layout, items: Tensor | None = None) -> Tensor:
        """Hidden state after each item of a batch of histories. `[B, L, D]`, meaningless at empty positions.

        Args:
            ways: continuous tokens. `[B, L, K, D]`
            layout: segments and positions.
            items: item numbers, for titles, any number at empty positions; None: no titles. `[B, L]` int64
        """
        prompt = self.lay_out(ways, layout, items)
        hidden = self.read_prompt(prompt)
        return hidden[:, prompt.words + prompt.step - 1 :: prompt.step]

    def lay_out(self, ways: Tensor, layout: Layout, items: Tensor | None) -> Prompt:
        """Words, then title tokens (if read) and continuous tokens of each position; arguments as for `forward`."""
        B, L, _, D = ways.shape
        words = self.words()  # [P, D]
        P = len(words)
        tokens = self.rescale(ways)
        present = torch.ones_like(tokens[..., 0], dtype=torch.bool)
        titles = None if items is None else self.titles(items)
        if titles is not None:
            tokens = torch.cat([titles[0].to(tokens.dtype), tokens], 2)
            present = torch.cat([titles[1], present], 2)
        S = tokens.shape[2]
        present = present.flatten(1)  # [B, L S]
        attention_mask = layout.attention_mask().repeat_interleave(S, 1).repeat_interleave(S, 2)
        if S > 1:  # the tokens of one item are read in order, padding is not read
            attention_mask = attention_mask & torch.ones_like(attention_mask[0]).tril()
            alone = torch.eye(L * S, dtype=torch.bool, device=ways.device)
            attention_mask = (attention_mask & present[:, None, :]) | alone
        mask = torch.ones(B, P + L * S, P + L * S, dtype=torch.bool, device=ways.device).tril()
        mask[:, P:, P:] = attention_mask
        embeddings = torch.cat([words.to(tokens.dtype).expand(B, P, D), tokens.reshape(B, L * S, D)], 1)
        # A token's position is the number of tokens, without padding, before it in its own history.
        before = present.long().cumsum(1) - 1
        starts = (torch.arange(L, device=ways.device) - layout.positions).clamp_min(0) * S
        first = torch.where(starts > 0, before.gather(1, (starts - 1).clamp_min(0)) + 1, 0)
        places = (before - first.repeat_interleave(S, 1)).clamp_min(0) + P
        positions = torch.cat([torch.arange(P, device=ways.device).expand(B, P), places], 1)
        filled = present & (layout.segments != PADDING).repeat_interleave(S, 1)
        days = None if layout.events is None else layout.events.day
        if days is not None:
            days = F.pad(days.repeat_interleave(S, 1), (P, 0))
        return Prompt(embeddings, mask, positions, F.pad(filled, (P, 0), value=True), P, S, days)

    def read_prompt(self, prompt: Prompt) -> Tensor:
        """Hidden states of a prompt's tokens. `[B, P + L S, D]`"""
        return self.read(prompt.embeddings, prompt.mask, prompt.positions)

    def words(self) -> Tensor:
        """Embeddings of the words before the history. `[P, D]`; none by default."""
        return torch.zeros(0, self.width, device=next(self.parameters()).device)

    def titles(self, items: Tensor) -> tuple[Tensor, Tensor] | None:
        """Embeddings of title tokens and a mask without padding; None if titles are not read.

        `[B, L]` int64 -> `[B, L, T, D]` and `[B, L, T]` bool
        """
        return None

    def with_titles(self, titles: Sequence[str]) -> "LanguageModel":
        """A model that shares every weight, for a catalogue with more items; itself if it reads no titles."""
        return self

    def rescale(self, ways: Tensor) -> Tensor:
        """Continuous tokens at the scale that the model expects. `[B, L, K, D]` -> `[B, L, K, D]`"""
        return ways

    @abstractmethod
    def read(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Hidden states of embedded tokens. `[B, T, D]` -> `[B, T, D]`

        `mask` `[B, T, T]` bool is true where a token (second axis) may read another (third). Positions are `[B, T]`.
        """
