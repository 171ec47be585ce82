"""EASE, SLIT and the filter of the interaction graph against their closed forms, and the memory they take."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deftrec.data import Sequences
from deftrec.doctor import Subject, examine
from deftrec.recipe import resolve
from deftrec.retrieval import LinearPrior, linear
from deftrec.retrieval.linear import ease, graph, slit
from deftrec.retrieval.terms.collaborative_prior import NEIGHBOURS
from deftrec.sizes import Sizes
from toy import tiny_config


def dense_weights(lists: list[list[int]], items: int, regularisation: float) -> Tensor:
    """Steck 2019, eq. 8, in float64: B = I - P diag(1 / diag(P))."""
    x = torch.zeros(len(lists), items, dtype=torch.float64)
    for user, taken in enumerate(lists):
        x[user, taken] = 1
    p = torch.linalg.inv(x.T @ x + regularisation * torch.eye(items, dtype=torch.float64))
    b = -p / p.diagonal()[None, :]
    return b.fill_diagonal_(0).float()


def as_matrix(fitted: LinearPrior) -> Tensor:
    """The weights as one matrix; rows of items that do not take part are zero. `[I, I]`"""
    rows = torch.zeros(len(fitted.items), fitted.n_items)
    rows.scatter_add_(1, fitted.neighbours.long(), fitted.weights)
    return torch.zeros(fitted.n_items, fitted.n_items).index_copy_(0, fitted.items.long(), rows)


histories = st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=12)


@settings(max_examples=25)
@given(lists=histories, regularisation=st.sampled_from([0.5, 10.0, 300.0]))
def test_weights_are_the_closed_form(lists: list[list[int]], regularisation: float) -> None:
    fitted = LinearPrior.fit(
        partial(ease, regularisation=regularisation), Sequences.from_lists(lists), 7, neighbours=7, max_items=7
    )
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
    best = as_matrix(
        LinearPrior.fit(partial(ease, regularisation=20.0), Sequences.from_lists(lists), 30, 30, 30)
    ).double()

    def value(b: Tensor) -> float:
        return float((x - x @ b).square().sum() + 20 * b.square().sum())

    for _ in range(10):
        change = 1e-2 * torch.randn(30, 30, dtype=torch.float64).fill_diagonal_(0)
        assert value(best + change) > value(best)


def test_only_the_largest_neighbours_are_kept() -> None:
    lists = many()
    full = dense_weights(lists, 30, 20.0)
    fitted = LinearPrior.fit(
        partial(ease, regularisation=20.0), Sequences.from_lists(lists), 30, neighbours=4, max_items=30
    )
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
    fitted = as_matrix(
        LinearPrior.fit(
            partial(ease, regularisation=20.0), Sequences.from_lists(lists), 30, neighbours=512, max_items=10
        )
    )
    inside = [[popular.index(item) for item in taken if item in popular] for taken in lists]
    torch.testing.assert_close(fitted[popular][:, popular], dense_weights(inside, 10, 20.0), atol=1e-5, rtol=1e-4)
    others = [item for item in range(30) if item not in popular]
    assert (fitted[others] == 0).all()
    assert (fitted[:, others] == 0).all()


@pytest.mark.parametrize("recency", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("cells", [1, 7, 1 << 24])
def test_scores_weigh_the_history_by_age(recency: float, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "SLICE_CELLS", cells)
    lists = many()
    fitted = LinearPrior.fit(partial(ease, regularisation=20.0), Sequences.from_lists(lists), 30, 30, 30)
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
    monkeypatch.setattr(linear, "SLIT_MAX_HISTORY", max_history)
    lists = [*many(), [3, 3, 5, 3], [4], []]
    fitted = LinearPrior.fit(
        partial(slit, regularisation=7.0, recency=recency), Sequences.from_lists(lists), 30, neighbours=30, max_items=30
    )
    torch.testing.assert_close(
        as_matrix(fitted), dense_slit(lists, 30, 7.0, recency, max_history), atol=1e-5, rtol=1e-3
    )


def test_slit_of_the_most_popular_skips_the_others() -> None:
    lists = many()
    popular = np.sort(np.argsort(-np.bincount(np.concatenate(lists), minlength=30), kind="stable")[:10]).tolist()
    fitted = as_matrix(
        LinearPrior.fit(
            partial(slit, regularisation=7.0, recency=0.5), Sequences.from_lists(lists), 30, neighbours=30, max_items=10
        )
    )
    inside = [[popular.index(item) for item in taken if item in popular] for taken in lists]
    torch.testing.assert_close(fitted[popular][:, popular], dense_slit(inside, 10, 7.0, 0.5, 50), atol=1e-5, rtol=1e-3)
    others = [item for item in range(30) if item not in popular]
    assert (fitted[others] == 0).all()
    assert (fitted[:, others] == 0).all()


def test_slit_is_fitted_on_a_sample_where_there_are_too_many_places(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = [[(start + step) % 30 for step in range(12)] for start in range(30)] * 4
    monkeypatch.setattr(linear, "SLIT_ROWS", 600)  # of 1,320
    fitted = as_matrix(
        LinearPrior.fit(
            partial(slit, regularisation=1.0, recency=1.0), Sequences.from_lists(ring), 30, neighbours=30, max_items=30
        )
    )
    assert fitted.argmax(1).tolist() == [(item + 1) % 30 for item in range(30)]


@pytest.mark.parametrize("most", [30, 10])
def test_the_graphs_filter_is_a_step_there_and_back(most: int) -> None:
    """A walk from an item to one who took it and to what that one took, each degree shared by root (GF-CF, eq. 5)."""
    lists = [*many(), [], [4, 4]]
    fitted = as_matrix(LinearPrior.fit(graph, Sequences.from_lists(lists), 30, neighbours=30, max_items=most))
    counts = np.bincount(np.concatenate([np.unique(one) for one in lists]).astype(np.int64), minlength=30)
    popular = set(np.argsort(-counts, kind="stable")[:most].tolist())
    taken = [popular.intersection(one) for one in lists]
    expected = torch.zeros(30, 30, dtype=torch.float64)
    for mine in taken:
        for item in mine:
            for other in mine:
                expected[item, other] += 1 / len(mine) / np.sqrt(counts[item] * counts[other])
    torch.testing.assert_close(fitted, expected.float(), atol=1e-6, rtol=1e-5)


def test_added_items_get_the_mean_score_of_their_nearest_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "NEIGHBOURS_OF_ADDED", 2)
    sequences = Sequences.from_lists([[0, 1], [0, 1, 2], [2, 3], [3, 0], [1, 3]])
    prior = LinearPrior.fit(
        partial(ease, regularisation=1.0), sequences, 5, 4, 5
    )  # item 4 has no interactions, so it stands in for nothing
    angles = torch.tensor([0.0, 0.5, 1.0, 1.5, 0.26, 0.25, 1.4])
    longer = prior.with_items(torch.stack([angles.cos(), angles.sin()], 1))
    histories = Sequences.from_lists([[0], [2, 1], [5], [0, 5]])
    found = longer.scores(histories, 0.5)
    assert found.shape == (4, 7)
    known = prior.scores(Sequences.from_lists([[0], [2, 1], []]), 0.5)
    torch.testing.assert_close(found[:3, :5], known)
    torch.testing.assert_close(found[:, 5], found[:, [0, 1]].mean(1))
    torch.testing.assert_close(found[:, 6], found[:, [2, 3]].mean(1))
    assert torch.equal(found[2], torch.zeros(7)), "an added item gives no score"
    same = prior.with_items(torch.randn(5, 2))
    assert torch.equal(same.scores(histories.select([0, 1]), 0.5), prior.scores(histories.select([0, 1]), 0.5))


def test_items_without_interactions_need_no_fit() -> None:
    """A catalogue in which no item takes part, and one where all added items stand alone."""
    empty = LinearPrior.empty(5)
    assert torch.equal(empty.scores(Sequences.from_lists([[0, 4], []]), 0.5), torch.zeros(2, 5))
    assert empty.neighbours_of(torch.tensor([0, 4])).tolist() == []
    longer = empty.with_items(torch.randn(7, 3))
    assert torch.equal(longer.scores(Sequences.from_lists([[0, 6]]), 0.5), torch.zeros(1, 7))


def test_neighbours_of_items_are_those_they_score() -> None:
    fitted = LinearPrior.fit(graph, Sequences.from_lists([[0, 1], [1, 2], [3, 4]]), 6, neighbours=2, max_items=4)
    assert fitted.items.tolist() == [0, 1, 2, 3]
    everything = as_matrix(fitted)
    for item in range(6):
        expected = set(everything[item].nonzero()[:, 0].tolist())
        assert expected <= set(fitted.neighbours_of(torch.tensor([item])).tolist())
    assert fitted.neighbours_of(torch.tensor([5])).tolist() == []


def test_memory_does_not_grow_with_the_items_that_take_no_part() -> None:
    n_items, max_items = 20_000, 200
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, n_items, 20) for _ in range(3000)]
    config = resolve(
        tiny_config(retrieval={"prior_max_items": max_items}),
        Sizes(positions=1, interactions=1, users=1, items=n_items),
    )
    estimate = examine(Subject("test", config, n_items, 16, 0)).serving_bytes["collaborative prior"]
    for fitted in (
        LinearPrior.fit(
            partial(ease, regularisation=50.0), Sequences.from_lists(lists), n_items, NEIGHBOURS, max_items
        ),
        LinearPrior.fit(
            partial(slit, regularisation=50.0, recency=0.5), Sequences.from_lists(lists), n_items, NEIGHBOURS, max_items
        ),
        LinearPrior.fit(graph, Sequences.from_lists(lists), n_items, NEIGHBOURS, max_items),
    ):
        fitted.scores(Sequences.from_lists(lists[:5]), 0.5)  # makes the index of the catalogue
        tensors = [value for value in vars(fitted).values() if isinstance(value, Tensor)]
        held = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
        assert len(tensors) == 4
        assert held <= max_items * NEIGHBOURS * 8 + 4 * n_items
        assert held == estimate, "what deftrec doctor says"


def test_a_small_catalogue_is_scored_by_one_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 30, 20).tolist() for _ in range(40)]  # items repeat
    fitted = LinearPrior.fit(
        partial(ease, regularisation=20.0), Sequences.from_lists(lists), 32, neighbours=8, max_items=25
    )
    fitted = fitted.with_items(torch.from_numpy(rng.normal(size=(34, 4))).float())
    whole = fitted.scores(Sequences.from_lists(lists), recency=0.5)
    assert "_dense" in vars(fitted)
    monkeypatch.setattr(linear, "DENSE_CELLS", 0)
    torch.testing.assert_close(whole, fitted.scores(Sequences.from_lists(lists), recency=0.5))
