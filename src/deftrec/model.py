"""DeftRec itself: tokenizer, language model and diffusion in one forward pass (arXiv 2504.12007v1, figure 2)."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from deftrec.config import Config, PretrainedOptions
from deftrec.data import PADDING
from deftrec.diffusion import HEADS, ItemScorer, NextItems, Objective, Sample, Sampling
from deftrec.errors import ConfigError
from deftrec.language import (
    LanguageModel,
    Layout,
    PretrainedLanguageModel,
    RationaleBatch,
    Reasoner,
    Reasoning,
    TextEngine,
)
from deftrec.tokenizer import ItemFeatures, Masking, RobustTokenizer, Tokens


@dataclass(frozen=True, eq=False)
class Batch:
    """Packed histories and what followed each place.

    Attributes:
        candidates: item numbers that this step knows of; all others do not exist for it. `[C]` int64
        items: history items as places in `candidates`, `PADDING` where empty. `[B, L]` int64
        targets: the item that follows each place, likewise; `PADDING` where none is asked. `[B, L]` int64
        layout: segments and positions.
        log_q: log probability of each candidate to be among them; None where all items are. `[C]`
        rationale: some of the histories, and what is to be said of them; None where no words are learnt.
    """

    candidates: Tensor
    items: Tensor
    targets: Tensor
    layout: Layout
    log_q: Tensor | None = None
    rationale: RationaleBatch | None = None

    def numbers(self, places: Tensor) -> Tensor:
        """Item numbers of places in the candidates, anything where there is `PADDING`."""
        return self.candidates[places.clamp_min(0)]


@dataclass(frozen=True, eq=False)
class ItemLatents:
    """The catalogue as the trained model sees it.

    Attributes:
        ways: continuous tokens of every item. `[I, K, D]`
        latents: what is denoised towards and retrieved. `[I, D]`
        features: what the tokens were made from. `[I, F]`
    """

    ways: Tensor
    latents: Tensor
    features: Tensor


class DeftRec(nn.Module):
    """Continuous tokens in, the denoised token of the next item out.

    Args:
        features: collaborative and text vectors of the catalogue.
        language: reads the history.
        config: everything else; no option is `auto` any more.
    """

    def __init__(self, features: ItemFeatures, language: LanguageModel, config: Config) -> None:
        super().__init__()
        options = config.tokenizer
        self.weights = {
            "reconstruction": options.reconstruction_weight,
            "mean": options.mean_weight,
            "redundancy": options.redundancy_weight,
        }
        self.features = nn.Parameter(features.values.clone(), requires_grad=options.trainable_features is True)
        blocks = [(features.collaborative, float(options.drop_collaborative)), (features.text, options.drop_text)]
        losses = frozenset(name for name, weight in self.weights.items() if weight)
        self.item_tokenizer = self._tokenizer(config, language.width, blocks, losses)
        self.user_tokenizer = None
        # The auxiliary losses are the items': a folded user has no vector of its own.
        if options.users == "folded":
            self.user_tokenizer = self._tokenizer(config, language.width, [], frozenset())
        self.tokenizer_frozen = False
        self.language = language
        self.reasoner: Reasoner | None = None
        if isinstance(config.language, PretrainedOptions) and config.language.reasoning.weight:
            conditions = config.language.condition == "reasoning"
            speaks = cast(PretrainedLanguageModel, language).speaks
            self.reasoner = Reasoner(language.width, config.language.reasoning, conditions, speaks=speaks)
            self.weights["words"] = config.language.reasoning.weight
        self.diffusion = HEADS[config.diffusion.head](language.width, config.diffusion, len(features.values))
        self.objective = Objective(config.objective)

    def _tokenizer(
        self,
        config: Config,
        width: int,
        blocks: list[tuple[slice, float]],
        losses: frozenset[str],
    ) -> RobustTokenizer:
        options, features = config.tokenizer, self.features.shape[1]
        # With a single block there is nothing else to serve from: it is never hidden as a whole.
        blocks = blocks if all(columns.stop > columns.start for columns, _ in blocks) else []
        return RobustTokenizer(
            features,
            width,
            ways=options.ways,
            hidden=options.hidden,
            dropout=options.dropout,
            masking=Masking(features, options.mask_features, blocks),
            noise=options.noise,
            losses=losses,
        )

    def freeze_tokenizer(self) -> None:
        """From here on items keep their tokens, without masking or noise; a tokenizer of users still learns."""
        self.tokenizer_frozen = True
        self.item_tokenizer.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "DeftRec":
        """See `nn.Module.train`; a frozen tokenizer stays in evaluation mode."""
        super().train(mode)
        if self.tokenizer_frozen:
            self.item_tokenizer.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of a batch: `loss` and its parts, scalars."""
        features = self.features[batch.candidates]
        items = self.item_tokenizer(features)
        numbers = batch.numbers(batch.items)
        condition = self.condition(items.ways, features, batch.items, batch.layout, numbers)

        asked = batch.targets != PADDING
        latents = self.diffusion.to_space(items.mean)
        seen = seen_pairs(batch, asked)
        following = NextItems(condition[asked], batch.candidates, latents, batch.targets[asked], seen, batch.log_q)
        auxiliaries = dict(items.losses)
        if self.reasoner is not None and batch.rationale is not None:
            rationale = batch.rationale
            read = self.tokens(items.ways, features, rationale.items, rationale.layout)
            language = cast(PretrainedLanguageModel, self.language)
            auxiliaries["words"], reasoning = self.reasoner.teach(
                language, read, batch.numbers(rationale.items), rationale
            )
            if reasoning is not None:  # these histories are asked once more, now with what was said of them
                condition = self.reasoner.condition(reasoning)
                following = following.extended(condition, rationale.targets, rationale.seen_pairs())
        losses = self.diffusion.losses(following, self.objective)
        for name, auxiliary in auxiliaries.items():
            losses[name] = auxiliary
            losses["loss"] = losses["loss"] + self.weights[name] * auxiliary
        return losses

    def rationale_loss(self, rationale: RationaleBatch) -> Tensor:
        """Mean cross-entropy of a word piece of what is to be said of histories; their places are item numbers."""
        reasoner, language = self._speaking()
        numbers, places = torch.unique(rationale.items.clamp_min(0), return_inverse=True)
        features = self.features[numbers]
        items = torch.where(rationale.items == PADDING, PADDING, places)
        read = self.tokens(self.item_tokenizer(features).ways, features, items, rationale.layout)
        loss, _ = reasoner.teach(language, read, rationale.items.clamp_min(0), rationale, conditioning=False)
        return loss

    def _speaking(self) -> tuple[Reasoner, PretrainedLanguageModel]:
        """What puts a preference into words.

        Raises:
            ConfigError: this model has learnt no words.
        """
        if self.reasoner is None:
            raise ConfigError("this run has learnt no words: train one with language.reasoning.weight above 0")
        return self.reasoner, cast(PretrainedLanguageModel, self.language)

    def tokens(self, ways: Tensor, features: Tensor, items: Tensor, layout: Layout) -> Tensor:
        """What the language model reads at every place: the item's tokens, with the user's where there are any.

        Args:
            ways: tokens of the candidates. `[C, K, D]`
            features: of the candidates. `[C, F]`
            items: places in the candidates. `[B, L]`
            layout: where the histories lie.

        Returns:
            `[B, L, K, D]`
        """
        places = items.clamp_min(0)
        read = ways[places]
        if self.user_tokenizer is not None:
            # A user is what the user took so far: no table of users, and none sees its own target.
            before = layout.attention_mask().to(features.dtype)
            folded = before @ features[places] / before.sum(-1, keepdim=True)  # [B, L, F]
            user = self.user_tokenizer(folded.flatten(0, 1))
            read = read + user.ways.view_as(read)
        return read

    def condition(
        self, ways: Tensor, features: Tensor, items: Tensor, layout: Layout, numbers: Tensor | None = None
    ) -> Tensor:
        """What the language model makes of every prefix of every history.

        Args:
            ways, features, items, layout: see `tokens`.
            numbers: of the items in the catalogue; None: `items` are that. `[B, L]`

        Returns:
            `[B, L, D]`
        """
        read = self.tokens(ways, features, items, layout)
        return self.language(read, layout, items if numbers is None else numbers)  # type: ignore[no-any-return]

    def with_items(self, rows_of: Callable[[Tensor], Tensor], titles: Sequence[str]) -> "DeftRec":
        """The same model, every weight shared, for a catalogue with N items more behind its own.

        Args:
            rows_of: the new items' features, given those of the items so far. `[I, F]` -> `[N, F]`
            titles: of the new items, for models that read them.

        Raises:
            ConfigError: its head knows no other items than those it was trained with.
        """
        if self.scorer is not None:
            raise ConfigError("this model's head learns a code for each item: new items need diffusion.head diffusion")
        extended = copy(self)
        extended._parameters, extended._modules = dict(self._parameters), dict(self._modules)
        features = self.features.detach()
        rows = torch.cat([features, rows_of(features).to(features)])
        extended.features = nn.Parameter(rows, requires_grad=self.features.requires_grad)
        extended.language = self.language.with_titles(titles)
        return extended

    @property
    def max_history(self) -> int:
        """Newest items of a history that are read."""
        return self.language.max_history

    @property
    def words(self) -> bool:
        """Whether it has learnt to word a preference."""
        return self.reasoner is not None

    @property
    def scorer(self) -> ItemScorer | None:
        """What scores items where the head generates no latent; None where latents are compared."""
        return self.diffusion.scorer

    @torch.no_grad()
    def encode_catalogue(self, chunk: int = 65_536) -> ItemLatents:
        """Tokens and latents of all items, in evaluation mode. Computed once, then reused."""
        was_training = self.training
        self.eval()
        parts: list[Tokens] = [self.item_tokenizer(rows) for rows in torch.split(self.features, chunk)]
        self.train(was_training)
        ways = torch.cat([part.ways for part in parts]).float()
        latents = self.diffusion.to_space(torch.cat([part.mean for part in parts]))
        return ItemLatents(ways, latents, self.features.detach())

    @torch.no_grad()
    def generate(
        self,
        catalogue: ItemLatents,
        items: Tensor,
        layout: Layout,
        sampling: Sampling,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
    ) -> Sample:
        """The latent of the next item after each history, one history a row, in evaluation mode.

        Args:
            items: item numbers, `PADDING` behind the end of a history. `[B, L]`
        """
        if self.reasoner is not None and self.reasoner.conditions:
            condition = self.reasoner.condition(self.reason(catalogue, items, layout))
        else:
            conditions = self.condition(catalogue.ways, catalogue.features, items, layout)
            last = (layout.segments != PADDING).sum(1).sub(1).clamp_min(0)
            rows = torch.arange(len(items), device=items.device)
            condition = conditions[rows, last]
        return self.diffusion.generate(condition.float(), sampling, generator, keep_path)

    @torch.no_grad()
    def reason(self, catalogue: ItemLatents, items: Tensor, layout: Layout) -> Reasoning:
        """The preference that each history shows, in the model's own words; arguments as for `generate`.

        Raises:
            ConfigError: this model has learnt no words.
        """
        reasoner, language = self._speaking()
        read = self.tokens(catalogue.ways, catalogue.features, items, layout)
        return reasoner.generate(language, read, layout, items)

    @torch.no_grad()
    def say(self, catalogue: ItemLatents, items: Tensor, layout: Layout, engine: TextEngine | None = None) -> list[str]:
        """The text of `reason`, by another engine where one is given."""
        reasoner, language = self._speaking()
        if engine is None:
            return language.spell(self.reason(catalogue, items, layout).text.tolist())
        read = self.tokens(catalogue.ways, catalogue.features, items, layout)
        prompts = reasoner.prompts(language, read, layout, items)
        return language.spell(engine.generate(prompts, reasoner.options.max_tokens, language.end))


def seen_pairs(batch: Batch, asked: Tensor) -> Tensor:
    """(target's row, place in candidates) of every item before each asked place, unless it is the target. `[M, 2]`"""
    place = torch.cumsum(asked.flatten(), 0).view_as(asked) - 1
    attention_mask = batch.layout.attention_mask() & asked[:, :, None]
    b, at, before = attention_mask.nonzero(as_tuple=True)
    item = batch.items[b, before]
    other = item != batch.targets[b, at]
    return torch.stack([place[b, at][other], item[other]], 1)
