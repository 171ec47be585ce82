"""LightGCN against dense references."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from deftrec.collaborative import LightGCN, Triples, draw_triples
from deftrec.collaborative.lightgcn import _SymmetricProduct, normalised_adjacency
from deftrec.data import Sequences
from deftrec.data.sparse import csr_matrix, distinct_pairs

SEQUENCES = Sequences.from_lists([[0, 1, 2, 1], [2, 3], [], [4], [0, 4, 3]])
ITEMS = 6  # nobody took item 5, and user 2 took nothing
USERS = len(SEQUENCES)


def taken() -> Tensor:
    matrix = torch.zeros(USERS, ITEMS)
    for user, items in enumerate(SEQUENCES):
        matrix[user, items.tolist()] = 1
    return matrix


def dense_adjacency() -> Tensor:
    """He et al., eq. 7: D^-1/2 A D^-1/2 of A = [[0, R], [R^T, 0]]."""
    r = taken()
    a = torch.cat([torch.cat([torch.zeros(USERS, USERS), r], 1), torch.cat([r.T, torch.zeros(ITEMS, ITEMS)], 1)])
    degree = a.sum(1)
    scale = torch.where(degree > 0, degree.clamp_min(1).rsqrt(), torch.zeros(()))
    return scale[:, None] * a * scale


def module(layers: int = 3, l2: float = 0.0) -> LightGCN:
    torch.manual_seed(0)
    return LightGCN(SEQUENCES, ITEMS, 4, layers, l2)


def test_the_adjacency_is_normalised_and_counts_repeats_once() -> None:
    torch.testing.assert_close(normalised_adjacency(SEQUENCES, ITEMS).to_dense(), dense_adjacency())


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_propagation_is_the_mean_of_all_layers(layers: int) -> None:
    lightgcn, adjacency = module(layers), dense_adjacency()
    steps = [torch.linalg.matrix_power(adjacency, n) @ lightgcn.base for n in range(layers + 1)]
    expected = torch.stack(steps).mean(0)
    vectors = lightgcn.propagate()
    torch.testing.assert_close(vectors.users, expected[:USERS])
    torch.testing.assert_close(vectors.items, expected[USERS:])


def test_loss_and_gradient_are_those_of_dense_autograd() -> None:
    lightgcn, adjacency = module(l2=0.1), dense_adjacency()
    batch = Triples(torch.tensor([0, 1, 4, 0]), torch.tensor([1, 3, 0, 1]), torch.tensor([5, 0, 2, 4]))
    losses = lightgcn(batch)
    losses["loss"].backward()

    base = lightgcn.base.detach().clone().requires_grad_()
    layer, total = base, base
    for _ in range(3):
        layer = adjacency @ layer
        total = total + layer
    users, items = (total / 4)[:USERS], (total / 4)[USERS:]
    user, positive, negative = users[batch.users], items[batch.positives], items[batch.negatives]
    bpr = -F.logsigmoid((user * positive).sum(1) - (user * negative).sum(1)).mean()
    squares = sum(
        base[row].square().sum()
        for triple in zip(batch.users, batch.positives + USERS, batch.negatives + USERS, strict=True)
        for row in triple
    )
    loss = bpr + 0.1 * squares / (2 * 4)
    loss.backward()
    torch.testing.assert_close(losses["bpr"], bpr)
    torch.testing.assert_close(losses["loss"], loss)
    torch.testing.assert_close(lightgcn.base.grad, base.grad)


def test_gradient_of_the_symmetric_product() -> None:
    matrix = normalised_adjacency(SEQUENCES, ITEMS)
    weight, dense = torch.randn(len(matrix), 3), torch.randn(len(matrix), 3, requires_grad=True)
    (found,) = torch.autograd.grad((_SymmetricProduct.apply(matrix, dense) * weight).sum(), dense)
    (expected,) = torch.autograd.grad(((matrix.to_dense() @ dense) * weight).sum(), dense)
    torch.testing.assert_close(found, expected)


def test_autocast_does_not_touch_the_sums() -> None:
    lightgcn = module()
    batch = Triples(torch.tensor([0]), torch.tensor([1]), torch.tensor([5]))
    expected = lightgcn.propagate().items
    loss = lightgcn(batch)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lightgcn.propagate().items, expected)
        inside = lightgcn(batch)["loss"]
    assert torch.equal(inside, loss)
    inside.backward()
    assert lightgcn.base.grad is not None
    assert lightgcn.base.grad.dtype == torch.float32


def test_the_graph_is_no_weight() -> None:
    assert set(module().state_dict()) == {"base"}


@settings(deadline=None, max_examples=25)
@given(
    lists=st.lists(st.lists(st.integers(0, 5), max_size=9), min_size=1, max_size=8).filter(any),
    batch_size=st.integers(1, 20),
    seed=st.integers(0, 5),
)
def test_an_epoch_has_every_positive_once(lists: list[list[int]], batch_size: int, seed: int) -> None:
    sequences = Sequences.from_lists(lists)
    batches = draw_triples(sequences, 6, batch_size, np.random.default_rng(seed))
    pairs = [pair for one in batches for pair in zip(one.users.tolist(), one.positives.tolist(), strict=True)]
    assert sorted(pairs) == sorted((user, item) for user, items in enumerate(lists) for item in items)
    sizes = [len(one.users) for one in batches]
    assert max(sizes) - min(sizes) <= 1
    assert all(int(one.negatives.min()) >= 0 and int(one.negatives.max()) < 6 for one in batches)


def test_negatives_are_hardly_ever_positives() -> None:
    rng = np.random.default_rng(0)
    sequences = Sequences.from_lists([rng.choice(100, 20, replace=False) for _ in range(200)])
    batches = draw_triples(sequences, 100, 512, rng)
    clashes = [
        n in sequences[u] for one in batches for u, n in zip(one.users.tolist(), one.negatives.tolist(), strict=True)
    ]
    assert np.mean(clashes) == pytest.approx(0.2**2, abs=0.01)  # drawn anew once, so both draws must clash
    counts = np.bincount(np.concatenate([one.negatives.numpy() for one in batches]), minlength=100)
    assert counts.min() > 0


def test_epochs_depend_on_the_generator_alone() -> None:
    def draw(seed: int) -> list[int]:
        batches = draw_triples(SEQUENCES, ITEMS, 4, np.random.default_rng(seed))
        return [n for one in batches for n in (*one.users.tolist(), *one.negatives.tolist())]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), unique=True, max_size=15))
def test_entries_in_any_order_make_the_same_matrix(places: list[tuple[int, int]]) -> None:
    expected = torch.zeros(5, 4)
    for row, column in places:
        expected[row, column] = 10 * row + column + 1
    rows, columns = (np.array([place[n] for place in places], np.int64) for n in range(2))
    found = csr_matrix(rows, columns, 10.0 * rows + columns + 1, (5, 4))
    assert torch.equal(found.to_dense(), expected)


def test_distinct_pairs() -> None:
    users, items = distinct_pairs(SEQUENCES, ITEMS)
    assert np.stack([users, items], 1).tolist() == taken().nonzero().tolist()
