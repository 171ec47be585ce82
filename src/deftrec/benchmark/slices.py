"""The asked users sorted by what makes their question hard: history, popularity of the target, target seen before."""

from dataclasses import dataclass

import numpy as np

from deftrec.data import Cases, Sequences

LENGTH_BINS = 4
HISTORY, POPULARITY, NOVELTY = "history length", "popularity of the target", "novelty of the target"


@dataclass(frozen=True, eq=False)
class Members:
    """A slice of the asked users.

    Attributes:
        by: what the users were sorted by; the slices of one `by` hold every user once.
        name: of the slice.
        users: places among the cases. `[n]` int64, n at least 1
    """

    by: str
    name: str
    users: np.ndarray


def slices(cases: Cases, training: Sequences, n_items: int) -> list[Members]:
    """All slices of the cases that hold anybody.

    Args:
        cases: who is asked.
        training: what the systems were fitted on; it decides which targets are popular, and which are cold.
        n_items: size of the catalogue.
    """
    counts = training.counts(n_items)
    parts = [*by_history(cases), *by_popularity(cases, counts), *by_novelty(cases)]
    return [part for part in parts if len(part.users)]


def by_history(cases: Cases) -> list[Members]:
    """Quarters of the users by the length of their history, the shortest first; fewer where lengths tie."""
    lengths = cases.histories.lengths
    edges = np.unique(np.quantile(lengths, np.arange(1, LENGTH_BINS) / LENGTH_BINS, method="lower"))
    bins = np.searchsorted(edges, lengths, side="left")  # bin b: edges[b - 1] < length <= edges[b]
    found = []
    for number in np.unique(bins):
        users = np.flatnonzero(bins == number)
        low, high = int(lengths[users].min()), int(lengths[users].max())
        name = f"{low} items" if low == high else f"{low} to {high} items"
        found.append(Members(HISTORY, "1 item" if high == 1 else name, users))
    return found


def by_popularity(cases: Cases, counts: np.ndarray) -> list[Members]:
    """Users by how popular their target is, in thirds of the training interactions.

    Items in order of popularity: the head is those that begin within the first third of all training interactions, the
    torso within the second, the tail within the last; items of equal popularity begin together. Items without any
    training interaction are cold.

    Args:
        cases: who is asked.
        counts: training interactions of each item. `[I]`
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]  # interactions of items that are ahead in the order
    _, first, place = np.unique(-counts[order], return_index=True, return_inverse=True)
    third = np.empty(len(counts), np.int64)
    third[order] = 3 * before[first][place] // max(1, counts.sum())
    third[counts == 0] = 3
    of_target = third[cases.targets]
    names = ("head", "torso", "tail", "cold")
    return [Members(POPULARITY, name, np.flatnonzero(of_target == n)) for n, name in enumerate(names)]


def by_novelty(cases: Cases) -> list[Members]:
    """Users whose target was in their history, and users whose target was not."""
    owners, items = cases.histories.owners(), cases.histories.items
    repeated = np.zeros(len(cases), bool)
    repeated[owners[items == cases.targets[owners]]] = True
    return [
        Members(NOVELTY, "new to the user", np.flatnonzero(~repeated)),
        Members(NOVELTY, "repeated", np.flatnonzero(repeated)),
    ]
