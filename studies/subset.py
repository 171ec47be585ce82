"""Part of a data set: some of its users and some of its items."""

from dataclasses import replace

import numpy as np

from deftrec.data.interactions import Interactions


def subset(interactions: Interactions, users: np.ndarray, items: np.ndarray) -> Interactions:
    """Keep the interactions of some users with some items, and number both anew in their previous order.

    A user without any interaction left gets an empty history. An item without one stays in the catalogue.

    Args:
        interactions: the complete data set.
        users: mask of the users to keep. `[U]` bool
        items: mask of the items to keep. `[I]` bool
    """
    owners, entries = interactions.sequences.owners(), interactions.sequences.items
    kept = users[owners] & items[entries]
    numbers = (np.cumsum(items) - 1).astype(np.int32)
    remaining = interactions.sequences.where(kept).select(np.flatnonzero(users))
    counts = {"users": int(users.sum()), "items": int(items.sum()), "interactions": int(kept.sum())}
    meta = interactions.meta
    return replace(
        interactions,
        users=interactions.users.filter(users),
        catalogue=interactions.catalogue.filter(items),
        sequences=replace(remaining, items=numbers[remaining.items]),
        times=interactions.times[kept],
        signals=interactions.signals_where(kept),
        meta=meta.model_copy(update={"counts": {**meta.counts, **counts}}),
    )
