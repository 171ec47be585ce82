"""What DeftRec asks of a language model: continuous tokens among words in, a condition for each next item out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deftrec.data import NOTHING


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the histories of a batch lie.

    Attributes:
        segments: which history of its row a place belongs to, `NOTHING` for an empty place. `[B, L]` int64
        positions: place within its history, from 0. `[B, L]` int64
    """

    segments: Tensor
    positions: Tensor

    def visible(self) -> Tensor:
        """Whether a place (second axis) may read another (third): the same history, not later. `[B, L, L]` bool

        An empty place reads itself alone, so that no softmax runs over nothing.
        """
        same = self.segments[:, :, None] == self.segments[:, None, :]
        L = self.segments.shape[1]
        causal = torch.ones(L, L, dtype=torch.bool, device=same.device).tril()
        filled = (self.segments != NOTHING)[:, :, None]
        alone = torch.eye(L, dtype=torch.bool, device=same.device)
        return (same & causal & filled) | alone


class LanguageModel(nn.Module, ABC):
    """Reads a prompt whose last part is a history of items, K continuous tokens each.

    The hidden state at the last token of an item is the condition for the item after it. Words that come before the
    history are laid once at the start of each row and read by every history in it: they see nothing but
    themselves, so this equals a prompt of its own for each history.

    Attributes:
        width: D, of the tokens read and of the condition.
        in_files: whether weights that are not trained can be read again from where they came from.
    """

    width: int
    in_files: bool = True

    def forward(self, ways: Tensor, layout: Layout) -> Tensor:
        """Conditions of a batch of histories.

        Args:
            ways: continuous tokens of each place. `[B, L, K, D]`
            layout: where the histories lie.

        Returns:
            `[B, L, D]`; what stands at an empty place means nothing.
        """
        B, L, K, D = ways.shape
        words = self.words()  # [P, D]
        P = len(words)
        visible = layout.visible().repeat_interleave(K, 1).repeat_interleave(K, 2)
        if K > 1:  # the tokens of one item follow one another
            visible = visible & torch.ones_like(visible[0]).tril()
        mask = torch.zeros(B, P + L * K, P + L * K, dtype=torch.bool, device=ways.device)
        mask[:, :P, :P] = torch.ones(P, P, dtype=torch.bool, device=ways.device).tril()
        mask[:, P:, :P] = True
        mask[:, P:, P:] = visible
        tokens = self.rescale(ways).reshape(B, L * K, D)
        embeddings = torch.cat([words.to(tokens.dtype).expand(B, P, D), tokens], 1)
        steps = torch.arange(K, device=ways.device)
        places = (layout.positions[:, :, None] * K + steps).reshape(B, L * K) + P
        positions = torch.cat([torch.arange(P, device=ways.device).expand(B, P), places], 1)
        hidden = self.read(embeddings, mask, positions)
        return hidden[:, P + K - 1 :: K]

    def words(self) -> Tensor:
        """Embeddings of the words before the history. `[P, D]`; none by default."""
        return torch.zeros(0, self.width, device=next(self.parameters()).device)

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
