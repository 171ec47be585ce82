"""Reasoner: a generative language model that reads histories beside the model, states a preference, and adds to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.data import PADDING
from deftrec.language import PretrainedLanguageModel
from deftrec.reasoning.statements import ItemWords
from deftrec.tokenizer import RobustTokenizer

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
        question: place of the last token before the text. `[N]` int64
    """

    embeddings: Tensor
    lengths: Tensor
    items: Tensor
    question: Tensor


@dataclass(frozen=True, eq=False)
class Reasoning:
    """What the language model makes of N histories.

    Attributes:
        states: hidden state after the newest item, then the mean hidden state of the statement's tokens. `[N, 2 D]`
        texts: statements. `N`
        items: hidden state after each item read, right-aligned; zero before the first. `[N, L, D]`; None if it was not
            kept.
    """

    states: Tensor
    texts: list[str]
    items: Tensor | None = None


class Residual(nn.Module):
    """What the reasoner adds to the condition of each member of the small model: a linear map of its states.

    States are standardised: few of their components hold nearly all of the variance. The map is zero at first, so that
    the sum begins as the small model's own condition.

    Args:
        states: width of the states, 2 D.
        members: number of members of the small model.
        width: width d of a member's condition.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, states: int, members: int, width: int) -> None:
        super().__init__()
        self.members = members
        self.linear = nn.Linear(states, members * width, bias=False)
        nn.init.zeros_(self.linear.weight)
        self.register_buffer("mean", torch.zeros(states))
        self.register_buffer("scale", torch.ones(states))

    def forward(self, states: Tensor) -> Tensor:
        """`[N, 2 D]` -> `[N, M, d]`"""
        return self.linear((states - self.mean) / self.scale).unflatten(-1, (self.members, -1))  # type: ignore[no-any-return]

    def standardise(self, states: Tensor) -> None:
        """Take mean and standard deviation of each component from the states `[N, 2 D]` of a training."""
        self.mean.copy_(states.mean(0))
        self.scale.copy_(states.std(0).clamp_min(1e-3))


class Reasoner(nn.Module):
    """Reads a history as words and continuous tokens, and states the user's preference in words (reasoning content).

    A history is the prompt, then for each item its words and its K continuous tokens, then K tokens of the user, the
    question and the statement. The tokens come from robust tokenizers of its own, at the language model's width.

    Args:
        features: features of the items, as the tokenizers read them. `[I, F]`
        words: words of the items.
        item_tokenizer, user_tokenizer: features to K tokens; a user's features are the mean of the items read.
        language: generative language model.
        history: largest number of items read.
    """

    def __init__(
        self,
        features: Tensor,
        words: ItemWords,
        item_tokenizer: RobustTokenizer,
        user_tokenizer: RobustTokenizer,
        language: PretrainedLanguageModel,
        history: int,
    ) -> None:
        super().__init__()
        self.register_buffer("features", features, persistent=False)
        self.item_tokenizer, self.user_tokenizer, self.language = item_tokenizer, user_tokenizer, language
        self.history, self.ways = history, len(item_tokenizer.encoders)
        self.before, self.after = list(language.prompts.before[0]), list(language.prompts.after)
        self.lines = [self._line(line) for line in words.lines]

    features: Tensor

    def lay_out(self, histories: Sequence[np.ndarray], texts: Sequence[Sequence[int]] | None = None) -> Reading:
        """Embed histories (item numbers, oldest first, one or more), cut to the newest, and the token ids of `texts`."""
        device, histories = self.features.device, [history[-self.history :] for history in histories]
        rows, ends, questions = [], [], []
        for number, history in enumerate(histories):
            row, places = list(self.before), []
            for item in history:
                row += self.lines[int(item)] + [SLOT] * self.ways
                places.append(len(row) - 1)
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
        slots = self._slots(histories).to(embeddings.dtype)
        embeddings = embeddings.masked_scatter((ids == SLOT)[..., None], slots)
        return Reading(embeddings, lengths.to(device), torch.tensor(ends, device=device), torch.tensor(questions, device=device))

    def hidden(self, reading: Reading) -> Tensor:
        """Hidden states of all tokens. `[N, T, D]`"""
        N, T, _ = reading.embeddings.shape
        mask = torch.ones(T, T, dtype=torch.bool, device=reading.embeddings.device).tril().expand(N, T, T)
        positions = torch.arange(T, device=mask.device).expand(N, T)
        return self.language.read(reading.embeddings, mask, positions)

    def statement_loss(self, hidden: Tensor, reading: Reading, texts: Sequence[Sequence[int]]) -> Tensor:
        """Mean cross-entropy per token of `texts`, which `reading` ends with, given its `hidden` states. Scalar"""
        states, targets = [], []
        for row, text in enumerate(texts):
            start = int(reading.question[row])
            states.append(hidden[row, start : start + len(text)])
            targets += text
        logits = self.language.logits(torch.cat(states)).float()
        return F.cross_entropy(logits, torch.tensor(targets, device=logits.device))

    @torch.no_grad()
    def reason(
        self, histories: Sequence[np.ndarray], on_batch: Callable[[int], object] | None = None
    ) -> Reasoning:
        """States and greedily generated statements of histories (item numbers, oldest first, none empty).

        Call in evaluation mode. Histories of similar length are read together; `on_batch` gets their numbers.
        """
        order = sorted(range(len(histories)), key=lambda n: len(histories[n][-self.history :]))
        states = torch.zeros(len(histories), 2 * self.language.width, device=self.features.device)
        items = states.new_zeros(len(histories), self.history, self.language.width)
        texts = [""] * len(histories)
        for start in range(0, len(order), ROWS):
            which = order[start : start + ROWS]
            some = self._generate([histories[n] for n in which])
            rows = torch.tensor(which, device=states.device)
            states[rows] = some.states
            if some.items is not None:
                items[rows] = some.items
            for n, text in zip(which, some.texts, strict=True):
                texts[n] = text
            if on_batch is not None:
                on_batch(len(which))
        return Reasoning(states, texts, items)

    def _generate(self, histories: list[np.ndarray]) -> Reasoning:
        from transformers.cache_utils import DynamicCache  # a slow import, only where needed

        language, reading = self.language, self.lay_out(histories)
        N, T, _ = reading.embeddings.shape
        device, cache = reading.embeddings.device, DynamicCache()
        rows = torch.arange(N, device=device)
        causal = torch.ones(T, T, dtype=torch.bool, device=device).tril().expand(N, T, T)
        hidden = language.read(reading.embeddings, causal, torch.arange(T, device=device).expand(N, T), cache)
        items = hidden[rows[:, None], reading.items.clamp_min(0)] * (reading.items != PADDING)[..., None]
        newest, state = items[:, -1], hidden[rows, reading.question]
        present = torch.arange(T, device=device) < reading.lengths[:, None]  # of the keys in the cache
        total, count = torch.zeros_like(newest), torch.zeros(N, 1, device=device)
        finished, pieces = torch.zeros(N, dtype=torch.bool, device=device), []
        for step in range(language.options.reasoning.max_tokens):
            token = language.logits(state).argmax(-1).masked_fill(finished, language.end)
            finished = finished | (token == language.end)
            pieces.append(token.masked_fill(finished, PADDING))
            if finished.all():
                break
            present = torch.cat([present, ~finished[:, None]], 1)
            # A row that has ended reads itself, so that no softmax is empty; what comes of it is not used.
            mask = torch.cat([present[:, :-1], torch.ones_like(present[:, -1:])], 1)[:, None]
            state = language.read(language.embed(token)[:, None], mask, (reading.lengths + step)[:, None], cache)[:, 0]
            total, count = total + state * ~finished[:, None], count + ~finished[:, None]
        content = total / count.clamp_min(1)
        texts = language.spell(torch.stack(pieces, 1).tolist())
        return Reasoning(torch.cat([newest, content], -1).float(), texts, items.float())

    def spelled(self, text: str) -> list[int]:
        """Token ids of a statement, cut to the longest that is generated, with the end."""
        ids = self.language.tokenizer(f" {text}", add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [*ids[: self.language.options.reasoning.max_tokens - 1], self.language.end]

    def _line(self, line: str) -> list[int]:
        """Token ids of an item's words, special tokens in them read as plain text."""
        ids = self.language.tokenizer(BREAK + line, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return list(ids[: self.language.options.titles])

    def _slots(self, histories: Sequence[np.ndarray]) -> Tensor:
        """Continuous tokens in the order of their places: K of each item of a history, then K of its user. `[S, D]`"""
        device = self.features.device
        numbers = torch.from_numpy(np.concatenate(histories).astype(np.int64)).to(device)
        distinct, places = torch.unique(numbers, return_inverse=True)
        read = self.features[numbers].split([len(history) for history in histories])
        users = self.user_tokenizer(torch.stack([features.mean(0) for features in read])).ways  # [N, K, D]
        items = self.item_tokenizer(self.features[distinct]).ways[places]  # [S, K, D]
        parts = []
        for own, user in zip(items.split([len(history) for history in histories]), users, strict=True):
            parts += [own.flatten(0, 1), user]
        return self.language.rescale(torch.cat(parts))
