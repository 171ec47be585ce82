"""Which index suits a catalogue: everything is looked at, until that takes longer than an index does."""

from importlib.util import find_spec

from deftrec.retrieval import Ranker
from deftrec.serving.index.approximate import Approximate
from deftrec.serving.index.base import Choice, Kind
from deftrec.serving.logs import log

EXACT_ITEMS = 100_000
"""Up to here all are looked at (measured: docs/scale.md)."""


def settled(choice: Choice, ranker: Ranker) -> Kind:
    """The kind itself, or the one that suits what `ranker` scores where the choice is `auto`; the log says why."""
    if choice != "auto":
        return choice
    items = ranker.n_items
    kind: Kind = "exact"
    if items <= EXACT_ITEMS:
        why = f"up to {EXACT_ITEMS:,} items are all looked at"
    elif not Approximate.suits(ranker):
        why = "the run scores every item by more than its latent"
    elif find_spec("faiss") is None:
        why = 'an index would be faster: pip install "deftrec[faiss]"'
    else:
        kind, why = "faiss-ivfpq", f"more than {EXACT_ITEMS:,} items; only what the index proposes is looked at"
    log("index", kind=kind, items=items, why=why)
    return kind
