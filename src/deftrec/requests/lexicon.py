"""Lexicon: which items have the words of a request, by exact match; the other half of a hybrid search."""

import re
from collections.abc import Iterable, Sequence
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

YEAR = re.compile(r"\s*\((?:19|20)\d\d\)$")
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")

COMMON = frozenset(
    """
    a about after again all already also always am an and another any anybody anyone anything are around as at
    away back be because been before being best better both but by call called came can cannot come could day
    did do does doing done down each either else enough even evening ever every everybody everything few find
    first for from genre get gets give go going good got great had has have having he her here hers him his how
    however i if in instead into is it its itself just keep kind kindly last later least let like likes little
    long look looking lot love made make makes many may maybe me might mind mine mood more most much must my
    myself name named near need never new next nice night no nobody none nor not nothing now of off often on
    once one only onto or other others our ours out over own perhaps please pretty put quite rather really
    recommend recommendation right same see seen set several shall she should show since so some somebody
    someone something sometimes somewhat soon sort still such suggest sure take tell than that the their theirs
    them then there these they thing things think this those through time to today together tomorrow tonight too
    try two type under until up upon us use used usually very want wanted wants was way we weekend well were
    what whatever when where whether which while who whole whom whose why will wish with within without word
    words would yes yet you your yours
    """.split()  # noqa: SIM905
)
"""Words of requests that say nothing about an item."""

BESIDE = 0.25
"""Weight of other words beside the name of a category."""


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
        kind: kind of the text, which decides the weights of its parts.
        items: item numbers. `[n]` int64
        values: share of the text's words that each item has, weighted by how rare they are, from 0 to 1; where it names
            categories, the share of those, and `BESIDE` times that of its other words. `[n]` float32
        categories: categories that the text names.
        rest: words of the text that no category's name holds.
    """

    kind: Kind
    items: np.ndarray
    values: np.ndarray
    categories: tuple[str, ...]
    rest: tuple[str, ...]


def _categories(interactions: Interactions) -> list[list[str]]:
    """Categories of every item, those with the same words under their shortest name ("by Intuit" is "Intuit"). `[I]`"""
    given = item_categories(interactions)
    shortest: dict[tuple[str, ...], str] = {}
    for name in sorted({name for names in given for name in names}, key=lambda name: (len(name), name)):
        shortest.setdefault(tuple(words_of(name)) or (name,), name)
    return [list(dict.fromkeys(shortest[tuple(words_of(name)) or (name,)] for name in names)) for names in given]


NOBODY = np.zeros(0, np.int64)


class Lexicon:
    """Words of the items of a catalogue: titles, categories and further text.

    Args:
        interactions: the catalogue. The words of its domain, such as "films", say nothing about an item.
    """

    def __init__(self, interactions: Interactions) -> None:
        self.interactions, self.n_items = interactions, interactions.n_items
        self.titles = list(interactions.titles)
        self.categories = [
            [name for name in names if name.casefold() != title.casefold()]
            for names, title in zip(_categories(interactions), self.titles, strict=True)
        ]
        self._texts = interactions.catalogue["text"].to_list()
        self.domain = interactions.meta.domain
        self._domain = {stem(word) for word in WORD.findall(self.domain.casefold())}

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
        """Titles of several words in which the grammar would find a negation, as they are and without a year."""
        known = {short for title in self.titles for short in (title, YEAR.sub("", title))}
        return sorted(one for one in known if " " in one and len(one) <= LONGEST and negates(one))

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
        total = self._share(self._postings.get(word, NOBODY) for word in dict.fromkeys(rest))
        whole = float(total.max(initial=0.0)) >= MOST and any(map(self.is_rare, rest))
        kind: Kind = "category" if categories else "keyword" if whole else "other"
        if categories:  # rare words beside a category's name must not outweigh it
            total = self._share(self.members[name] for name in categories) + BESIDE * total
        found = np.flatnonzero(total)
        return Match(kind, found, total[found], tuple(categories), tuple(rest))

    def _share(self, words: Iterable[np.ndarray]) -> np.ndarray:
        """Share of words that each item has, weighted by how rare they are, given the items of each. `[I]` float32"""
        total, whole = np.zeros(self.n_items, np.float32), 0.0
        for items in words:
            weight = float(np.log1p(self.n_items / max(1, len(items))))
            total[items] += weight
            whole += weight
        return total / max(whole, 1e-9)

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
