"""An ensemble: several models of one dataset, trained with different seeds, that score as one model."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from deftrec.config import Config
from deftrec.diffusion import Sample, Sampling
from deftrec.language import Layout, TextEngine, build_language_model
from deftrec.model import DeftRec, ItemLatents
from deftrec.tokenizer import ItemFeatures


class Ensemble(nn.Module):
    """Two or more models of one catalogue whose scores are averaged (Lakshminarayanan et al. 2017, arXiv 1612.01474).

    A score is the inner product of unit-norm latents. The latents of M members, concatenated and divided by sqrt(M),
    therefore give the mean score: an index sees one model whose latents are M times as wide.
    """

    def __init__(self, members: Sequence[DeftRec]) -> None:
        super().__init__()
        self.members: Sequence[DeftRec] = nn.ModuleList(members)  # type: ignore[assignment]

    def with_items(self, rows_of: Callable[[Tensor], Tensor], titles: Sequence[str]) -> "Ensemble":
        """See `DeftRec.with_items`; each member extends its own features."""
        return Ensemble([member.with_items(rows_of, titles) for member in self.members])

    @property
    def max_history(self) -> int:
        """Largest number of items read from one history."""
        return self.members[0].max_history

    @property
    def has_rationale(self) -> bool:
        """Whether the members were trained to write rationales."""
        return self.members[0].has_rationale

    def encode_catalogue(self) -> ItemLatents:
        """Tokens, latents and features of all members, concatenated, in evaluation mode."""
        parts = [member.encode_catalogue() for member in self.members]
        return ItemLatents(
            torch.cat([part.ways for part in parts], -1),
            side_by_side([part.latents for part in parts]),
            torch.cat([part.features for part in parts], -1),
        )

    def rationales(
        self, catalogue: ItemLatents, items: Tensor, layout: Layout, engine: TextEngine | None = None
    ) -> list[str]:
        """The first member's rationales; see `DeftRec.rationales`."""
        return self.members[0].rationales(self.own(catalogue)[0], items, layout, engine)

    def generate(
        self,
        catalogue: ItemLatents,
        items: Tensor,
        layout: Layout,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        residuals: Tensor | None = None,
    ) -> Sample:
        """See `DeftRec.generate`; `catalogue` comes from `encode_catalogue`, residuals are `[B, M, D]`."""
        several = [None] * len(self.members) if residuals is None else torch.split(residuals, 1, 1)
        samples = [
            member.generate(own, items, layout, sampling, generator, residual)
            for member, own, residual in zip(self.members, self.own(catalogue), several, strict=True)
        ]
        paths = [sample.path for sample in samples if sample.path is not None]
        return Sample(side_by_side([sample.x0 for sample in samples]), side_by_side(paths) if paths else None)

    def own(self, catalogue: ItemLatents) -> list[ItemLatents]:
        """The part of `catalogue` that belongs to each member."""
        tensors = catalogue.ways, catalogue.latents, catalogue.features
        return [ItemLatents(*one) for one in zip(*(t.chunk(len(self.members), -1) for t in tensors), strict=True)]


Model: TypeAlias = DeftRec | Ensemble  # A trained model: one member or an ensemble


def side_by_side(parts: list[Tensor]) -> Tensor:
    """Latents of M members as one: the inner product of two rows is the mean of the members'. `[..., M D]`"""
    return torch.cat(parts, -1).div_(len(parts) ** 0.5)


def members_of(model: Model) -> Sequence[DeftRec]:
    """The members of a model; one that is no ensemble is its own."""
    return model.members if isinstance(model, Ensemble) else (model,)


def own_catalogues(model: Model, catalogue: ItemLatents) -> list[ItemLatents]:
    """The part of `catalogue` that belongs to each member; one that is no ensemble has all of it."""
    return model.own(catalogue) if isinstance(model, Ensemble) else [catalogue]


def model_of(members: Sequence[DeftRec]) -> Model:
    """The model of one or more members."""
    return Ensemble(members) if len(members) > 1 else members[0]


def build_model(features: ItemFeatures, config: Config, domain: str, titles: Sequence[str] = ()) -> Model:
    """An untrained model with `training.ensemble_size` members; arguments as for `build_member`."""
    return model_of([build_member(features, config, domain, titles) for _ in range(int(config.training.ensemble_size))])


def build_member(features: ItemFeatures, config: Config, domain: str, titles: Sequence[str] = ()) -> DeftRec:
    """An untrained DeftRec for a catalogue of items of kind `domain`; see `build_language_model`."""
    ways, max_history = config.tokenizer.tokens, int(config.data.max_history)
    language = build_language_model(config.language, domain=domain, ways=ways, max_history=max_history, titles=titles)
    return DeftRec.build(features, language, config)
