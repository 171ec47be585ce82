"""What a data set is like before anyone trains on it: its size, its tail, and what would flatter or deceive a model."""

import numpy as np
from pydantic import BaseModel, ConfigDict

from deftrec.data.clones import sequence_counts
from deftrec.data.interactions import Interactions
from deftrec.data.split import Split, SplitName, leave_one_out, temporal
from deftrec.errors import DataError

QUANTILES = {"min": 0.0, "p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99, "max": 1.0}
TAIL_SHARES = (0.01, 0.1, 0.2)
TAIL_STEPS = 10


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitDescription(_Part):
    """What a split asks for.

    Attributes:
        name: `leave-one-out` or `temporal`.
        impossible: why the data cannot be split so; empty where it can, and all else is zero where it cannot.
        train_interactions: how many interactions a model is fitted on, without validation.
        validation_targets, test_targets: how many users are asked.
        validation_not_in_train: share of validation targets that are cold: no user has them in train.
        test_not_in_train: the same of test targets.
        test_not_in_train_validation: the same where a model is fitted once more on train + validation.
        validation_repeats, test_repeats: share of targets that their user had before.
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


class Clones(_Part):
    """Users who have the identical complete sequence, at least two of them.

    Attributes:
        groups: how many sequences occur more than once.
        users: how many users have one of these.
        share: those users' share of all.
        largest: how many users the most frequent sequence has.
        largest_length: how many items it has.
    """

    groups: int
    users: int
    share: float
    largest: int
    largest_length: int


class LengthBin(_Part):
    """How many users have a history of `low` to `high` items, both included."""

    low: int
    high: int
    users: int


class Description(_Part):
    """The facts of a data set; shares are from 0 to 1.

    Attributes:
        density: interactions per user and item.
        lengths: quantiles of the history lengths, and their `mean`.
        length_bins: the histogram of the history lengths; the bounds double.
        long_tail: share of the interactions that the most popular 1 %, 10 % and 20 % of the items have.
        tail_steps: share of the interactions of each tenth of the items, the most popular tenth first.
        repeated: share of interactions with an item that their user had before.
        equal_times: share of interactions whose user has another one at the same time; a seed orders these.
        untitled: items without a title.
        uncategorised: items without a category.
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
    """Count what is worth knowing of a data set. Deterministic; a minute for 30 million interactions."""
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


def _describe_split(interactions: Interactions, name: SplitName, seen: np.ndarray) -> SplitDescription:
    try:
        split = leave_one_out(interactions) if name == "leave-one-out" else temporal(interactions)
    except DataError as error:
        return SplitDescription(name=name, impossible=str(error))
    train = _taken(split.training("train").items, interactions.n_items)
    refit = _taken(split.training("train+validation").items, interactions.n_items)
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
        validation_repeats=_share(seen[validation]),
        test_repeats=_share(seen[test]),
    )


def _target_entries(split: Split, places: np.ndarray) -> np.ndarray:
    """Where the targets of a part stand in `sequences.items`. One without history is none. `[N]`"""
    asked = np.flatnonzero(places > 0)
    entries: np.ndarray = split.sequences.offsets[asked] + places[asked]
    return entries


def _share(which: np.ndarray) -> float:
    return float(which.mean()) if len(which) else 0.0


def _taken(items: np.ndarray, n_items: int) -> np.ndarray:
    """Whether anyone has the item. `[I]`"""
    taken = np.zeros(n_items, bool)
    taken[items] = True
    return taken


def _equal_times(interactions: Interactions) -> float:
    owners, times = interactions.sequences.owners(), interactions.times
    same = (owners[1:] == owners[:-1]) & (times[1:] == times[:-1])
    tied = np.zeros(len(times), bool)
    tied[1:] |= same
    tied[:-1] |= same
    return float(tied.mean())


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
    """Share of the interactions that the most popular `share` of the items have; at least one item."""
    top = max(1, round(share * len(popularity)))
    return float(popularity[:top].sum() / popularity.sum())


def _length_bins(lengths: np.ndarray) -> tuple[LengthBin, ...]:
    """Bins 1, 2, 3 to 4, 5 to 8, ... from the first to the last that has a user."""
    bins: list[LengthBin] = []
    low, high = 1, 1
    while low <= lengths.max():
        users = int(((lengths >= low) & (lengths <= high)).sum())
        if users or bins:
            bins.append(LengthBin(low=low, high=high, users=users))
        low, high = high + 1, high * 2
    return tuple(bins)
