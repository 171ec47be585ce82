"""Facts about a data set before any training: its size, its long tail, and whatever would mislead a metric."""

import numpy as np
from pydantic import BaseModel, ConfigDict

from deftrec.data.clones import sequence_counts
from deftrec.data.interactions import Interactions
from deftrec.data.split import Split, SplitName, make_split
from deftrec.errors import DataError

QUANTILES = {"min": 0.0, "p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99, "max": 1.0}
TAIL_SHARES = (0.01, 0.1, 0.2)
TAIL_STEPS = 10


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitDescription(_Facts):
    """Sizes and properties of one split.

    Attributes:
        name: `leave-one-out` or `temporal`.
        impossible: reason why the data cannot be split this way, or empty; all other fields are zero then.
        train_interactions: number of interactions in train, without validation.
        validation_targets, test_targets: number of users with a target.
        validation_not_in_train: share of validation targets whose item is not in train.
        test_not_in_train: share of test targets whose item is not in train.
        test_not_in_train_validation: share of test targets whose item is neither in train nor in validation.
        validation_repeats, test_repeats: share of targets whose item occurs earlier in the user's sequence.
    """

    name: SplitName
    impossible: str = ""
    train_interactions: int = 0
    validation_targets: int = 0
    test_targets: int = 0
    validation_not_in_train: float = 0.0
    test_not_in_train: float = 0.0
    test_not_in_train_validation: float = 0.0
    validation_repeats: float = 0.0
    test_repeats: float = 0.0


class Clones(_Facts):
    """Users with a complete sequence that at least one other user has too.

    Attributes:
        groups: number of sequences that occur more than once.
        users: number of users with such a sequence.
        share: share of all users that have such a sequence.
        largest: number of users with the most frequent sequence.
        largest_length: number of items in the most frequent sequence.
    """

    groups: int
    users: int
    share: float
    largest: int
    largest_length: int


class LengthBin(_Facts):
    """Number of users with a history of `low` to `high` items, both included."""

    low: int
    high: int
    users: int


class Description(_Facts):
    """Facts about a data set; every share is between 0 and 1.

    Attributes:
        name, source, domain, filters: provenance, from `Meta`.
        users, items, interactions: number of each.
        density: number of interactions divided by users times items.
        lengths: quantiles and `mean` of the history lengths.
        length_bins: histogram of the history lengths; each bin is twice as wide as the one before.
        long_tail: share of the interactions with the most popular 1 %, 10 % and 20 % of the items.
        tail_steps: share of the interactions with each tenth of the items, most popular tenth first.
        repeated: share of interactions whose item occurs earlier in the user's sequence.
        equal_times: share of interactions with the time of another interaction of the same user; a seed orders these.
        clones: users with identical sequences.
        untitled: number of items without a title.
        uncategorised: number of items without a category.
        duplicates_dropped: number of exact duplicates that the import dropped.
        splits: both splits of the data.
    """

    name: str
    source: str
    domain: str
    filters: dict[str, str]
    users: int
    items: int
    interactions: int
    density: float
    lengths: dict[str, float]
    length_bins: tuple[LengthBin, ...]
    long_tail: dict[str, float]
    tail_steps: tuple[float, ...]
    repeated: float
    equal_times: float
    clones: Clones
    untitled: int
    uncategorised: int
    duplicates_dropped: int
    splits: tuple[SplitDescription, ...]


def describe(interactions: Interactions) -> Description:
    """Compute the facts about a data set. Deterministic; about a minute for 30 million interactions."""
    sequences, catalogue, meta = interactions.sequences, interactions.catalogue, interactions.meta
    lengths = sequences.lengths
    repeated = sequences.repeated(interactions.n_items)
    popularity = np.sort(sequences.counts(interactions.n_items))[::-1]
    quantiles = np.quantile(lengths, list(QUANTILES.values()))
    return Description(
        name=meta.name,
        source=meta.source,
        domain=meta.domain,
        filters={key: str(value) for key, value in meta.filters.items()},
        users=interactions.n_users,
        items=interactions.n_items,
        interactions=interactions.n_interactions,
        density=interactions.n_interactions / (interactions.n_users * interactions.n_items),
        lengths={**dict(zip(QUANTILES, map(float, quantiles), strict=True)), "mean": float(lengths.mean())},
        length_bins=_length_bins(lengths),
        long_tail={f"{share:.0%}": _top_share(popularity, share) for share in TAIL_SHARES},
        tail_steps=tuple(
            float(part.sum() / popularity.sum())
            for part in np.array_split(popularity, min(TAIL_STEPS, len(popularity)))
        ),
        repeated=float(repeated.mean()),
        equal_times=_equal_times(interactions),
        clones=_clones(interactions),
        untitled=int((catalogue["title"] == "").sum()),
        uncategorised=int((catalogue["category"] == "").sum()),
        duplicates_dropped=meta.counts.get("duplicates", 0),
        splits=tuple(_describe_split(interactions, name, repeated) for name in ("leave-one-out", "temporal")),
    )


def _describe_split(interactions: Interactions, name: SplitName, repeated: np.ndarray) -> SplitDescription:
    try:
        split = make_split(interactions, name)
    except DataError as error:
        return SplitDescription(name=name, impossible=str(error))
    train = split.training("train").counts(interactions.n_items) > 0
    refit = split.training("train+validation").counts(interactions.n_items) > 0
    validation, test = _target_entries(split, split.validation), _target_entries(split, split.test)
    items = interactions.sequences.items
    return SplitDescription(
        name=name,
        train_interactions=int(split.train_end.sum()),
        validation_targets=len(validation),
        test_targets=len(test),
        validation_not_in_train=_share(~train[items[validation]]),
        test_not_in_train=_share(~train[items[test]]),
        test_not_in_train_validation=_share(~refit[items[test]]),
        validation_repeats=_share(repeated[validation]),
        test_repeats=_share(repeated[test]),
    )


def _target_entries(split: Split, positions: np.ndarray) -> np.ndarray:
    """Index into `sequences.items` of each target that has a history. `[N]` int64"""
    users = np.flatnonzero(positions > 0)
    entries: np.ndarray = split.sequences.offsets[users] + positions[users]
    return entries


def _share(which: np.ndarray) -> float:
    return float(which.mean()) if len(which) else 0.0


def _equal_times(interactions: Interactions) -> float:
    groups = interactions.tie_groups
    return float((np.bincount(groups)[groups] > 1).mean())


def _clones(interactions: Interactions) -> Clones:
    counts = sequence_counts(interactions)
    groups = {sequence: users for sequence, users in counts.items() if users > 1}
    users = sum(groups.values())
    sequence, largest = max(groups.items(), key=lambda group: group[1], default=(b"", 0))
    length = len(sequence) // interactions.sequences.items.itemsize
    return Clones(
        groups=len(groups), users=users, share=users / interactions.n_users, largest=largest, largest_length=length
    )


def _top_share(popularity: np.ndarray, share: float) -> float:
    """Share of the interactions with the most popular `share` of the items, at least one item."""
    top = max(1, round(share * len(popularity)))
    return float(popularity[:top].sum() / popularity.sum())


def _length_bins(lengths: np.ndarray) -> tuple[LengthBin, ...]:
    """Bins 1, 2, 3 to 4, 5 to 8, ... from the first to the last with a user."""
    bins: list[LengthBin] = []
    low, high = 1, 1
    while low <= lengths.max():
        users = int(((lengths >= low) & (lengths <= high)).sum())
        if users or bins:
            bins.append(LengthBin(low=low, high=high, users=users))
        low, high = high + 1, high * 2
    return tuple(bins)
