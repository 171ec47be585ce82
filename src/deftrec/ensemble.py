"""Several models of one dataset as one: trained from different seeds, retrieved with together."""

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
    """Members whose scores are averaged (Lakshminarayanan et al. 2017, arXiv 1612.01474).

    Scores are similarities of latents, so the latents of M members laid side by side and divided by sqrt(M) give the
    mean of their scores: to an index, an ensemble is one model whose latents are M times as wide. Of cosines that is so
    on the sphere alone, where all latents have unit norm.

    Args:
        members: of the same configuration and catalogue, two or more.
    """

    scorer = None

    def __init__(self, members: Sequence[DeftRec]) -> None:
        super().__init__()
        self.members: Sequence[DeftRec] = nn.ModuleList(members)  # type: ignore[assignment]

    def with_items(self, rows_of: Callable[[Tensor], Tensor], titles: Sequence[str]) -> "Ensemble":
        """See `DeftRec.with_items`; every member has features of its own."""
        return Ensemble([member.with_items(rows_of, titles) for member in self.members])

    @property
    def max_history(self) -> int:
        """Newest items of a history that are read."""
        return self.members[0].max_history

    @property
    def words(self) -> bool:
        """Whether the members have learnt to word a preference."""
        return self.members[0].words

    def encode_catalogue(self) -> ItemLatents:
        """Tokens, latents and features of all members side by side, in evaluation mode."""
        parts = [member.encode_catalogue() for member in self.members]
        return ItemLatents(
            torch.cat([part.ways for part in parts], -1),
            side_by_side([part.latents for part in parts]),
            torch.cat([part.features for part in parts], -1),
        )

    def say(self, catalogue: ItemLatents, items: Tensor, layout: Layout, engine: TextEngine | None = None) -> list[str]:
        """What the first member says of each history; see `DeftRec.say`."""
        return self.members[0].say(self.own(catalogue)[0], items, layout, engine)

    def generate(
        self,
        catalogue: ItemLatents,
        items: Tensor,
        layout: Layout,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
    ) -> Sample:
        """See `DeftRec.generate`; `catalogue` is that of `encode_catalogue`."""
        samples = [
            member.generate(own, items, layout, sampling, generator, keep_path)
            for member, own in zip(self.members, self.own(catalogue), strict=True)
        ]
        paths = [sample.path for sample in samples if sample.path is not None]
        return Sample(side_by_side([sample.x0 for sample in samples]), side_by_side(paths) if paths else None)

    def own(self, catalogue: ItemLatents) -> list[ItemLatents]:
        """What each member made of the catalogue."""
        tensors = catalogue.ways, catalogue.latents, catalogue.features
        return [ItemLatents(*one) for one in zip(*(t.chunk(len(self.members), -1) for t in tensors), strict=True)]


Model: TypeAlias = DeftRec | Ensemble
"""What is trained, saved and retrieved with."""


def side_by_side(parts: list[Tensor]) -> Tensor:
    """Latents of M members, so that the similarity of two such rows is the mean of the members'. `[..., M D]`"""
    return torch.cat(parts, -1).div_(len(parts) ** 0.5)


def build_model(features: ItemFeatures, config: Config, domain: str, titles: Sequence[str] = ()) -> Model:
    """All members, untrained, for a catalogue."""
    members = [build_member(features, config, domain, titles) for _ in range(int(config.training.ensemble_size))]
    return Ensemble(members) if len(members) > 1 else members[0]


def build_member(features: ItemFeatures, config: Config, domain: str, titles: Sequence[str] = ()) -> DeftRec:
    """One untrained DeftRec for a catalogue; no option is `auto` any more."""
    ways, max_history = config.tokenizer.ways, int(config.data.max_history)
    language = build_language_model(config.language, domain=domain, ways=ways, max_history=max_history, titles=titles)
    return DeftRec(features, language, config)
