"""Interactions as sparse matrices."""

import warnings

import numpy as np
import torch
from torch import Tensor

from deftrec.data import Sequences


def csr_matrix(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """Build a CSR matrix from entries in any order; each (row, column) occurs at most once."""
    order = np.lexsort((columns, rows))
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(rows, minlength=shape[0]))])
    with warnings.catch_warnings():  # torch calls its CSR support beta, once a process
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(starts),
            torch.from_numpy(columns[order].astype(np.int64)),
            torch.from_numpy(values[order].astype(np.float32)),
            size=shape,
            check_invariants=False,
        )


def distinct_pairs(sequences: Sequences, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct (user, item) pairs of all interactions, sorted, as two `[E]` int64 arrays."""
    pairs = np.unique(sequences.owners() * n_items + sequences.items)
    return pairs // n_items, pairs % n_items
