"""Categories of the items as numbers, and their shares in histories and lists."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deftrec.data.interactions import Interactions
from deftrec.data.sequences import PADDING
from deftrec.data.words import item_categories


@dataclass(frozen=True, eq=False)
class CategoryTable:
    """Categories of every item.

    Attributes:
        names: name of each category, sorted. `[G]`
        members: category numbers of every item, `PADDING` behind them. `[I, M]` int64
    """

    names: list[str]
    members: np.ndarray

    @classmethod
    def of(cls, interactions: Interactions) -> "CategoryTable":
        """The categories of a catalogue; no item may have any."""
        items = [sorted(set(one)) for one in item_categories(interactions)]
        names = sorted({name for one in items for name in one})
        numbers = {name: number for number, name in enumerate(names)}
        members = np.full((len(items), max([1, *map(len, items)])), PADDING, np.int64)
        for row, one in zip(members, items, strict=True):
            row[: len(one)] = [numbers[name] for name in one]
        return cls(names, members)

    def __len__(self) -> int:
        return len(self.names)

    def sums(self, owners: np.ndarray, items: np.ndarray, n: int, power: float = 1.0) -> np.ndarray:
        """Sums over `n` collections of items, in which an item of m categories adds m^-power to each of them.

        Args:
            owners: collection of each entry. `[E]` int64
            items: item number of each entry; `PADDING` counts as no item. `[E]` int64
            power: 1: the parts of an item sum to one; 1/2: their squares do.

        Returns:
            Sum of each category. `[n, G]` float64
        """
        owners, items = owners[items != PADDING], items[items != PADDING]
        categories = self.members[items]  # [E, M]
        entry, place = np.nonzero(categories != PADDING)
        cells = owners[entry] * len(self) + categories[entry, place]
        weights = self.sizes[items[entry]] ** -power
        sums: np.ndarray = np.bincount(cells, weights, n * len(self)).reshape(n, len(self))
        return sums

    def shares(self, owners: np.ndarray, items: np.ndarray, n: int) -> np.ndarray:
        """Shares of the categories in `n` collections, each row with the sum 1, or 0 where no item has a category.

        An item of m categories counts 1 / m for each (Steck 2018, section 3). Arguments as for `sums`. `[n, G]`
        """
        sums = self.sums(owners, items, n)
        totals = sums.sum(1, keepdims=True)
        shares: np.ndarray = sums / np.where(totals > 0, totals, 1)
        return shares

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of categories of each item. `[I]` float64"""
        sizes: np.ndarray = (self.members != PADDING).sum(1).astype(np.float64)
        return sizes
