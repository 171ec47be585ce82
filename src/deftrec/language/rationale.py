"""Rationales: short texts about the user's preference, which the language model learns to write after a history.

A correct rationale names the most frequent categories of the history, then the next item's category.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.cache_utils import Cache, DynamicCache

from deftrec.config import ReasoningOptions
from deftrec.data import PADDING
from deftrec.language.base import Layout, Prompt
from deftrec.language.pretrained import PretrainedLanguageModel

NAMED = 3
"""Number of categories named."""

SEPARATOR = ";"
"""Mark between the history's categories and the guess of the next one."""

ROWS = 8
"""Number of histories per batch with a rationale."""

HISTORY = 50
"""Number of newest items read before a rationale."""


class Preferences:
    """Writes the correct rationale of a history: "Drama, Comedy, War; next: Comedy".

    `categories` holds those of every item, the most specific first; empty for items without one.
    """

    def __init__(
        self, categories: Sequence[Sequence[str]], language: PretrainedLanguageModel, options: ReasoningOptions
    ) -> None:
        self.categories, self.language, self.options = categories, language, options

    def past(self, history: np.ndarray) -> list[str]:
        """The most frequent categories, the newest first among equals."""
        counts: Counter[str] = Counter()
        for item in history[::-1]:
            counts.update(self.categories[int(item)])
        return [name for name, _ in counts.most_common(NAMED)]

    def rationale(self, history: np.ndarray, target: int) -> tuple[int, ...]:
        """Token ids of the rationale of `history` followed by `target`, with the end of the text.

        A text that is too long names fewer categories of the history.
        """
        following, room = self.categories[target], self.options.max_tokens - 1
        guess = self.language.token_ids(f"{SEPARATOR} next: {following[0]}")[:room] if following else ()
        past = self.language.token_ids(", ".join(self.past(history)))[: room - len(guess)]
        return (*past, *guess, self.language.end)


def guessed_category(text: str, categories: Sequence[str]) -> str | None:
    """The next item's category guessed by a rationale: the longest of `categories` that its guess begins with."""
    guess = _plain(text.partition(SEPARATOR)[2].partition(":")[2])
    fitting = [name for name in categories if name and guess.startswith(_plain(name))]
    return max(fitting, key=len, default=None)


def _plain(text: str) -> str:
    """Lower-case letters and digits only: tokenizers differ in their treatment of other characters."""
    return "".join(letter for letter in text.lower() if letter.isalnum())


@dataclass(frozen=True, eq=False)
class RationaleBatch:
    """Histories, one per row, with their correct rationales.

    Attributes:
        items: indices into the batch's candidates, `PADDING` after the end. `[R, L]` int64
        layout: layout of `items`.
        targets: following items as indices into the candidates. `[R]` int64
        text: token ids of the rationales, `PADDING` after the end. `[R, S]` int64
    """

    items: Tensor
    layout: Layout
    targets: Tensor
    text: Tensor

    def seen_pairs(self) -> Tensor:
        """(row, index in the candidates) of every history item other than the row's target. `[M, 2]` int64"""
        other = (self.items != PADDING) & (self.items != self.targets[:, None])
        rows, places = other.nonzero(as_tuple=True)
        return torch.stack([rows, self.items[rows, places]], 1)


@dataclass(frozen=True, eq=False)
class Rationales:
    """Rationales of N histories and the hidden states behind them.

    Attributes:
        text: token ids, `PADDING` after the end. `[N, S]` int64
        hidden: hidden state at each token. `[N, S, D]`
        counts: whether a token's state is part of the condition. `[N, S]` bool
        history: hidden state after the history, before the rationale. `[N, D]`
    """

    text: Tensor
    hidden: Tensor
    counts: Tensor
    history: Tensor


class RationaleWriter(nn.Module):
    """Trains a language model to write rationales, and generates them.

    A model that was not pre-trained to write text (`causal`) gets a linear layer `[D, D]` before its output, initially
    the identity.
    """

    def __init__(self, width: int, options: ReasoningOptions, *, causal: bool = False) -> None:
        super().__init__()
        self.options = options
        self.adapter = None if causal else nn.Linear(width, width)
        if self.adapter is not None:
            nn.init.eye_(self.adapter.weight)
            nn.init.zeros_(self.adapter.bias)

    def loss(self, reading: "RationaleReading", text: Tensor) -> tuple[Tensor, Rationales]:
        """Mean cross-entropy per token of correct rationales `[R, S]`, scalar; and their hidden states."""
        history, question, words = reading.read(text)
        present = text != PADDING
        before = torch.cat([question[:, None], words[:, :-1]], 1)
        loss = F.cross_entropy(self._logits(reading.language, before[present]).float(), text[present])
        return loss, self._rationales(reading.language, text, words, history)

    def read(self, reading: "RationaleReading", text: Tensor) -> Rationales:
        """Given rationales `[N, S]` with their hidden states."""
        history, _, words = reading.read(text)
        return self._rationales(reading.language, text, words, history)

    @torch.no_grad()
    def generate(
        self, language: PretrainedLanguageModel, tokens: Tensor, layout: Layout, items: Tensor, cached: bool = True
    ) -> Rationales:
        """Greedy generation after each history; `RationaleReading` describes the other arguments.

        Args:
            cached: whether keys and values are cached; False recomputes them for every token, the plain reference.
        """
        cache = DynamicCache() if cached and language.caches else None
        reading = RationaleReading(language, tokens, layout, items, cache)
        text = torch.zeros(len(tokens), 0, dtype=torch.int64, device=tokens.device)
        finished = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        history, state, _ = reading.read(text)
        hidden = []
        while text.shape[1] < self.options.max_tokens and not finished.all():
            token = self._logits(language, state).argmax(-1).masked_fill(finished, PADDING)
            text = torch.cat([text, token[:, None]], 1)
            state = reading.read_last(text)
            hidden.append(state)
            finished = finished | (token == language.end)
        return self._rationales(language, text, torch.stack(hidden, 1), history)

    def prompts(self, language: PretrainedLanguageModel, tokens: Tensor, layout: Layout, items: Tensor) -> list[Tensor]:
        """Embeddings that `generate` reads before the first token, for other engines. N of `[T, D]`"""
        prompt = language.lay_out(tokens, layout, items)
        question = language.embed(torch.tensor(language.prompts.after, device=tokens.device))
        rows = zip(prompt.embeddings, prompt.present, strict=True)
        return [torch.cat([row[present], question.to(row.dtype)]) for row, present in rows]

    def _rationales(
        self, language: PretrainedLanguageModel, text: Tensor, hidden: Tensor, history: Tensor
    ) -> Rationales:
        counts = text != PADDING
        if self.options.source == "history":  # the guess of the next item stands after the separator
            separator = language.tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"][-1]
            counts = counts & ((text == separator) | (text == language.end)).cumsum(1).eq(0)
        return Rationales(text, hidden, counts, history)

    def _logits(self, language: PretrainedLanguageModel, states: Tensor) -> Tensor:
        return language.logits(states if self.adapter is None else self.adapter(states))


class RationaleReading:
    """One prompt of histories, one per row, followed by the question and a rationale.

    Args:
        language: the language model; in training mode it draws the prompt's paraphrase once, here.
        tokens, layout, items: continuous tokens `[N, L, K, D]`, layout, and item numbers `[N, L]` int64 of histories.
        cache: keys and values of the tokens read so far, so that `read_last` reads a single token; None: no cache.
    """

    def __init__(
        self,
        language: PretrainedLanguageModel,
        tokens: Tensor,
        layout: Layout,
        items: Tensor,
        cache: Cache | None = None,
    ) -> None:
        self.language, self.cache = language, cache
        self.prompt: Prompt = language.lay_out(tokens, layout, items)
        self.after = torch.tensor(language.prompts.after, device=tokens.device)
        length = (layout.segments != PADDING).sum(1)
        self.last = self.prompt.words + length.clamp_min(1) * self.prompt.step - 1

    def read(self, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read everything, `text` `[N, S]` last.

        Returns hidden states after each history `[N, D]`, after the question, which predict the first token `[N, D]`,
        and at each token of the text `[N, S, D]`.
        """
        hidden = self.language.read(*self._inputs(text), self.cache)
        question_end = self.prompt.embeddings.shape[1] + len(self.after)
        rows = torch.arange(len(hidden), device=hidden.device)
        return hidden[rows, self.last], hidden[:, question_end - 1], hidden[:, question_end:]

    def read_last(self, text: Tensor) -> Tensor:
        """Hidden state at the last token of `text` `[N, S]`, whose other tokens were read before. `[N, D]`"""
        if self.cache is None:
            return self.read(text)[2][:, -1]
        embeddings, mask, positions = self._inputs(text)
        return self.language.read(embeddings[:, -1:], mask[:, -1:], positions[:, -1:], self.cache)[:, 0]

    def _inputs(self, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings, mask and positions of prompt, question and `text` `[N, S]`."""
        prompt, N = self.prompt, len(text)
        ids = torch.cat([self.after.expand(N, -1), text], 1)
        W, before = ids.shape[1], prompt.embeddings.shape[1]
        words = self.language.embed(ids.clamp_min(0)).to(prompt.embeddings.dtype)
        mask = torch.zeros(N, before + W, before + W, dtype=torch.bool, device=ids.device)
        mask[:, :before, :before] = prompt.mask
        mask[:, before:, :before] = prompt.present[:, None]
        mask[:, before:, before:] = torch.ones(W, W, dtype=torch.bool, device=ids.device).tril()
        steps = torch.arange(W, device=ids.device)
        positions = torch.cat([prompt.positions, prompt.present.sum(1)[:, None] + steps], 1)
        return torch.cat([prompt.embeddings, words], 1), mask, positions
