"""Spectral vectors against the dense decomposition of numpy."""

import numpy as np
import pytest
import torch

from deftrec.collaborative.spectral import normalised_interactions, spectral_vectors, truncated_svd
from deftrec.data import Sequences

SEQUENCES = Sequences.from_lists([[0, 1, 2, 1], [2, 3], [], [4], [0, 4, 3]])
ITEMS = 6  # item 5 and user 2 have no interactions


def random_sequences(users: int, items: int, seed: int = 0) -> Sequences:
    rng = np.random.default_rng(seed)
    share = rng.random(items) ** 3
    return Sequences.from_lists([rng.choice(items, rng.integers(1, 12), p=share / share.sum()) for _ in range(users)])


def dense(sequences: Sequences, n_items: int) -> np.ndarray:
    matrix = np.zeros((len(sequences), n_items))
    for user, items in enumerate(sequences):
        matrix[user, items] = 1
    by_user, by_item = (np.maximum(matrix.sum(axis, keepdims=True), 1) for axis in (1, 0))
    return np.asarray(matrix / np.sqrt(by_user * by_item))


def test_interactions_are_normalised_and_repeats_counted_once() -> None:
    rows, columns = normalised_interactions(SEQUENCES, ITEMS)
    np.testing.assert_allclose(rows.to_dense(), dense(SEQUENCES, ITEMS), rtol=1e-6)
    np.testing.assert_allclose(columns.to_dense(), dense(SEQUENCES, ITEMS).T, rtol=1e-6)


@pytest.mark.parametrize(("users", "items", "rank"), [(300, 120, 16), (60, 400, 8), (40, 30, 30)])
def test_the_decomposition_is_that_of_numpy(users: int, items: int, rank: int) -> None:
    sequences = random_sequences(users, items)
    left, values, right = (one.numpy() for one in truncated_svd(*normalised_interactions(sequences, items), rank, 0))
    reference = dense(sequences, items)
    u, s, v = np.linalg.svd(reference, full_matrices=False)
    np.testing.assert_allclose(values, s[:rank], atol=2e-3)
    best = (u[:, :rank] * s[:rank]) @ v[:rank]
    error = np.linalg.norm(reference - (left * values) @ right.T)
    assert error <= np.linalg.norm(reference - best) * 1.001 + 1e-5, "as near as a matrix of this rank can come"
    kept = values > 0
    np.testing.assert_allclose((right.T @ right)[kept][:, kept], np.eye(kept.sum()), atol=1e-4)
    np.testing.assert_allclose((left.T @ left)[kept][:, kept], np.eye(kept.sum()), atol=1e-4)


def test_vectors_have_the_inner_products_of_the_matrix() -> None:
    vectors = spectral_vectors(SEQUENCES, ITEMS, dim=8, seed=0)
    assert vectors.users.shape == (5, 8)
    assert vectors.items.shape == (6, 8)
    np.testing.assert_allclose(vectors.users @ vectors.items.T, dense(SEQUENCES, ITEMS), atol=1e-5)


def test_what_has_no_interactions_has_no_vector() -> None:
    vectors = spectral_vectors(SEQUENCES, ITEMS, dim=4, seed=0)
    assert not vectors.users[2].any()
    assert not vectors.items[5].any()
    assert vectors.items[:5].any(1).all()


def test_the_seed_decides_and_hardly_matters() -> None:
    rng = np.random.default_rng(0)  # six groups of users and items, so that six singular values stand out
    sequences = Sequences.from_lists([user % 6 * 25 + rng.choice(25, 10, replace=False) for user in range(400)])
    one, same, other = (spectral_vectors(sequences, 150, dim=6, seed=seed).items for seed in (1, 1, 2))
    assert torch.equal(one, same)
    torch.testing.assert_close(one @ one.T, other @ other.T, atol=1e-5, rtol=0)
    assert torch.equal(one.abs().amax(0), one.amax(0)), "the largest entry of each column is positive"
