"""Interface of indexes for nearest-neighbour search."""

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import numpy as np

IndexKind: TypeAlias = Literal["exact", "faiss", "faiss-ivfpq", "pgvector"]
IndexChoice: TypeAlias = Literal["auto", "exact", "faiss", "faiss-ivfpq", "pgvector"]
"""Kind of index; `auto` chooses by the size of the catalogue."""
IndexMetric: TypeAlias = Literal["inner", "l2"]
"""Order of the neighbours: by largest inner product, or by smallest Euclidean distance."""


class VectorIndex(ABC):
    """Finds the nearest vectors by the metric it was built for. Several threads may use an index at the same time."""

    @abstractmethod
    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Numbers of (approximately) the `count` nearest vectors, nearest first.

        Args:
            queries: `[N, D]` float32
            count: Number of neighbours, from 1 to the number of vectors.

        Returns:
            `[N, count]` int64, -1 where fewer were found.

        Raises:
            StoreUnavailableError: The database that holds the index does not answer.
        """

    def close(self) -> None:  # noqa: B027 - most indexes hold no connection
        """Close all connections; a later search opens new ones."""
