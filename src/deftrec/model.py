"""DeftRec in one forward pass: tokenizer, language model, diffusion, objective (arXiv 2504.12007v1, figure 2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from deftrec.batch import Batch
from deftrec.config import Config, DiffusionOptions
from deftrec.data import PADDING
from deftrec.diffusion import DiffusionHead, Head, NextItems, Objective, Sample, Sampling
from deftrec.language import ConditionStrategy, LanguageModel, Layout, RationaleBatch, TextEngine, build_condition
from deftrec.modes import evaluating
from deftrec.tokenizer import EventTokens, FeatureTable, ItemFeatures, RobustTokenizer, Tokens


@dataclass(frozen=True, eq=False)
class ItemLatents:
    """The encoded catalogue.

    Attributes:
        ways: continuous tokens of every item. `[I, K, D]`
        latents: unit-norm targets of the denoising, which retrieval compares with the generated latent. `[I, D]`
        features: features of every item. `[I, F]`
    """

    ways: Tensor
    latents: Tensor
    features: Tensor


class DeftRec(nn.Module):
    """Generates the latent of the next item from a history of continuous tokens.

    `build` makes the parts that a configuration describes. To replace a part, override its factory method.

    Args:
        features: collaborative and text features of the catalogue.
        item_tokenizer: features to item tokens.
        user_tokenizer: mean features of a history to user tokens; None: no user tokens.
        event_tokens: kind, value and time of an event to what its tokens get added; None: items alone are read.
        language: history of tokens to hidden states.
        strategy: hidden states to the condition.
        diffusion: condition to the next item's latent.
        objective: training loss of the latents.
    """

    def __init__(
        self,
        features: FeatureTable,
        item_tokenizer: RobustTokenizer,
        user_tokenizer: RobustTokenizer | None,
        event_tokens: EventTokens | None,
        language: LanguageModel,
        strategy: ConditionStrategy,
        diffusion: Head,
        objective: Objective,
    ) -> None:
        super().__init__()
        self.features, self.item_tokenizer, self.user_tokenizer = features, item_tokenizer, user_tokenizer
        self.event_tokens = event_tokens
        self.language, self.strategy, self.diffusion, self.objective = language, strategy, diffusion, objective

    @classmethod
    def build(cls, features: ItemFeatures, language: LanguageModel, config: Config) -> Self:
        """An untrained model. No option of `config` may be `auto`."""
        options, width = config.tokenizer, language.width
        return cls(
            FeatureTable(features.values, options.trainable_features is True),
            cls.build_item_tokenizer(features, width, config),
            RobustTokenizer(features.values.shape[1], width, options) if options.users == "folded" else None,
            cls.build_event_tokens(width, config),
            language,
            build_condition(config.language, language),
            cls.build_head(features, width, config.diffusion),
            Objective(config.objective),
        )

    @staticmethod
    def build_item_tokenizer(features: ItemFeatures, width: int, config: Config) -> RobustTokenizer:
        """Factory of the item tokenizer."""
        return RobustTokenizer(features.values.shape[1], width, config.tokenizer, *features.droppable)

    @staticmethod
    def build_event_tokens(width: int, config: Config) -> EventTokens | None:
        """Factory of the event tokens."""
        options = config.tokenizer
        kinds, values = len(config.data.kinds) if options.kinds else 0, options.values is True
        if not (kinds or values or options.gaps or options.request_time):
            return None
        return EventTokens(width, kinds=kinds, values=values, gaps=options.gaps, wait=options.request_time)

    @staticmethod
    def build_head(features: ItemFeatures, width: int, options: DiffusionOptions) -> Head:
        """Factory of the head."""
        return DiffusionHead(width, options)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of a batch, scalars: `loss` and its parts."""
        features = self.features(batch.candidates)  # [C, F]
        items: Tokens = self.item_tokenizer(features)
        tokens = self.tokens(items.ways, features, batch.items, batch.layout)  # [B, L, K, D]
        condition = self.language(tokens, batch.layout, batch.numbers(batch.items))  # [B, L, D]
        if self.event_tokens is not None:
            condition = condition + self.event_tokens.until_request(batch.layout.events)
        has_target = batch.targets != PADDING
        latents, seen = self.diffusion.item_latents(items.mean), batch.seen_pairs(has_target)
        targets = batch.targets[has_target]
        disliked = None if batch.disliked is None else batch.disliked[has_target]
        next_items = NextItems(
            condition[has_target],
            batch.candidates,
            latents,
            targets,
            seen,
            batch.log_q,
            batch.target_weights(has_target),
            disliked,
        )
        written = batch.rationale
        if written is None:
            return self.diffusion.losses(next_items, self.objective)
        tokens = self.tokens(items.ways, features, written.items, written.layout)
        numbers = batch.numbers(written.items)
        rationale, condition_after = self.strategy.train_rationales(self.language, tokens, numbers, written)
        if condition_after is not None:  # these histories' next items are denoised under their rationales too
            next_items = next_items.extended(condition_after, written.targets, written.seen_pairs())
        losses = self.diffusion.losses(next_items, self.objective)
        return {**losses, "rationale": rationale, "loss": losses["loss"] + self.strategy.weight * rationale}

    def rationale_loss(self, batch: RationaleBatch) -> Tensor:
        """Mean cross-entropy per token of correct rationales, scalar; `batch.items` are item numbers."""
        numbers, places = torch.unique(batch.items.clamp_min(0), return_inverse=True)
        features = self.features(numbers)
        items = torch.where(batch.items == PADDING, PADDING, places)
        tokens = self.tokens(self.item_tokenizer(features).ways, features, items, batch.layout)
        return self.strategy.rationale_loss(self.language, tokens, batch.items.clamp_min(0), batch)

    def tokens(self, ways: Tensor, features: Tensor, items: Tensor, layout: Layout) -> Tensor:
        """Tokens read at each position, the item's plus the user's if there are user tokens. `[B, L, K, D]`

        `items` `[B, L]` are indices into the candidates with tokens `ways` `[C, K, D]` and features `[C, F]`.
        """
        places = items.clamp_min(0)
        tokens = ways[places]
        if self.user_tokenizer is not None:
            # A user is the mean of the items so far: no table of users, and no user token contains its own target.
            before = layout.attention_mask().to(features.dtype)
            mean = before @ features[places] / before.sum(-1, keepdim=True)  # [B, L, F]
            tokens = tokens + self.user_tokenizer(mean.flatten(0, 1)).ways.view_as(tokens)
        if self.event_tokens is not None and layout.events is not None:
            tokens = tokens + self.event_tokens(layout.events)[:, :, None]
        return tokens

    def condition(self, ways: Tensor, features: Tensor, items: Tensor, layout: Layout) -> Tensor:
        """Hidden state of the language model at each position; arguments as for `tokens`, of all items. `[B, L, D]`"""
        return self.language(self.tokens(ways, features, items, layout), layout, items)  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode_catalogue(self, chunk: int = 65_536) -> ItemLatents:
        """Tokens and latents of every item, in evaluation mode."""
        features = self.features.values.detach()
        with evaluating(self):
            parts: list[Tokens] = [self.item_tokenizer(rows) for rows in torch.split(features, chunk)]
        ways = torch.cat([part.ways for part in parts]).float()
        return ItemLatents(ways, self.diffusion.item_latents(torch.cat([part.mean for part in parts])), features)

    @torch.no_grad()
    def generate(
        self,
        catalogue: ItemLatents,
        items: Tensor,
        layout: Layout,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        residuals: Tensor | None = None,
    ) -> Sample:
        """Latent of the next item after each history, one history per row. Call in evaluation mode.

        `items` `[B, L]` are item numbers, `PADDING` after the end of a history. The conditions get `residuals`
        `[B, 1, D]` added.
        """
        tokens = self.tokens(catalogue.ways, catalogue.features, items, layout)
        condition = self.strategy.after_history(self.language, tokens, layout, items)
        if self.event_tokens is not None:
            condition = condition + self.event_tokens.after_history(layout.events, layout.lengths)
        if residuals is not None:
            condition = condition + residuals[:, 0]
        return self.diffusion.generate(condition.float(), sampling, generator)

    @torch.no_grad()
    def rationales(
        self, catalogue: ItemLatents, items: Tensor, layout: Layout, engine: TextEngine | None = None
    ) -> list[str]:
        """The model's rationale for each history, as text; arguments as for `generate`.

        `engine` replaces the model's own generation. ConfigError: the model was trained without rationales.
        """
        tokens = self.tokens(catalogue.ways, catalogue.features, items, layout)
        return self.strategy.texts(self.language, tokens, layout, items, engine)

    def with_items(self, rows_of: Callable[[Tensor], Tensor], titles: Sequence[str]) -> "DeftRec":
        """A model that shares every weight with this one, for a catalogue with N more items behind its own.

        `rows_of` computes their features from those of the present items: `[I, F]` -> `[N, F]`.
        """
        table = self.features.extended(rows_of(self.features.values.detach()))
        language = self.language.with_titles(titles)
        tokenizers = self.item_tokenizer, self.user_tokenizer, self.event_tokens
        extended = type(self)(table, *tokenizers, language, self.strategy, self.diffusion, self.objective)
        return extended.train(self.training)

    @property
    def max_history(self) -> int:
        """Largest number of items read from one history."""
        return self.language.max_history

    @property
    def has_rationale(self) -> bool:
        """Whether the model was trained to write rationales."""
        return self.strategy.writer is not None
