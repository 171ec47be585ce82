"""Clones: users with identical complete sequences, such as bots, test accounts and faulty imports.

A model that has seen one clone in training knows the next item of all others, so many clones decide a metric.
"""

from collections import Counter
from dataclasses import replace

import numpy as np

from deftrec.data.interactions import Interactions

MANY = 10
"""Minimum number of users with one sequence that makes them clones. In published data sets, other sequences are shared
by at most five users."""
SHORTEST = 3
"""Minimum length of a clone's sequence. Users with a shorter one coincide by chance, and have no test target."""


def sequence_counts(interactions: Interactions) -> Counter[bytes]:
    """The number of users with each complete sequence; a key is the bytes of the sequence's item numbers."""
    return Counter(sequence.tobytes() for sequence in interactions.sequences)


def without_clones(interactions: Interactions, many: int = MANY) -> Interactions:
    """Remove the users whose complete sequence, of at least `SHORTEST` items, at least `many` users share.

    The other sequences, the item numbers and the catalogue stay as they are.
    """
    counts = sequence_counts(interactions)
    sequences = interactions.sequences
    shared = np.asarray([counts[sequence.tobytes()] for sequence in sequences])
    kept = (shared < many) | (sequences.lengths < SHORTEST)
    if kept.all():
        return interactions
    meta, remaining = interactions.meta, sequences.select(np.flatnonzero(kept))
    filters = {**meta.filters, "clones": f"without sequences that {many} users or more share"}
    totals = {**meta.counts, "users": int(kept.sum()), "interactions": len(remaining.items)}
    entries = np.repeat(kept, sequences.lengths)
    return replace(
        interactions,
        users=interactions.users.filter(kept),
        sequences=remaining,
        times=interactions.times[entries],
        signals=interactions.signals_where(entries),
        meta=meta.model_copy(update={"filters": filters, "counts": totals}),
    )
