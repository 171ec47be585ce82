"""What a history shows, as words to be learnt: the categories taken most, and that of the next item."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deftrec.config import ReasoningOptions

if TYPE_CHECKING:
    from deftrec.language.pretrained import PretrainedLanguageModel

NAMED = 3
"""Categories of the history that are named."""

SEPARATOR = ";"
"""Stands between what is known and what is guessed."""


class Preferences:
    """Words the preferences that histories show: "Drama, Comedy, War; next: Comedy".

    Args:
        categories: of every item, its own first; empty where it has none.
        language: whose word pieces are used.
        options: how long a wording may be, how many histories of a batch have one, and how much of them is read.
    """

    def __init__(
        self, categories: Sequence[Sequence[str]], language: "PretrainedLanguageModel", options: ReasoningOptions
    ) -> None:
        self.categories, self.language, self.options = categories, language, options

    def past(self, history: np.ndarray) -> list[str]:
        """The categories taken most, the newest first among equals."""
        counts: Counter[str] = Counter()
        for item in history[::-1]:
            counts.update(self.categories[int(item)])
        return [name for name, _ in counts.most_common(NAMED)]

    def wording(self, history: np.ndarray, target: int) -> tuple[int, ...]:
        """Word pieces of what is to be said after `history` when `target` came next, the end of the text last.

        Where it is too long, less is said of the past.
        """
        following, room = self.categories[target], self.options.max_tokens - 1
        guess = self._ids(f"{SEPARATOR} next: {following[0]}")[:room] if following else ()
        past = self._ids(", ".join(self.past(history)))[: room - len(guess)]
        return (*past, *guess, self.language.end)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.language.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def guessed_category(text: str, categories: Sequence[str]) -> str | None:
    """The category that a wording guesses for the next item: the longest of `categories` that it begins with there."""
    guess = _plain(text.partition(SEPARATOR)[2].partition(":")[2])
    fitting = [name for name in categories if name and guess.startswith(_plain(name))]
    return max(fitting, key=len, default=None)


def _plain(text: str) -> str:
    """Lower case, and nothing but letters and digits: tokenizers differ in what they do to the rest."""
    return "".join(letter for letter in text.lower() if letter.isalnum())
