"""A trained model prepared for fast inference, and histories that grow item by item."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import Cache

from deftrec.data.sequences import gap_buckets
from deftrec.diffusion import Sampling
from deftrec.ensemble import Model, members_of, own_catalogues, side_by_side
from deftrec.errors import ConfigError
from deftrec.hardware import Runtime
from deftrec.inference.exported import ExportedReader
from deftrec.inference.reader import NanoReader, PretrainedReader, Reader
from deftrec.language import LanguageModel, PretrainedLanguageModel
from deftrec.language.nano import NanoLanguageModel
from deftrec.model import DeftRec, ItemLatents
from deftrec.tensors import to_device
from deftrec.tokenizer import Events
from deftrec.tokenizer.robust import Way


class HistoryTokens:
    """`DeftRec.tokens` for one history per row.

    A user's features are the mean of the items so far, and an encoder's first layers are linear: the projection of a
    mean is the mean of the projections. So items are projected once, and a position costs a running sum. The model is
    in evaluation mode, and `dtype` is the type of the matrix products.

    Attributes:
        projected: items after the first layers of the user tokenizer, without bias; None without user tokens. `[I, P]`
    """

    def __init__(self, model: DeftRec, catalogue: ItemLatents, dtype: torch.dtype) -> None:
        self.ways, self.dtype, self.events = catalogue.ways.to(dtype), dtype, model.event_tokens
        self.users: list[Way] = []
        self.projected: Tensor | None = None
        if model.user_tokenizer is not None:
            ways = [cast(Way, way) for way in model.user_tokenizer.encoders]
            self.users = ways if dtype == torch.float32 else [deepcopy(way).to(dtype) for way in ways]
            first = torch.cat([layer.weight for way in ways for layer in (way.linear, way.expand)])
            self.projected = catalogue.features @ first.T

    def __call__(
        self, items: Tensor, sums: Tensor | None = None, count: int = 0, events: Events | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens `[B, L, K, D]` of items `[B, L]` and their `events` after `count` others, and `sums` after them.

        `sums` `[B, P]` are the sums of `projected` over the positions before; None: no positions, or no user tokens.
        """
        read = self.ways[items]
        if self.events is not None and events is not None:
            read = read + self.events(events)[:, :, None].to(self.dtype)
        if self.projected is None:
            return read, None
        totals = self.projected[items].cumsum(1)  # [B, L, P]
        if sums is not None:
            totals = totals + sums[:, None]
        counts = torch.arange(count + 1, count + items.shape[1] + 1, device=items.device)
        return read + self._users((totals / counts[:, None]).to(self.dtype)), totals[:, -1]

    def _users(self, means: Tensor) -> Tensor:
        """User tokens from projected means. `[B, L, P]` -> `[B, L, K, D]`"""
        sizes = [layer.out_features for way in self.users for layer in (way.linear, way.expand)]
        parts = iter(torch.split(means, sizes, -1))
        ways = []
        for way in self.users:
            linear, expanded = next(parts) + way.linear.bias, next(parts) + way.expand.bias
            ways.append(linear + way.contract(F.gelu(way.norm(expanded))))
        return torch.stack(ways, 2)


@dataclass(eq=False)
class State:
    """State of one member after `count` items of B histories: keys and values, and `HistoryTokens`' sums `[B, P]`.

    `days` `[B, count]` are the times of the items, where they are known.
    """

    past: Cache
    sums: Tensor | None = None
    count: int = 0
    days: Tensor | None = None


class InferenceMember:
    """Fast path of one DeftRec, one history per row.

    Args:
        model: model in evaluation mode that `InferenceModel.suits` accepts.
        catalogue: the model's encoded catalogue.
        dtype: type of the language model's computations; float32 equals the plain path up to rounding.
        runtime: library that runs the language model.
    """

    def __init__(self, model: DeftRec, catalogue: ItemLatents, dtype: torch.dtype, runtime: Runtime) -> None:
        self.diffusion, self.tokens = model.diffusion, HistoryTokens(model, catalogue, dtype)
        self.reader = reader_of(model.language, dtype, runtime)

    def begin(self, rows: int) -> State:
        """State before the first item of `rows` histories."""
        return State(self.reader.begin(rows))

    def read(self, items: Tensor, lengths: Tensor, state: State, events: Events | None = None) -> Tensor:
        """Condition `[B, D]` float32 after each history; continues from `state` and updates it, if all have one length.

        `items` `[B, L]` int64 are item numbers, any number after the end, and `lengths` `[B]` int64 at least 1.
        """
        read, state.sums = self.tokens(items.clamp_min(0), state.sums, state.count, events)
        now = None if events is None else events.day
        state.days = now if not state.count or now is None or state.days is None else torch.cat([state.days, now], 1)
        state.count += items.shape[1]
        K = read.shape[2]
        days = None if state.days is None or state.days.shape[1] < state.count else state.days.repeat_interleave(K, 1)
        condition = self.reader.read(read.flatten(1, 2), lengths * K - 1, state.past, days)
        return self._with_wait(condition, events, lengths)

    def answer(self, items: Tensor, lengths: Tensor, events: Events | None = None) -> Tensor:
        """`read` of whole histories, without a state."""
        read, _ = self.tokens(items.clamp_min(0), None, 0, events)
        days = None if events is None or events.day is None else events.day.repeat_interleave(read.shape[2], 1)
        condition = self.reader.answer(read.flatten(1, 2), lengths * read.shape[2] - 1, days)
        return self._with_wait(condition, events, lengths)

    def _with_wait(self, condition: Tensor, events: Events | None, lengths: Tensor) -> Tensor:
        """The condition with the time until the request."""
        tokens = self.tokens.events
        return condition if tokens is None else condition + tokens.after_history(events, lengths)


class InferenceModel:
    """Fast path of all members: the prompt is read once, items are projected once, only last positions are computed.

    Arguments as for `InferenceMember`, of a member or an ensemble.
    """

    def __init__(
        self, model: Model, catalogue: ItemLatents, dtype: torch.dtype = torch.float32, runtime: Runtime = "torch"
    ) -> None:
        self.max_history, self.device = model.max_history, catalogue.latents.device
        pairs = zip(members_of(model), own_catalogues(model, catalogue), strict=True)
        with torch.no_grad():
            self.members = [InferenceMember(member, own, dtype, runtime) for member, own in pairs]

    @staticmethod
    def suits(model: Model) -> bool:
        """Whether there is a fast path: a key-value cache, no titles, and a condition without rationale."""
        first = members_of(model)[0]
        if isinstance(first.language, PretrainedLanguageModel):
            plain = not first.strategy.reads_rationale and not first.language.title_ids.shape[1]
            return plain and first.language.caches
        return isinstance(first.language, NanoLanguageModel)

    @torch.no_grad()
    def generate(
        self,
        items: Tensor,
        lengths: Tensor,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        residuals: Tensor | None = None,
        events: Events | None = None,
    ) -> Tensor:
        """Latent of the next item after each history, as `Model.generate`. `[B, D]` float32

        Items `[B, L]` and lengths `[B]` as for `InferenceMember.read`. Each member's `residuals` `[B, M, d]` are added
        to its condition.
        """
        conditions = [member.answer(items, lengths, events) for member in self.members]
        return self.latents(_added(conditions, residuals), sampling, generator)

    @torch.no_grad()
    def latents(self, conditions: list[Tensor], sampling: Sampling, generator: torch.Generator | None) -> Tensor:
        """Latents of all members from their conditions. M of `[B, D]` -> `[B, M D]`"""
        pairs = zip(self.members, conditions, strict=True)
        latents = [member.diffusion.generate(condition, sampling, generator).x0 for member, condition in pairs]
        return latents[0] if len(latents) == 1 else side_by_side(latents)


class Reading:
    """A history and its cached keys and values.

    Up to `data.max_history` items, a further item costs one step. Beyond it, the positions of all items move and the
    newest `max_history` items are read again.

    Args:
        model: fast path of the model.
        history: item numbers, oldest first, at least one.
        days: times of these events in days since 1970; None: unknown.
    """

    def __init__(self, model: InferenceModel, history: list[int], days: Sequence[float] | None = None) -> None:
        self.model, self.history, self.days = model, list(history), None if days is None else list(days)
        self._read_anew()

    def add(self, item: int, day: float | None = None) -> None:
        """Read a further item, of an event on a `day` since 1970; times are forgotten if one is unknown."""
        self.history.append(item)
        known = self.days is not None
        self.days = None if self.days is None or day is None else [*self.days, day]
        if len(self.history) > self.model.max_history or known != (self.days is not None):
            self._read_anew()
        else:
            self._read(1)

    def latent(
        self, sampling: Sampling, generator: torch.Generator | None = None, residuals: Tensor | None = None
    ) -> Tensor:
        """Latent of the next item, as `InferenceModel.generate`. `[1, D]`"""
        return self.model.latents(_added(self.conditions, residuals), sampling, generator)

    def _read_anew(self) -> None:
        self.states = [member.begin(1) for member in self.model.members]
        self._read(min(len(self.history), self.model.max_history))

    @torch.no_grad()
    def _read(self, count: int) -> None:
        """Read the newest `count` items."""
        row = torch.tensor([self.history[-count:]], device=self.model.device)
        length = torch.tensor([count], device=self.model.device)
        pairs = zip(self.model.members, self.states, strict=True)
        self.conditions = [member.read(row, length, state, self._events(count)) for member, state in pairs]

    def _events(self, count: int) -> Events | None:
        """The times of the newest `count` events; None if they are unknown."""
        if self.days is None:
            return None
        days = np.array([np.nan, *self.days])
        gaps = gap_buckets(np.diff(days)[-count:])[None]
        return to_device(Events.of({"gap": gaps, "day": days[None, -count:]}), self.model.device)


def _added(conditions: list[Tensor], residuals: Tensor | None) -> list[Tensor]:
    """The conditions of M members plus their residuals `[B, M, d]`. M of `[B, d]`"""
    if residuals is None:
        return conditions
    return [own + residual for own, residual in zip(conditions, residuals.unbind(1), strict=True)]


def reader_of(language: LanguageModel, dtype: torch.dtype, runtime: Runtime = "torch") -> Reader:
    """The reader of a language model that `InferenceModel.suits` accepts.

    Raises a `MissingExtraError` if the runtime is not installed, and a `ConfigError` if the runtime cannot run this
    model.
    """
    if isinstance(language, PretrainedLanguageModel):
        return (ExportedReader if runtime == "openvino" else PretrainedReader)(language, dtype)
    if runtime != "torch":
        message = f"runtime {runtime} runs pre-trained models, and this run has a nano model: set runtime to torch"
        raise ConfigError(message)
    return NanoReader(cast(NanoLanguageModel, language), dtype)
