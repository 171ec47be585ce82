"""The preference in words: taught, generated from a history, and pooled into the condition."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.cache_utils import Cache, DynamicCache

from deftrec.config import ReasoningOptions
from deftrec.data import PADDING
from deftrec.language.base import Layout, Prompt
from deftrec.language.preferences import SEPARATOR
from deftrec.language.pretrained import PretrainedLanguageModel


@dataclass(frozen=True, eq=False)
class RationaleBatch:
    """Histories, one a row, and the preference of each in words.

    Attributes:
        items: places in the batch's candidates, `PADDING` behind the end. `[R, L]` int64
        layout: of `items`.
        targets: what came next, as places in the candidates. `[R]` int64
        text: word pieces, `PADDING` behind the end. `[R, S]` int64
    """

    items: Tensor
    layout: Layout
    targets: Tensor
    text: Tensor

    def to(self, device: torch.device) -> "RationaleBatch":
        """The same on `device`."""
        return RationaleBatch(
            self.items.to(device), self.layout.to(device), self.targets.to(device), self.text.to(device)
        )

    def seen_pairs(self) -> Tensor:
        """(row, place in the candidates) of every item of a history that is not what came next. `[M, 2]` int64"""
        other = (self.items != PADDING) & (self.items != self.targets[:, None])
        rows, places = other.nonzero(as_tuple=True)
        return torch.stack([rows, self.items[rows, places]], 1)


@dataclass(frozen=True, eq=False)
class Reasoning:
    """What a model thinks of N histories.

    Attributes:
        text: word pieces, `PADDING` behind the end. `[N, S]` int64
        hidden: the state at each of them. `[N, S, D]`
        counts: which states are part of the condition. `[N, S]` bool
        history: the state after the history, before any words. `[N, D]`
    """

    text: Tensor
    hidden: Tensor
    counts: Tensor
    history: Tensor


class Reasoner(nn.Module):
    """Teaches a language model to word a preference, lets it generate one, and makes a condition of it.

    condition = state after the history + W sum_s a_s h_s, a = softmax(q . h_s): attention pooling over the states of
    the text (DeftRec, section on reasoning content). W starts at zero, so that the model starts as the one without.

    Args:
        width: D of the language model.
        options: what is learnt, and which words are a condition in training.
        conditions: whether words are a condition at all.
        speaks: whether the model wrote before; one that did not has no states made for it, and gets a linear layer
            before its words, at first the identity.
    """

    def __init__(self, width: int, options: ReasoningOptions, conditions: bool = True, *, speaks: bool = False) -> None:
        super().__init__()
        self.options, self.conditions = options, conditions
        self.speak = None if speaks else nn.Linear(width, width)
        if self.speak is not None:
            nn.init.eye_(self.speak.weight)
            nn.init.zeros_(self.speak.bias)
        if conditions:
            self.query = nn.Parameter(torch.zeros(width))
            self.pooled = nn.Linear(width, width, bias=False)
            nn.init.zeros_(self.pooled.weight)

    def teach(
        self,
        language: PretrainedLanguageModel,
        ways: Tensor,
        items: Tensor,
        rationale: RationaleBatch,
        conditioning: bool = True,
    ) -> tuple[Tensor, Reasoning | None]:
        """The loss of the right words, and the reasoning that training conditions on.

        Args:
            ways: continuous tokens at the places of `rationale`. `[R, L, K, D]`
            items: item numbers of these places. `[R, L]` int64
            rationale: histories and words.
            conditioning: whether a reasoning is wanted.

        Returns:
            mean cross-entropy of a word piece, scalar; reasoning with the text that `options.source` says, None where
            none is wanted or words are no condition.
        """
        reading = _Reading(language, ways, rationale.layout, items)
        read = reading.read(rationale.text)
        asked = rationale.text != PADDING
        before = torch.cat([read.question[:, None], read.words[:, :-1]], 1)
        loss = F.cross_entropy(self._logits(language, before[asked]).float(), rationale.text[asked])
        if not (self.conditions and conditioning):
            return loss, None
        text = rationale.text
        if self.options.source == "generated":
            was_training = language.training
            text = self.generate(language.eval(), ways.detach(), rationale.layout, items).text
            language.train(was_training)
            read = reading.read(text)
        return loss, self._reasoning(language, text, read.words, read.history)

    def recall(
        self, language: PretrainedLanguageModel, ways: Tensor, layout: Layout, items: Tensor, text: Tensor
    ) -> Reasoning:
        """The reasoning of a text that somebody else wrote; arguments as for `generate`. text `[N, S]`"""
        read = _Reading(language, ways, layout, items).read(text)
        return self._reasoning(language, text, read.words, read.history)

    @torch.no_grad()
    def generate(
        self, language: PretrainedLanguageModel, ways: Tensor, layout: Layout, items: Tensor, cached: bool = True
    ) -> Reasoning:
        """Greedy words after each history, one history a row.

        Args:
            ways: `[N, L, K, D]`
            layout: of the histories.
            items: item numbers. `[N, L]` int64
            cached: keep keys and values; False reads everything anew for every word, the plain reference.
        """
        reading = _Reading(language, ways, layout, items, DynamicCache() if cached and language.caches else None)
        text = torch.zeros(len(ways), 0, dtype=torch.int64, device=ways.device)
        over = torch.zeros(len(ways), dtype=torch.bool, device=ways.device)
        read = reading.read(text)
        state, hidden = read.question, []
        while text.shape[1] < self.options.max_tokens and not over.all():
            word = self._logits(language, state).argmax(-1).masked_fill(over, PADDING)
            text = torch.cat([text, word[:, None]], 1)
            state = reading.read_last(text)
            hidden.append(state)
            over = over | (word == language.end)
        return self._reasoning(language, text, torch.stack(hidden, 1), read.history)

    def prompts(self, language: PretrainedLanguageModel, ways: Tensor, layout: Layout, items: Tensor) -> list[Tensor]:
        """What `generate` reads of each history before the first word, for other engines. N of `[T, D]`"""
        prompt = language.lay_out(ways, layout, items)
        question = language.embed(torch.tensor(language.prompts.after, device=ways.device))
        rows = zip(prompt.embeddings, prompt.present, strict=True)
        return [torch.cat([row[present], question.to(row.dtype)]) for row, present in rows]

    def condition(self, reasoning: Reasoning) -> Tensor:
        """`[N, D]`; that of the history alone where no word counts."""
        hidden, counts = reasoning.hidden.float(), reasoning.counts
        logits = (hidden @ self.query).float()  # autocast may have made them narrower
        attention = logits.masked_fill(~counts, torch.finfo(torch.float32).min).softmax(-1) * counts
        pooled = (attention[..., None] * hidden).sum(1)
        return reasoning.history + self.pooled(pooled.to(reasoning.history.dtype))  # type: ignore[no-any-return]

    def _reasoning(self, language: PretrainedLanguageModel, text: Tensor, hidden: Tensor, history: Tensor) -> Reasoning:
        counts = text != PADDING
        if self.options.source == "history":  # what is known of the past counts, and no guess
            separator = language.tokenizer(SEPARATOR, add_special_tokens=False)["input_ids"][-1]
            counts = counts & ((text == separator) | (text == language.end)).cumsum(1).eq(0)
        return Reasoning(text, hidden, counts, history)

    def _logits(self, language: PretrainedLanguageModel, states: Tensor) -> Tensor:
        return language.logits(states if self.speak is None else self.speak(states))


@dataclass(frozen=True, eq=False)
class _Read:
    """States of one reading.

    Attributes:
        history: after each history. `[N, D]`
        question: after the question, from which the first word is predicted. `[N, D]`
        words: at each word. `[N, S, D]`
    """

    history: Tensor
    question: Tensor
    words: Tensor


class _Reading:
    """Histories, one a row, then the question, then words.

    Args:
        cache: keys and values of what was read, so that `read_last` reads one word alone; None: none.
    """

    def __init__(
        self,
        language: PretrainedLanguageModel,
        ways: Tensor,
        layout: Layout,
        items: Tensor,
        cache: Cache | None = None,
    ) -> None:
        self.language, self.cache = language, cache
        self.prompt: Prompt = language.lay_out(ways, layout, items)
        self.after = torch.tensor(language.prompts.after, device=ways.device)
        length = (layout.segments != PADDING).sum(1)
        self.last = self.prompt.words + length.clamp_min(1) * self.prompt.step - 1

    def read(self, text: Tensor) -> _Read:
        """Everything, `text` `[N, S]` last."""
        hidden = self.language.read_on(*self._words(text), self.cache)
        asked = self.prompt.embeddings.shape[1] + len(self.after)
        rows = torch.arange(len(hidden), device=hidden.device)
        return _Read(hidden[rows, self.last], hidden[:, asked - 1], hidden[:, asked:])

    def read_last(self, text: Tensor) -> Tensor:
        """The state at the last word of `text` `[N, S]`, whose other words were read before. `[N, D]`"""
        if self.cache is None:
            return self.read(text).words[:, -1]
        embeddings, mask, positions = self._words(text)
        return self.language.read_on(embeddings[:, -1:], mask[:, -1:], positions[:, -1:], self.cache)[:, 0]

    def _words(self, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prompt, question and `text` `[N, S]`: embeddings, mask and positions of all of them."""
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
