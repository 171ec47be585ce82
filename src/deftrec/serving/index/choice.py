"""Choice of the index by the size of the catalogue."""

from importlib.util import find_spec

from deftrec.retrieval import Ranker
from deftrec.serving.index.approximate import Approximate
from deftrec.serving.index.base import IndexChoice, IndexKind
from deftrec.serving.logs import log

EXACT_ITEMS = 100_000
"""Largest catalogue for which exact search is chosen (measured in docs/reference/scale.md)."""


def choose_index(choice: IndexChoice, ranker: Ranker) -> IndexKind:
    """Return the chosen kind; for `auto`, choose by the catalogue and the score, and log the reason."""
    if choice != "auto":
        return choice
    items = ranker.n_items
    kind: IndexKind = "exact"
    if items <= EXACT_ITEMS:
        why = f"exact search suits up to {EXACT_ITEMS:,} items"
    elif not Approximate.suits(ranker):
        why = "the run scores items by more than their latents"
    elif find_spec("faiss") is None:
        why = 'an index would be faster: pip install "deftrec[faiss]"'
    else:
        kind, why = "faiss-ivfpq", f"more than {EXACT_ITEMS:,} items; only candidates of the index are scored"
    log("index", kind=kind, items=items, why=why)
    return kind
