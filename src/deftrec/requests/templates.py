"""Requests for an item in its own words, to train and to choose weights with; never its whole title."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deftrec.requests.lexicon import Kind, Lexicon, spoken_words, stem, words_of

CATEGORY = (
    "{a}",
    "something in {a}",
    "{a} {domain}",
    "I would like {a}",
    "{a}, please",
    "show me {a}",
    "recommend me some {a}",
    "I am in the mood for {a}",
    "any good {a}?",
    "{domain} of the kind {a}",
    "looking for {a}",
    "more {a}",
)
CATEGORIES = ("{a} and {b}", "something with {a} and {b}", "{a} that is also {b}", "{a}, {b}")
KEYWORD = (
    "{a}",
    "something about {a}",
    "with {a}",
    "{domain} about {a}",
    "the one with {a}",
    "I am looking for {a}",
    "do you have {a}?",
)
"""Forms of training requests: `{a}` and `{b}` are categories or words, `{domain}` is the kind of items."""

CATEGORY_CHECKS = ("I feel like {a} tonight", "what is there in {a}?", "can you suggest {a}")
KEYWORD_CHECKS = ("have you got anything on {a}", "I remember {a}", "find me {a}")
"""Forms of the requests on which weights are chosen; training does not use them."""

SHARES = {"category": 0.6, "categories": 0.15, "keyword": 0.25}
"""Shares of the training requests, where an item has words of each kind."""

MOST_WORDS = 3
"""Largest number of words of a keyword request."""


@dataclass(frozen=True, eq=False)
class RequestWriter:
    """Writes requests for items in their own words.

    Attributes:
        lexicon: words of the items.
        domain: kind of items.
        without: words that no request holds, for studies.
    """

    lexicon: Lexicon
    domain: str
    without: frozenset[str] = frozenset()

    def kinds_of(self, item: int) -> list[str]:
        """Keys of `SHARES` that an item has words for."""
        categories = len(self._categories(item))
        known = {"category": categories > 0, "categories": categories > 1, "keyword": bool(self._words(item))}
        return [kind for kind, has in known.items() if has]

    def draw(self, item: int, rng: np.random.Generator) -> str | None:
        """A training request for an item; None if it has no words."""
        kinds = self.kinds_of(item)
        if not kinds:
            return None
        weights = np.array([SHARES[kind] for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        forms = {"category": CATEGORY, "categories": CATEGORIES, "keyword": KEYWORD}[kind]
        return self._written(item, kind, forms, rng)

    def check(self, item: int, kind: Kind, rng: np.random.Generator) -> str | None:
        """A request of a kind to choose weights with; None if the item has no words of it."""
        if kind not in self.kinds_of(item):
            return None
        return self._written(item, kind, CATEGORY_CHECKS if kind == "category" else KEYWORD_CHECKS, rng)

    def _written(self, item: int, kind: str, forms: Sequence[str], rng: np.random.Generator) -> str:
        form, names = forms[int(rng.integers(len(forms)))], self._categories(item)
        if kind == "keyword":
            words = self._words(item)
            count = int(rng.integers(1, min(MOST_WORDS, len(words)) + 1))
            first = int(rng.integers(len(words) - count + 1))
            return form.format(a=" ".join(words[first : first + count]), domain=self.domain)
        drawn = rng.permutation(len(names))
        second = names[drawn[1]] if kind == "categories" else ""
        return form.format(a=names[drawn[0]], b=second, domain=self.domain)

    def _categories(self, item: int) -> list[str]:
        return [name for name in self.lexicon.categories[item] if not self.without & set(words_of(name))]

    def _words(self, item: int) -> list[str]:
        """Rare words of the title, at most all but one of its words."""
        words = list(dict.fromkeys(spoken_words(self.lexicon.titles[item])))
        stems = {word: stem(word) for word in words}
        rare = [word for word in words if self.lexicon.is_rare(stems[word]) and not word.isdigit()]
        rare = [word for word in rare if stems[word] not in self.without]
        return rare[: len(words) - 1]
