"""Construction of an index."""

import numpy as np

from deftrec.serving.index.base import IndexKind, IndexMetric, VectorIndex
from deftrec.serving.index.faiss_index import FaissIndex, IvfPqIndex
from deftrec.serving.index.pgvector import PgvectorIndex


def build_index(
    kind: IndexKind, vectors: np.ndarray, metric: IndexMetric, version: str, store_url: str
) -> VectorIndex | None:
    """Build an index of `vectors`; returns None for `exact`, which needs no index.

    Args:
        kind: Kind of index.
        vectors: Result of `Approximate.vectors`. `[I, D]`
        metric: Result of `Approximate.metric`.
        version: Version of the model.
        store_url: URL of the event store, where pgvector keeps its table.

    Raises:
        MissingExtraError: Its library is not installed.
        ConfigError: The store or the vectors do not suit the index.
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
