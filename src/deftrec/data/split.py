"""Who is asked about what: leave-one-out and global temporal splits."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from deftrec.data.interactions import Interactions
from deftrec.data.sequences import PADDING, Sequences
from deftrec.errors import DataError

SplitName: TypeAlias = Literal["leave-one-out", "temporal"]
Part: TypeAlias = Literal["validation", "test"]
Fit: TypeAlias = Literal["train", "train+validation"]


@dataclass(frozen=True, eq=False)
class Cases:
    """Users who are asked for their next item.

    Attributes:
        users: user numbers. `[N]` int64
        histories: what each of them took before, oldest first. `N` sequences
        targets: the item each took next. `[N]` int64
    """

    users: np.ndarray
    histories: Sequences
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    def select(self, which: np.ndarray) -> "Cases":
        """The cases `which`, in that order. `[n]` int64"""
        return Cases(self.users[which], self.histories.select(which), self.targets[which])

    @property
    def weights(self) -> np.ndarray:
        """One over how many cases have the same history and target: clones together count as one. `[N]` float64"""
        asked = [
            history.tobytes() + target.tobytes() for history, target in zip(self.histories, self.targets, strict=True)
        ]
        counts = Counter(asked)
        return np.array([1 / counts[case] for case in asked])

    def head(self, n: int) -> "Cases":
        """The first `n` cases."""
        return self.select(np.arange(min(n, len(self))))


@dataclass(frozen=True, eq=False)
class Split:
    """Every user's sequence, cut into what is fitted and what is asked.

    Attributes:
        name: `leave-one-out` or `temporal`.
        sequences: the complete sequences. `U` of them
        train_end: how many items of each sequence belong to train. `[U]`
        refit_end: how many belong to train + validation. `[U]`
        validation, test: place of the target within the sequence, `PADDING` where a user has none. `[U]`
    """

    name: SplitName
    sequences: Sequences
    train_end: np.ndarray
    refit_end: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def training(self, fit: Fit = "train") -> Sequences:
        """What a model may be fitted on: the train items, or those and the validation items."""
        return self.sequences.heads(self.train_end if fit == "train" else self.refit_end)

    def cases(self, part: Part) -> Cases:
        """The questions of a part. The history is everything before the target, whatever was fitted."""
        places = self.validation if part == "validation" else self.test
        users = np.flatnonzero(places > 0)  # a target without any history asks nothing
        starts = self.sequences.offsets[users]
        targets = self.sequences.items[starts + places[users]]
        lengths = np.zeros(len(self.sequences), np.int64)
        lengths[users] = places[users]
        return Cases(users, self.sequences.heads(lengths).select(users), targets.astype(np.int64))


def leave_one_out(interactions: Interactions) -> Split:
    """Last item = test, the one before = validation, the rest = train (the published protocol).

    A user with fewer than three interactions is not asked and counts as train.
    """
    sequences = interactions.sequences
    lengths = sequences.lengths
    asked = lengths >= 3
    return Split(
        "leave-one-out",
        sequences,
        np.where(asked, lengths - 2, lengths),
        np.where(asked, lengths - 1, lengths),
        np.where(asked, lengths - 2, PADDING),
        np.where(asked, lengths - 1, PADDING),
    )


def temporal(interactions: Interactions, validation_share: float = 0.1, test_share: float = 0.1) -> Split:
    """Cut all users at the same two moments, so that no training interaction is later than any target.

    The newest `test_share` of all interactions lie after the second moment, the `validation_share` before them after
    the first. Each user's target is the first interaction after the moment; a user without history is not asked.

    Raises:
        DataError: the data has too few distinct times for two cuts, or times that do not compare between users.
    """
    if interactions.meta.times == "position":
        raise DataError(
            f"{interactions.meta.name}: has the order of each user's interactions, not their times, so there is no "
            "temporal split; use leave-one-out"
        )
    sequences, times = interactions.sequences, interactions.times
    first, second = np.quantile(times, [1 - validation_share - test_share, 1 - test_share], method="lower")
    if not times.min() < first < second <= times.max():
        raise DataError(f"{interactions.meta.name}: too few distinct times for a temporal split; use leave-one-out")
    train_end = _count_before(sequences, times, first)
    refit_end = _count_before(sequences, times, second)
    lengths = sequences.lengths
    return Split(
        "temporal",
        sequences,
        train_end,
        refit_end,
        np.where(refit_end > train_end, train_end, PADDING),
        np.where(lengths > refit_end, refit_end, PADDING),
    )


def make_split(interactions: Interactions, name: SplitName) -> Split:
    """The split called `name`."""
    return leave_one_out(interactions) if name == "leave-one-out" else temporal(interactions)


def _count_before(sequences: Sequences, times: np.ndarray, moment: float) -> np.ndarray:
    """How many items of each sequence came before `moment`. `[U]`"""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(times < moment)])
    counts: np.ndarray = before[sequences.offsets[1:]] - before[sequences.offsets[:-1]]
    return counts
