"""The index of a kind."""

import numpy as np

from deftrec.serving.index.base import IndexKind, IndexMetric, VectorIndex
from deftrec.serving.index.faiss_index import FaissIndex, IvfPqIndex
from deftrec.serving.index.pgvector import PgvectorIndex


def build_index(
    kind: IndexKind, vectors: np.ndarray, metric: IndexMetric, version: str, store_url: str
) -> VectorIndex | None:
    """An index of `vectors` `[I, D]`; None for `exact`, which needs none.

    Args:
        kind: of index.
        vectors: as `Approximate.vectors` makes them.
        metric: as `Approximate.metric` says.
        version: of the model they are of.
        store_url: where pgvector keeps them.

    Raises:
        MissingExtraError: its library is not installed.
        ConfigError: the store or the vectors do not suit it.
    """
    match kind:
        case "exact":
            return None
        case "faiss":
            return FaissIndex(vectors, metric)
        case "faiss-ivfpq":
            return IvfPqIndex(vectors, metric)
        case "pgvector":
            return PgvectorIndex(vectors, metric, version, store_url)
