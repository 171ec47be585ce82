"""Groups of the evaluated users by history length, popularity of the target, and novelty of the target."""

from typing import NamedTuple

import numpy as np

from deftrec.data import Cases, Sequences

HISTORY, POPULARITY, NOVELTY = "history length", "popularity of the target", "novelty of the target"


class UserSlice(NamedTuple):
    """A group of the evaluated users.

    Attributes:
        by: property that the users were grouped by; the groups of one `by` hold every user once.
        name: name of the group.
        users: indices of the users among the cases. `[n]` int64
    """

    by: str
    name: str
    users: np.ndarray


def slices(cases: Cases, training: Sequences, n_items: int) -> list[UserSlice]:
    """Group the cases by every property, and drop empty groups; `training` decides the popularity of a target."""
    parts = [*by_history(cases), *by_popularity(cases, training.counts(n_items)), *by_novelty(cases)]
    return [part for part in parts if len(part.users)]


def by_history(cases: Cases) -> list[UserSlice]:
    """Group users into quarters by history length, the shortest first; ties give fewer groups."""
    lengths = cases.histories.lengths
    edges = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75], method="lower"))
    bins = np.searchsorted(edges, lengths, side="left")  # bin b: edges[b - 1] < length <= edges[b]
    found = []
    for number in np.unique(bins):
        users = np.flatnonzero(bins == number)
        low, high = int(lengths[users].min()), int(lengths[users].max())
        name = f"{low} items" if low == high else f"{low} to {high} items"
        found.append(UserSlice(HISTORY, "1 item" if high == 1 else name, users))
    return found


def by_popularity(cases: Cases, counts: np.ndarray) -> list[UserSlice]:
    """Group users by the popularity of their target, in thirds of the training interactions `counts` `[I]`.

    With items in order of popularity, the head begins within the first third of all training interactions, the torso
    within the second, the tail within the last; items of equal popularity begin together. Items without a training
    interaction are cold.
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]  # interactions of more popular items
    _, first, group = np.unique(-counts[order], return_index=True, return_inverse=True)
    third = np.empty(len(counts), np.int64)
    third[order] = 3 * before[first][group] // max(1, counts.sum())
    third[counts == 0] = 3
    of_target = third[cases.targets]
    names = ("head", "torso", "tail", "cold")
    return [UserSlice(POPULARITY, name, np.flatnonzero(of_target == n)) for n, name in enumerate(names)]


def by_novelty(cases: Cases) -> list[UserSlice]:
    """Group users by whether their target is in their history."""
    owners, items = cases.histories.owners(), cases.histories.items
    repeated = np.zeros(len(cases), bool)
    repeated[owners[items == cases.targets[owners]]] = True
    named = {"new to the user": ~repeated, "repeated": repeated}
    return [UserSlice(NOVELTY, name, np.flatnonzero(chosen)) for name, chosen in named.items()]
