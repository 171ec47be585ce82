"""What DeftRec asks of a language model: continuous tokens among words in, a condition for each next item out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deftrec.data import PADDING, Packed


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the histories of a batch lie.

    Attributes:
        segments: which history of its row a place belongs to, `PADDING` for an empty place. `[B, L]` int64
        positions: place within its history, from 0. `[B, L]` int64
    """

    segments: Tensor
    positions: Tensor

    @classmethod
    def of(cls, packed: Packed) -> "Layout":
        """Where the histories of packed or padded rows lie."""
        return cls(torch.from_numpy(packed.segments), torch.from_numpy(packed.positions))

    def to(self, device: torch.device) -> "Layout":
        """The layout on `device`."""
        return Layout(self.segments.to(device), self.positions.to(device))

    def select(self, rows: Tensor) -> "Layout":
        """The layout of some rows. `[n]` int64"""
        return Layout(self.segments[rows], self.positions[rows])

    def attention_mask(self) -> Tensor:
        """Whether a place (second axis) may read another (third): the same history, not later. `[B, L, L]` bool

        An empty place reads itself alone, so that no softmax runs over nothing.
        """
        same = self.segments[:, :, None] == self.segments[:, None, :]
        L = self.segments.shape[1]
        causal = torch.ones(L, L, dtype=torch.bool, device=same.device).tril()
        filled = (self.segments != PADDING)[:, :, None]
        alone = torch.eye(L, dtype=torch.bool, device=same.device)
        return (same & causal & filled) | alone


@dataclass(frozen=True, eq=False)
class Prompt:
    """Words and histories as a language model reads them: P words, then S tokens at each place.

    Attributes:
        embeddings: `[B, P + L S, D]`
        mask: true where a token (second axis) may read another (third). `[B, P + L S, P + L S]` bool
        positions: `[B, P + L S]` int64
        present: which tokens are there at all. `[B, P + L S]` bool
        words: P.
        step: S.
    """

    embeddings: Tensor
    mask: Tensor
    positions: Tensor
    present: Tensor
    words: int
    step: int


class LanguageModel(nn.Module, ABC):
    """Reads a prompt whose last part is a history of items, K continuous tokens each.

    The hidden state at the last token of an item is the condition for the item after it. Words that come before the
    history are laid once at the start of each row and read by every history in it: they see nothing but
    themselves, so this equals a prompt of its own for each history.

    Attributes:
        width: D, of the tokens read and of the condition.
        max_history: most items of one history that are read.
        in_files: whether weights that are not trained can be read again from where they came from.
    """

    width: int
    max_history: int
    in_files: bool = True

    def forward(self, ways: Tensor, layout: Layout, items: Tensor | None = None) -> Tensor:
        """Conditions of a batch of histories.

        Args:
            ways: continuous tokens of each place. `[B, L, K, D]`
            layout: where the histories lie.
            items: item number of each place, anything where it is empty; None: no titles are read. `[B, L]` int64

        Returns:
            `[B, L, D]`; what stands at an empty place means nothing.
        """
        prompt = self.lay_out(ways, layout, items)
        hidden = self.read(prompt.embeddings, prompt.mask, prompt.positions)
        return hidden[:, prompt.words + prompt.step - 1 :: prompt.step]

    def lay_out(self, ways: Tensor, layout: Layout, items: Tensor | None) -> Prompt:
        """Words, then each place's title (where the model reads titles) and its continuous tokens; see `forward`."""
        B, L, _, D = ways.shape
        words = self.words()  # [P, D]
        P = len(words)
        tokens = self.rescale(ways)
        present = torch.ones(tokens.shape[:3], dtype=torch.bool, device=ways.device)
        titles = None if items is None else self.titles(items)
        if titles is not None:
            tokens = torch.cat([titles[0].to(tokens.dtype), tokens], 2)
            present = torch.cat([titles[1], present], 2)
        S = tokens.shape[2]
        present = present.flatten(1)  # [B, L S]
        attention_mask = layout.attention_mask().repeat_interleave(S, 1).repeat_interleave(S, 2)
        if S > 1:  # the tokens of one item follow one another, and what is not there is not read
            attention_mask = attention_mask & torch.ones_like(attention_mask[0]).tril()
            alone = torch.eye(L * S, dtype=torch.bool, device=ways.device)
            attention_mask = (attention_mask & present[:, None, :]) | alone
        mask = torch.zeros(B, P + L * S, P + L * S, dtype=torch.bool, device=ways.device)
        mask[:, :P, :P] = torch.ones(P, P, dtype=torch.bool, device=ways.device).tril()
        mask[:, P:, :P] = True
        mask[:, P:, P:] = attention_mask
        embeddings = torch.cat([words.to(tokens.dtype).expand(B, P, D), tokens.reshape(B, L * S, D)], 1)
        # A token's position counts the tokens of its own history before it that are there.
        before = present.long().cumsum(1) - 1
        starts = (torch.arange(L, device=ways.device) - layout.positions).clamp_min(0) * S
        first = torch.where(starts > 0, before.gather(1, (starts - 1).clamp_min(0)) + 1, 0)
        places = (before - first.repeat_interleave(S, 1)).clamp_min(0) + P
        positions = torch.cat([torch.arange(P, device=ways.device).expand(B, P), places], 1)
        there = present & (layout.segments != PADDING).repeat_interleave(S, 1)
        there = torch.cat([torch.ones(B, P, dtype=torch.bool, device=ways.device), there], 1)
        return Prompt(embeddings, mask, positions, there, P, S)

    def words(self) -> Tensor:
        """Embeddings of the words before the history. `[P, D]`; none by default."""
        return torch.zeros(0, self.width, device=next(self.parameters()).device)

    def titles(self, items: Tensor) -> tuple[Tensor, Tensor] | None:
        """Embeddings of the words of each item's title, and which are there; None where titles are not read.

        Args:
            items: `[B, L]` int64

        Returns:
            `[B, L, T, D]` and `[B, L, T]` bool
        """
        return None

    def with_titles(self, titles: Sequence[str]) -> "LanguageModel":
        """The same model, every weight shared, for a catalogue with more items; itself where it reads no titles."""
        return self

    def rescale(self, ways: Tensor) -> Tensor:
        """Bring continuous tokens to the scale this model expects. `[B, L, K, D]` -> `[B, L, K, D]`"""
        return ways

    @abstractmethod
    def read(self, embeddings: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Hidden states of embedded tokens.

        Args:
            embeddings: `[B, T, D]`
            mask: true where a token (second axis) may read another (third). `[B, T, T]` bool
            positions: `[B, T]` int64

        Returns:
            `[B, T, D]`
        """
