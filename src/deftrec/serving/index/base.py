"""The contract of every index: the nearest vectors."""

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

import numpy as np

IndexKind: TypeAlias = Literal["exact", "faiss", "faiss-ivfpq", "pgvector"]
IndexChoice: TypeAlias = Literal["auto", "exact", "faiss", "faiss-ivfpq", "pgvector"]
"""A kind, or the one that suits the catalogue."""
IndexMetric: TypeAlias = Literal["inner", "l2"]
"""What is near: a large inner product, or a small distance."""


class VectorIndex(ABC):
    """Finds near vectors, by the metric it was made for. Safe to be called from several threads at once."""

    @abstractmethod
    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """Numbers of about the `count` nearest vectors, best first.

        Args:
            queries: `[N, D]` float32
            count: from 1 to the number of vectors.

        Returns:
            `[N, count]` int64, -1 where fewer were found.

        Raises:
            StoreUnavailableError: the database that holds the index does not answer.
        """

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of all connections; whoever searches afterwards opens others."""
