"""Splits into train, validation and test: leave-one-out and global temporal."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from deftrec.data.interactions import Interactions
from deftrec.data.sequences import PADDING, TARGET, Sequences
from deftrec.errors import DataError

SplitName: TypeAlias = Literal["leave-one-out", "temporal"]
Part: TypeAlias = Literal["validation", "test"]
Fit: TypeAlias = Literal["train", "train+validation"]


@dataclass(frozen=True, eq=False)
class Cases:
    """Evaluation cases: a history and the next item of each user.

    Attributes:
        users: user numbers. `[N]` int64
        histories: items before the target, oldest first. `N` sequences
        targets: item number that follows each history. `[N]` int64
        disliked: items that each user is known to dislike, and that are not in the history; None without negatives. `N`
            sequences
    """

    users: np.ndarray
    histories: Sequences
    targets: np.ndarray
    disliked: Sequences | None = None

    def __len__(self) -> int:
        return len(self.users)

    def select(self, which: np.ndarray) -> "Cases":
        """The cases with the indices `which`, in that order. `[n]` int64"""
        disliked = None if self.disliked is None else self.disliked.select(which)
        return Cases(self.users[which], self.histories.select(which), self.targets[which], disliked)

    @classmethod
    def at(cls, sequences: Sequences, users: np.ndarray, places: np.ndarray) -> "Cases":
        """The cases whose targets stand at `places` `[N]` of the sequences of `users` `[N]`, both int64."""
        lengths = np.zeros(len(sequences), np.int64)
        lengths[users] = places
        histories = sequences.heads(lengths).select(users)
        entries = sequences.offsets[users] + places
        if (days := sequences.days) is not None:  # the request comes when the target does
            histories = histories.with_columns(ahead=np.repeat(days[entries], places) - histories.columns["day"])
        return cls(users, histories, sequences.items[entries].astype(np.int64), _disliked(sequences, users, histories))

    @property
    def weights(self) -> np.ndarray:
        """Weights with which clones together count as one case: 1 / number of identical cases. `[N]` float64"""
        cases = [history.tobytes() + item.tobytes() for history, item in zip(self.histories, self.targets, strict=True)]
        counts = Counter(cases)
        return np.array([1 / counts[case] for case in cases])

    def head(self, n: int) -> "Cases":
        """The first `n` cases."""
        return self.select(np.arange(min(n, len(self))))


@dataclass(frozen=True, eq=False)
class Split:
    """A split of every user's sequence into a training part and evaluation targets.

    Attributes:
        name: `leave-one-out` or `temporal`.
        sequences: complete sequences. `U` sequences
        train_end: number of items of each sequence in train. `[U]` int64
        refit_end: number of items of each sequence in train + validation. `[U]` int64
        validation, test: position of the target in each sequence, `PADDING` for a user without one. `[U]` int64
    """

    name: SplitName
    sequences: Sequences
    train_end: np.ndarray
    refit_end: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def training(self, fit: Fit = "train") -> Sequences:
        """The sequences that a model is fitted on: train, or train + validation."""
        return self.sequences.heads(self.train_end if fit == "train" else self.refit_end)

    def cases(self, part: Part, *, kind: int | None = None, min_value: float | None = None) -> Cases:
        """The evaluation cases of a part. A history holds all items before the target, in train or not.

        Args:
            part: part of the split.
            kind: code of the kind that targets have; None: any.
            min_value: smallest value that targets have; None: any.
        """
        positions = self.validation if part == "validation" else self.test
        wanted, entries = positions > 0, self.sequences.offsets[:-1] + np.maximum(positions, 0)  # no history, no case
        entries = np.minimum(entries, max(0, len(self.sequences.items) - 1))
        if kind is not None:
            wanted = wanted & (self.sequences.columns["kind"][entries] == kind)
        if min_value is not None:
            wanted = wanted & (self.sequences.columns["value"][entries] >= min_value)
        users = np.flatnonzero(wanted)
        return Cases.at(self.sequences, users, positions[users])


def _disliked(sequences: Sequences, users: np.ndarray, histories: Sequences) -> Sequences | None:
    """Items that `users` are known to dislike, without those of their `histories`; None without negatives."""
    negative = sequences.disliked()
    if negative is None:
        return None
    pairs = zip(users, histories, strict=True)
    return Sequences.from_lists([np.setdiff1d(negative[user], history) for user, history in pairs])


def leave_one_out(interactions: Interactions) -> Split:
    """Split off the last target as test and the one before as validation; what is before is train.

    Without roles every interaction is a target: the published protocol. All interactions of a user with fewer than
    three targets are train.
    """
    sequences = interactions.sequences
    lengths = sequences.lengths
    if sequences.roles is None:
        places = [np.where(lengths >= 3, lengths - back, other) for other in (lengths, PADDING) for back in (2, 1)]
        return Split("leave-one-out", sequences, *places)
    entries = np.flatnonzero(sequences.roles == TARGET)
    ends = np.searchsorted(entries, sequences.offsets[1:])  # number of targets up to the end of each sequence
    enough = np.diff(np.searchsorted(entries, sequences.offsets)) >= 3
    found = []
    for back in (2, 1):
        place = np.full(len(sequences), PADDING, np.int64)
        place[enough] = entries[ends[enough] - back] - sequences.offsets[:-1][enough]
        found.append(place)
    train_end, refit_end = (np.where(enough, place, lengths) for place in found)
    return Split("leave-one-out", sequences, train_end, refit_end, *found)


def temporal(interactions: Interactions, validation_share: float = 0.1, test_share: float = 0.1) -> Split:
    """Split all users at the same two times, so that no training interaction is later than any target.

    Each user's target is the first target interaction at or after the time. A user without an earlier interaction has
    none. The shares are those of all interactions between the two times, and after the second. Raises a `DataError` if
    the data has too few distinct times, or positions instead of times.
    """
    if interactions.meta.times == "position":
        known = f"{interactions.meta.name}: has the order of each user's interactions, not their times"
        raise DataError(f"{known}, so there is no temporal split; use leave-one-out")
    sequences, times = interactions.sequences, interactions.times
    first, second = np.quantile(times, [1 - validation_share - test_share, 1 - test_share], method="lower")
    if not times.min() < first < second <= times.max():
        raise DataError(f"{interactions.meta.name}: too few distinct times for a temporal split; use leave-one-out")
    train_end, refit_end = (_count_before(sequences, times, time) for time in (first, second))
    validation, test = _next_target(sequences, train_end), _next_target(sequences, refit_end)
    validation = np.where(validation < refit_end, validation, PADDING)
    return Split("temporal", sequences, train_end, refit_end, validation, test)


def _next_target(sequences: Sequences, places: np.ndarray) -> np.ndarray:
    """The place of the first target at or after `places` in each sequence, or `PADDING`. `[U]` int64"""
    entries = sequences.offsets[:-1] + places
    if sequences.roles is not None:
        targets = np.append(np.flatnonzero(sequences.roles == TARGET), len(sequences.items))
        entries = targets[np.searchsorted(targets, entries)]
    return np.where(entries < sequences.offsets[1:], entries - sequences.offsets[:-1], PADDING)


def make_split(interactions: Interactions, name: SplitName) -> Split:
    """Split the data by the method `name`."""
    return leave_one_out(interactions) if name == "leave-one-out" else temporal(interactions)


def _count_before(sequences: Sequences, times: np.ndarray, time: float) -> np.ndarray:
    """The number of items of each sequence before `time`. `[U]` int64"""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(times < time)])
    return np.diff(before[sequences.offsets])
