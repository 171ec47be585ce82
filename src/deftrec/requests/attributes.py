"""Numbers and names in a request that are attributes of the items: "under 20 euros", "from Acme", "in stock".

    number  = bound N [unit] | "between" N "and" N [unit]
    bound   = "under" | "below" | "less than" | "cheaper than" | "up to" | "at most"            (at most N)
            | "over" | "above" | "more than" | "at least"                                       (at least N)
            | "before" | "until" | "after" | "since"                            N is a year
    unit    = a currency, or the name of an attribute that holds numbers ("under 300 pages")
    name    = ["no" | "not" | "without" | "except" | "nothing"] ("from" | "by" | "brand" | name of an attribute) value
    stock   = "in stock" | "available"

A number without a unit is a price; one after "before" and the like is a year or a date. A value is a whole one of an
attribute that holds texts, in any case. What is read here is a rule: it holds for every item of the list. The rest of
the request is read as words; so is what no attribute of the catalogue fits.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import torch

from deftrec.data import Interactions
from deftrec.retrieval import Allow, Deny, Rule

PRICES = ("price", "unitprice", "lineitemprice", "saleprice", "listprice", "cost")
YEARS = ("year", "releaseyear", "publicationyear")
STOCK = ("stock", "instock", "quantityinstock", "inventory", "availability", "available")
"""Names of attributes, without anything but letters, that numbers without a unit, years and "in stock" are about."""

NUMBER = r"(\d+(?:,\d{3})*(?:\.\d+)?)(?!\d)"
CURRENCY = r"(?:€|\$|£|¥|euros?|dollars?|bucks|pounds?|eur|usd|gbp)"
MOST = r"under|below|less\s+than|cheaper\s+than|up\s+to|at\s+most|no\s+more\s+than|not\s+over|maximum|max"
LEAST = r"over|above|more\s+than|at\s+least|no\s+less\s+than|not\s+under|minimum|min"
YEAR = re.compile(r"\b(?P<word>before|until|after|since)\s+(?P<year>(?:19|20)\d\d)\b", re.I)
IN_STOCK = re.compile(r"\b(?:(?:only\s+)?(?:what\s+is\s+)?in\s+stock|available(?:\s+now)?)\b", re.I)
AFTER = "and|but|or|please|with|without|from|by|in|for|no|not|only|that|which|made"
"""Words that may follow a price without a currency; "under 300 kilometres" is none."""

REFUSES = ("no", "not", "without", "except", "nothing", "never")
KEYS = (("made", "by"), ("from",), ("by",), ("brand",))
WORD = re.compile(r"\S+")
LONGEST_NAME = 6  # words of a value
PUNCTUATION = " ,.;:!?"


@dataclass(frozen=True, eq=False)
class ReadAttributes:
    """What a request says of attributes.

    Attributes:
        rest: the request without it.
        rules: rules of the list.
        notes: descriptions of the rules, such as "price at most 20".
    """

    rest: str
    rules: tuple[Rule, ...] = ()
    notes: tuple[str, ...] = ()


class AttributeReader:
    """Reads attributes in requests for the items of `interactions`."""

    def __init__(self, interactions: Interactions) -> None:
        self._attributes = interactions.attributes
        plain = {re.sub("[^a-z]", "", name.lower()): name for name in self._attributes.columns}
        self._numbers = {key: name for key, name in plain.items() if self._attributes[name].dtype.is_numeric()}
        self._dates = [name for name in plain.values() if self._attributes[name].dtype == pl.Date]
        self._texts = {key: name for key, name in plain.items() if self._attributes[name].dtype == pl.String}
        self._price = next((self._numbers[key] for key in PRICES if key in self._numbers), None)
        self._year = next((self._numbers[key] for key in YEARS if key in self._numbers), None)
        self._stock = next((plain[key] for key in STOCK if key in plain), None)
        self._keys = (*KEYS, *((name.lower(),) for name in self._texts.values()))
        spelt = [*self._numbers, *(name.lower() for name in self._numbers.values())]
        owners = "|".join(
            sorted({re.escape(form) for name in spelt for form in (name, f"{name}s", name.removesuffix("s"))})
        )
        unit = rf"(?:\s*(?P<unit>{CURRENCY}|(?:{owners})\b)|(?!\s+(?!(?:{AFTER})\b)[^\W\d_]))"
        before, sign = rf"(?:\b(?:{owners})\s+)?", r"(?P<sign>[€$£¥])?\s*"
        self._bounds = re.compile(rf"{before}\b(?:(?P<most>{MOST})|(?P<least>{LEAST}))\s+{sign}{NUMBER}{unit}", re.I)
        self._ranges = re.compile(rf"{before}\bbetween\s+{sign}{NUMBER}\s+and\s+[€$£¥]?\s*{NUMBER}{unit}", re.I)

    def read(self, text: str) -> ReadAttributes:
        """What a request says of the attributes, and the rest of it."""
        if not self._attributes.columns:
            return ReadAttributes(text)
        rules: list[Rule] = []
        notes: list[str] = []

        def taken(found: re.Match[str], read: Callable[[re.Match[str]], tuple[np.ndarray, str] | None]) -> str:
            what = read(found)
            if what is None:
                return found[0]
            items, note = what
            rules.append(Allow(torch.from_numpy(np.flatnonzero(items)), f"request: {note}"))
            notes.append(note)
            return " "

        for pattern, read in (
            (self._ranges, self._between),
            (self._bounds, self._bound),
            (YEAR, self._in_years),
            (IN_STOCK, self._in_stock),
        ):
            text = pattern.sub(lambda found, read=read: taken(found, read), text)  # type: ignore[misc]
        text = self._named(text, rules, notes)
        rest = re.sub(r"\s*([,.;])(?:\s*[,.;])*", r"\1", " ".join(text.split())).strip(PUNCTUATION)
        return ReadAttributes(rest, tuple(rules), tuple(notes))

    def _numeric(self, unit: str | None, sign: str | None = None) -> str | None:
        """The attribute of a number: by its unit, or the price."""
        if unit is None or sign or re.fullmatch(CURRENCY, unit, re.I):
            return self._price
        word = unit.lower()
        return next(
            (self._numbers[key] for key in (word, word.removesuffix("s"), f"{word}s") if key in self._numbers), None
        )

    def _bound(self, found: re.Match[str]) -> tuple[np.ndarray, str] | None:
        unit, number = found["unit"], _number(found[4])
        name = self._numeric(unit, found["sign"])
        if name is None:
            return None
        values = self._values(name)
        if found["most"]:
            return values <= number, f"{name} at most {number:g}"
        return values >= number, f"{name} at least {number:g}"

    def _between(self, found: re.Match[str]) -> tuple[np.ndarray, str] | None:
        low, high = sorted((_number(found[2]), _number(found[3])))
        name = self._numeric(found["unit"])
        if name is None:
            return None
        values = self._values(name)
        return (values >= low) & (values <= high), f"{name} between {low:g} and {high:g}"

    def _in_years(self, found: re.Match[str]) -> tuple[np.ndarray, str] | None:
        name = self._year or (self._dates[0] if self._dates else None)
        if name is None:
            return None
        year, word = int(found["year"]), found["word"].lower()
        column = self._attributes[name]
        years = self._values(name) if column.dtype != pl.Date else _floats(column.dt.year())
        kept = {"before": years < year, "until": years <= year, "after": years > year, "since": years >= year}[word]
        return kept, f"{name} {word} {year}"

    def _in_stock(self, found: re.Match[str]) -> tuple[np.ndarray, str] | None:
        if self._stock is None:
            return None
        column = self._attributes[self._stock]
        if column.dtype == pl.String:
            said = column.str.to_lowercase().str.strip_chars()
            there = said.is_in(["true", "yes", "1", "in stock", "instock", "available", "y", "in_stock"])
            return there.fill_null(False).to_numpy(), f"{self._stock}: in stock"
        return self._values(self._stock) > 0, f"{self._stock}: in stock"

    def _values(self, name: str) -> np.ndarray:
        return _floats(self._attributes[name])

    @cached_property
    def _names(self) -> dict[str, list[tuple[str, str]]]:
        """Attribute and value of each name, in lower case."""
        found: dict[str, list[tuple[str, str]]] = {}
        for name in self._texts.values():
            for value in self._attributes[name].str.split("|").explode().str.strip_chars().unique().drop_nulls():
                if value and len(value.split()) <= LONGEST_NAME:
                    found.setdefault(value.casefold(), []).append((name, value))
        return found

    def _named(self, text: str, rules: list[Rule], notes: list[str]) -> str:
        """The text without the values that are named after "from", "by" or an attribute's name."""
        place = 0
        while True:
            words = list(WORD.finditer(text, place))
            found = next(filter(None, (self._value_at(words, n) for n in range(len(words)))), None)
            if found is None:
                return text
            firm, name, value, first, last = found
            items = torch.from_numpy(np.flatnonzero(self._having(name, value)))
            note = f"{name} {value}"
            rules.append(Deny(items, f"request: no {note}") if firm else Allow(items, f"request: {note}"))
            notes.append(f"excluded: {note}" if firm else note)
            text = f"{text[:first]} {text[last:]}"
            place = first

    def _value_at(self, words: list[re.Match[str]], n: int) -> tuple[bool, str, str, int, int] | None:
        """The value that is named at the `n`-th word: whether it is refused, attribute, value, and where it stands."""
        said = [word[0].casefold().strip(PUNCTUATION) for word in words[n : n + 3]]
        firm = bool(said) and said[0] in REFUSES
        start = n + firm
        key = next((one for one in self._keys if tuple(said[firm : firm + len(one)]) == one), None)
        starts = [start + len(key)] if key else []
        for first in [*starts, *([start] if firm else [])]:
            for count in range(min(LONGEST_NAME, len(words) - first), 0, -1):
                last = words[first + count - 1]
                spelt = words[0].string[words[first].start() : last.end()].rstrip(PUNCTUATION)
                owners = self._names.get(spelt.casefold())
                if owners:
                    own = (one for one in owners if key is not None and (one[0].lower(),) == key)
                    name, value = next(own, owners[0])
                    return firm, name, value, words[n].start(), words[first].start() + len(spelt)
        return None

    def _having(self, name: str, value: str) -> np.ndarray:
        lists = self._attributes[name].str.split("|").list.eval(pl.element().str.strip_chars())
        return lists.list.contains(value).fill_null(False).to_numpy()


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _floats(column: pl.Series) -> np.ndarray:
    """Values as float64, NaN where there is none, with which no comparison is true."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
