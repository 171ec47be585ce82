"""Rules that decide place by place: quotas and fixed positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deftrec.retrieval.lists import ListRule


@dataclass(frozen=True, eq=False)
class AtMost(ListRule):
    """At most `limit` items of each value stand among the first `within` places.

    Attributes:
        names: the values. `[V]`
        codes: positions in `names` of each item's values, else -1. `[I, M]` int32
        within: number of places that are counted; None: all.
    """

    names: Sequence[str]
    codes: np.ndarray
    limit: int
    within: int | None = None
    text: str = ""

    def admits(self, chosen: Sequence[int], ahead: Mapping[int, int], items: np.ndarray) -> np.ndarray:
        """See `ListRule.admits`."""
        if self.within is not None and len(chosen) >= self.within:
            return np.ones(len(items), bool)
        return np.asarray(~self._full(chosen, ahead)[self.codes[items]].any(1))

    def _full(self, chosen: Sequence[int], ahead: Mapping[int, int]) -> np.ndarray:
        """Whether as many items of each value as may stand in the list do; False for -1. `[V + 1]` bool"""
        codes = self.codes[_counted(chosen, ahead, self.within)]
        full = np.bincount(codes[codes >= 0], minlength=len(self.names)) >= self.limit
        return np.append(full, False)

    def refusal(self, chosen: Sequence[int], item: int) -> str | None:
        """See `ListRule.refusal`."""
        full = self._full(chosen, {})
        names = [self.names[code] for code in self.codes[item] if full[code]]
        return f"quota: {names[0]} at most {self.limit}" if names else None


@dataclass(frozen=True, eq=False)
class Minimum:
    """At least `count` of the items `members` (`[I]` bool) stand among the first `within` places."""

    members: np.ndarray
    count: int
    within: int
    text: str = ""


@dataclass(frozen=True, eq=False)
class AtLeast(ListRule):
    """Several minimums, met together and as late as possible: an item that helps none stands where places are left.

    Where no item helps any more, places are filled as if there were no minimum.
    """

    minimums: Sequence[Minimum]

    @property
    def strict(self) -> bool:
        """See `ListRule.strict`."""
        return False

    def admits(self, chosen: Sequence[int], ahead: Mapping[int, int], items: np.ndarray) -> np.ndarray:
        """See `ListRule.admits`: the shortfall before no deadline may grow."""
        place, admitted = len(chosen), np.ones(len(items), bool)
        missing = {
            one: one.count - int(one.members[_counted(chosen, ahead, one.within)].sum())
            for one in self.minimums
            if one.within > place
        }
        missing = {one: count for one, count in missing.items() if count > 0}
        for deadline in {one.within for one in missing}:
            due = [one for one in missing if one.within <= deadline]
            places = deadline - place - sum(place < at < deadline for at in ahead)
            if sum(missing[one] for one in due) >= places:
                admitted &= np.any([one.members[items] for one in due], axis=0)
        return admitted

    def notes(self, chosen: Sequence[int]) -> list[str]:
        """See `ListRule.notes`."""
        counts = [(one, int(one.members[list(chosen[: one.within])].sum())) for one in self.minimums]
        return [
            f"{one.text} of the first {one.within}: the first {min(one.within, len(chosen))} hold {count}"
            for one, count in counts
            if count < one.count
        ]

    def effect(self, item: int, place: int) -> str | None:
        """See `Rule.effect`; for an item that would not stand in the list by its score."""
        met = [one.text for one in self.minimums if one.members[item] and place < one.within]
        return f"placed by {met[0]}" if met else None


@dataclass(frozen=True, eq=False)
class Pins(ListRule):
    """Items at fixed positions: item number by place, from 0."""

    items: Mapping[int, int]
    names: Mapping[int, str] = field(default_factory=dict)

    def fixed(self) -> Mapping[int, int]:
        """See `ListRule.fixed`."""
        return self.items

    def admits(self, chosen: Sequence[int], ahead: Mapping[int, int], items: np.ndarray) -> np.ndarray:
        """See `ListRule.admits`."""
        return np.ones(len(items), bool)

    def effect(self, item: int, place: int) -> str | None:
        """See `Rule.effect`."""
        return f"fixed at position {place + 1}" if self.items.get(place) == item else None

    def notes(self, chosen: Sequence[int]) -> list[str]:
        """See `ListRule.notes`."""
        found = []
        for place, item in sorted(self.items.items()):
            pin = f"pin: item {self.names.get(item, item)}"
            if item in chosen and chosen.index(item) != place:
                found.append(f"{pin} stands at position {chosen.index(item) + 1}: no items are left before it")
            elif item not in chosen and place < len(chosen):
                found.append(f"{pin} is not at position {place + 1}: another rule excludes it")
        return found


def _counted(chosen: Sequence[int], ahead: Mapping[int, int], within: int | None) -> list[int]:
    """Items in the first `within` places (None: all) that are chosen or fixed."""
    later = (item for place, item in ahead.items() if within is None or place < within)
    return [*chosen[:within], *later]
