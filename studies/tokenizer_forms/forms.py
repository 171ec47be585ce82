"""Forms of the tokenizer's K ways and of its masking: options, or a model that trains in place of `DeftRec`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deftrec.batch import Batch
from deftrec.config import Config, TokenizerOptions
from deftrec.model import DeftRec
from deftrec.tokenizer import ItemFeatures, Masking, RobustTokenizer, Tokens

CONSISTENCY = 0.1
"""Weight of the distance between the latents of a masked and of a clean view."""


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        about: description in a line.
        options: options of the tokenizer that replace the recipe's.
        model: class that is trained.
    """

    about: str
    options: Mapping[str, Any] = field(default_factory=dict)
    model: type[DeftRec] = DeftRec

    def config(self, base: Config) -> Config:
        """Options of the form."""
        return base.model_copy(update={"tokenizer": base.tokenizer.model_copy(update=dict(self.options))})


class ApartTokenizer(RobustTokenizer):
    """Encoders that add up to one token in one position, and do not all read the same features.

    Args:
        features, width, options, block: as for `RobustTokenizer`.
        parts: columns that each encoder reads; None: each reads all of them, masked for itself.
    """

    def __init__(
        self,
        features: int,
        width: int,
        options: TokenizerOptions,
        block: slice | None,
        parts: list[slice] | None = None,
    ) -> None:
        super().__init__(features, width, options, block)
        self.parts = parts

    def forward(self, x: Tensor) -> Tokens:
        """See `RobustTokenizer.forward`; K = 1."""
        if self.parts is None:
            views = [self.masking(x) for _ in self.encoders]
        else:
            shared = self.masking(x)
            views = [only(shared, columns) for columns in self.parts]
        total = torch.stack([encoder(view) for encoder, view in zip(self.encoders, views, strict=True)]).mean(0)
        return Tokens(total[:, None], total)


def only(x: Tensor, columns: slice) -> Tensor:
    """Features with zeros outside some columns."""
    kept = torch.zeros_like(x)
    kept[:, columns] = x[:, columns]
    return kept


def apart(*, by_block: bool) -> type[DeftRec]:
    """A model whose item tokenizer is an `ApartTokenizer`.

    Args:
        by_block: whether the first of two encoders reads the collaborative block and the second the text; else each
            masks for itself.
    """

    class ApartDeftRec(DeftRec):
        """See `apart`."""

        @staticmethod
        def build_item_tokenizer(features: ItemFeatures, width: int, config: Config) -> RobustTokenizer:
            """See `DeftRec.build_item_tokenizer`."""
            parts = [features.collaborative, features.text] if by_block else None
            return ApartTokenizer(features.values.shape[1], width, config.tokenizer, features.droppable[0], parts)

    return ApartDeftRec


class AnnealedMasking(Masking):
    """A rate that falls linearly to zero within `steps` batches of training."""

    steps = 1
    done = 0

    def forward(self, x: Tensor) -> Tensor:
        """See `Masking.forward`."""
        if not self.training:
            return x
        first = self.rate
        self.rate = first * max(0.0, 1.0 - self.done / self.steps)
        masked = super().forward(x)
        self.rate, self.done = first, self.done + 1
        return masked


def fading(steps: int) -> type[DeftRec]:
    """A model whose item tokenizer masks by `AnnealedMasking`; `steps`: batches of the training."""

    class FadingDeftRec(DeftRec):
        """See `fading`."""

        @staticmethod
        def build_item_tokenizer(features: ItemFeatures, width: int, config: Config) -> RobustTokenizer:
            """See `DeftRec.build_item_tokenizer`."""
            tokenizer = DeftRec.build_item_tokenizer(features, width, config)
            before = tokenizer.masking
            masking = AnnealedMasking(features.values.shape[1], before.rate, before.block, before.block_rate)
            masking.steps = steps
            tokenizer.masking = masking
            return tokenizer

    return FadingDeftRec


class ConsistentDeftRec(DeftRec):
    """Learns that masked features mean the same: the items' latents stay close when single features are hidden.

    What the language model reads is not masked. The loss gets the mean of 1 - cos(z(masked x), sg(z(x))) added.
    """

    rate = 0.2

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See `DeftRec.forward`."""
        losses = super().forward(batch)
        features = self.features(batch.candidates)
        hidden = torch.where(torch.rand_like(features) < self.rate, torch.zeros_like(features), features)
        masked = self.diffusion.item_latents(self.item_tokenizer(hidden).mean)
        with torch.no_grad():
            clean = self.diffusion.item_latents(self.item_tokenizer(features).mean)
        apart = (1.0 - F.cosine_similarity(masked, clean, dim=-1)).mean()
        return {**losses, "consistency": apart, "loss": losses["loss"] + CONSISTENCY * apart}


def forms(steps: int) -> dict[str, Form]:
    """All forms by name; `steps`: number of batches of a training, for the masking that fades."""
    fifth, either = {"mask_features": 0.2}, {"drop_text": 0.1}
    two, four = ({"ways": ways, "positions": "one"} for ways in (2, 4))
    return {
        "recipe": Form("one way, no single features masked"),
        "k2": Form("2 ways, 2 positions", {"ways": 2}),
        "k2-equal": Form("2 ways, 2 positions, parameters of one", {"ways": 2, "hidden": 128}),
        "k2-sum": Form("2 ways added up in one position", two),
        "k4-sum": Form("4 ways added up in one position", four),
        "k4-sum-equal": Form("4 ways added up in one position, parameters of one", {**four, "hidden": 64}),
        "k2-blocks": Form("2 ways added up, one for each block of features", two, apart(by_block=True)),
        "k4-views": Form("4 ways added up, each masks for itself", four, apart(by_block=False)),
        "k4-views-mask": Form(
            "4 ways added up, each masks a fifth of the single features for itself",
            {**four, **fifth},
            apart(by_block=False),
        ),
        "k4-sum-either": Form("4 ways added up, and the text block hidden too", {**four, **either}),
        "mask": Form("a fifth of the single features masked", fifth),
        "mask-small": Form("a twentieth of the single features masked", {"mask_features": 0.05}),
        "mask-fading": Form("a fifth masked, falling to none", fifth, fading(steps)),
        "mask-consistent": Form("a fifth masked in a second view that must mean the same", model=ConsistentDeftRec),
        "mask-either": Form("the text block hidden too, from a tenth", either),
    }
