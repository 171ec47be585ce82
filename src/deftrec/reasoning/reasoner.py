"""Reasoner: a generative language model that reads histories beside the model, states a preference, and adds to it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.config import STATEMENT_TOKENS, ReasonerOptions
from deftrec.data import PADDING
from deftrec.language import PretrainedLanguageModel
from deftrec.reasoning.statements import ItemWords, form_words
from deftrec.reasoning.vocabulary import StatementVocabulary
from deftrec.tokenizer import RobustTokenizer

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

SLOT = -2
"""Place of a continuous token among the ids of words."""

ROWS = 64
"""Largest number of histories that generate a statement at once."""

BREAK = "\n"
"""Text before the words of an item."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Rows of a prompt, a history, a question and a text, in embeddings; right of a row's end there is padding.

    Attributes:
        embeddings: `[N, T, D]`
        lengths: number of tokens of each row. `[N]` int64
        items: place of the last token of each item read, right-aligned: the newest item stands last; `PADDING` before
            the first. `[N, L]` int64
        question: place of the last token before the text, if any. `[N]` int64
    """

    embeddings: Tensor
    lengths: Tensor
    items: Tensor
    question: Tensor


@dataclass(frozen=True, eq=False)
class Statements:
    """Statements of N histories.

    Attributes:
        texts: `N`
        content: mean hidden state of the tokens of each; None: not computed. `[N, D]` float32
    """

    texts: list[str]
    content: Tensor | None


class Residual(nn.Module):
    """What the reasoner adds to the condition of each member of the small model: linear maps W h + V r.

    h is the hidden state after the history, r the mean hidden state of the statement. Both are standardised first, as
    few of their components hold nearly all of the variance. W and V are zero at first, so that the sum begins as the
    small model's own condition.

    Args:
        states: width D of the states.
        members: number of members of the small model.
        width: width d of a member's condition.
    """

    def __init__(self, states: int, members: int, width: int) -> None:
        super().__init__()
        self.members = members
        self.history, self.statement = Standardised(states, members * width), Standardised(states, members * width)

    def forward(self, history: Tensor, content: Tensor | None = None) -> Tensor:
        """`history` and `content`, h and r, `[N, D]` (None: V r is left out) -> `[N, M, d]`"""
        added = self.history(history)
        if content is not None:
            added = added + self.statement(content)
        return added.unflatten(-1, (self.members, -1))  # type: ignore[no-any-return]


class Standardised(nn.Module):
    """A linear map, zero at first, of vectors whose components are standardised. `[N, D]` -> `[N, O]`"""

    mean: Tensor
    scale: Tensor

    def __init__(self, columns: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(columns, out, bias=False)
        nn.init.zeros_(self.linear.weight)
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, D]` -> `[N, O]`"""
        return self.linear((x - self.mean) / self.scale)  # type: ignore[no-any-return]

    def fit_scale(self, x: Tensor) -> None:
        """Take mean and standard deviation of each component from `x` `[N, D]`."""
        self.mean.copy_(x.mean(0))
        self.scale.copy_(x.std(0, correction=0).clamp_min(1e-3))

    def zero(self) -> None:
        """Set the map to zero."""
        nn.init.zeros_(self.linear.weight)

    @property
    def is_used(self) -> bool:
        """Whether the map is other than zero."""
        return bool(self.linear.weight.any())


class Reasoner(nn.Module):
    """Reads a history as words and continuous tokens, and states the user's preference in words (reasoning content).

    A history is the prompt, then for each item its words and its K continuous tokens, then K tokens of the user, the
    question and the statement. The tokens come from robust tokenizers of its own, at the language model's width.
    Statements are trained (LoRA in the highest blocks); the state after a history is that of the blocks below, which no
    training changes, so that it is computed once and kept.

    Args:
        features: features of the items, as the tokenizers read them. `[I, F]`
        words: words of the items.
        item_tokenizer, user_tokenizer: features to K tokens; a user's features are the mean of the items read.
        language: generative language model.
        options: numbers of items read, of tokens of an item's words, of continuous tokens, and of tuned blocks.
    """

    def __init__(
        self,
        features: Tensor,
        words: ItemWords,
        item_tokenizer: RobustTokenizer,
        user_tokenizer: RobustTokenizer,
        language: PretrainedLanguageModel,
        options: ReasonerOptions,
    ) -> None:
        super().__init__()
        self.register_buffer("features", features)  # saved: a refit of the small model changes its own
        self.item_tokenizer, self.user_tokenizer, self.language = item_tokenizer, user_tokenizer, language
        self.history, self.ways = options.history, options.ways
        self.text_tokens = STATEMENT_TOKENS
        self.frozen_blocks = -options.tuned_layers
        self.before, self.after = list(language.prompts.before[0]), list(language.prompts.after)
        self.words, self.lines = words, [language.token_ids(BREAK + line)[: options.titles] for line in words.lines]
        self.form_words = form_words()

    features: Tensor

    def lay_out(
        self,
        histories: Sequence[np.ndarray],
        texts: Sequence[Sequence[int]] | None = None,
        *,
        question: bool = True,
    ) -> Reading:
        """Embed the newest items of histories (item numbers, oldest first, none empty), and token ids of `texts`.

        Without the `question`, a row ends with its newest item.
        """
        device, histories = self.features.device, [history[-self.history :] for history in histories]
        rows, ends, questions = [], [], []
        for number, history in enumerate(histories):
            row, places = list(self.before), []
            for item in history:
                row += self.lines[int(item)] + [SLOT] * self.ways
                places.append(len(row) - 1)
            if question:
                row += [SLOT] * self.ways + self.after
            questions.append(len(row) - 1)
            ends.append([PADDING] * (self.history - len(places)) + places)
            rows.append(row + list(texts[number]) if texts is not None else row)
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
        ids = ids.to(device)
        embeddings = self.language.embed(ids.clamp_min(0))
        slots = self._slots(histories, users=question).to(embeddings.dtype)
        embeddings = embeddings.masked_scatter((ids == SLOT)[..., None], slots)
        return Reading(
            embeddings, lengths.to(device), torch.tensor(ends, device=device), torch.tensor(questions, device=device)
        )

    def hidden(self, reading: Reading, cache: "Cache | None" = None) -> Tensor:
        """Hidden states of all tokens, whose keys and values an empty `cache` keeps. `[N, T, D]`"""
        N, T, _ = reading.embeddings.shape
        mask = torch.ones(T, T, dtype=torch.bool, device=reading.embeddings.device).tril().expand(N, T, T)
        positions = torch.arange(T, device=mask.device).expand(N, T)
        return self.language.read(reading.embeddings, mask, positions, cache)

    def statement_loss(self, hidden: Tensor, reading: Reading, texts: Sequence[Sequence[int]]) -> Tensor:
        """Mean cross-entropy per token of `texts`, which `reading` ends with, given its `hidden` states. Scalar"""
        states: list[Tensor] = []
        targets: list[int] = []
        for row, text in enumerate(texts):
            start = int(reading.question[row])
            states.append(hidden[row, start : start + len(text)])
            targets += text
        logits = self.language.logits(torch.cat(states)).float()
        return F.cross_entropy(logits, torch.tensor(targets, device=logits.device))

    @torch.no_grad()
    def read(self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None) -> Tensor:
        """Hidden state after each item read, by the blocks that no training changes. `[N, L, D]` float32

        Right-aligned: the newest item stands last, before the first item there are zeros. Call in evaluation mode.
        Histories (item numbers, oldest first, none empty) of similar length are read together; `on_batch` gets their
        number.
        """
        items = torch.zeros(len(histories), self.history, self.language.width, device=self.features.device)
        for which in self._alike(histories):
            reading = self.lay_out([histories[n] for n in which], question=False)
            with self.language.lowest(self.frozen_blocks):
                hidden = self.hidden(reading).float()
            rows = torch.arange(len(which), device=hidden.device)[:, None]
            present = (reading.items != PADDING)[..., None]
            items[torch.tensor(which, device=items.device)] = hidden[rows, reading.items.clamp_min(0)] * present
            if on_batch is not None:
                on_batch(len(which))
        return items

    @torch.no_grad()
    def generate(self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None) -> Statements:
        """Greedily generated statements of histories; arguments as for `read`.

        A statement consists of words of the items read and of the sentences learnt (constrained decoding).
        """
        texts, content = [""] * len(histories), torch.zeros(len(histories), self.language.width)
        for which in self._alike(histories):
            written, states = self._generate([histories[n] for n in which])
            content[torch.tensor(which)] = states.cpu()
            for n, text in zip(which, written, strict=True):
                texts[n] = text
            if on_batch is not None:
                on_batch(len(which))
        return Statements(texts, content.to(self.features.device))

    def prompts(self, histories: Sequence[np.ndarray]) -> list[Tensor]:
        """Embeddings before the statement of each history, for other engines. Each `[T, D]`"""
        reading = self.lay_out(histories)
        return [row[:length] for row, length in zip(reading.embeddings, reading.lengths.tolist(), strict=True)]

    @torch.no_grad()
    def pooled(self, histories: Sequence[np.ndarray], texts: Sequence[str]) -> Tensor:
        """Mean hidden state of the tokens of given statements, none empty, after their histories. `[N, D]` float32"""
        content = torch.zeros(len(histories), self.language.width, device=self.features.device)
        ids = [self.spelled(text)[:-1] for text in texts]
        for which in self._alike(histories):
            reading = self.lay_out([histories[n] for n in which], [ids[n] for n in which])
            hidden = self.hidden(reading).float()
            for row, n in enumerate(which):
                first = int(reading.question[row]) + 1
                content[n] = hidden[row, first : first + len(ids[n])].mean(0)
        return content

    def _alike(self, histories: Sequence[np.ndarray]) -> Iterator[list[int]]:
        """Numbers of the histories of each batch, which have similar lengths."""
        sizes = [sum(len(self.lines[int(item)]) for item in history[-self.history :]) for history in histories]
        order = sorted(range(len(histories)), key=sizes.__getitem__)
        for start in range(0, len(order), ROWS):
            yield order[start : start + ROWS]

    def _generate(self, histories: list[np.ndarray]) -> tuple[list[str], Tensor]:
        """Statements, and the mean hidden state of the tokens of each `[N, D]` float32."""
        from transformers.cache_utils import DynamicCache  # a slow import, only where needed

        language, reading = self.language, self.lay_out(histories)
        N, T, _ = reading.embeddings.shape
        device, cache = reading.embeddings.device, DynamicCache()
        rows = torch.arange(N, device=device)
        state = self.hidden(reading, cache)[rows, reading.lengths - 1]
        present = torch.arange(T, device=device) < reading.lengths[:, None]  # of the keys in the cache
        total, count = torch.zeros_like(state), torch.zeros(N, 1, device=device)
        finished, pieces = torch.zeros(N, dtype=torch.bool, device=device), []
        vocabulary = self.vocabulary(histories)
        for step in range(self.text_tokens):
            logits = language.logits(state)
            forbidden = vocabulary.forbidden(logits.shape[-1]).to(device)
            token = logits.masked_fill(forbidden, -torch.inf).argmax(-1).masked_fill(finished, language.end)
            vocabulary.advance(token.tolist())
            finished = finished | (token == language.end)
            pieces.append(token.masked_fill(finished, PADDING))
            if finished.all():
                break
            present = torch.cat([present, ~finished[:, None]], 1)
            # A row that has ended reads itself, so that no softmax is empty; what comes of it is not used.
            mask = torch.cat([present[:, :-1], torch.ones_like(present[:, -1:])], 1)[:, None]
            state = language.read(language.embed(token)[:, None], mask, (reading.lengths + step)[:, None], cache)[:, 0]
            total, count = total + state * ~finished[:, None], count + ~finished[:, None]
        return language.spell(torch.stack(pieces, 1).tolist()), (total / count.clamp_min(1)).float()

    def vocabulary(self, histories: Sequence[np.ndarray]) -> StatementVocabulary:
        """Statements of histories begin with what is named of the items read, and hold the words of those names."""
        named = [self.words.named(history[-self.history :].tolist()) for history in histories]
        words = [self.form_words + own for own in named]
        return StatementVocabulary(named, words, self.language.token_ids, self.language.end)

    def spelled(self, text: str) -> list[int]:
        """Token ids of a statement, cut to the longest that is generated, with the end."""
        return [*self.language.token_ids(f" {text}")[: self.text_tokens - 1], self.language.end]

    def _slots(self, histories: Sequence[np.ndarray], users: bool) -> Tensor:
        """Continuous tokens in the order of their places: K of each item of a history, then K of its user. `[S, D]`

        Without `users`, those of the items alone.
        """
        device = self.features.device
        numbers = torch.from_numpy(np.concatenate(histories).astype(np.int64)).to(device)
        distinct, places = torch.unique(numbers, return_inverse=True)
        items = self.item_tokenizer(self.features[distinct]).ways[places]  # [S, K, D]
        if not users:
            return self.language.rescale(items.flatten(0, 1))
        counts = [len(history) for history in histories]
        means = torch.stack([read.mean(0) for read in torch.split(self.features[numbers], counts)])
        parts = []
        for own, user in zip(torch.split(items, counts), self.user_tokenizer(means).ways, strict=True):
            parts += [own.flatten(0, 1), user]
        return self.language.rescale(torch.cat(parts))
