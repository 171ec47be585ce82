"""Facts about a data set before any training: its size, its long tail, and whatever would mislead a metric."""

from typing import Any, get_args

import numpy as np
from pydantic import BaseModel

from deftrec.data.clones import sequence_counts
from deftrec.data.describe_signals import SignalsDescription, describe_signals
from deftrec.data.interactions import Interactions
from deftrec.data.split import Fit, SplitName, make_split
from deftrec.errors import DataError

QUANTILES = {"min": 0.0, "p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99, "max": 1.0}
TAIL_SHARES = (0.01, 0.1, 0.2)
TAIL_STEPS = 10


class SplitDescription(BaseModel, frozen=True):
    """Sizes and properties of one split; a share that has no targets is 0.

    Attributes:
        name: `leave-one-out` or `temporal`.
        impossible: reason why the data cannot be split this way, or empty; all other fields are zero then.
        train_interactions: number of interactions in train, without validation.
        validation_targets, test_targets: number of users with a target.
        validation_not_in_train, test_not_in_train: share of targets whose item is not in train.
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


class Clones(BaseModel, frozen=True):
    """Users with a complete sequence that at least one other user has too.

    Attributes:
        groups: number of sequences that occur more than once.
        users, share: number of users with such a sequence, and their share of all users.
        largest, largest_length: number of users with the most frequent sequence, and number of its items.
    """

    groups: int
    users: int
    share: float
    largest: int
    largest_length: int


class LengthBin(BaseModel, frozen=True):
    """Number of users with a history of `low` to `high` items, both included."""

    low: int
    high: int
    users: int


class Description(BaseModel, frozen=True):
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
        untitled, uncategorised: number of items without a title, and without a category.
        duplicates_dropped: number of exact duplicates that the import dropped.
        splits: both splits of the data.
        signals: kinds, values and times of the interactions, and attributes of the items.
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
    signals: SignalsDescription = SignalsDescription()


def describe(interactions: Interactions) -> Description:
    """Compute the facts about a data set. Deterministic; about a minute for 30 million interactions."""
    sequences, catalogue, meta = interactions.sequences, interactions.catalogue, interactions.meta
    lengths, groups = sequences.lengths, interactions.tie_groups
    repeated = sequences.repeated(interactions.n_items)
    popularity = np.sort(sequences.counts(interactions.n_items))[::-1]
    quantiles = np.quantile(lengths, list(QUANTILES.values()))
    return Description(
        **meta.model_dump(include={"name", "source", "domain"}),
        filters={key: str(value) for key, value in meta.filters.items()},
        users=interactions.n_users,
        items=interactions.n_items,
        interactions=interactions.n_interactions,
        density=interactions.n_interactions / (interactions.n_users * interactions.n_items),
        lengths={**dict(zip(QUANTILES, quantiles.tolist(), strict=True)), "mean": float(lengths.mean())},
        length_bins=_length_bins(lengths),
        long_tail={
            f"{share:.0%}": popularity[: max(1, round(share * len(popularity)))].sum() / interactions.n_interactions
            for share in TAIL_SHARES
        },
        tail_steps=tuple(
            tenth.sum() / interactions.n_interactions
            for tenth in np.array_split(popularity, min(TAIL_STEPS, len(popularity)))
        ),
        repeated=float(repeated.mean()),
        equal_times=float((np.bincount(groups)[groups] > 1).mean()),
        clones=_clones(interactions),
        untitled=int((catalogue["title"] == "").sum()),
        uncategorised=int((catalogue["category"] == "").sum()),
        duplicates_dropped=meta.counts.get("duplicates", 0),
        splits=tuple(_describe_split(interactions, name, repeated) for name in ("leave-one-out", "temporal")),
        signals=describe_signals(interactions),
    )


def _describe_split(interactions: Interactions, name: SplitName, repeated: np.ndarray) -> SplitDescription:
    try:
        split = make_split(interactions, name)
    except DataError as error:
        return SplitDescription(name=name, impossible=str(error))
    facts: dict[str, Any] = {"name": name, "train_interactions": int(split.train_end.sum())}
    in_train, in_both = (split.training(fit).counts(interactions.n_items) > 0 for fit in get_args(Fit))
    for part, positions in (("validation", split.validation), ("test", split.test)):
        users = np.flatnonzero(positions > 0)  # a target without a history is not evaluated
        entries = split.sequences.offsets[users] + positions[users]
        items = split.sequences.items[entries]
        facts[f"{part}_targets"] = len(users)
        facts[f"{part}_not_in_train"] = _share(~in_train[items])
        facts[f"{part}_repeats"] = _share(repeated[entries])
    return SplitDescription(test_not_in_train_validation=_share(~in_both[items]), **facts)


def _share(which: np.ndarray) -> float:
    return float(which.mean()) if len(which) else 0.0


def _clones(interactions: Interactions) -> Clones:
    counts = {sequence: users for sequence, users in sequence_counts(interactions).items() if users > 1}
    users = sum(counts.values())
    sequence, largest = max(counts.items(), key=lambda group: group[1], default=(b"", 0))
    length = len(sequence) // interactions.sequences.items.itemsize
    share = users / interactions.n_users
    return Clones(groups=len(counts), users=users, share=share, largest=largest, largest_length=length)


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
