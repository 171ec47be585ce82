"""FAISS indexes in memory: HNSW (a graph of neighbours), and IVF-PQ (compressed vectors) for very large catalogues."""

from typing import Any

import numpy as np

from deftrec.errors import MissingExtraError
from deftrec.serving.index.base import IndexMetric, VectorIndex

LINKS, BUILD_BREADTH, BREADTH = 32, 200, 256
"""HNSW: neighbours per vector (M), efConstruction, and the smallest efSearch."""
PART = 4  # vector components per byte of the product quantiser
PROPOSED = 50
"""Compressed candidates per requested neighbour that are ranked again by their vectors, as near codes are alike."""
GATHERED = 16 << 20  # bytes of vectors that are ranked again at a time; bounds the memory of a search
LISTS, SHARE = 64, 16  # lists that a search reads: at least `LISTS`, and one in `SHARE`
TRAINING = 39  # training vectors per k-means centre that FAISS asks for


def _faiss(metric: IndexMetric) -> tuple[Any, Any]:
    """The module, and its name of the metric."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise MissingExtraError("faiss-cpu", "faiss", "`index=faiss`") from error
    return faiss, faiss.METRIC_INNER_PRODUCT if metric == "inner" else faiss.METRIC_L2


class FaissIndex(VectorIndex):
    """HNSW index of `vectors` `[I, D]` float32: fast and accurate; needs about 1.5 times the memory of the vectors."""

    def __init__(self, vectors: np.ndarray, metric: IndexMetric) -> None:
        faiss, order = _faiss(metric)
        self._parameters = faiss.SearchParametersHNSW
        self._index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, order)
        self._index.hnsw.efConstruction = BUILD_BREADTH
        self._index.add(np.ascontiguousarray(vectors, np.float32))

    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """See `VectorIndex.nearest`."""
        breadth = self._parameters(efSearch=max(BREADTH, 2 * count))
        _, found = self._index.search(np.ascontiguousarray(queries, np.float32), count, params=breadth)
        return np.asarray(found, np.int64)


class IvfPqIndex(VectorIndex):
    """IVF-PQ index of `vectors` `[I, D]` float32, which are kept without a copy.

    It finds candidates by compressed vectors, a byte per four components, and ranks them exactly.
    """

    def __init__(self, vectors: np.ndarray, metric: IndexMetric) -> None:
        faiss, order = _faiss(metric)
        count, width = vectors.shape
        padded = np.zeros((count, -(-width // PART) * PART), np.float32)
        padded[:, :width] = vectors
        self._vectors, self._metric, self._width = vectors, metric, padded.shape[1]
        lists = max(1, min(4096, int(count**0.5), count // TRAINING))
        bits = max(1, min(8, int(np.log2(max(2, count // TRAINING)))))
        kind = f"IVF{lists},PQ{self._width // PART}x{bits}"
        self._index = faiss.index_factory(self._width, kind, order)
        self._index.nprobe = min(lists, max(LISTS, lists // SHARE))
        self._index.do_polysemous_training = False  # takes a minute or more and is only needed for polysemous search
        self._index.train(padded)
        self._index.add(padded)

    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """See `VectorIndex.nearest`."""
        padded = np.zeros((len(queries), self._width), np.float32)
        padded[:, : queries.shape[1]] = queries
        _, proposed = self._index.search(padded, min(PROPOSED * count, len(self._vectors)))
        found = np.empty((len(queries), min(count, len(self._vectors))), np.int64)
        for row, query, numbers in zip(found, queries, proposed, strict=True):
            near = self._near(query, numbers)
            near[numbers < 0] = -np.inf
            row[:] = numbers[np.argsort(-near, kind="stable")[: len(row)]]
        return found

    def _near(self, query: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Similarity of the vectors `numbers` `[m]` to `query` `[D]`, computed in parts. `[m]`"""
        near = np.empty(len(numbers), np.float32)
        part = max(1, GATHERED // self._vectors[0].nbytes)
        for start in range(0, len(numbers), part):
            some = self._vectors[numbers[start : start + part]]  # [part, D]
            near[start : start + part] = np.einsum("d,md->m", query, some)
            if self._metric == "l2":
                near[start : start + part] -= np.square(some).sum(-1) / 2
        return near
