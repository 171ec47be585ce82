"""Clones: users whose complete sequences are identical, as bots, test accounts and imports that went wrong leave them.

Whoever has seen one of them in training knows the next item of all others by heart, and many of them decide a metric.
"""

from collections import Counter
from dataclasses import replace

import numpy as np

from deftrec.data.interactions import Interactions

MANY = 10
"""So many users with one and the same sequence are clones. People do coincide, though in small numbers: of five
published data sets two have such a sequence (of 204 and 11 users), and past those none is shared by more than five."""
ASKED = 3
"""Shorter sequences are left alone: people who took one popular item coincide by chance, and none of them is asked."""


def sequence_counts(interactions: Interactions) -> Counter[bytes]:
    """How many users have each complete sequence; the key is the sequence's item numbers as bytes."""
    return Counter(sequence.tobytes() for sequence in interactions.sequences)


def without_clones(interactions: Interactions, many: int = MANY) -> Interactions:
    """The same data without the users whose complete sequence, of three items or more, at least `many` users share.

    Nothing else changes: the other users' sequences, the numbers of the items and the catalogue stay as they are, so
    that every system is asked the same questions about the same candidates, less those of the clones.
    """
    counts = sequence_counts(interactions)
    sequences = interactions.sequences
    shared = np.asarray([counts[sequence.tobytes()] for sequence in sequences])
    kept = (shared < many) | (sequences.lengths < ASKED)
    if kept.all():
        return interactions
    meta, remaining = interactions.meta, sequences.select(np.flatnonzero(kept))
    return replace(
        interactions,
        users=interactions.users.filter(kept),
        sequences=remaining,
        times=interactions.times[np.repeat(kept, sequences.lengths)],
        meta=meta.model_copy(
            update={
                "filters": {**meta.filters, "clones": f"without sequences that {many} users or more share"},
                "counts": {**meta.counts, "users": int(kept.sum()), "interactions": len(remaining.items)},
            }
        ),
    )
