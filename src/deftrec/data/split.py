"""Splits into train, validation and test: leave-one-out and global temporal."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from deftrec.data.interactions import Interactions
from deftrec.data.sequences import NEGATIVE, PADDING, TARGET, Sequences
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
    """

    users: np.ndarray
    histories: Sequences
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    def select(self, which: np.ndarray) -> "Cases":
        """The cases with the indices `which`, in that order. `[n]` int64"""
        return Cases(self.users[which], self.histories.select(which), self.targets[which])

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

    def cases(self, part: Part) -> Cases:
        """The evaluation cases of a part. A history holds all items before the target, in train or not."""
        positions = self.validation if part == "validation" else self.test
        users = np.flatnonzero(positions > 0)  # no history, no case
        starts = self.sequences.offsets[users]
        targets = self.sequences.items[starts + positions[users]]
        lengths = np.zeros(len(self.sequences), np.int64)
        lengths[users] = positions[users]
        histories = self.sequences.heads(lengths).select(users)
        if (days := self.sequences.days) is not None:
            then = np.repeat(days[starts + positions[users]], histories.lengths)
            histories = histories.with_columns(ahead=then - histories.columns["day"])
        return Cases(users, histories, targets.astype(np.int64))

    def disliked(self, part: Part) -> Sequences | None:
        """Items that each user of the cases dislikes and that are not in the history; None without roles. `N`"""
        if self.sequences.roles is None:
            return None
        cases, unknown = self.cases(part), []
        for user, history in zip(cases.users, cases.histories, strict=True):
            entries = slice(self.sequences.offsets[user], self.sequences.offsets[user + 1])
            items = self.sequences.items[entries][self.sequences.roles[entries] == NEGATIVE]
            unknown.append(np.setdiff1d(items, history))
        return Sequences.from_lists(unknown)


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
