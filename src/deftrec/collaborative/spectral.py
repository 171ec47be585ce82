"""Collaborative vectors in closed form: a truncated SVD of the normalised interaction matrix."""

import numpy as np
import torch
from torch import Tensor

from deftrec.collaborative.lightgcn import CollaborativeVectors
from deftrec.data import Sequences
from deftrec.data.sparse import csr_matrix, distinct_pairs

OVERSAMPLING, ITERATIONS = 16, 6
"""Columns of the random start beyond those that are kept, and power iterations (Halko et al. 2011)."""


def spectral_vectors(
    sequences: Sequences, n_items: int, dim: int, seed: int, device: torch.device | None = None
) -> CollaborativeVectors:
    """Vectors whose inner products approximate the normalised interactions R = D_u^-1/2 A D_i^-1/2, best in rank `dim`.

    With the truncated SVD R = U S V^T, users get U S^1/2 and items V S^1/2. LightGCN smooths random vectors with the
    powers of the same matrix, so its result lies mostly in the same space (Shen et al. 2021, arXiv 2108.07567). Users
    and items without interactions have zero vectors, and so have the columns beyond the rank of R. Returns float32
    vectors on the CPU.

    Args:
        sequences: training interactions, one sequence per user; a repeated interaction is counted once.
        n_items: number of items in the catalogue.
        dim: width d of the vectors.
        seed: seed of the random start.
        device: device of the computation; None: the CPU.
    """
    rows, columns = normalised_interactions(sequences, n_items)
    if device is not None:
        rows, columns = rows.to(device), columns.to(device)
    left, values, right = truncated_svd(rows, columns, dim, seed)
    scale = values.sqrt()
    # Rounding leaves traces in empty rows; the tokenizer needs zeros there.
    users, items = (torch.from_numpy(one > 0)[:, None] for one in (sequences.lengths, sequences.counts(n_items)))
    return CollaborativeVectors((left * scale).cpu() * users, (right * scale).cpu() * items)


def normalised_interactions(sequences: Sequences, n_items: int) -> tuple[Tensor, Tensor]:
    """R = D_u^-1/2 A D_i^-1/2 and its transpose, both sparse CSR. `[U, I]` and `[I, U]`"""
    users, items = distinct_pairs(sequences, n_items)
    shape = (len(sequences), n_items)
    degrees = np.bincount(users, minlength=shape[0])[users] * np.bincount(items, minlength=n_items)[items]
    values = 1 / np.sqrt(degrees)
    return csr_matrix(users, items, values, shape), csr_matrix(items, users, values, shape[::-1])


def truncated_svd(matrix: Tensor, transpose: Tensor, rank: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular values of a sparse matrix and their vectors, by randomised subspace iteration.

    The matrix is only ever multiplied with `rank + OVERSAMPLING` columns (Halko, Martinsson and Tropp 2011, arXiv
    0909.4061, algorithms 4.4 and 5.1). The sign of each pair makes the largest entry of its right vector positive, so
    the result does not depend on the linear algebra library. Returns left vectors `[N, rank]`, values in falling order
    `[rank]`, right vectors `[M, rank]`; float32.

    Args:
        matrix, transpose: a matrix `[N, M]` and its transpose `[M, N]`, sparse CSR.
        rank: number of singular values; those beyond the smaller side of the matrix are 0.
        seed: seed of the random start.
    """
    n, m = matrix.shape
    width = min(rank + OVERSAMPLING, n, m)
    generator = torch.Generator().manual_seed(seed)
    basis = matrix @ torch.randn(m, width, generator=generator).to(matrix.device)
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(basis).Q
        basis = matrix @ torch.linalg.qr(transpose @ basis).Q
    basis = torch.linalg.qr(basis).Q
    right, values, small = torch.linalg.svd(transpose @ basis, full_matrices=False)
    left = basis @ small.T
    signs = right.gather(0, right.abs().argmax(0, keepdim=True)).sign()
    # Vectors of a singular value that is zero up to rounding are arbitrary.
    kept = values > values.max() * 1e-5
    missing = max(0, rank - width)
    left, values, right = (
        torch.nn.functional.pad(tensor[..., :rank], (0, missing))
        for tensor in (left * signs * kept, values * kept, right * signs * kept)
    )
    return left, values, right
