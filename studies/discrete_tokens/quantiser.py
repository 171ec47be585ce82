"""What becomes of a continuous token before it is read: nothing, or the nearest entry of a codebook.

The discrete tokens that DeftRec is compared with. A quantiser keeps the shape of the tokens, so that everything after
it is the same; items whose codes are equal are one to the model, which is the loss that continuous tokens avoid.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from deftrec.config import TokenizerOptions
from deftrec.errors import MissingExtraError

LIBRARY, EXTRA = "vector-quantize-pytorch", "bench"
KMEANS_STEPS = 10
"""Of Lloyd's algorithm on the first batch, where the codebooks start."""
DEAD = 0.5
"""A code with a smaller moving count of items is drawn anew from the batch."""


class Quantiser(nn.Module, ABC):
    """Replaces tokens by what stands for them.

    Args:
        ways: K.
        width: D.
        options: of the codebooks.

    Raises:
        MissingExtraError: the library of the codebooks is not installed.
    """

    def __init__(self, ways: int, width: int, options: TokenizerOptions) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, ways: Tensor) -> tuple[Tensor, Tensor | None]:
        """Tokens `[N, K, D]` -> the tokens that are read, and their commitment loss, a scalar, where there is one."""


class Continuous(Quantiser):
    """Tokens stay as they are (DeftRec)."""

    def forward(self, ways: Tensor) -> tuple[Tensor, None]:
        """See `Quantiser.forward`."""
        return ways, None


class Codebooks(Quantiser):
    """Base of what quantises: in float32 whatever the autocast, with straight-through gradients to the encoders.

    Codebooks are moving averages of the tokens they stand for (van den Oord et al. 2017, appendix A.1): buffers, which
    no optimiser steps and every checkpoint holds.
    """

    def forward(self, ways: Tensor) -> tuple[Tensor, Tensor]:
        """See `Quantiser.forward`."""
        with torch.autocast(ways.device.type, enabled=False):
            ways = ways.float()
            codes, loss = self.quantise(ways)
            codes = codes.detach()
            return ways + (codes - ways).detach() if self.training else codes, loss

    @abstractmethod
    def quantise(self, ways: Tensor) -> tuple[Tensor, Tensor]:
        """`[N, K, D]` -> what stands for them, of the same shape, and the commitment loss, a scalar."""


class VectorQuantiser(Codebooks):
    """K-way vector quantisation: one codebook a way (TokenRec, Qu et al. 2024, arXiv 2406.10450)."""

    def __init__(self, ways: int, width: int, options: TokenizerOptions) -> None:
        super().__init__(ways, width, options)
        try:
            from vector_quantize_pytorch import VectorQuantize
        except ImportError as error:
            raise MissingExtraError(LIBRARY, EXTRA, "tokenizer.tokens vq") from error
        self.books = nn.ModuleList(VectorQuantize(dim=width, **_book_arguments(options)) for _ in range(ways))

    def quantise(self, ways: Tensor) -> tuple[Tensor, Tensor]:
        """See `Codebooks.quantise`."""
        parts = [book(way) for book, way in zip(self.books, ways.unbind(1), strict=True)]
        return torch.stack([found for found, _, _ in parts], 1), torch.stack([loss for _, _, loss in parts]).mean()


class ResidualQuantiser(Codebooks):
    """Residual quantisation of one way: each codebook stands for what those before it left over.

    After RQ-VAE (Lee et al. 2022), whose codes are the semantic ids of TIGER (Rajput et al. 2023, arXiv 2305.05065).
    """

    def __init__(self, ways: int, width: int, options: TokenizerOptions) -> None:
        super().__init__(ways, width, options)
        try:
            from vector_quantize_pytorch import ResidualVQ
        except ImportError as error:
            raise MissingExtraError(LIBRARY, EXTRA, "tokenizer.tokens rq") from error
        self.books = ResidualVQ(dim=width, num_quantizers=options.codebooks, **_book_arguments(options))

    def quantise(self, ways: Tensor) -> tuple[Tensor, Tensor]:
        """See `Codebooks.quantise`."""
        found, _, losses = self.books(ways)
        return found, losses.mean()


def _book_arguments(options: TokenizerOptions) -> dict[str, object]:
    return {
        "codebook_size": options.codebook_size,
        "decay": options.codebook_decay,
        "kmeans_init": True,
        "kmeans_iters": KMEANS_STEPS,
        "threshold_ema_dead_code": DEAD,
        "commitment_weight": 1.0,  # the objective weighs it
        "rotation_trick": False,
    }


QUANTISERS: dict[str, type[Quantiser]] = {
    "continuous": Continuous,
    "vq": VectorQuantiser,
    "rq": ResidualQuantiser,
}
