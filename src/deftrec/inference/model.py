"""A trained model as inference alone needs it."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from deftrec.diffusion import Sample, Sampling
from deftrec.ensemble import Ensemble, Model, side_by_side
from deftrec.errors import ConfigError
from deftrec.hardware import Runtime
from deftrec.inference.exported import ExportedReader
from deftrec.inference.nano import NanoReader
from deftrec.inference.pretrained import PretrainedReader
from deftrec.inference.reader import Reader
from deftrec.inference.tokens import HistoryTokens
from deftrec.language import LanguageModel, PretrainedLanguageModel
from deftrec.language.nano import NanoLanguageModel
from deftrec.model import DeftRec, ItemLatents


@dataclass(eq=False)
class State:
    """What one member has read of B histories of equal length.

    Attributes:
        past: keys and values.
        sums: of the projected features, see `HistoryTokens`. `[B, P]`
        count: items.
    """

    past: Cache
    sums: Tensor | None = None
    count: int = 0


class InferenceMember:
    """One DeftRec: `DeftRec.generate`, the condition and the rest, for one history a row.

    Args:
        model: in evaluation mode, one of those that `InferenceModel.suits`.
        catalogue: its own.
        dtype: in which histories are read; float32 gives what the plain path gives, to rounding.
        runtime: what runs the language model.
    """

    def __init__(self, model: DeftRec, catalogue: ItemLatents, dtype: torch.dtype, runtime: Runtime) -> None:
        self.diffusion, self.tokens = model.diffusion, HistoryTokens(model, catalogue, dtype)
        self.reader = reader_of(model.language, dtype, runtime)

    def begin(self, rows: int) -> State:
        """Nothing is read yet of `rows` histories."""
        return State(self.reader.begin(rows))

    def read(self, items: Tensor, lengths: Tensor, state: State) -> Tensor:
        """The condition after each history; `state` goes on with them, which means something for equal lengths alone.

        Args:
            items: item numbers, anything behind the end. `[B, L]` int64
            lengths: from 1. `[B]` int64

        Returns:
            `[B, D]` float32
        """
        read, state.sums = self.tokens(items.clamp_min(0), state.sums, state.count)
        state.count += items.shape[1]
        return self.reader.read(read.flatten(1, 2), lengths * read.shape[2] - 1, state.past)

    def answer(self, items: Tensor, lengths: Tensor) -> Tensor:
        """`read` of whole histories, which cannot be read on."""
        read, _ = self.tokens(items.clamp_min(0), None, 0)
        return self.reader.answer(read.flatten(1, 2), lengths * read.shape[2] - 1)


class InferenceModel:
    """All members of a model, for inference: words of the prompt read once, items projected once, last places alone.

    Args:
        model: in evaluation mode, one that `suits`.
        catalogue: of `model.encode_catalogue`.
        dtype, runtime: see `InferenceMember`.
    """

    def __init__(
        self,
        model: Model,
        catalogue: ItemLatents,
        dtype: torch.dtype = torch.float32,
        runtime: Runtime = "torch",
    ) -> None:
        self.max_history, self.device = model.max_history, catalogue.latents.device
        members = (
            zip(model.members, model.own(catalogue), strict=True)
            if isinstance(model, Ensemble)
            else [(model, catalogue)]
        )
        with torch.no_grad():
            self.members = [InferenceMember(member, own, dtype, runtime) for member, own in members]

    @staticmethod
    def suits(model: Model) -> bool:
        """Whether there is a fast path: not where words are the condition or titles are read, nor without a cache."""
        first = model.members[0] if isinstance(model, Ensemble) else model
        if isinstance(first.language, PretrainedLanguageModel):
            plain = not first.strategy.reads_rationale and not first.language.title_ids.shape[1]
            return plain and first.language.caches
        return isinstance(first.language, NanoLanguageModel)

    @torch.no_grad()
    def generate(
        self, items: Tensor, lengths: Tensor, sampling: Sampling, generator: torch.Generator | None = None
    ) -> Tensor:
        """The latent of the next item after each history, as `Model.generate`.

        Args:
            items: item numbers, anything behind the end. `[B, L]` int64
            lengths: from 1. `[B]` int64

        Returns:
            `[B, D]` float32
        """
        conditions = [member.answer(items, lengths) for member in self.members]
        return self.latents(conditions, sampling, generator)

    @torch.no_grad()
    def latents(self, conditions: list[Tensor], sampling: Sampling, generator: torch.Generator | None) -> Tensor:
        """What every member denoises under its condition. M of `[B, D]` -> `[B, M D]`"""
        samples: list[Sample] = [
            member.diffusion.generate(condition, sampling, generator)
            for member, condition in zip(self.members, conditions, strict=True)
        ]
        return samples[0].x0 if len(samples) == 1 else side_by_side([sample.x0 for sample in samples])


def reader_of(language: LanguageModel, dtype: torch.dtype, runtime: Runtime = "torch") -> Reader:
    """A reader of a model of one of the kinds that `InferenceModel` suits.

    Raises:
        MissingExtraError, ConfigError: the runtime is not installed, or cannot run this model.
    """
    if isinstance(language, PretrainedLanguageModel):
        return (ExportedReader if runtime == "openvino" else PretrainedReader)(language, dtype)
    if runtime != "torch":
        raise ConfigError(f"runtime {runtime} runs pre-trained models, and this run's is nano: leave runtime at torch")
    return NanoReader(cast(NanoLanguageModel, language), dtype)
