"""Condition strategies: the vector under which the next item is denoised, latent or with reasoning content."""

from typing import cast

import torch
from torch import Tensor, nn

from deftrec.config import LanguageOptions, PretrainedOptions
from deftrec.errors import ConfigError
from deftrec.language.base import LanguageModel, Layout
from deftrec.language.engines import TextEngine
from deftrec.language.pretrained import PretrainedLanguageModel
from deftrec.language.rationale import RationaleBatch, RationaleReading, Rationales, RationaleWriter
from deftrec.modes import evaluating


class ConditionStrategy(nn.Module):
    """The condition is the hidden state after the history; rationales, if there is a writer, are an auxiliary task.

    Methods get the language model as an argument: it is a part of DeftRec, not of the strategy.

    Args:
        writer: writes rationales; None: the model has no rationales.
        weight: weight of the rationales' loss.
    """

    reads_rationale = False
    """Whether the condition depends on the rationale."""

    def __init__(self, writer: RationaleWriter | None = None, weight: float = 0.0) -> None:
        super().__init__()
        self.writer, self.weight = writer, weight

    def after_history(self, language: LanguageModel, tokens: Tensor, layout: Layout, items: Tensor) -> Tensor:
        """Condition `[N, D]` after each history, one per row; tokens `[N, L, K, D]`, item numbers `[N, L]` int64."""
        hidden: Tensor = language(tokens, layout, items)
        last = layout.lengths.sub(1).clamp_min(0)
        return hidden[torch.arange(len(hidden), device=hidden.device), last]

    def train_rationales(
        self, language: LanguageModel, tokens: Tensor, items: Tensor, batch: RationaleBatch
    ) -> tuple[Tensor, Tensor | None]:
        """Mean cross-entropy per token of the correct rationales, and the condition `[R, D]` if it depends on one.

        Tokens `[R, L, K, D]` and item numbers `[R, L]` are those at the positions of `batch`.
        """
        return self.rationale_loss(language, tokens, items, batch), None

    def rationale_loss(self, language: LanguageModel, tokens: Tensor, items: Tensor, batch: RationaleBatch) -> Tensor:
        """Loss of the correct rationales alone, scalar; arguments as for `train_rationales`."""
        reading = RationaleReading(cast(PretrainedLanguageModel, language), tokens, batch.layout, items)
        return self._writer().loss(reading, batch.text)[0]

    @torch.no_grad()
    def texts(
        self, language: LanguageModel, tokens: Tensor, layout: Layout, items: Tensor, engine: TextEngine | None = None
    ) -> list[str]:
        """Rationales as text, by `engine` or the language model itself; arguments as for `after_history`.

        Raises:
            ConfigError: the model was trained without rationales.
        """
        writer, language = self._writer(), cast(PretrainedLanguageModel, language)
        if engine is None:
            return language.spell(writer.generate(language, tokens, layout, items).text.tolist())
        prompts = writer.prompts(language, tokens, layout, items)
        return language.spell(engine.generate(prompts, writer.options.max_tokens, language.end))

    def _writer(self) -> RationaleWriter:
        if self.writer is None:
            message = "this model was trained without rationales: train one with language.reasoning.weight above 0"
            raise ConfigError(message)
        return self.writer


class ReasoningCondition(ConditionStrategy):
    """Hidden state after the history plus pooled states of the rationale (DeftRec, section on reasoning content).

    condition = h + W sum_s a_s h_s with attention a = softmax(q . h_s) over the rationale's tokens. W starts at zero,
    so that the model starts as one without reasoning.

    Args:
        width: width D of the language model.
        writer, weight: see `ConditionStrategy`.
    """

    reads_rationale = True

    def __init__(self, width: int, writer: RationaleWriter, weight: float) -> None:
        super().__init__(writer, weight)
        self.query = nn.Parameter(torch.zeros(width))
        self.pooled = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.pooled.weight)

    def after_history(self, language: LanguageModel, tokens: Tensor, layout: Layout, items: Tensor) -> Tensor:
        """See `ConditionStrategy.after_history`; generates a rationale for each history."""
        model = cast(PretrainedLanguageModel, language)
        return self.condition(self._writer().generate(model, tokens, layout, items))

    def train_rationales(
        self, language: LanguageModel, tokens: Tensor, items: Tensor, batch: RationaleBatch
    ) -> tuple[Tensor, Tensor]:
        """See `ConditionStrategy.train_rationales`; `language.reasoning.source` chooses the rationale read."""
        writer, model = self._writer(), cast(PretrainedLanguageModel, language)
        reading = RationaleReading(model, tokens, batch.layout, items)
        loss, rationales = writer.loss(reading, batch.text)
        if writer.options.source == "generated":
            with evaluating(model):
                text = writer.generate(model, tokens.detach(), batch.layout, items).text
            rationales = writer.read(reading, text)
        return loss, self.condition(rationales)

    def condition(self, rationales: Rationales) -> Tensor:
        """The condition with given rationales; the state after the history alone if no token counts. `[N, D]`"""
        hidden, counts = rationales.hidden.float(), rationales.counts
        logits = (hidden @ self.query).float()  # autocast may have narrowed them
        attention = logits.masked_fill(~counts, torch.finfo(torch.float32).min).softmax(-1) * counts
        pooled = (attention[..., None] * hidden).sum(1)
        return rationales.history + self.pooled(pooled.to(rationales.history.dtype))  # type: ignore[no-any-return]


def build_condition(options: LanguageOptions, language: LanguageModel) -> ConditionStrategy:
    """The strategy that `language.condition` and `language.reasoning` describe."""
    if not isinstance(options, PretrainedOptions) or not options.reasoning.weight:
        return ConditionStrategy()
    causal = cast(PretrainedLanguageModel, language).causal
    writer = RationaleWriter(language.width, options.reasoning, causal=causal)
    if options.condition == "reasoning":
        return ReasoningCondition(language.width, writer, options.reasoning.weight)
    return ConditionStrategy(writer, options.reasoning.weight)
