"""Codebooks: a continuous token is replaced by the nearest code.

Discrete tokens are what DeftRec's continuous tokens are compared with. A quantiser keeps the shape of the tokens, so
that all later parts stay the same. Items with equal codes become equal to the model.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ, VectorQuantize

KMEANS_STEPS = 10
"""Number of k-means iterations on the first batch, which initialise the codebooks."""
DEAD = 0.5
"""Codes with a smaller moving count of items are replaced by tokens of the batch."""


@dataclass(frozen=True)
class CodebookOptions:
    """Options of the codebooks.

    Attributes:
        kind: `vq`, one codebook per token, or `rq`, several codebooks for the residuals of one token.
        size: number of codes per codebook.
        levels: number of codebooks of `rq`.
        decay: decay of the moving averages that the codes are.
        commitment: weight of the loss that pulls tokens towards their codes.
    """

    kind: Literal["vq", "rq"] = "vq"
    size: int = 256
    levels: int = 3
    decay: float = 0.8
    commitment: float = 0.25


class Quantiser(nn.Module, ABC):
    """Replaces tokens by codes in float32, with straight-through gradients.

    Codes are moving averages of the tokens they replace (van den Oord et al. 2017, appendix A.1): buffers, which no
    optimiser updates and every checkpoint holds.
    """

    def forward(self, ways: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and commitment loss, a scalar. `[N, K, D]` -> `[N, K, D]`"""
        with torch.autocast(ways.device.type, enabled=False):
            ways = ways.float()
            codes, loss = self.quantise(ways)
            codes = codes.detach()
            return ways + (codes - ways).detach() if self.training else codes, loss

    @abstractmethod
    def quantise(self, ways: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of tokens `[N, K, D]` and the commitment loss, a scalar."""


class VectorQuantiser(Quantiser):
    """K-way vector quantisation: one codebook per token (TokenRec, Qu et al. 2024, arXiv 2406.10450)."""

    def __init__(self, ways: int, width: int, options: CodebookOptions) -> None:
        super().__init__()
        self.books = nn.ModuleList(VectorQuantize(dim=width, **_book_arguments(options)) for _ in range(ways))

    def quantise(self, ways: Tensor) -> tuple[Tensor, Tensor]:
        """See `Quantiser.quantise`."""
        parts = [book(way) for book, way in zip(self.books, ways.unbind(1), strict=True)]
        return torch.stack([found for found, _, _ in parts], 1), torch.stack([loss for _, _, loss in parts]).mean()


class ResidualQuantiser(Quantiser):
    """Residual quantisation of one token: each codebook quantises the residual of those before it.

    After RQ-VAE (Lee et al. 2022), whose codes are the semantic ids of TIGER (Rajput et al. 2023, arXiv 2305.05065).
    """

    def __init__(self, ways: int, width: int, options: CodebookOptions) -> None:
        super().__init__()
        if ways > 1:
            raise ValueError("rq quantises one token per item: set tokenizer.ways to 1")
        self.books = ResidualVQ(dim=width, num_quantizers=options.levels, **_book_arguments(options))

    def quantise(self, ways: Tensor) -> tuple[Tensor, Tensor]:
        """See `Quantiser.quantise`."""
        found, _, losses = self.books(ways)
        return found, losses.mean()


def _book_arguments(options: CodebookOptions) -> dict[str, object]:
    return {
        "codebook_size": options.size,
        "decay": options.decay,
        "kmeans_init": True,
        "kmeans_iters": KMEANS_STEPS,
        "threshold_ema_dead_code": DEAD,
        "commitment_weight": 1.0,  # weighted by `CodebookOptions.commitment`
        "rotation_trick": False,
    }


QUANTISERS: dict[str, type[VectorQuantiser | ResidualQuantiser]] = {"vq": VectorQuantiser, "rq": ResidualQuantiser}
