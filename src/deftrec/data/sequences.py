"""Sequences of different lengths in two flat arrays, and their packing into rows of constant length."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

PADDING = -1  # value of a position without an item, and of an input without a target


@dataclass(frozen=True, eq=False)
class Sequences:
    """`N` sequences of item numbers, oldest first.

    Attributes:
        items: item numbers of all sequences, concatenated. `[E]` int32
        offsets: start of each sequence in `items`; sequence `n` is `items[offsets[n]:offsets[n + 1]]`. `[N + 1]` int64
    """

    items: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_lists(cls, lists: list[np.ndarray] | list[list[int]]) -> "Sequences":
        """Build from one list of item numbers per sequence."""
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
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        return Sequences(self.items[kept < np.repeat(lengths, self.lengths)], offsets)

    def redrawn(self, tie_groups: np.ndarray, rng: np.random.Generator) -> "Sequences":
        """Shuffle the entries within each of the groups `Interactions.tie_groups`, `[E]` int64."""
        return Sequences(self.items[np.lexsort((rng.random(len(tie_groups)), tie_groups))], self.offsets)

    def select(self, which: Iterable[int]) -> "Sequences":
        """The sequences with the indices `which`, in that order."""
        return Sequences.from_lists([self[n] for n in which])


@dataclass(frozen=True, eq=False)
class TimedSequences(Sequences):
    """Sequences with the time of each entry of `items`, in days since 1970. `days` `[E]` float64"""

    days: np.ndarray

    def select(self, which: Iterable[int]) -> "TimedSequences":
        """See `Sequences.select`."""
        which = list(which)
        chosen = Sequences.from_lists([self[n] for n in which])
        parts = [self.days[self.offsets[n] : self.offsets[n + 1]] for n in which]
        return TimedSequences(chosen.items, chosen.offsets, np.concatenate([np.zeros(0), *parts]))


@dataclass(frozen=True, eq=False)
class Packed:
    """Several histories packed into rows of constant length; a position attends only to its own history.

    Attributes:
        items: item numbers, or `PADDING`. `[B, L]` int64
        targets: number of the next item, or `PADDING`. `[B, L]` int64
        segments: index of the position's history within the row, or `PADDING`. `[B, L]` int64
        positions: position within the history, from 0. `[B, L]` int64
    """

    items: np.ndarray
    targets: np.ndarray
    segments: np.ndarray
    positions: np.ndarray


def pack_for_training(sequences: Sequences, row: int, rng: np.random.Generator) -> Packed:
    """Pack all (history, next item) pairs of `sequences` into rows of `row` positions.

    A sequence of n items has n - 1 positions: every item but the last is an input, every item but the first a target.
    A longer sequence is cut into windows. The first cut is random, so that over epochs every item gets a context.
    """
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for sequence in sequences:
        length = len(sequence) - 1
        start = 0
        end = int(rng.integers(1, row + 1)) if length > row else length
        while start < length:
            pairs.append((sequence[start:end], sequence[start + 1 : end + 1]))
            start, end = end, min(end + row, length)
    return _pack([pairs[n] for n in rng.permutation(len(pairs))], row)


def _pack(pairs: list[tuple[np.ndarray, np.ndarray]], row: int) -> Packed:
    """Pack inputs with their targets by best fit: each goes into the fullest row that has room for it."""
    open_rows: list[list[int]] = [[] for _ in range(row + 1)]  # by number of free positions
    histories: list[int] = []  # in each row
    placed: list[tuple[int, int, int]] = []
    for one, _ in pairs:
        free = next((f for f in range(len(one), row + 1) if open_rows[f]), None)
        if free is None:
            number, free = len(histories), row
            histories.append(0)
        else:
            number = open_rows[free].pop()
        placed.append((number, row - free, histories[number]))
        histories[number] += 1
        open_rows[free - len(one)].append(number)
    packed = _empty((len(histories), row))
    for (one, target), (number, start, segment) in zip(pairs, placed, strict=True):
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
    """Put the newest `row` items of each of the histories `which`, `[B]` int64, into a row of its own, for inference.

    Rows are as long as the longest of these, at most `row`.
    """
    recent = [sequences[int(n)][-row:] for n in which]
    packed = _empty((len(recent), max([1, *map(len, recent)])))
    for number, one in enumerate(recent):
        packed.items[number, : len(one)] = one
        packed.segments[number, : len(one)] = 0
        packed.positions[number, : len(one)] = np.arange(len(one))
    return packed
