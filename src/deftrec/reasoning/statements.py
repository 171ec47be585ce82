"""Statements: what is known of a user's history, in a sentence or two, for the language model to learn from."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from deftrec.data import Interactions
from deftrec.data.words import item_categories
from deftrec.language.prompts import QUESTION

TITLE_WORDS = 6
"""Largest number of words of a title, in statements and in what the language model reads."""

NAMED, KINDS = 2, 2
"""Largest number of kinds named of a history, and of categories of an item: the language model reads them all."""

RECENT = 0.3
"""Share of the history that counts as recent, at least two items."""

RISE = 0.25
"""Rise of a category's share of the items, from the older part of a history to the recent one, that is worth saying."""

ASIDE = re.compile(r"\((?:19|20)\d\d\)|\[[^\]]*\]")  # a year, a remark in brackets
ARTICLE = re.compile(r"^(?P<rest>.+), (?P<article>The|A|An|Le|La|Les|Der|Die|Das|El|Il)$")
WORD = re.compile(r"[^\W\d_][\w'&-]*[^\W_]", re.UNICODE)

COMMON = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "in",
        "into",
        "is",
        "it",
        "its",
        "new",
        "no",
        "not",
        "of",
        "off",
        "on",
        "one",
        "or",
        "our",
        "out",
        "so",
        "that",
        "the",
        "their",
        "this",
        "to",
        "two",
        "up",
        "with",
        "without",
        "you",
        "your",
        "all",
        "more",
        "most",
        "set",
        "pack",
        "ounce",
        "oz",
        "inch",
        "edition",
        "version",
    ]
)
"""Words that say nothing about an item."""

MOSTLY = ("{kinds}, such as {title}.", "{kinds}, for example {title}.", "{kinds}: {title} is typical.")
RISING = ("Lately more {kind}.", "Recently {kind} above all.", "There is more {kind} of late.")
NEWEST = ("Most recently {title}.", "The latest was {title}.", "Last came {title}.")
NEXT = ("Probably {kind} next.", "{kind} should follow.", "Likely to go on with {kind}.")

FORMS = (*MOSTLY, *RISING, *NEWEST, *NEXT)
"""All sentences of a statement."""

PLACEHOLDER = re.compile(r"\{\w+\}")


def short_title(title: str) -> str:
    """The first words of a title, without year and remarks in brackets, an article in front: "The Godfather"."""
    text = " ".join(ASIDE.sub(" ", title).split()) or " ".join(title.split())
    moved = ARTICLE.match(text)
    if moved is not None:
        text = f"{moved['article']} {moved['rest']}"
    return " ".join(text.split()[:TITLE_WORDS]).rstrip(" ,;:.-&/|")


def content_words(text: str) -> list[str]:
    """Words in lower case that say something: of three letters or more, and not among the most common ones."""
    words = (word.lower() for word in WORD.findall(text))
    return [word for word in words if len(word) > 2 and word not in COMMON]


@dataclass(frozen=True)
class Facts:
    """What is known of a history, and of what came after it.

    Attributes:
        kinds: most frequent categories, or words of titles where items have no categories. At most two.
        rising: kind that is more frequent lately; None: none is.
        coming: kind of the history that the later items share most; None: they share none.
        typical, newest: short titles of the newest earlier item of the first kind, and of the newest item.
    """

    kinds: tuple[str, ...]
    rising: str | None
    coming: str | None
    typical: str
    newest: str


@dataclass(frozen=True, eq=False)
class ItemWords:
    """Words about every item of a catalogue.

    Attributes:
        titles: short titles; the item's id where it has no title. `I`
        categories: the most specific categories, at most `KINDS`, without those that repeat the title. `I`
        kinds: categories, or the content words of the title where no item has a category. `I`
        lines: words of each item that the language model reads: "Fargo (Crime, Drama)". `I`
    """

    titles: list[str]
    categories: list[list[str]]
    kinds: list[list[str]] = field(init=False)
    lines: list[str] = field(init=False)

    def __post_init__(self) -> None:
        kinds = self.categories
        if not any(kinds):
            kinds = [list(dict.fromkeys(content_words(title))) for title in self.titles]
        object.__setattr__(self, "kinds", kinds)
        object.__setattr__(self, "lines", [self._line(item) for item in range(len(self.titles))])

    @classmethod
    def of(cls, interactions: Interactions) -> "ItemWords":
        """The words about the items of `interactions`."""
        titles = [
            short_title(title) or str(item)
            for title, item in zip(interactions.titles, interactions.catalogue["item"], strict=True)
        ]
        categories = [
            [" ".join(name.split()) for name in names if name.lower() != title.lower()][:KINDS]
            for names, title in zip(item_categories(interactions), titles, strict=True)
        ]
        return cls(titles, categories)

    def _line(self, item: int) -> str:
        about = ", ".join(self.categories[item])
        return f"{self.titles[item]} ({about})" if about else self.titles[item]

    def named(self, items: Iterable[int]) -> list[str]:
        """What a statement may name of items: short titles, and kinds within and at the start of a sentence."""
        items = list(items)
        kinds = {kind for item in items for kind in self.kinds[item]}
        return sorted(kinds | {capitalised(kind) for kind in kinds} | {self.titles[item] for item in items})

    def facts(self, history: Sequence[int], later: Sequence[int] = ()) -> Facts:
        """Facts of a history, oldest item first, not empty, and of the items `later` than it."""
        counts = Counter(kind for item in reversed(history) for kind in self.kinds[item])
        repeated = {kind for kind, count in counts.items() if count > 1 or any(self.categories)}
        kinds = tuple(kind for kind, _ in counts.most_common() if kind in repeated)[:NAMED]
        recent = max(2, round(RECENT * len(history)))
        after = Counter(kind for item in later for kind in set(self.kinds[item]) if kind in counts)
        shared = [kind for kind, count in after.items() if count > 1]
        coming = max(shared, key=lambda kind: (after[kind], counts[kind]), default=None)
        earlier = history[-2::-1] or history  # the newest first; a single item stands for itself
        typical = next((item for item in earlier if set(kinds[:1]) & set(self.kinds[item])), earlier[0])
        return Facts(
            kinds,
            self._rising(history[:-recent], history[-recent:], kinds[:1]),
            coming,
            self.titles[typical],
            self.titles[history[-1]],
        )

    def _rising(self, older: Sequence[int], recent: Sequence[int], said: Sequence[str]) -> str | None:
        """The category whose share of the items rose most, if it rose enough and is not `said` already."""
        if not older or not any(self.categories):
            return None
        before, now = (Counter(kind for item in part for kind in self.kinds[item]) for part in (older, recent))
        rises = {
            kind: now[kind] / len(recent) - before[kind] / len(older)
            for kind in now
            if now[kind] > 1 and kind not in said
        }
        best = max(rises, key=lambda kind: rises[kind], default=None)
        return best if best is not None and rises[best] > RISE else None


def capitalised(text: str) -> str:
    """A text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def form_words() -> list[str]:
    """The words of the sentences around what they name."""
    pieces = [piece for form in FORMS for piece in PLACEHOLDER.split(form)]
    return sorted({word for piece in [*pieces, "and"] for word in re.findall(r"\w+", piece)})


def sentence(text: str) -> str:
    """A statement as a sentence: "This person likes Drama and Comedy, such as Fargo." """
    return f"{QUESTION} {text}"


def statement(facts: Facts, rng: np.random.Generator) -> str:
    """A statement of `facts` in words drawn at random, to follow "This person likes"."""

    def one(forms: tuple[str, ...], **values: str) -> str:
        text = forms[int(rng.integers(len(forms)))].format(**values)
        return capitalised(text)

    if facts.kinds:
        parts = [one(MOSTLY, kinds=" and ".join(facts.kinds), title=facts.typical)]
    else:
        parts = [f"{facts.typical}."]
    if facts.rising is not None:
        parts.append(one(RISING, kind=facts.rising))
    elif facts.newest != facts.typical:
        parts.append(one(NEWEST, title=facts.newest))
    if facts.coming is not None:
        parts.append(one(NEXT, kind=facts.coming))
    return " ".join(parts)
