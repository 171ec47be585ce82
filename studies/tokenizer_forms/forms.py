"""Forms of the tokenizer's K ways and of its masking, each a model that trains in place of `DeftRec`."""

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


class SummedTokenizer(RobustTokenizer):
    """K encoders whose outputs add up to one token, in one position.

    Args:
        features, width, options, block: as for `RobustTokenizer`.
        ways: number of encoders K.
        own_views: whether each encoder masks for itself; else all read the same masked features.
        parts: columns that each encoder reads; None: all of them.
    """

    def __init__(
        self,
        features: int,
        width: int,
        options: TokenizerOptions,
        block: slice | None,
        ways: int,
        own_views: bool = False,
        parts: list[slice] | None = None,
    ) -> None:
        super().__init__(features, width, options.model_copy(update={"ways": ways}), block)
        self.own_views, self.parts = own_views, parts

    def forward(self, x: Tensor) -> Tokens:
        """See `RobustTokenizer.forward`; K = 1."""
        shared = self.masking(x)
        outputs = []
        for k, encoder in enumerate(self.encoders):
            view = self.masking(x) if self.own_views else shared
            if self.parts is not None:
                view = only(view, self.parts[k])
            outputs.append(encoder(view))
        total = torch.stack(outputs).mean(0)
        return Tokens(total[:, None], total)


def only(x: Tensor, columns: slice) -> Tensor:
    """Features with zeros outside some columns."""
    kept = torch.zeros_like(x)
    kept[:, columns] = x[:, columns]
    return kept


def summed(
    ways: int, *, own_views: bool = False, equal: bool = False, by_block: bool = False, either: bool = False
) -> type[DeftRec]:
    """A model whose item tokenizer is a `SummedTokenizer`.

    Args:
        ways: number of encoders K.
        own_views: whether each masks for itself.
        equal: whether they share the hidden units of one encoder among them.
        by_block: whether the first reads the collaborative block, and the second the text.
        either: whether the text is hidden too, from some.
    """

    class SummedDeftRec(DeftRec):
        """See `summed`."""

        @staticmethod
        def build_item_tokenizer(features: ItemFeatures, width: int, config: Config) -> RobustTokenizer:
            """See `DeftRec.build_item_tokenizer`."""
            options = config.tokenizer
            if equal:
                options = options.model_copy(update={"hidden": options.hidden // ways})
            parts = [features.collaborative, features.text] if by_block else None
            columns = features.values.shape[1]
            made = SummedTokenizer(columns, width, options, features.droppable, ways, own_views, parts)
            if either:
                before = made.masking
                made.masking = EitherBlockMasking(columns, before.rate, before.block, before.block_rate)
            return made

    return SummedDeftRec


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


class EitherBlockMasking(Masking):
    """Hides the text, too, from a tenth of the samples whose collaborative block is kept."""

    share = 0.1

    def forward(self, x: Tensor) -> Tensor:
        """See `Masking.forward`."""
        masked = super().forward(x)
        if not self.training or self.block is None:
            return masked
        hide = (torch.rand(len(x), 1, device=x.device) < self.share) & masked[:, self.block].any(1, keepdim=True)
        return torch.where(hide, only(masked, self.block), masked)


def masked_by(kind: type[Masking], steps: int = 1) -> type[DeftRec]:
    """A model whose item tokenizer masks by another class; `steps`: batches of the training."""

    class MaskedDeftRec(DeftRec):
        """See `masked_by`."""

        @staticmethod
        def build_item_tokenizer(features: ItemFeatures, width: int, config: Config) -> RobustTokenizer:
            """See `DeftRec.build_item_tokenizer`."""
            tokenizer = DeftRec.build_item_tokenizer(features, width, config)
            before = tokenizer.masking
            tokenizer.masking = kind(features.values.shape[1], before.rate, before.block, before.block_rate)
            if isinstance(tokenizer.masking, AnnealedMasking):
                tokenizer.masking.steps = steps
            return tokenizer

    return MaskedDeftRec


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
    fifth = {"mask_features": 0.2}
    return {
        "recipe": Form("one way, no single features masked"),
        "k2": Form("2 ways, 2 positions", {"ways": 2}),
        "k2-equal": Form("2 ways, 2 positions, parameters of one", {"ways": 2, "hidden": 128}),
        "k2-sum": Form("2 ways added up in one position", model=summed(2)),
        "k4-sum": Form("4 ways added up in one position", model=summed(4)),
        "k4-sum-equal": Form("4 ways added up in one position, parameters of one", model=summed(4, equal=True)),
        "k2-blocks": Form("2 ways added up, one for each block of features", model=summed(2, by_block=True)),
        "k4-views": Form("4 ways added up, each masks for itself", model=summed(4, own_views=True)),
        "k4-views-mask": Form(
            "4 ways added up, each masks a fifth of the single features for itself", fifth, summed(4, own_views=True)
        ),
        "k4-sum-either": Form("4 ways added up, and the text block hidden too", model=summed(4, either=True)),
        "mask": Form("a fifth of the single features masked", fifth),
        "mask-small": Form("a twentieth of the single features masked", {"mask_features": 0.05}),
        "mask-fading": Form("a fifth masked, falling to none", fifth, masked_by(AnnealedMasking, steps)),
        "mask-consistent": Form("a fifth masked in a second view that must mean the same", model=ConsistentDeftRec),
        "mask-either": Form("the text block hidden too, from a tenth", model=masked_by(EitherBlockMasking)),
    }
