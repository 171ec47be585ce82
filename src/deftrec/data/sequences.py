"""Sequences of different lengths in two flat arrays, and their packing into rows of constant length."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

PADDING = -1  # value of a position without an item, and of an input without a target

TARGET, CONTEXT, NEGATIVE, NEUTRAL = 0, 1, 2, 3
"""Roles of an interaction: it may be predicted; is read alone (a view); shows what the user dislikes; or was neither
liked nor disliked (a rating between the thresholds), which is read alone, and whose item the user has had."""

EMPTY: dict[str, float] = {"role": TARGET, "kind": PADDING, "value": np.nan, "weight": 1.0, "owner": PADDING}
"""Value of each column where it is unknown; NaN of the others."""

DAY = 86_400.0  # seconds

NO_GAP = 0  # bucket of an unknown time between two events
GAPS = 40  # number of buckets of times between two events; the last one holds 2^38 seconds and more


@dataclass(frozen=True, eq=False)
class Sequences:
    """`N` sequences of item numbers, oldest first.

    Attributes:
        items: item numbers of all sequences, concatenated. `[E]` int32
        offsets: start of each sequence in `items`; sequence `n` is `items[offsets[n]:offsets[n + 1]]`. `[N + 1]` int64
        columns: what else is known of each entry of `items`, by name: `day` (days since 1970, float64), `ahead` (days
            until the request, float64), `role` (`TARGET` and so on, int8; without it all are targets),
            `weight` (of a target in the objective, float32), `kind` (from 0, int64), `value` (NaN: none, float32).
            Each `[E]`
    """

    items: np.ndarray
    offsets: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def from_lists(cls, lists: list[np.ndarray] | list[list[int]]) -> "Sequences":
        """Build from one list of item numbers per sequence."""
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
        items = np.concatenate([np.asarray(one, np.int32) for one in lists]) if lists else np.zeros(0, np.int32)
        return cls(items.astype(np.int32), offsets)

    @classmethod
    def joined(cls, parts: Sequence["Sequences"]) -> "Sequences":
        """The sequences of several, in order; a column that only some have is unknown in the others."""
        items = np.concatenate([np.zeros(0, np.int32), *(part.items for part in parts)])
        lengths = np.concatenate([np.zeros(0, np.int64), *(part.lengths for part in parts)])
        columns = {}
        for name, like in {name: one for part in parts for name, one in part.columns.items()}.items():
            none = EMPTY.get(name, np.nan)
            values = [part.columns.get(name, np.full(len(part.items), none, like.dtype)) for part in parts]
            columns[name] = np.concatenate(values)
        return cls(items, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), columns)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, n: int) -> np.ndarray:
        return self.items[self.offsets[n] : self.offsets[n + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[n] for n in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """Number of items of each sequence. `[N]` int64"""
        return np.diff(self.offsets)

    def owners(self) -> np.ndarray:
        """Index of the sequence of each entry of `items`. `[E]` int64"""
        return np.repeat(np.arange(len(self)), self.lengths)

    def counts(self, n_items: int) -> np.ndarray:
        """Number of occurrences of each item in all sequences together. `[I]` int64"""
        return np.bincount(self.items, minlength=n_items)

    def repeated(self, n_items: int) -> np.ndarray:
        """Mask of the entries of `items` whose item occurs earlier in the same sequence. `[E]` bool"""
        pairs = self.owners() * n_items + self.items
        _, first = np.unique(pairs, return_index=True)  # index of the first occurrence
        repeated = np.ones(len(pairs), bool)
        repeated[first] = False
        return repeated

    def heads(self, lengths: np.ndarray) -> "Sequences":
        """Cut every sequence to its first `lengths[n]` entries."""
        kept = np.arange(len(self.items)) - np.repeat(self.offsets[:-1], self.lengths)
        return self.where(kept < np.repeat(lengths, self.lengths))

    def redrawn(self, tie_groups: np.ndarray, rng: np.random.Generator) -> "Sequences":
        """Shuffle the entries within each of the groups `Interactions.tie_groups`, `[E]` int64."""
        return self._taken(np.lexsort((rng.random(len(tie_groups)), tie_groups)), self.offsets)

    def select(self, which: Iterable[int]) -> "Sequences":
        """The sequences with the indices `which`, in that order."""
        which = np.fromiter(which, np.int64)
        starts, lengths = self.offsets[which], self.offsets[which + 1] - self.offsets[which]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        return self._taken(np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths), offsets)

    def as_one(self) -> "Sequences":
        """All entries as one sequence."""
        return replace(self, offsets=np.array([0, len(self.items)], np.int64))

    def asked_at(self, day: float | None) -> "Sequences":
        """The same histories for a request at a time in days since 1970; None, or without times: unchanged."""
        if day is None or self.days is None:
            return self
        return self.with_columns(ahead=np.maximum(day - self.days, 0.0))

    def where(self, kept: np.ndarray) -> "Sequences":
        """The same sequences with some of their entries alone. `kept` `[E]` bool"""
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)])
        return self._taken(np.flatnonzero(kept), before[self.offsets])

    def with_columns(self, **columns: np.ndarray) -> "Sequences":
        """The same sequences with more columns, or other ones of these names. Each `[E]`"""
        return replace(self, columns={**self.columns, **columns})

    @property
    def days(self) -> np.ndarray | None:
        """The time of each entry in days since 1970; None where it is unknown. `[E]` float64"""
        return self.columns.get("day")

    @property
    def roles(self) -> np.ndarray | None:
        """The role of each entry; None where all of them are targets. `[E]` int8"""
        return self.columns.get("role")

    def targets(self) -> "Sequences":
        """The entries that may be predicted."""
        return self if self.roles is None else self.where(self.roles == TARGET)

    def predictable(self) -> np.ndarray:
        """Whether each entry is a target with an entry before it. `[E]` bool"""
        found = np.ones(len(self.items), bool) if self.roles is None else self.roles == TARGET
        found[self.offsets[:-1][self.lengths > 0]] = False
        return found

    def liked(self) -> "Sequences":
        """The entries without what the user dislikes."""
        return self if self.roles is None else self.where(self.roles != NEGATIVE)

    def disliked(self) -> "Sequences | None":
        """The entries that show what the user dislikes; None where nobody dislikes anything."""
        if self.roles is None or not (self.roles == NEGATIVE).any():
            return None
        return self.where(self.roles == NEGATIVE)

    def seen(self) -> "Sequences":
        """The entries whose items are not recommended again where seen items are excluded: all but the context."""
        return self if self.roles is None else self.where(self.roles != CONTEXT)

    def _taken(self, places: np.ndarray, offsets: np.ndarray) -> "Sequences":
        """Some entries, by their `places`, as sequences of their own."""
        return Sequences(self.items[places], offsets, {name: one[places] for name, one in self.columns.items()})


@dataclass(frozen=True, eq=False)
class Packed:
    """Several histories packed into rows of constant length; a position attends only to its own history.

    Attributes:
        items: item numbers, or `PADDING`. `[B, L]` int64
        targets: number of the next target item, or `PADDING`. `[B, L]` int64
        segments: index of the position's history within the row, or `PADDING`. `[B, L]` int64
        positions: position within the history, from 0. `[B, L]` int64
        columns: those of `Sequences` at each position, `gap`, the bucket of the time since the event before, and
            `wait`, that of the time until the request or the target (`gap_buckets`). Each `[B, L]`
    """

    items: np.ndarray
    targets: np.ndarray
    segments: np.ndarray
    positions: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


def gap_buckets(days: np.ndarray) -> np.ndarray:
    """Logarithmic buckets of times between two events, from 1 (none) to `GAPS` - 1; `NO_GAP` for NaN. int64"""
    seconds = np.round(np.nan_to_num(days, nan=0.0) * DAY, 3).clip(0.0)
    return np.where(np.isnan(days), NO_GAP, 1 + np.log2(1 + seconds).astype(np.int64).clip(0, GAPS - 2))


def _positions(sequences: Sequences) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The entry of the next target of each entry (`PADDING`: none) `[E]`, and the columns of `Packed` of each entry."""
    E = len(sequences.items)
    ends = np.repeat(sequences.offsets[1:], sequences.lengths)
    following = np.arange(1, E + 1)
    if sequences.roles is not None:
        targets = np.append(np.flatnonzero(sequences.roles == TARGET), E)
        following = targets[np.searchsorted(targets, following)]
    following = np.where(following < ends, following, PADDING)
    columns = {
        name: sequences.columns[name] for name in ("kind", "value", "role", "day", "owner") if name in sequences.columns
    }
    if (weight := sequences.columns.get("weight")) is not None:
        columns["weight"] = weight[following]  # that of the target
    if (days := sequences.days) is not None:
        before = np.append(np.nan, days[:-1])
        before[sequences.offsets[:-1][sequences.lengths > 0]] = np.nan
        columns["gap"] = gap_buckets(days - before)
        ahead = sequences.columns.get("ahead")
        if ahead is None:
            ahead = np.where(following >= 0, days[following] - days, np.nan)
        columns["wait"] = gap_buckets(ahead)
    return following, columns


def pack_for_training(sequences: Sequences, row: int, rng: np.random.Generator) -> Packed:
    """Pack all (history, next target) pairs of `sequences` into rows of `row` positions.

    A sequence of n targets has n - 1 positions: every item but the last is an input, every item but the first a target.
    Other interactions are inputs alone, with the next target as theirs. A longer sequence is cut into windows. The
    first cut is random, so that over epochs every item gets a context.
    """
    following, columns = _positions(sequences)
    inputs = np.diff(np.concatenate([[0], np.cumsum(following >= 0)])[sequences.offsets])  # up to the last target
    parts: list[tuple[int, int]] = []  # first entry and the one behind the last
    for first, length in zip(sequences.offsets[:-1].tolist(), inputs.tolist(), strict=True):
        start = 0
        end = int(rng.integers(1, row + 1)) if length > row else length
        while start < length:
            parts.append((first + start, first + end))
            start, end = end, min(end + row, length)
    targets = np.where(following >= 0, sequences.items[following], PADDING)
    return _pack([parts[n] for n in rng.permutation(len(parts))], row, sequences.items, targets, columns)


def _pack(
    parts: list[tuple[int, int]], row: int, items: np.ndarray, targets: np.ndarray, columns: Mapping[str, np.ndarray]
) -> Packed:
    """Pack parts of the entries by best fit: each goes into the fullest row that has room for it."""
    open_rows: list[list[int]] = [[] for _ in range(row + 1)]  # by number of free positions
    histories: list[int] = []  # in each row
    placed: list[tuple[int, int, int]] = []
    for first, last in parts:
        length = last - first
        free = next((f for f in range(length, row + 1) if open_rows[f]), None)
        if free is None:
            number, free = len(histories), row
            histories.append(0)
        else:
            number = open_rows[free].pop()
        placed.append((number, row - free, histories[number]))
        histories[number] += 1
        open_rows[free - length].append(number)
    packed = _empty((len(histories), row), columns)
    for (first, last), (number, start, segment) in zip(parts, placed, strict=True):
        end = start + last - first
        packed.targets[number, start:end] = targets[first:last]
        packed.segments[number, start:end] = segment
        packed.positions[number, start:end] = np.arange(last - first)
        _fill(packed, number, slice(start, end), slice(first, last), items, columns)
    return packed


def _fill(
    packed: Packed, row: int, there: slice, entries: slice, items: np.ndarray, columns: Mapping[str, np.ndarray]
) -> None:
    packed.items[row, there] = items[entries]
    for name, values in columns.items():
        packed.columns[name][row, there] = values[entries]


def _empty(shape: tuple[int, int], columns: Mapping[str, np.ndarray]) -> Packed:
    items, targets, segments = (np.full(shape, PADDING, np.int64) for _ in range(3))
    more = {name: np.full(shape, EMPTY.get(name, 0), values.dtype) for name, values in columns.items()}
    return Packed(items, targets, segments, np.zeros(shape, np.int64), more)


def pad_histories(sequences: Sequences, which: np.ndarray, row: int) -> Packed:
    """Put the newest `row` items of each of the histories `which`, `[B]` int64, into a row of its own, for inference.

    Rows are as long as the longest of these, at most `row`.
    """
    chosen = sequences.select(which)
    if "ahead" not in chosen.columns and chosen.days is not None:
        chosen = chosen.with_columns(ahead=np.full(len(chosen.items), np.nan))
    _, columns = _positions(chosen) if chosen.columns else (None, {})
    lengths = np.minimum(chosen.lengths, row)
    packed = _empty((len(chosen), max(1, int(lengths.max(initial=0)))), columns)
    for number, (end, length) in enumerate(zip(chosen.offsets[1:].tolist(), lengths.tolist(), strict=True)):
        packed.segments[number, :length] = 0
        packed.positions[number, :length] = np.arange(length)
        _fill(packed, number, slice(0, length), slice(end - length, end), chosen.items, columns)
    return packed
