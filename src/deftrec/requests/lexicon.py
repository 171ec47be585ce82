"""Lexicon: which items have the words of a request, by exact match; the other half of a hybrid search."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from deftrec.data import Interactions
from deftrec.data.words import item_categories
from deftrec.requests.parse import LONGEST, negates

Kind: TypeAlias = Literal["category", "keyword", "other"]
"""A request that names a category, one most of whose words an item has, a rare one among them, or neither."""

MOST = 0.7
"""Share of the words of a keyword request that one item at least has."""

RARE, FEW = 0.05, 3
"""Largest share of the items that have a rare word, and number of items that are always few enough."""

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")

COMMON = frozenset(
    """
    a about all also am an and any anything are as at be by called can could do find for from genre get
    give good great has have i in is it item items just kind let like looking love me my named new not
    of on one or our please recommend recommendation set show some something sort suggest that the their
    them there these thing things this to today tonight type us very want wanted was watch we what which
    who with without word words would you your
    """.split()  # noqa: SIM905
)
"""Words of requests that say nothing about an item."""


def words_of(text: str) -> list[str]:
    """Words of a text in lower case and singular, without the most common ones."""
    return [stem(word) for word in spoken_words(text)]


def spoken_words(text: str) -> list[str]:
    """Words of a text in lower case, without the most common ones."""
    return [word for word in WORD.findall(text.casefold()) if word not in COMMON]


def stem(word: str) -> str:
    """A word without the ending of a plural or a genitive: "comedies" -> "comedy", "children's" -> "children"."""
    word = word.removesuffix("'s").removesuffix("'")
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@dataclass(frozen=True, eq=False)
class Match:
    """Items that have words of a text.

    Attributes:
        kind: what the text names.
        items: item numbers. `[n]` int64
        values: share of the text's words that each item has, weighted by how rare they are. `[n]` float32, from 0 to 1
        categories: categories that the text names.
        rest: words of the text that no category's name holds.
    """

    kind: Kind
    items: np.ndarray
    values: np.ndarray
    categories: tuple[str, ...]
    rest: tuple[str, ...]


class Lexicon:
    """Words of the items of a catalogue: titles, categories and further text.

    Args:
        interactions: the catalogue. The words of its domain, such as "films", say nothing about an item.
    """

    def __init__(self, interactions: Interactions) -> None:
        self.n_items = interactions.n_items
        self.titles = list(interactions.titles)
        self.categories = [
            [name for name in names if name.casefold() != title.casefold()]
            for names, title in zip(item_categories(interactions), self.titles, strict=True)
        ]
        self._texts = interactions.catalogue["text"].to_list()
        self.domain = interactions.meta.domain
        self._domain = {stem(word) for word in WORD.findall(self.domain.casefold())}

    @property
    def has_words(self) -> bool:
        """Whether any item has a title, a category or other text."""
        return any(self.titles) or any(self.categories) or any(self._texts)

    @cached_property
    def members(self) -> dict[str, np.ndarray]:
        """Item numbers of each category. Each `[n]` int64"""
        found: dict[str, list[int]] = {}
        for item, names in enumerate(self.categories):
            for name in names:
                found.setdefault(name, []).append(item)
        return {name: np.array(found[name], np.int64) for name in sorted(found)}

    @cached_property
    def negating_titles(self) -> list[str]:
        """Titles of several words in which the grammar would find a negation, the longest first."""
        found = {title for title in self.titles if " " in title and len(title) <= LONGEST and negates(title)}
        return sorted(found, key=len, reverse=True)

    @cached_property
    def _names(self) -> dict[tuple[str, ...], str]:
        """Categories by the words of their names."""
        return {tuple(words): name for name in self.members if (words := words_of(name))}

    @cached_property
    def _postings(self) -> dict[str, np.ndarray]:
        """Item numbers of each word. Each `[n]` int64"""
        found: dict[str, list[int]] = {}
        for item, parts in enumerate(zip(self.titles, self.categories, self._texts, strict=True)):
            title, categories, text = parts
            for word in set(words_of(" ".join([title, *categories, text or ""]))):
                found.setdefault(word, []).append(item)
        return {word: np.array(items, np.int64) for word, items in found.items()}

    def category_of(self, text: str) -> str | None:
        """The category whose name a text is, in any case, singular or plural; None if it is none's."""
        return self._names.get(tuple(words_of(text)))

    def is_rare(self, word: str) -> bool:
        """Whether at least one and few of the items have a word of `words_of`."""
        return 0 < len(self._postings.get(word, ())) <= max(FEW, RARE * self.n_items)

    def match(self, text: str) -> Match:
        """Items that have words of a text."""
        words = [word for word in words_of(text) if word not in self._domain]
        categories, rest = self._named(words)
        weights = [(self.members[name], self._rarity(len(self.members[name]))) for name in categories]
        nobody = np.zeros(0, np.int64)
        own = [self._postings.get(word, nobody) for word in dict.fromkeys(rest)]
        weights += [(items, self._rarity(len(items))) for items in own]
        total = np.zeros(self.n_items, np.float32)
        for items, weight in weights:
            total[items] += weight
        total /= max(1e-9, sum(weight for _, weight in weights))
        found = np.flatnonzero(total)
        whole = len(found) > 0 and float(total.max()) >= MOST and any(map(self.is_rare, rest))
        kind: Kind = "category" if categories else "keyword" if whole else "other"
        return Match(kind, found, total[found], tuple(categories), tuple(rest))

    def _named(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """Categories that words name, the longest names first, and the words that are left."""
        longest = max(map(len, self._names), default=0)
        named, rest, place = [], [], 0
        while place < len(words):
            for length in range(min(longest, len(words) - place), 0, -1):
                name = self._names.get(tuple(words[place : place + length]))
                if name is not None:
                    named.append(name)
                    place += length
                    break
            else:
                rest.append(words[place])
                place += 1
        return list(dict.fromkeys(named)), rest

    def _rarity(self, count: int) -> float:
        """Inverse document frequency of a word that `count` items have."""
        return float(np.log1p(self.n_items / max(1, count)))
