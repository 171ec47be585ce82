"""Some users and some items of a dataset, in the order that they had."""

from dataclasses import replace

import numpy as np

from deftrec.data.interactions import Interactions
from deftrec.data.sequences import Sequences


def subset(interactions: Interactions, users: np.ndarray, items: np.ndarray) -> Interactions:
    """What `users` took of `items`, numbered anew in the order of before; the others are as if they had never been.

    A user without anything left has an empty history and an item that nobody took stays in the catalogue.

    Args:
        interactions: the whole.
        users: who stays. `[U]` bool
        items: what stays. `[I]` bool
    """
    owners, taken = interactions.sequences.owners(), interactions.sequences.items
    kept = users[owners] & items[taken]
    numbers = (np.cumsum(items) - 1).astype(np.int32)
    lengths = np.bincount(owners[kept], minlength=len(users))[users]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    counts = {"users": int(users.sum()), "items": int(items.sum()), "interactions": int(kept.sum())}
    meta = interactions.meta
    return replace(
        interactions,
        users=interactions.users.filter(users),
        catalogue=interactions.catalogue.filter(items),
        sequences=Sequences(numbers[taken[kept]], offsets),
        times=interactions.times[kept],
        meta=meta.model_copy(update={"counts": {**meta.counts, **counts}}),
    )
