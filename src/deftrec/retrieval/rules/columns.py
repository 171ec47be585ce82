"""The catalogue as rules see it: its own columns, and the derived columns `popularity` and `age`."""

import difflib
import re
from collections.abc import Collection
from functools import cached_property, lru_cache

import numpy as np
import polars as pl
import torch
from torch import Tensor

from deftrec.data import Interactions
from deftrec.errors import ConfigError
from deftrec.retrieval.rules.options import Condition

WHOLE = ("item", "title", "text")  # text columns that hold one value; others hold several, separated by |
MASKS, COLUMNS = 64, 16  # conditions whose items are remembered, and columns whose values are
COMPARED = 10_000  # names that a wrong one is compared with


class ItemColumns:
    """Conditions on the items of `interactions`, whose interactions in the training are `popularity` `[I]`.

    Every column of the catalogue can be named, text or number. A new column needs nothing here.
    """

    def __init__(self, interactions: Interactions, popularity: np.ndarray) -> None:
        self.interactions, self._popularity = interactions, popularity
        self.names = [*interactions.catalogue.columns, "popularity", "age"]
        # One cache for each catalogue, as a service replaces its own.
        self.items, self.values = lru_cache(MASKS)(self._items), lru_cache(COLUMNS)(self._values)
        self._words = lru_cache(COLUMNS)(self._separated)

    @cached_property
    def days(self) -> np.ndarray:
        """Times of the events in days since 1970; a `ConfigError` if their unit is unknown. `[E]`"""
        if (days := self.interactions.days) is None:
            raise ConfigError(
                f"{self.interactions.meta.name}: its times are no clock times, so there is no age in days; "
                "import the events with dates, or with seconds since 1970"
            )
        return days

    @cached_property
    def newest(self) -> float:
        """Time of the newest event, in days since 1970."""
        return float(self.days.max())

    @cached_property
    def age(self) -> np.ndarray:
        """Days from each item's first event to the newest event of the data; 0 for an item without events. `[I]`"""
        first = np.full(self.interactions.n_items, self.newest)
        np.minimum.at(first, self.interactions.sequences.items, self.days)
        return np.asarray(self.newest - first)

    def column(self, name: str) -> pl.Series:
        """Values of a column; a `ConfigError` with the nearest name if there is none. `[I]`"""
        if name in ("popularity", "age"):
            return pl.Series(name, self._popularity if name == "popularity" else self.age)
        if name not in self.names:
            raise ConfigError(f"the catalogue has no column {name!r}{nearest(name, self.names)}")
        column = self.interactions.catalogue[name]
        if column.dtype == pl.Date:  # a date is compared as its year, with the part of it that is over
            return (column.dt.year() + (column.dt.ordinal_day() - 1) / 366).alias(name)
        return column if column.dtype.is_numeric() and name != "item" else column.cast(pl.String)

    def _values(self, name: str) -> tuple[list[str], np.ndarray]:
        """Distinct values of a column as text, and for each item the positions of its own in that list, else -1.

        `[V]` and `[I, M]` int32, M: the most values of an item.
        """
        column = self.column(name)
        if column.dtype == pl.String and name not in WHOLE:
            parts = column.str.split("|")
        else:
            parts = column.cast(pl.String).to_frame().select(pl.concat_list(column.name)).to_series()
        rows = pl.DataFrame({"item": np.arange(len(column)), "value": parts}).explode("value")
        rows = rows.with_columns(pl.col("value").str.strip_chars()) if name not in WHOLE else rows
        rows = rows.filter(pl.col("value") != "").unique(maintain_order=True)
        distinct = rows["value"].unique().sort()
        owners, lengths = (
            one.to_numpy().astype(np.int64) for one in (rows["item"], rows["item"].rle().struct.field("len"))
        )
        places = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        codes = np.full((len(column), int(lengths.max(initial=1))), -1, np.int32)
        codes[owners, places] = distinct.search_sorted(rows["value"]).to_numpy()
        return distinct.to_list(), codes

    def _items(self, condition: Condition) -> Tensor:
        """The items that meet a condition; a `ConfigError` for an unknown column or value. `[I]` bool"""
        if condition.new is not None:
            return torch.from_numpy(self.age <= condition.new)
        assert condition.column is not None
        column = self.column(condition.column)
        if condition.is_ is not None:
            return torch.from_numpy(self._among(column, condition.is_))
        text = column.dtype == pl.String
        if condition.words is not None:
            if not text:
                raise ConfigError(f"column {column.name!r} holds numbers; give is, at_least or at_most")
            wanted = [_padded(word) for word in condition.words]
            return torch.from_numpy(self._words(column.name).str.contains_any(wanted).to_numpy().copy())
        if text:
            raise ConfigError(f"column {column.name!r} holds text; give is or words")
        low, high = condition.at_least, condition.at_most
        numbers = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        fits = ~np.isnan(numbers)
        fits &= (numbers >= (-np.inf if low is None else low)) & (numbers <= (np.inf if high is None else high))
        return torch.from_numpy(fits)

    def _among(self, column: pl.Series, wanted: tuple[str, ...]) -> np.ndarray:
        """Whether each item has one of the values `wanted`. `[I]` bool"""
        if column.dtype != pl.String:
            try:
                numbers = [float(value) for value in wanted]
            except ValueError:
                raise ConfigError(f"column {column.name!r} holds numbers, not {wanted[0]!r}") from None
            return np.isin(column.cast(pl.Float64).fill_null(float("nan")).to_numpy(), numbers)
        distinct, codes = self.values(column.name)
        places = {value: place for place, value in enumerate(distinct)}
        for value in wanted:
            if value not in places:
                raise ConfigError(f"no item has the {column.name} {value[:64]!r}{nearest(value, distinct)}")
        return np.asarray(np.isin(codes, [places[value] for value in wanted]).any(1))

    def _separated(self, name: str) -> pl.Series:
        """The words of a text column, each between spaces."""
        return pl.Series([_padded(text or "") for text in self.column(name)], dtype=pl.String)


def _padded(text: str) -> str:
    """Words in lower case, each between single spaces: a phrase is found at word boundaries only."""
    words = " ".join(re.findall(r"\w+", text.casefold()))
    return f" {words} "


def nearest(name: str, names: Collection[str]) -> str:
    """The hint `; did you mean 'that'?`; empty if there is no name, or so many that it would take long."""
    near = difflib.get_close_matches(name[:64], names, n=1, cutoff=0.0) if len(names) <= COMPARED else []
    return f"; did you mean {near[0]!r}?" if near else ""
