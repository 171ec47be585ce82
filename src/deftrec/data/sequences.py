"""Many sequences of different lengths as two flat arrays, and their packing into rows of constant shape."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

PADDING = -1
"""Marks a place of a row that holds no item, or an input without a target."""


@dataclass(frozen=True, eq=False)
class Sequences:
    """`N` sequences of item numbers, oldest first.

    Attributes:
        items: all sequences, one after the other. `[E]` int32
        offsets: sequence `n` is `items[offsets[n]:offsets[n + 1]]`. `[N + 1]` int64
    """

    items: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_lists(cls, lists: list[np.ndarray] | list[list[int]]) -> "Sequences":
        """One sequence a list."""
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
        items = np.concatenate([np.asarray(one, np.int32) for one in lists]) if lists else np.zeros(0, np.int32)
        return cls(items.astype(np.int32), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, n: int) -> np.ndarray:
        return self.items[self.offsets[n] : self.offsets[n + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[n] for n in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """`[N]` int64"""
        return np.diff(self.offsets)

    def owners(self) -> np.ndarray:
        """The sequence each entry of `items` belongs to. `[E]` int64"""
        return np.repeat(np.arange(len(self)), self.lengths)

    def counts(self, n_items: int) -> np.ndarray:
        """How often each of `n_items` items occurs in all sequences together. `[I]` int64"""
        return np.bincount(self.items, minlength=n_items)

    def repeated(self, n_items: int) -> np.ndarray:
        """Whether the sequence of each entry of `items` holds its item before. `[E]` bool"""
        pairs = self.owners() * n_items + self.items
        _, first = np.unique(pairs, return_index=True)  # the first of equal ones
        repeated = np.ones(len(pairs), bool)
        repeated[first] = False
        return repeated

    def heads(self, lengths: np.ndarray) -> "Sequences":
        """The first `lengths[n]` entries of every sequence."""
        kept = np.arange(len(self.items)) - np.repeat(self.offsets[:-1], self.lengths)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        return Sequences(self.items[kept < np.repeat(lengths, self.lengths)], offsets)

    def redrawn(self, tie_groups: np.ndarray, rng: np.random.Generator) -> "Sequences":
        """The same with what belongs to one moment in an order drawn by `rng`.

        Args:
            tie_groups: the moment of each entry, as `Interactions.tie_groups` numbers them. `[E]` int64
        """
        return Sequences(self.items[np.lexsort((rng.random(len(tie_groups)), tie_groups))], self.offsets)

    def select(self, which: Iterable[int]) -> "Sequences":
        """The sequences `which`, in that order."""
        return Sequences.from_lists([self[n] for n in which])

    def recent(self, n: int, length: int) -> np.ndarray:
        """The newest `length` entries of sequence `n`."""
        start, end = self.offsets[n], self.offsets[n + 1]
        return self.items[max(start, end - length) : end]


@dataclass(frozen=True, eq=False)
class Packed:
    """Histories laid side by side in rows of constant length; a place attends only within its own segment.

    Attributes:
        items: item numbers, `PADDING` where the row is empty. `[B, L]` int64
        targets: the item that follows each place, `PADDING` where none does. `[B, L]` int64
        segments: which history of the row a place belongs to; empty places are segment `PADDING`. `[B, L]` int64
        positions: place within its history, from 0. `[B, L]` int64
    """

    items: np.ndarray
    targets: np.ndarray
    segments: np.ndarray
    positions: np.ndarray


def pack_for_training(sequences: Sequences, row: int, rng: np.random.Generator) -> Packed:
    """All (history, next item) pairs of `sequences`, packed into rows of `row` places.

    A sequence of n items gives n - 1 places: every item but the last is an input, every one but the first a target.
    Longer ones are cut into windows, the first cut at a random offset so that over epochs every item gets context.
    """
    inputs: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for sequence in sequences:
        places = len(sequence) - 1
        if places < 1:
            continue
        start = 0
        end = min(places, int(rng.integers(1, row + 1))) if places > row else places
        while start < places:
            inputs.append(sequence[start:end])
            targets.append(sequence[start + 1 : end + 1])
            start, end = end, min(end + row, places)
    order = rng.permutation(len(inputs))
    return _pack([inputs[n] for n in order], [targets[n] for n in order], row)


def _pack(inputs: list[np.ndarray], targets: list[np.ndarray], row: int) -> Packed:
    """Best fit: each history goes into the fullest open row that still has room for it."""
    open_rows: list[list[int]] = [[] for _ in range(row + 1)]  # by free places
    used: list[int] = []
    histories: list[int] = []
    placed: list[tuple[int, int, int]] = []
    for one in inputs:
        free = next((f for f in range(len(one), row + 1) if open_rows[f]), None)
        if free is None:
            number, free = len(used), row
            used.append(0)
            histories.append(0)
        else:
            number = open_rows[free].pop()
        placed.append((number, used[number], histories[number]))
        used[number] += len(one)
        histories[number] += 1
        open_rows[free - len(one)].append(number)
    shape = (len(used), row)
    packed = _empty(shape)
    for one, target, (number, start, segment) in zip(inputs, targets, placed, strict=True):
        end = start + len(one)
        packed.items[number, start:end] = one
        packed.targets[number, start:end] = target
        packed.segments[number, start:end] = segment
        packed.positions[number, start:end] = np.arange(len(one))
    return packed


def _empty(shape: tuple[int, int]) -> Packed:
    items, targets, segments = (np.full(shape, PADDING, np.int64) for _ in range(3))
    return Packed(items, targets, segments, np.zeros(shape, np.int64))


def pad_histories(sequences: Sequences, which: np.ndarray, row: int) -> Packed:
    """The newest `row` items of each history, one history a row, for inference. Width: the longest one's length."""
    recent = [sequences.recent(int(n), row) for n in which]
    width = max(1, max((len(one) for one in recent), default=1))
    shape = (len(recent), width)
    packed = _empty(shape)
    for number, one in enumerate(recent):
        packed.items[number, : len(one)] = one
        packed.segments[number, : len(one)] = 0
        packed.positions[number, : len(one)] = np.arange(len(one))
    return packed
