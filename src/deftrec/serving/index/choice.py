"""Choice of the index by the size of the catalogue, and its construction."""

from importlib.util import find_spec

import numpy as np

from deftrec.retrieval import Ranker
from deftrec.serving.index.approximate import Approximate
from deftrec.serving.index.base import IndexChoice, IndexKind, IndexMetric, VectorIndex
from deftrec.serving.index.faiss_index import FaissIndex, IvfPqIndex
from deftrec.serving.index.pgvector import PgvectorIndex
from deftrec.serving.logs import log

EXACT_ITEMS = 100_000  # largest catalogue for which exact search is chosen (measured in docs/reference/scale.md)


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


def build_index(
    kind: IndexKind, vectors: np.ndarray, metric: IndexMetric, version: str, store_url: str
) -> VectorIndex | None:
    """Build an index of `vectors` and `metric` of `Approximate`; returns None for `exact`, which needs no index.

    `version` (of the model) and `store_url` name the table of pgvector and its database. Raises a `ConfigError` if the
    store or the vectors do not suit the index, and a `MissingExtraError` without its library.
    """
    if kind == "pgvector":
        return PgvectorIndex(vectors, metric, version, store_url)
    in_memory = {"faiss": FaissIndex, "faiss-ivfpq": IvfPqIndex}
    return None if kind == "exact" else in_memory[kind](vectors, metric)
