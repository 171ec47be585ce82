"""EASE, SLIT and the graph's filter against their closed forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deftrec.data import Sequences
from deftrec.retrieval import LinearPrior, Retriever, fused, prior
from deftrec.serving.index import Approximate


def dense_weights(lists: list[list[int]], items: int, regularisation: float) -> Tensor:
    """Steck 2019, eq. 8, in float64: B = I - P diag(1 / diag(P))."""
    x = torch.zeros(len(lists), items, dtype=torch.float64)
    for user, taken in enumerate(lists):
        x[user, taken] = 1
    p = torch.linalg.inv(x.T @ x + regularisation * torch.eye(items, dtype=torch.float64))
    b = -p / p.diagonal()[None, :]
    return b.fill_diagonal_(0).float()


def as_matrix(fitted: LinearPrior) -> Tensor:
    items = len(fitted.neighbours)
    return torch.zeros(items, items).scatter_add(1, fitted.neighbours, fitted.weights)


histories = st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=12)


@settings(deadline=None, max_examples=25)
@given(lists=histories, regularisation=st.sampled_from([0.5, 10.0, 300.0]))
def test_weights_are_the_closed_form(lists: list[list[int]], regularisation: float) -> None:
    fitted = LinearPrior.ease(Sequences.from_lists(lists), 7, regularisation, neighbours=7, max_items=7)
    torch.testing.assert_close(as_matrix(fitted), dense_weights(lists, 7, regularisation), atol=1e-5, rtol=1e-4)


def many(users: int = 200, items: int = 30) -> list[list[int]]:
    rng = np.random.default_rng(0)
    share = np.arange(items, 0, -1) / np.arange(1, items + 1).sum()
    return [rng.choice(items, 6, replace=False, p=share).tolist() for _ in range(users)]


def test_weights_solve_the_problem_they_are_for() -> None:
    """B minimises |X - XB|^2 + lambda |B|^2 with a zero diagonal: no small change makes it smaller."""
    lists = many()
    x = torch.zeros(200, 30, dtype=torch.float64)
    for user, taken in enumerate(lists):
        x[user, taken] = 1
    best = as_matrix(LinearPrior.ease(Sequences.from_lists(lists), 30, 20.0, 30, 30)).double()

    def value(b: Tensor) -> float:
        return float((x - x @ b).square().sum() + 20 * b.square().sum())

    for _ in range(10):
        change = 1e-2 * torch.randn(30, 30, dtype=torch.float64).fill_diagonal_(0)
        assert value(best + change) > value(best)


def test_only_the_largest_neighbours_are_kept() -> None:
    lists = many()
    full = dense_weights(lists, 30, 20.0)
    fitted = LinearPrior.ease(Sequences.from_lists(lists), 30, 20.0, neighbours=4, max_items=30)
    assert fitted.neighbours.shape == (30, 4)
    kept = as_matrix(fitted)
    for row, expected in zip(kept, full, strict=True):
        assert int((row != 0).sum()) == 4
        smallest = row[row != 0].abs().min()
        assert int((expected.abs() > smallest + 1e-6).sum()) <= 4
        torch.testing.assert_close(row[row != 0], expected[row != 0], atol=1e-5, rtol=1e-4)


def test_only_the_most_popular_take_part() -> None:
    lists = many()
    popular = np.sort(np.argsort(-np.bincount(np.concatenate(lists), minlength=30), kind="stable")[:10]).tolist()
    fitted = as_matrix(LinearPrior.ease(Sequences.from_lists(lists), 30, 20.0, neighbours=512, max_items=10))
    inside = [[popular.index(item) for item in taken if item in popular] for taken in lists]
    torch.testing.assert_close(fitted[popular][:, popular], dense_weights(inside, 10, 20.0), atol=1e-5, rtol=1e-4)
    others = [item for item in range(30) if item not in popular]
    assert (fitted[others] == 0).all()
    assert (fitted[:, others] == 0).all()


@pytest.mark.parametrize("recency", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("cells", [1, 7, 1 << 24])
def test_scores_weigh_the_history_by_age(recency: float, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior, "SLICE_CELLS", cells)
    lists = many()
    fitted = LinearPrior.ease(Sequences.from_lists(lists), 30, 20.0, 30, 30)
    weights = as_matrix(fitted)
    asked = [lists[0], [], lists[1][:1], [3, 3, 5]]
    found = fitted.scores(Sequences.from_lists(asked), recency)
    for history, row in zip(asked, found, strict=True):
        expected = torch.zeros(30)
        for age, item in enumerate(reversed(history)):
            expected += (1 + age) ** -recency * weights[item]
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-4)


def dense_slit(lists: list[list[int]], items: int, regularisation: float, recency: float, max_history: int) -> Tensor:
    """(X^T X + lambda)^-1 X^T Y in float64, one row of X and Y for every place that has a history."""
    x, y = [], []
    for taken in lists:
        for place in range(1, len(taken)):
            row = torch.zeros(items, dtype=torch.float64)
            for age, item in enumerate(reversed(taken[max(0, place - max_history) : place])):
                row[item] += (1 + age) ** -recency
            x.append(row)
            y.append(torch.nn.functional.one_hot(torch.tensor(taken[place]), items).double())
    X, Y = torch.stack(x), torch.stack(y)
    return torch.linalg.solve(X.T @ X + regularisation * torch.eye(items, dtype=torch.float64), X.T @ Y).float()


@pytest.mark.parametrize("max_history", [3, 50])
@pytest.mark.parametrize("recency", [0.0, 0.5])
def test_slit_is_the_closed_form(recency: float, max_history: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior, "SLIT_WINDOW", max_history)
    lists = [*many(), [3, 3, 5, 3], [4], []]
    fitted = LinearPrior.slit(Sequences.from_lists(lists), 30, 7.0, recency, neighbours=30, max_items=30)
    torch.testing.assert_close(
        as_matrix(fitted), dense_slit(lists, 30, 7.0, recency, max_history), atol=1e-5, rtol=1e-3
    )


def test_slit_of_the_most_popular_skips_the_others() -> None:
    lists = many()
    popular = np.sort(np.argsort(-np.bincount(np.concatenate(lists), minlength=30), kind="stable")[:10]).tolist()
    fitted = as_matrix(LinearPrior.slit(Sequences.from_lists(lists), 30, 7.0, 0.5, neighbours=30, max_items=10))
    inside = [[popular.index(item) for item in taken if item in popular] for taken in lists]
    torch.testing.assert_close(fitted[popular][:, popular], dense_slit(inside, 10, 7.0, 0.5, 50), atol=1e-5, rtol=1e-3)
    others = [item for item in range(30) if item not in popular]
    assert (fitted[others] == 0).all()
    assert (fitted[:, others] == 0).all()


def test_slit_is_fitted_on_a_sample_where_there_are_too_many_places(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = [[(start + step) % 30 for step in range(12)] for start in range(30)] * 4
    monkeypatch.setattr(prior, "SLIT_ROWS", 600)  # of 1,320
    fitted = as_matrix(LinearPrior.slit(Sequences.from_lists(ring), 30, 1.0, 1.0, neighbours=30, max_items=30))
    assert fitted.argmax(1).tolist() == [(item + 1) % 30 for item in range(30)]


@pytest.mark.parametrize("most", [30, 10])
def test_the_graphs_filter_is_a_step_there_and_back(most: int) -> None:
    """A walk from an item to one who took it and to what that one took, each degree shared by root (GF-CF, eq. 5)."""
    lists = [*many(), [], [4, 4]]
    fitted = as_matrix(LinearPrior.graph(Sequences.from_lists(lists), 30, neighbours=30, max_items=most))
    counts = np.bincount(np.concatenate([np.unique(one) for one in lists]).astype(np.int64), minlength=30)
    popular = set(np.argsort(-counts, kind="stable")[:most].tolist())
    taken = [popular.intersection(one) for one in lists]
    expected = torch.zeros(30, 30, dtype=torch.float64)
    for mine in taken:
        for item in mine:
            for other in mine:
                expected[item, other] += 1 / len(mine) / np.sqrt(counts[item] * counts[other])
    torch.testing.assert_close(fitted, expected.float(), atol=1e-6, rtol=1e-5)


def test_later_items_borrow_the_score_of_their_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deftrec.retrieval.linear.LENDERS", 2)
    sequences = Sequences.from_lists([[0, 1], [0, 1, 2], [2, 3], [3, 0], [1, 3]])
    prior = LinearPrior.ease(sequences, 5, 1.0, 4, 5)  # nobody took item 4, so nothing is lent by it
    angles = torch.tensor([0.0, 0.5, 1.0, 1.5, 0.26, 0.25, 1.4])
    longer = prior.with_items(torch.stack([angles.cos(), angles.sin()], 1))
    histories = Sequences.from_lists([[0], [2, 1], [5], [0, 5]])
    found = longer.scores(histories, 0.5)
    assert found.shape == (4, 7)
    known = prior.scores(Sequences.from_lists([[0], [2, 1], []]), 0.5)
    torch.testing.assert_close(found[:3, :5], known)
    torch.testing.assert_close(found[:, 5], found[:, [0, 1]].mean(1))
    torch.testing.assert_close(found[:, 6], found[:, [2, 3]].mean(1))
    assert torch.equal(found[2], torch.zeros(7)), "a later item speaks for nothing"
    same = prior.with_items(torch.randn(5, 2))
    assert torch.equal(same.scores(histories.select([0, 1]), 0.5), prior.scores(histories.select([0, 1]), 0.5))


def test_where_items_may_be_taken_again_the_prior_leaves_their_probability_alone() -> None:
    histories = Sequences.from_lists([[0, 3], [4], [5, 5, 0]])
    latent, linear, weight = torch.randn(3, 6), torch.randn(3, 6), 2.5
    shared = fused(latent.clone(), linear, weight, histories)
    plainly = fused(latent.clone(), linear, weight, None)
    torch.testing.assert_close(plainly, latent + weight * linear)
    for row, history in enumerate(histories):
        seen = torch.zeros(6, dtype=torch.bool)
        seen[torch.from_numpy(history.astype(np.int64))] = True
        before, after = latent[row].softmax(0), shared[row].softmax(0)
        torch.testing.assert_close(after[seen], before[seen])
        # Among the others, what the plain sum makes of them.
        torch.testing.assert_close(after[~seen] / after[~seen].sum(), plainly[row, ~seen].softmax(0))
        assert not torch.allclose(after[~seen], before[~seen])
    whole = Sequences.from_lists([range(6)])
    assert torch.equal(fused(latent[:1].clone(), linear[:1], weight, whole), latent[:1])


def test_a_run_that_recommends_seen_items_scores_so() -> None:
    histories, queries = Sequences.from_lists([[0, 3], [4]]), torch.randn(2, 4)
    fitted = LinearPrior(torch.tensor([[1, 2]] * 6), torch.rand(6, 2))
    plain = Retriever(torch.randn(6, 4), "cosine", 0.1)
    both = replace(plain, prior=fitted, weight=3.0, recency=0.5, repeats=True)
    expected = fused(plain.scores(queries, histories), fitted.scores(histories, 0.5), 3.0, histories)
    torch.testing.assert_close(both.scores(queries, histories), expected)
    assert not torch.allclose(replace(both, repeats=False).scores(queries, histories), expected)
    assert not Approximate.suits(both)
    assert Approximate.suits(replace(both, repeats=False))
    assert Approximate.suits(replace(both, weight=0.0))
