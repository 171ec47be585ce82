"""Correct rationales of training histories: their most frequent categories, and the next item's category."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deftrec.config import ReasoningOptions

if TYPE_CHECKING:
    from deftrec.language.pretrained import PretrainedLanguageModel

NAMED = 3  # number of categories named

SEPARATOR = ";"  # mark between the history's categories and the guess of the next one

ROWS = 8  # number of histories per batch with a rationale

HISTORY = 50  # number of newest items read before a rationale


class Preferences:
    """Writes the correct rationale of a history: "Drama, Comedy, War; next: Comedy".

    Args:
        categories: categories of every item, the most specific first; empty for items without one.
        language: model whose tokenizer is used.
        options: largest number of tokens.
    """

    def __init__(
        self, categories: Sequence[Sequence[str]], language: "PretrainedLanguageModel", options: ReasoningOptions
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
        guess = self._ids(f"{SEPARATOR} next: {following[0]}")[:room] if following else ()
        past = self._ids(", ".join(self.past(history)))[: room - len(guess)]
        return (*past, *guess, self.language.end)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.language.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def guessed_category(text: str, categories: Sequence[str]) -> str | None:
    """The next item's category guessed by a rationale: the longest of `categories` that its guess begins with."""
    guess = _plain(text.partition(SEPARATOR)[2].partition(":")[2])
    fitting = [name for name in categories if name and guess.startswith(_plain(name))]
    return max(fitting, key=len, default=None)


def _plain(text: str) -> str:
    """Lower-case letters and digits only: tokenizers differ in their treatment of other characters."""
    return "".join(letter for letter in text.lower() if letter.isalnum())
